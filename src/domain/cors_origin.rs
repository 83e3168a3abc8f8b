//! Whose pages may call a Deployment (CORS).

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use super::{as_text::as_text, origin::Origin, quoted::without_user_info};

/// Whose pages may call a Deployment: `SCHEME://HOST[:PORT]`, or `*` for every origin.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum CorsOrigin {
    Any,
    One(Origin),
    /// Of an app or an extension, whose scheme is its own: `tauri://localhost`, `chrome-extension://…`.
    App(Box<str>),
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{text:?} is not an origin; expected SCHEME://HOST[:PORT] without a path, for example https://app.example.com or \
     tauri://localhost, or *"
)]
pub struct InvalidCorsOrigin {
    text: String,
}

impl CorsOrigin {
    /// What a browser writes into `Origin` (RFC 6454 § 6.2). `None`: it is none, `null` included, which many share.
    pub(super) fn one(text: &str) -> Option<Self> {
        let (scheme, host) = text.split_once("://")?;
        let of_scheme = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"+-.".contains(&byte);
        match scheme.as_bytes() {
            b"http" | b"https" => text.parse().ok().map(Self::One),
            // Its origin is `null`.
            b"file" => None,
            [b'a'..=b'z', rest @ ..] if rest.iter().copied().all(of_scheme) => {
                // Of any alphabet and length, but no path, no user and no list.
                let of_host = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~:[]".contains(&byte);
                (!host.is_empty() && host.bytes().all(of_host)).then(|| Self::App(text.into()))
            }
            _ => None,
        }
    }
}

// === text ===

impl FromStr for CorsOrigin {
    type Err = InvalidCorsOrigin;

    fn from_str(text: &str) -> Result<Self, InvalidCorsOrigin> {
        if text == "*" {
            return Ok(Self::Any);
        }
        let invalid = || InvalidCorsOrigin { text: without_user_info(text) };
        Self::one(text.strip_suffix('/').unwrap_or(text)).ok_or_else(invalid)
    }
}

as_text!(CorsOrigin);

impl fmt::Display for CorsOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("*"),
            Self::One(origin) => origin.fmt(f),
            Self::App(origin) => f.write_str(origin),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::deployment::DeploymentSettings;

    #[test]
    fn origins_are_as_browsers_write_them() {
        for (text, canonical) in [
            ("https://app.example.com", "https://app.example.com"),
            ("https://App.example.com:443/", "https://app.example.com"),
            ("http://localhost:5173", "http://localhost:5173"),
            ("http://[::1]:80", "http://[::1]"),
            ("tauri://localhost", "tauri://localhost"),
            ("chrome-extension://abcdefghijklmnop", "chrome-extension://abcdefghijklmnop"),
            ("vscode-webview://0a1b/", "vscode-webview://0a1b"),
            ("app://localhost:1", "app://localhost:1"),
            ("*", "*"),
        ] {
            assert_eq!(text.parse::<CorsOrigin>().unwrap().to_string(), canonical);
        }
        for text in [
            "",
            "null",
            "app.example.com",
            "https://",
            "https://a/b",
            "https://*.a",
            "https://u@a",
            "file://a",
            "tauri://",
            "tauri://a/b",
            "tauri://u@a",
            "tauri://*",
            "tauri://a, tauri://b",
            "Tauri://a",
            "1a://a",
            "://a",
        ] {
            assert!(text.parse::<CorsOrigin>().is_err(), "{text:?}");
        }
        let settings = |origins: &[&str]| DeploymentSettings {
            cors_origins: origins.iter().map(|origin| origin.parse().unwrap()).collect(),
            ..DeploymentSettings::default()
        };
        assert!(settings(&["https://a"]).allows_origin("https://a") && settings(&["*"]).allows_origin("https://b"));
        assert!(settings(&["tauri://localhost"]).allows_origin("tauri://localhost"));
        assert!(!settings(&["tauri://localhost"]).allows_origin("tauri://localhost:1"));
        assert!(!settings(&["https://a"]).allows_origin("https://a.evil") && !settings(&[]).allows_origin("null"));
    }
}
