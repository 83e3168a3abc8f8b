//! Where a request wants to go: its target and authority, read once.
//!
//! The decision is made on this value, and the forwarded target is built from it: there is no second reading that could
//! differ. What two parsers could read differently is refused, not repaired.

use std::borrow::Cow;

use http::{Method, Version, request::Parts, uri::PathAndQuery};

use crate::{
    domain::{
        host::Authority,
        percent,
        token_text::{self, TOKEN_LEN},
    },
    http::authority::{self, NoAuthority},
};

/// A request's target in canonical form.
#[derive(Debug)]
pub struct Target<'a> {
    pub authority: Authority<'a>,
    /// Begins with a slash; no dot segments in any encoding. Otherwise as it came, byte for byte.
    pub path: &'a str,
    pub query: Option<&'a str>,
}

/// Why a target is refused. The caller's mistake.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadTarget {
    #[error("CONNECT and TRACE are not served here")]
    Method,
    #[error("the request target is longer than this gateway takes")]
    TooLong,
    #[error("the request needs exactly one Host")]
    Host,
    #[error("the Host is malformed, or contradicts the request target")]
    Authority,
    #[error("the request target begins with another scheme than http or https")]
    Scheme,
    #[error(
        "the path is malformed: it must begin with a slash and hold visible ASCII and whole percent-encodings only"
    )]
    Path,
    #[error("the path holds a dot segment or a backslash; send the path you mean")]
    DotSegment,
    #[error(
        "a token stands in the path or query, where services and logs would see it; send it as Authorization: Bearer TOKEN"
    )]
    Token,
}

impl From<NoAuthority> for BadTarget {
    fn from(reason: NoAuthority) -> Self {
        match reason {
            NoAuthority::NotOne => Self::Host,
            NoAuthority::Malformed => Self::Authority,
        }
    }
}

impl<'a> Target<'a> {
    /// # Errors
    /// [`BadTarget`].
    pub fn parse(head: &'a Parts, max_uri_bytes: usize) -> Result<Self, BadTarget> {
        if head.method == Method::CONNECT || head.method == Method::TRACE {
            return Err(BadTarget::Method);
        }
        let path = head.uri.path();
        let query = head.uri.query();
        if path.len() + query.map_or(0, str::len) > max_uri_bytes {
            return Err(BadTarget::TooLong);
        }
        let is_http = |scheme: &str| ["http", "https"].iter().any(|known| known.eq_ignore_ascii_case(scheme));
        if !head.uri.scheme_str().is_none_or(is_http) {
            return Err(BadTarget::Scheme);
        }
        // The library reads `?x` as `/?x`, which only an absolute-form target means by it (RFC 9112 § 3.2.1).
        let is_whole = |target: &PathAndQuery| target.as_str().starts_with('/');
        if head.version == Version::HTTP_2 && !head.uri.path_and_query().is_some_and(is_whole) {
            return Err(BadTarget::Path);
        }
        check_path(path)?;
        if query.is_some_and(|query| !query.bytes().all(|byte| byte.is_ascii_graphic())) {
            return Err(BadTarget::Path);
        }
        if holds_token(path.as_bytes()) || query.is_some_and(|query| holds_token(query.as_bytes())) {
            return Err(BadTarget::Token);
        }
        Ok(Self { authority: authority::read(head)?, path, query })
    }

    pub fn host(&self) -> &Cow<'a, str> {
        &self.authority.host
    }
}

fn check_path(path: &str) -> Result<(), BadTarget> {
    // Most paths have nothing that needs a closer look.
    let mut plain = path.starts_with('/');
    for byte in path.bytes() {
        if !byte.is_ascii_graphic() {
            return Err(BadTarget::Path);
        }
        plain &= !matches!(byte, b'.' | b'%' | b'\\');
    }
    if plain {
        return Ok(());
    }
    if !path.starts_with('/') || !percent_encodings_are_whole(path.as_bytes()) {
        return Err(BadTarget::Path);
    }
    // A doubly encoded dot is a dot to nobody who decodes once.
    let decoded = percent::decode(path.as_bytes());
    if decoded.iter().any(|&byte| byte == 0 || byte == b'\\') {
        return Err(BadTarget::DotSegment);
    }
    // An encoded slash stays legal in names of models, unless it makes a dot segment: so it separates here. What follows
    // a semicolon is a parameter to some servers and part of the name to others: the name alone must not be dots.
    let is_dots = |segment: &[u8]| matches!(segment.split(|&byte| byte == b';').next(), Some(b"." | b".."));
    if decoded.split(|&byte| byte == b'/').any(is_dots) { Err(BadTarget::DotSegment) } else { Ok(()) }
}

fn percent_encodings_are_whole(path: &[u8]) -> bool {
    path.split(|&byte| byte == b'%').skip(1).all(|rest| rest.len() >= 2 && rest[..2].iter().all(u8::is_ascii_hexdigit))
}

/// Whether a token of ours stands in it, as it is or as one server would decode it.
fn holds_token(part: &[u8]) -> bool {
    let encoded = || part.len() > TOKEN_LEN && memchr::memchr(b'%', part).is_some();
    token_text::is_within(part) || (encoded() && token_text::is_within(&percent::decode(part)))
}

#[cfg(test)]
mod tests {
    use http::{Request, header::HOST};
    use proptest::prelude::*;

    use super::*;

    fn parts(uri: &str, hosts: &[&str], version: Version) -> Parts {
        let mut request = Request::builder().uri(uri).version(version);
        for host in hosts {
            request = request.header(HOST, *host);
        }
        request.body(()).unwrap().into_parts().0
    }

    fn path(path: &str) -> Result<(), BadTarget> {
        let head = parts(path, &["a"], Version::HTTP_11);
        assert_eq!(head.uri.path(), path, "the library reads another path");
        Target::parse(&head, 1000).map(|target| assert_eq!(target.path, path))
    }

    #[test]
    fn paths_that_pass_unchanged() {
        for text in [
            "/",
            "/summarize",
            "/a//b",
            "/a.b/..c/d../...",
            "/models/a%2Fb",
            "/a%20b",
            "/%252e%252e/",
            "/a;b=c",
            "/.well-known/x",
            "/a~b!c$d&e'f(g)h*i+j,k=l:m@n",
        ] {
            assert_eq!(path(text), Ok(()), "{text}");
        }
    }

    #[test]
    fn paths_that_two_parsers_could_read_differently() {
        for text in [
            "/..",
            "/.",
            "/a/../b",
            "/a/./b",
            "/%2e%2e/",
            "/%2E./",
            "/.%2e",
            "/a%2f..",
            "/..%2fa",
            "/a%2f..%2fb",
            "/a\\b",
            "/a%5cb",
            "/..;/b",
            "/.;x/b",
            "/..%3b/b",
            "/a%00b",
        ] {
            assert_eq!(path(text), Err(BadTarget::DotSegment), "{text}");
        }
        for text in ["/%", "/%2", "/%zz", "/a%2gb"] {
            assert_eq!(path(text), Err(BadTarget::Path), "{text}");
        }
    }

    #[test]
    fn one_authority() {
        let ok = |uri, hosts: &[&str], version| {
            let head = parts(uri, hosts, version);
            Target::parse(&head, 1000).map(|target| target.host().to_string())
        };
        let (one, two) = (Version::HTTP_11, Version::HTTP_2);
        assert_eq!(ok("/", &["Bento.Test.:80"], one).as_deref(), Ok("bento.test"));
        assert_eq!(ok("http://bento.test/", &["BENTO.test"], one).as_deref(), Ok("bento.test"));
        assert_eq!(ok("https://bento.test/", &[], two).as_deref(), Ok("bento.test"));
        assert_eq!(ok("https://bento.test/", &["bento.test"], two).as_deref(), Ok("bento.test"));
        for (uri, hosts, version) in [
            ("/", &[][..], one),
            ("/", &["a", "a"], one),
            ("/", &["a", "b"], one),
            ("/", &[], two),
            ("http://a/", &[], one),
            ("http://a/", &["a", "a"], two),
        ] {
            assert_eq!(ok(uri, hosts, version), Err(BadTarget::Host), "{uri} {hosts:?}");
        }
        for (uri, hosts, version) in [
            ("http://a/", &["b"][..], one),
            ("http://a:80/", &["a"], one),
            ("https://a/", &["b"], two),
            ("http://user@a/", &["a"], one),
            ("https://user@a/", &[], two),
            ("/", &["user@a"], one),
            ("/", &["a,b"], one),
            ("/", &["a:"], one),
        ] {
            assert_eq!(ok(uri, hosts, version), Err(BadTarget::Authority), "{uri} {hosts:?}");
        }
    }

    #[test]
    fn odd_methods_schemes_and_lengths() {
        let mut head = parts("/", &["a"], Version::HTTP_11);
        for method in [Method::CONNECT, Method::TRACE] {
            head.method = method;
            assert_eq!(Target::parse(&head, 1000).unwrap_err(), BadTarget::Method);
        }
        let head = parts("/12345?789", &["a"], Version::HTTP_11);
        assert!(Target::parse(&head, 9).is_ok());
        assert_eq!(Target::parse(&head, 8).unwrap_err(), BadTarget::TooLong);
        for (uri, reason) in [("ftp://a/", BadTarget::Scheme), ("://a/", BadTarget::Scheme)] {
            assert_eq!(Target::parse(&parts(uri, &["a"], Version::HTTP_11), 1000).unwrap_err(), reason, "{uri}");
        }
        let query = parts("http://a?x", &["a"], Version::HTTP_11);
        assert!(Target::parse(&query, 1000).is_ok());
        let query = parts("http://a?x", &["a"], Version::HTTP_2);
        assert_eq!(Target::parse(&query, 1000).unwrap_err(), BadTarget::Path);
        let star = parts("*", &["a"], Version::HTTP_11);
        assert_eq!(Target::parse(&star, 1000).unwrap_err(), BadTarget::Path);
    }

    proptest! {
        /// Whatever passes, no server that decodes once and resolves dot segments would go anywhere else.
        #[test]
        fn what_passes_cannot_climb(text in "/([a.%25cfFE;/\\\\]|%2e|%2f|%5c|\\.\\.){0,12}") {
            if check_path(&text).is_ok() {
                let decoded = String::from_utf8_lossy(&percent::decode(text.as_bytes())).into_owned();
                let climbs = decoded.split(['/', '\\']).any(|segment| segment == "." || segment == "..");
                prop_assert!(!climbs, "{text} became {decoded}");
            }
        }
    }
}
