//! Whether a request that only a cookie vouches for comes from a page of the very host it goes to.
//!
//! Deployments may live on sibling hosts, which `SameSite` does not tell apart: what another Deployment's page asks for
//! must not be done in the name of whoever looks at it.

use http::{HeaderMap, HeaderValue, Method, header::ORIGIN, request::Parts};

use crate::domain::host::Authority;

/// Following a link to it is always allowed; anything else must be its own pages' doing.
///
/// `host` is the request's own, `also` the one that a trusted proxy says was asked for, if it says one.
pub fn holds(head: &Parts, host: &Authority<'_>, also: Option<&HeaderValue>, websocket: bool) -> bool {
    let safe = matches!(head.method, Method::GET | Method::HEAD) && !websocket;
    let field = |name: &str| single(&head.headers, name);
    match field("sec-fetch-site") {
        Some("same-origin") => true,
        // The person themselves: address bar, bookmark.
        Some("none") => safe,
        // A link or a redirect, in a tab of its own: not a frame, which another page could cover.
        Some(_) => safe && field("sec-fetch-mode") == Some("navigate") && field("sec-fetch-dest") == Some("document"),
        // Browsers leave it out where the connection is not secure.
        None => match single(&head.headers, ORIGIN.as_str()) {
            Some(origin) => {
                let also = also.and_then(|host| Authority::parse(host.as_bytes()).ok());
                is_own(origin, host) || also.is_some_and(|host| is_own(origin, &host))
            }
            None => safe,
        },
    }
}

/// The scheme is not compared: TLS may end in front of the gateway, which need not know of it.
fn is_own(origin: &str, host: &Authority<'_>) -> bool {
    let (default_port, rest) = match (origin.strip_prefix("https://"), origin.strip_prefix("http://")) {
        (Some(rest), _) => (443, rest),
        (None, Some(rest)) => (80, rest),
        (None, None) => return false,
    };
    let port = |port: Option<u16>| port.unwrap_or(default_port);
    Authority::parse(rest.as_bytes())
        .is_ok_and(|origin| origin.host == host.host && port(origin.port) == port(host.port))
}

fn single<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let mut fields = headers.get_all(name).iter();
    let first = fields.next()?;
    // Two of them: nothing that a browser sends.
    if fields.next().is_some() { Some("") } else { Some(first.to_str().unwrap_or_default()) }
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn outcome(method: &str, fields: &[(&str, &str)], websocket: bool) -> bool {
        let mut request = Request::builder().method(method).uri("/x");
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        let (head, ()) = request.body(()).unwrap().into_parts();
        let also = HeaderValue::from_static("public.test");
        holds(&head, &Authority::parse(b"a.test:8080").unwrap(), Some(&also), websocket)
    }

    #[test]
    fn whose_pages_may() {
        let own = ("origin", "http://a.test:8080");
        let sibling = ("origin", "http://b.test:8080");
        let site = |site| ("sec-fetch-site", site);
        let link = [("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "document")];

        assert!(outcome("GET", &[], false) && outcome("GET", &[site("none")], false));
        assert!(outcome("POST", &[("origin", "https://public.test")], false));
        assert!(outcome("POST", &[own], false) && outcome("GET", &[own], true));
        assert!(outcome("POST", &[site("same-origin"), own], false) && outcome("GET", &[site("same-origin")], true));
        assert!(outcome("GET", &[site("cross-site"), link[0], link[1]], false));

        assert!(!outcome("POST", &[], false) && !outcome("GET", &[], true));
        for other in [sibling, ("origin", "null"), ("origin", "http://a.test"), ("origin", "http://a.test:8080.evil")] {
            assert!(!outcome("POST", &[other], false) && !outcome("GET", &[other], true), "{other:?}");
            assert!(!outcome("GET", &[other], false), "{other:?}");
        }
        assert!(!outcome("POST", &[own, own], false));
        for other in ["same-site", "cross-site", "none", "", "x"] {
            assert!(!outcome("POST", &[site(other), own], false) && !outcome("GET", &[site(other)], true), "{other}");
        }
        assert!(!outcome("POST", &[site("cross-site"), link[0], link[1]], false));
        assert!(!outcome("GET", &[site("same-site"), link[0], ("sec-fetch-dest", "iframe")], false));
        assert!(!outcome("GET", &[site("same-site"), ("sec-fetch-mode", "no-cors")], false));
    }
}
