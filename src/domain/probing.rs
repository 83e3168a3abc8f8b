//! How the gateway asks upstreams whether they are ready.

use std::{fmt, num::NonZeroU32, str::FromStr, time::Duration};

use serde::{Deserialize, Serialize};

use super::as_text::as_text;

/// What is asked for: a path, with a query perhaps.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ProbePath(Box<str>);

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a path to ask for; expected / and up to 255 printable ASCII characters, for example /readyz")]
pub struct InvalidProbePath(String);

const MAX_PATH_LEN: usize = 256;
/// Asking more often would be a load of its own.
pub const SHORTEST_INTERVAL: Duration = Duration::from_millis(100);

/// The standing probes of one Deployment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probing {
    /// From an answer to the next question.
    pub interval: Duration,
    pub path: ProbePath,
    /// For connection and answer together.
    pub timeout: Duration,
    /// Answers in a row until an upstream counts as ready again.
    pub rise: NonZeroU32,
    /// Until it counts as not ready.
    pub fall: NonZeroU32,
}

impl ProbePath {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for ProbePath {
    /// Where a Bento says it.
    fn default() -> Self {
        Self("/readyz".into())
    }
}

impl FromStr for ProbePath {
    type Err = InvalidProbePath;

    fn from_str(text: &str) -> Result<Self, InvalidProbePath> {
        let plain = |byte: u8| byte.is_ascii_graphic() && byte != b'#' && byte != b'\\';
        if text.starts_with('/') && text.len() <= MAX_PATH_LEN && text.bytes().all(plain) {
            Ok(Self(text.into()))
        } else {
            Err(InvalidProbePath(text.to_owned()))
        }
    }
}

as_text!(ProbePath);

impl fmt::Display for ProbePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for_is_a_path() {
        for text in ["/", "/readyz", "/health?full=1", "/v1/models"] {
            assert_eq!(text.parse::<ProbePath>().unwrap().as_str(), text);
        }
        for text in ["", "readyz", "http://a/", "/a b", "/a\r\nx: y", "/ä", "/a#b", &format!("/{}", "a".repeat(256))] {
            assert!(text.parse::<ProbePath>().is_err(), "{text:?}");
        }
    }
}
