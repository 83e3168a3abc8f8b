//! The URL that is called to have somebody start a service.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use super::{as_text::as_text, host::Authority, quoted::without_user_info};

const MAX_LEN: usize = 2048;
/// What a path and query may hold beside letters and digits (RFC 3986 §§ 3.3 and 3.4).
const PLAIN: &[u8] = b"/?-._~%:@!$&'()*+,;=";

/// `http://HOST[:PORT][/PATH][?QUERY]`, or the same with `https`. It is no secret: admins see it, and it is in the audit trail.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct WakeUrl(Box<str>);

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a URL to call: {reason}; expected for example https://scaler.example.com/wake")]
pub struct InvalidWakeUrl {
    /// Without a password.
    text: String,
    reason: &'static str,
}

impl WakeUrl {
    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub fn is_https(&self) -> bool {
        self.0.starts_with("https://")
    }

    fn parse(text: &str) -> Result<Self, &'static str> {
        let rest = text.strip_prefix("https://").or(text.strip_prefix("http://"));
        let rest = rest.ok_or("it does not begin with http:// or https://")?;
        let (authority, target) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        if authority.contains('@') {
            return Err("it holds a user name or password, which many would see");
        }
        let authority = Authority::parse(authority.as_bytes()).map_err(|_| "the host or port is malformed")?;
        if authority.port == Some(0) {
            return Err("port 0 cannot be connected to");
        }
        if text.len() > MAX_LEN || !target.bytes().all(|byte| byte.is_ascii_alphanumeric() || PLAIN.contains(&byte)) {
            return Err("its path and query may hold 2048 characters that need no percent-encoding, and no fragment");
        }
        Ok(Self(text.into()))
    }
}

// === text ===

impl FromStr for WakeUrl {
    type Err = InvalidWakeUrl;

    fn from_str(text: &str) -> Result<Self, InvalidWakeUrl> {
        Self::parse(text).map_err(|reason| InvalidWakeUrl { text: without_user_info(text), reason })
    }
}

as_text!(WakeUrl);

impl fmt::Display for WakeUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_called_is_a_url_without_a_password() {
        for text in ["http://127.0.0.1:9000", "https://a.test/wake/b?zone=c&d=%20", "http://[::1]:1/", "http://a?b"] {
            assert_eq!(text.parse::<WakeUrl>().unwrap().to_string(), text);
        }
        let long = format!("http://a/{}", "b".repeat(MAX_LEN));
        for text in [
            "",
            "a.test/wake",
            "ftp://a",
            "http://",
            "http://a:0/",
            "http://a/b c",
            "http://a/#b",
            "http://a/\u{e4}",
            &long,
        ] {
            assert!(text.parse::<WakeUrl>().is_err(), "{text:?}");
        }
        for text in ["http://user:pw1234@a.test/", "https://user:pw1234@a.test:1/wake"] {
            let error = text.parse::<WakeUrl>().unwrap_err().to_string();
            assert!(error.contains("user name or password") && !error.contains("pw1234"), "{error}");
        }
        assert!("https://a".parse::<WakeUrl>().unwrap().is_https());
    }
}
