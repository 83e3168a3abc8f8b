//! An upstream and its share of the requests.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use super::{
    as_text::as_text,
    quoted::without_user_info,
    upstream_url::{InvalidUpstreamUrl, UpstreamUrl},
};

/// Separates the two. A fragment is no part of what is asked for (RFC 3986 § 3.5), and no upstream's URL has one.
const SEPARATOR: &str = "#weight=";
const MAX_WEIGHT: u16 = 1000;

/// As text `URL`, or `URL#weight=N` if the weight is not 1.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct WeightedUrl {
    pub url: UpstreamUrl,
    /// How much it gets beside the others. 0: it is drained, and gets no request any more.
    pub weight: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidWeightedUrl {
    #[error(transparent)]
    Url(#[from] InvalidUpstreamUrl),
    #[error(
        "{text:?} is no upstream: its weight is not a whole number from 0 to {MAX_WEIGHT}; expected for example \
         http://127.0.0.1:3000#weight=3"
    )]
    Weight {
        /// Without a password.
        text: String,
    },
}

/// Whether there is one that gets requests.
pub fn take_requests(upstreams: &[WeightedUrl]) -> bool {
    upstreams.iter().any(|upstream| upstream.weight > 0)
}

/// The text of the two, of which neither needs to be valid.
pub fn text_of(url: &str, weight: &str) -> String {
    format!("{url}{SEPARATOR}{weight}")
}

// === text ===

impl FromStr for WeightedUrl {
    type Err = InvalidWeightedUrl;

    fn from_str(text: &str) -> Result<Self, InvalidWeightedUrl> {
        let Some((url, weight)) = text.split_once(SEPARATOR) else {
            return Ok(Self { url: text.parse()?, weight: 1 });
        };
        let url = url.parse()?;
        let digits = Some(weight).filter(|weight| weight.bytes().all(|byte| byte.is_ascii_digit()));
        match digits.and_then(|digits| digits.parse().ok()).filter(|weight| *weight <= MAX_WEIGHT) {
            Some(weight) => Ok(Self { url, weight }),
            None => Err(InvalidWeightedUrl::Weight { text: without_user_info(text) }),
        }
    }
}

as_text!(WeightedUrl);

impl fmt::Display for WeightedUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.weight {
            1 => self.url.fmt(f),
            weight => write!(f, "{}{SEPARATOR}{weight}", self.url),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_weight_is_a_fragment_of_the_url() {
        for (text, weight, shown) in [
            ("http://a", 1, "http://a:80"),
            ("http://a#weight=1", 1, "http://a:80"),
            ("https://a/base#weight=1000", 1000, "https://a:443/base#weight=1000"),
            ("http://[::1]:3000#weight=0", 0, "http://[::1]:3000#weight=0"),
        ] {
            let upstream: WeightedUrl = text.parse().unwrap();
            assert_eq!((upstream.weight, upstream.to_string().as_str()), (weight, shown));
            assert_eq!(shown.parse(), Ok(upstream));
        }
        for text in ["http://a#", "http://a#3", "http://a#weight=", "http://a#weight=+1", "http://a#weight=1001"] {
            assert!(text.parse::<WeightedUrl>().is_err(), "{text}");
        }
        for text in ["http://u:pw1234@a#weight=x", "http://u:pw1234@a#weight=2"] {
            let error = text.parse::<WeightedUrl>().unwrap_err().to_string();
            assert!(!error.contains("pw1234"), "{error}");
        }
    }

    #[test]
    fn what_is_drained_takes_no_requests() {
        let all = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect::<Vec<_>>();
        assert!(take_requests(&all(&["http://a#weight=0", "http://b"])));
        assert!(!take_requests(&all(&["http://a#weight=0"])) && !take_requests(&[]));
    }
}
