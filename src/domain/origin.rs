//! The origin of a URL (RFC 6454): scheme, host and port.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    str::FromStr,
};

use serde::{Deserialize, Serialize};

use super::{
    as_text::as_text,
    host::{Authority, HostName},
};

/// Scheme, host and port, of which none can be left out: two that are equal are one place.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Origin {
    https: bool,
    host: HostName,
    port: u16,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an origin; expected http://HOST[:PORT] or https://HOST[:PORT]")]
pub struct InvalidOrigin;

impl Origin {
    /// `port` of `None`: the scheme's.
    pub fn new(https: bool, host: HostName, port: Option<u16>) -> Self {
        Self { https, host, port: port.unwrap_or(default_port(https)) }
    }

    /// Where a listener is reached from this machine: what listens on every address is on the loopback one, too.
    pub fn of_listener(https: bool, address: SocketAddr) -> Self {
        let ip = match address.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
            ip => ip,
        };
        Self { https, host: ip.into(), port: address.port() }
    }

    pub fn is_https(&self) -> bool {
        self.https
    }

    pub fn host(&self) -> &HostName {
        &self.host
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Whether only this machine reaches it.
    pub fn is_loopback(&self) -> bool {
        matches!(self.host.as_str(), "127.0.0.1" | "localhost" | "[::1]")
    }

    /// The same scheme and port at another host.
    pub fn at(&self, host: HostName) -> Self {
        Self { host, ..*self }
    }

    /// Whether a request for `authority` goes there, whatever its scheme: TLS may end in front of the gateway, which need
    /// not know of it.
    pub fn is_of(&self, authority: &Authority<'_>) -> bool {
        self.host.as_str() == authority.host && self.port == authority.port.unwrap_or(default_port(self.https))
    }
}

fn default_port(https: bool) -> u16 {
    if https { 443 } else { 80 }
}

// === text ===

impl FromStr for Origin {
    type Err = InvalidOrigin;

    /// Reads what browsers write (RFC 6454 § 6.2); a port that is the scheme's may be there, and a host in other spelling.
    fn from_str(text: &str) -> Result<Self, InvalidOrigin> {
        let (https, rest) = match (text.strip_prefix("https://"), text.strip_prefix("http://")) {
            (Some(rest), _) => (true, rest),
            (None, Some(rest)) => (false, rest),
            (None, None) => return Err(InvalidOrigin),
        };
        let authority = Authority::parse(rest.as_bytes()).map_err(|_| InvalidOrigin)?;
        Ok(Self::new(https, authority.host_name(), authority.port))
    }
}

as_text!(Origin);

impl fmt::Display for Origin {
    /// As browsers write it: without a port that is the scheme's.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.https { "https" } else { "http" };
        write!(f, "{scheme}://{}", self.host)?;
        if self.port == default_port(self.https) { Ok(()) } else { write!(f, ":{}", self.port) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(text: &str) -> Origin {
        text.parse().unwrap()
    }

    #[test]
    fn spellings_of_one_origin_are_equal_and_shown_as_browsers_do() {
        for (text, shown) in [
            ("https://app.example.com", "https://app.example.com"),
            ("https://App.Example.com.:443", "https://app.example.com"),
            ("http://a:80", "http://a"),
            ("http://a:443", "http://a:443"),
            ("https://a:80", "https://a:80"),
            ("http://localhost:5173", "http://localhost:5173"),
            ("http://[0:0::1]:80", "http://[::1]"),
            ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
        ] {
            assert_eq!(origin(text).to_string(), shown);
            assert_eq!(origin(text), origin(shown));
        }
        assert_ne!(origin("http://a"), origin("https://a"));
    }

    #[test]
    fn odd_input_is_refused() {
        for text in [
            "",
            "null",
            "a",
            "a:80",
            "//a",
            "http:",
            "http://",
            "http://:80",
            "HTTP://a",
            "ftp://a",
            "http://a/",
            "http://a/b",
            "http://a?b",
            "http://u@a",
            "http://a:x",
            "http://a, http://b",
            " http://a",
            "http://*.a",
        ] {
            assert_eq!(text.parse::<Origin>(), Err(InvalidOrigin), "{text:?}");
        }
    }

    #[test]
    fn a_listener_on_every_address_is_reached_on_this_machine() {
        for (listen, shown) in [
            ("0.0.0.0:8081", "http://127.0.0.1:8081"),
            ("[::]:8081", "http://[::1]:8081"),
            ("10.0.0.1:80", "http://10.0.0.1"),
        ] {
            assert_eq!(Origin::of_listener(false, listen.parse().unwrap()).to_string(), shown);
        }
    }

    #[test]
    fn a_request_goes_to_an_origin_by_host_and_port() {
        let goes = |text: &str, authority: &str| origin(text).is_of(&Authority::parse(authority.as_bytes()).unwrap());
        for (text, authority) in [
            ("http://a", "a"),
            ("http://a", "a:80"),
            ("https://a", "a"),
            ("https://a", "a:443"),
            ("https://a:80", "a:80"),
            ("http://a:8080", "A:8080"),
            ("http://[::1]:1", "[::1]:1"),
        ] {
            assert!(goes(text, authority), "{text} {authority}");
        }
        for (text, authority) in
            [("http://a", "a:443"), ("https://a", "a:80"), ("http://a:8080", "a"), ("http://b", "a")]
        {
            assert!(!goes(text, authority), "{text} {authority}");
        }
    }
}
