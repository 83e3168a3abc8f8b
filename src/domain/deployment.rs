//! A Deployment: a named upstream with its hosts and settings.

use std::{collections::BTreeSet, fmt, net::SocketAddr, num::NonZeroU32, str::FromStr, time::Duration};

use serde::{Deserialize, Serialize};

use super::{
    as_text::as_text,
    cors_origin::CorsOrigin,
    host::{Authority, HostName},
    quoted::without_user_info,
    rate::Rate,
};

/// Longest name: it must fit a DNS label, because `NAME.<base_domain>` reaches the Deployment.
const MAX_NAME_LEN: usize = 63;

/// `[a-z0-9]([a-z0-9-]*[a-z0-9])?`, at most 63 characters.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct DeploymentName(Box<str>);

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a Deployment name; expected 1 to 63 lower-case letters, digits and inner hyphens")]
pub struct InvalidDeploymentName {
    text: String,
}

/// Where a Bento listens: `http://HOST[:PORT][/BASE]`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct UpstreamUrl {
    host: Box<str>,
    port: u16,
    /// Without a slash at its end. Empty: the URL has no path.
    base_path: Box<str>,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not an upstream URL: {reason}; expected http://HOST:PORT, for example http://127.0.0.1:3000")]
pub struct InvalidUpstreamUrl {
    /// Without a password.
    text: String,
    reason: &'static str,
}

/// Everything that is configured about one Deployment. A field that a later release has stored is ignored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeploymentSpec {
    pub name: DeploymentName,
    /// Custom host names, in addition to `NAME.<base_domain>`.
    #[serde(default)]
    pub hosts: BTreeSet<HostName>,
    /// The address of a listener that serves only this Deployment. `None`: requests reach it by host or path.
    #[serde(default)]
    pub listen: Option<SocketAddr>,
    /// At least one.
    pub upstreams: Vec<UpstreamUrl>,
    #[serde(default = "yes")]
    pub protected: bool,
    /// The gateway forwards nothing to it until somebody starts it again.
    #[serde(default)]
    pub terminated: bool,
    #[serde(default)]
    pub settings: DeploymentSettings,
}

/// How the gateway handles requests to a Deployment. The defaults stand in `[proxy.deployment_defaults]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct DeploymentSettings {
    /// Passes `Authorization` on to the upstream.
    pub forward_authorization: bool,
    /// Allows content types that name pickle, and `Payload-*` headers (CVE-2025-27520, CVE-2025-32375).
    pub allow_pickle: bool,
    /// Limit from the start of the attempt until the TCP connection to the upstream is established.
    #[serde(with = "millis", rename = "connect_timeout_ms")]
    pub connect_timeout: Duration,
    /// Limit from the end of the request until the first byte of the response.
    #[serde(with = "millis", rename = "first_byte_timeout_ms")]
    pub first_byte_timeout: Duration,
    /// Limit of the time without a byte in either direction, during the response and while a request body is awaited.
    #[serde(with = "millis", rename = "idle_timeout_ms")]
    pub idle_timeout: Duration,
    /// Largest request body in bytes. `None`: no limit.
    pub max_body_bytes: Option<u64>,
    /// Pages of these origins may call it and read the responses (CORS). Empty: the upstream decides.
    pub cors_origins: BTreeSet<CorsOrigin>,
    /// How many requests of this gateway may be under way at once. `None`: any number.
    pub max_in_flight: Option<NonZeroU32>,
    /// How many requests may wait until it is their turn.
    pub max_queue: u32,
    /// Limit of the time that one waits.
    #[serde(with = "millis", rename = "queue_timeout_ms")]
    pub queue_timeout: Duration,
    /// How often each token may ask; each network where no token is asked for. `None`: as often as it likes.
    pub rate_limit: Option<Rate>,
}

/// How many requests a Deployment takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Concurrency {
    pub max_in_flight: NonZeroU32,
    pub max_queue: u32,
}

impl Default for DeploymentSettings {
    fn default() -> Self {
        Self {
            forward_authorization: false,
            allow_pickle: false,
            connect_timeout: Duration::from_secs(5),
            first_byte_timeout: Duration::from_secs(600),
            idle_timeout: Duration::from_secs(600),
            max_body_bytes: None,
            cors_origins: BTreeSet::new(),
            max_in_flight: None,
            max_queue: 100,
            queue_timeout: Duration::from_secs(60),
            rate_limit: None,
        }
    }
}

impl DeploymentSettings {
    /// `None`: it takes any number of requests.
    pub fn concurrency(&self) -> Option<Concurrency> {
        self.max_in_flight.map(|max_in_flight| Concurrency { max_in_flight, max_queue: self.max_queue })
    }

    /// Whether a page of `origin`, as browsers write it, may call the Deployment.
    pub fn allows_origin(&self, origin: &str) -> bool {
        let one = || CorsOrigin::one(origin).is_some_and(|origin| self.cors_origins.contains(&origin));
        self.cors_origins.contains(&CorsOrigin::Any) || one()
    }
}

impl DeploymentName {
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether a name can begin with `text`.
    pub fn is_name_prefix(text: &str) -> bool {
        !text.starts_with('-') && (1..=MAX_NAME_LEN).contains(&text.len()) && text.bytes().all(is_name_byte)
    }
}

impl UpstreamUrl {
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
        if text.starts_with("https://") {
            return Err("https upstreams are not supported; keep the Bento on a private network");
        }
        let rest = text.strip_prefix("http://").ok_or("it does not begin with http://")?;
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let authority = Authority::parse(authority.as_bytes()).map_err(|_| "the host or port is malformed")?;
        let base_path = path.trim_end_matches('/');
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/-._~".contains(&byte);
        if !base_path.bytes().all(plain) || base_path.split('/').any(|segment| segment == "." || segment == "..") {
            return Err("its path may hold letters, digits and -._~ only, and no dot segments, query or fragment");
        }
        let port = authority.port.unwrap_or(80);
        if port == 0 {
            return Err("port 0 cannot be connected to");
        }
        Ok(Self { host: authority.host.into(), port, base_path: base_path.into() })
    }
}

fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-'
}

fn yes() -> bool {
    true
}

/// Durations as whole milliseconds, in the store and in the API.
mod millis {
    use super::*;

    pub fn serialize<S: serde::Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
    }

    pub fn deserialize<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        u64::deserialize(deserializer).map(Duration::from_millis)
    }
}

// === text ===

impl FromStr for DeploymentName {
    type Err = InvalidDeploymentName;

    fn from_str(text: &str) -> Result<Self, InvalidDeploymentName> {
        if Self::is_name_prefix(text) && !text.ends_with('-') {
            Ok(Self(text.into()))
        } else {
            Err(InvalidDeploymentName { text: text.to_owned() })
        }
    }
}

as_text!(DeploymentName);

impl fmt::Display for DeploymentName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for UpstreamUrl {
    type Err = InvalidUpstreamUrl;

    fn from_str(text: &str) -> Result<Self, InvalidUpstreamUrl> {
        Self::parse(text).map_err(|reason| InvalidUpstreamUrl { text: without_user_info(text), reason })
    }
}

as_text!(UpstreamUrl);

impl fmt::Display for UpstreamUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}:{}{}", self.host, self.port, self.base_path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_about_urls_hold_no_password() {
        for text in ["http://u:pw1234@h:1", "ftp://u:pw1234@h", "u:pw1234@h:1", "http://u:pw1234@x@h"] {
            let error = text.parse::<UpstreamUrl>().unwrap_err().to_string();
            assert!(error.contains("[redacted]@h") && !error.contains("pw1234"), "{error}");
        }
    }

    #[test]
    fn names_are_dns_labels() {
        for name in ["a", "0", "summarization", "a-b", "a--b", &"a".repeat(63)] {
            assert_eq!(name.parse::<DeploymentName>().unwrap().as_str(), name);
        }
        for name in ["", "-a", "a-", "A", "a_b", "a.b", "a b", "ä", "a*", &"a".repeat(64)] {
            assert!(name.parse::<DeploymentName>().is_err(), "{name:?}");
        }
    }

    #[test]
    fn upstream_urls_are_read_strictly() {
        for (text, canonical) in [
            ("http://127.0.0.1:3000", "http://127.0.0.1:3000"),
            ("http://Bento", "http://bento:80"),
            ("http://[::1]:3000/", "http://[::1]:3000"),
            ("http://bento:3000/base/path/", "http://bento:3000/base/path"),
        ] {
            assert_eq!(text.parse::<UpstreamUrl>().unwrap().to_string(), canonical);
        }
        for text in [
            "",
            "127.0.0.1:3000",
            "ftp://a",
            "https://a",
            "http://",
            "http://:3000",
            "http://u@a",
            "http://a:0",
            "http://a/../b",
            "http://a/?q",
            "http://a#f",
            "http://a/%2e",
            "http://a:b",
        ] {
            assert!(text.parse::<UpstreamUrl>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_spec_survives_the_store() {
        let spec = DeploymentSpec {
            name: "summarization".parse().unwrap(),
            hosts: BTreeSet::from(["bento.example.com".parse().unwrap()]),
            listen: Some("127.0.0.1:9000".parse().unwrap()),
            upstreams: vec!["http://127.0.0.1:3000".parse().unwrap()],
            protected: false,
            terminated: false,
            settings: DeploymentSettings { max_body_bytes: Some(7), ..DeploymentSettings::default() },
        };
        let text = serde_json::to_string(&spec).unwrap();
        assert_eq!(serde_json::from_str::<DeploymentSpec>(&text).unwrap(), spec);
    }
}
