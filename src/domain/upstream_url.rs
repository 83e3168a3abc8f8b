//! The URL of an upstream.

use std::{fmt, str::FromStr};

use rustls_pki_types::ServerName;
use serde::{Deserialize, Serialize};

use super::{as_text::as_text, host::Authority, quoted::without_user_info};

/// Where a Bento listens: `http://HOST[:PORT][/BASE]`, or the same with `https`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct UpstreamUrl {
    /// Whom its certificate must name. `None`: it is reached without TLS.
    tls_name: Option<ServerName<'static>>,
    host: Box<str>,
    port: u16,
    /// Without a slash at its end. Empty: the URL has no path.
    base_path: Box<str>,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{text:?} is not an upstream URL: {reason}; expected http://HOST:PORT or https://HOST:PORT, for example \
     http://127.0.0.1:3000"
)]
pub struct InvalidUpstreamUrl {
    /// Without a password.
    text: String,
    reason: &'static str,
}

impl UpstreamUrl {
    /// Whom its certificate must name, unless the Deployment says otherwise. `None`: it is reached without TLS.
    pub fn tls_name(&self) -> Option<&ServerName<'static>> {
        self.tls_name.as_ref()
    }

    /// Name or address, an IPv6 address in brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn base_path(&self) -> &str {
        &self.base_path
    }

    fn parse(text: &str) -> Result<Self, &'static str> {
        let (https, rest) = match (text.strip_prefix("https://"), text.strip_prefix("http://")) {
            (Some(rest), _) => (true, rest),
            (None, Some(rest)) => (false, rest),
            (None, None) => return Err("it does not begin with http:// or https://"),
        };
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let authority = Authority::parse(authority.as_bytes()).map_err(|_| "the host or port is malformed")?;
        let base_path = path.trim_end_matches('/');
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/-._~".contains(&byte);
        if !base_path.bytes().all(plain) || base_path.split('/').any(|segment| segment == "." || segment == "..") {
            return Err("its path may hold letters, digits and -._~ only, and no dot segments, query or fragment");
        }
        let port = authority.port.unwrap_or(if https { 443 } else { 80 });
        if port == 0 {
            return Err("port 0 cannot be connected to");
        }
        let host: Box<str> = authority.host.into();
        let tls_name = https.then(|| server_name(&host).ok_or("no certificate can name its host")).transpose()?;
        Ok(Self { tls_name, host, port, base_path: base_path.into() })
    }
}

/// A host as a certificate names it. `None`: none can.
pub fn server_name(host: &str) -> Option<ServerName<'static>> {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    ServerName::try_from(host.to_owned()).ok()
}

// === text ===

impl FromStr for UpstreamUrl {
    type Err = InvalidUpstreamUrl;

    fn from_str(text: &str) -> Result<Self, InvalidUpstreamUrl> {
        Self::parse(text).map_err(|reason| InvalidUpstreamUrl { text: without_user_info(text), reason })
    }
}

as_text!(UpstreamUrl);

impl fmt::Display for UpstreamUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls_name.is_some() { "https" } else { "http" };
        write!(f, "{scheme}://{}:{}{}", self.host, self.port, self.base_path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_about_urls_hold_no_password() {
        for text in
            ["http://u:pw1234@h:1", "https://u:pw1234@h:1", "ftp://u:pw1234@h", "u:pw1234@h:1", "http://u:pw1234@x@h"]
        {
            let error = text.parse::<UpstreamUrl>().unwrap_err().to_string();
            assert!(error.contains("[redacted]@h") && !error.contains("pw1234"), "{error}");
        }
    }

    #[test]
    fn upstream_urls_are_read_strictly() {
        for (text, canonical) in [
            ("http://127.0.0.1:3000", "http://127.0.0.1:3000"),
            ("http://Bento", "http://bento:80"),
            ("https://Bento", "https://bento:443"),
            ("https://bento:80", "https://bento:80"),
            ("https://10.0.0.7:8443/v1/", "https://10.0.0.7:8443/v1"),
            ("http://[::1]:3000/", "http://[::1]:3000"),
            ("https://[::1]", "https://[::1]:443"),
            ("http://bento:3000/base/path/", "http://bento:3000/base/path"),
        ] {
            let url = text.parse::<UpstreamUrl>().unwrap();
            assert_eq!(url.to_string(), canonical);
            assert_eq!(url.tls_name().is_some(), canonical.starts_with("https:"));
            assert_eq!(canonical.parse(), Ok(url));
        }
        for text in [
            "",
            "127.0.0.1:3000",
            "ftp://a",
            "HTTPS://a",
            "http://",
            "https://",
            "http://:3000",
            "http://u@a",
            "http://a:0",
            "https://a:0",
            "http://a/../b",
            "http://a/?q",
            "http://a#f",
            "http://a/%2e",
            "http://a:b",
            &format!("https://{}.test", "a".repeat(64)),
        ] {
            assert!(text.parse::<UpstreamUrl>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_certificate_names_a_host_or_an_address() {
        let name = |url: &str| url.parse::<UpstreamUrl>().unwrap().tls_name().map(|name| name.to_str().into_owned());
        assert_eq!(name("https://bento.internal:8443").as_deref(), Some("bento.internal"));
        assert_eq!(name("https://[0:0::1]").as_deref(), Some("::1"));
        assert_eq!(name("https://10.0.0.7").as_deref(), Some("10.0.0.7"));
    }
}
