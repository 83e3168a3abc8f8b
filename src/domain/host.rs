//! The authority of a request (`Host`, `:authority`, absolute-form target), read once and strictly.
//!
//! Routing compares hosts exactly, so every spelling of one host must become one text: lower case, without the
//! trailing dot of a fully qualified name. What two parsers could read differently is refused (RFC 9112 § 3.2).

use std::{
    borrow::Cow,
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

use serde::{Deserialize, Serialize};

use super::as_text::as_text;

/// Longest host name, RFC 1035 § 2.3.4.
const MAX_HOST_LEN: usize = 253;
/// Longest part of it between dots.
const MAX_LABEL_LEN: usize = 63;

/// A host in canonical form, and the port that was written, if one was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authority<'a> {
    pub host: Cow<'a, str>,
    pub port: Option<u16>,
}

/// A host name that is configured for a Deployment, in canonical form.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct HostName(Box<str>);

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a host name; expected a name like bento.example.com or an IP address, without scheme, port or path")]
pub struct InvalidHost;

impl<'a> Authority<'a> {
    /// Accepts `name`, `name.`, `1.2.3.4` and `[::1]`, each with or without `:port`. Refuses everything else, userinfo,
    /// lists, empty ports and percent-encoding among it. Allocates only where the text is not canonical already.
    ///
    /// # Errors
    /// [`InvalidHost`].
    pub fn parse(text: &'a [u8]) -> Result<Self, InvalidHost> {
        let text = std::str::from_utf8(text).map_err(|_| InvalidHost)?;
        let (host, port) = match memchr::memrchr(b':', text.as_bytes()) {
            Some(colon) if !text.ends_with(']') => (&text[..colon], Some(parse_port(&text[colon + 1..])?)),
            _ => (text, None),
        };
        Ok(Self { host: canonical_host(host)?, port })
    }
}

impl Authority<'_> {
    pub fn into_owned(self) -> Authority<'static> {
        Authority { host: self.host.into_owned().into(), port: self.port }
    }

    /// Without its port.
    pub fn host_name(&self) -> HostName {
        HostName(self.host.as_ref().into())
    }
}

impl HostName {
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is `localhost` or an address: what a machine is called whatever its names are.
    pub fn is_of_machine(&self) -> bool {
        &*self.0 == "localhost" || self.0.starts_with('[') || self.0.parse::<Ipv4Addr>().is_ok()
    }
}

/// Digits only: `+80` or ` 80`, which `u16::from_str` partly takes, are other readings of a port.
fn parse_port(text: &str) -> Result<u16, InvalidHost> {
    if text.is_empty() || text.len() > 5 || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(InvalidHost);
    }
    text.parse().map_err(|_| InvalidHost)
}

fn canonical_host(host: &str) -> Result<Cow<'_, str>, InvalidHost> {
    if let Some(address) = host.strip_prefix('[') {
        let address: Ipv6Addr = address.strip_suffix(']').and_then(|text| text.parse().ok()).ok_or(InvalidHost)?;
        let canonical = format!("[{address}]");
        return Ok(if canonical == host { Cow::Borrowed(host) } else { Cow::Owned(canonical) });
    }
    let host = host.strip_suffix('.').unwrap_or(host);
    if host.len() > MAX_HOST_LEN {
        return Err(InvalidHost);
    }
    // Labels of letters, digits, hyphens and the underscore that real-world host names (containers, above all) contain. They
    // are read in one pass, as every request has a host.
    let (mut label_len, mut shouted) = (0, false);
    for byte in host.bytes() {
        match byte {
            b'.' if label_len == 0 => return Err(InvalidHost),
            b'.' => label_len = 0,
            b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' if label_len < MAX_LABEL_LEN => label_len += 1,
            b'A'..=b'Z' if label_len < MAX_LABEL_LEN => {
                label_len += 1;
                shouted = true;
            }
            _ => return Err(InvalidHost),
        }
    }
    if label_len == 0 {
        return Err(InvalidHost);
    }
    Ok(if shouted { Cow::Owned(host.to_ascii_lowercase()) } else { Cow::Borrowed(host) })
}

// === text ===

impl FromStr for HostName {
    type Err = InvalidHost;

    fn from_str(text: &str) -> Result<Self, InvalidHost> {
        match Authority::parse(text.as_bytes())? {
            Authority { host, port: None } => Ok(Self(host.into())),
            Authority { port: Some(_), .. } => Err(InvalidHost),
        }
    }
}

as_text!(HostName);

impl From<IpAddr> for HostName {
    fn from(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(address) => Self(address.to_string().into()),
            IpAddr::V6(address) => Self(format!("[{address}]").into()),
        }
    }
}

impl fmt::Display for Authority<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port {
            Some(port) => write!(f, "{}:{port}", self.host),
            None => f.write_str(&self.host),
        }
    }
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn spellings_of_one_host_become_one_text() {
        for (text, host, port) in [
            ("bento.example.com", "bento.example.com", None),
            ("Bento.Example.COM", "bento.example.com", None),
            ("bento.example.com.", "bento.example.com", None),
            ("BENTO.example.com.:8080", "bento.example.com", Some(8080)),
            ("localhost:0", "localhost", Some(0)),
            ("127.0.0.1:3000", "127.0.0.1", Some(3000)),
            ("[::1]:3000", "[::1]", Some(3000)),
            ("[0:0:0:0:0:0:0:1]", "[::1]", None),
            ("my_service", "my_service", None),
        ] {
            let authority = Authority::parse(text.as_bytes()).unwrap();
            assert_eq!((authority.host.as_ref(), authority.port), (host, port), "{text}");
        }
    }

    #[test]
    fn odd_input_is_refused() {
        for text in [
            "",
            ".",
            "..",
            "a..b",
            ".a",
            "a:",
            "a:x",
            "a:+80",
            "a: 80",
            "a:99999",
            "a:080808",
            "user@a",
            "user:pw@a",
            "a,b",
            "a b",
            "a/b",
            "a\\b",
            "a?b",
            "a#b",
            "a%2eb",
            "::1",
            "[::1",
            "::1]",
            "[::1]x",
            "[::1]:",
            "[fe80::1%eth0]",
            "ä.de",
            "a\u{0}",
            "a\r",
            "a\t",
            "a:80:80",
            "a..",
        ] {
            assert_eq!(Authority::parse(text.as_bytes()), Err(InvalidHost), "{text:?}");
        }
        assert!(Authority::parse("a".repeat(64).as_bytes()).is_err());
        assert!(Authority::parse(&[0xff, b'a']).is_err());
    }

    proptest! {
        #[test]
        fn the_canonical_form_is_a_fixed_point(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            if let Ok(authority) = Authority::parse(&bytes) {
                let again = Authority::parse(authority.host.as_bytes()).unwrap();
                prop_assert_eq!(&again.host, &authority.host);
                prop_assert_eq!(again.port, None);
                prop_assert!(!authority.host.bytes().any(|byte| byte.is_ascii_uppercase()));
            }
        }

        #[test]
        fn case_and_trailing_dot_never_matter(host in "[a-z0-9-]{1,10}(\\.[a-z0-9-]{1,10}){0,3}") {
            let shouted = format!("{}.", host.to_ascii_uppercase());
            prop_assert_eq!(Authority::parse(shouted.as_bytes()).unwrap().host, host);
        }
    }
}
