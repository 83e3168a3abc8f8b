//! Which page has a browser send a request.
//!
//! Deployments may live on sibling hosts, which `SameSite` does not tell apart: what another Deployment's page asks for
//! must not be done in the name of whoever looks at it.

use http::{HeaderMap, header::ORIGIN};

use super::single::Single;
use crate::domain::origin::Origin;

/// What has a browser send a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Initiator {
    /// A page of the origin that the request goes to.
    SameOrigin,
    /// The person: the address bar, a bookmark.
    Person,
    /// A link or a redirect of any site, opened in a tab of its own: not in a frame, which another page could cover.
    Link,
    /// A page of another origin, or what no browser says.
    CrossOrigin,
    /// Nothing says it: no browser, or one that follows a link over a connection that is not secure.
    Unknown,
}

impl Initiator {
    /// `is_own` says whether the request goes to an origin.
    pub fn read(headers: &HeaderMap, is_own: impl Fn(&Origin) -> bool) -> Self {
        let says = |name, value| Single::read(headers, name) == Single::Value(value);
        match Single::read(headers, "sec-fetch-site") {
            Single::Value("same-origin") => Self::SameOrigin,
            Single::Value("none") => Self::Person,
            Single::Value(_) if says("sec-fetch-mode", "navigate") && says("sec-fetch-dest", "document") => Self::Link,
            Single::Value(_) | Single::Doubtful => Self::CrossOrigin,
            // Browsers leave it out where the connection is not secure.
            Single::Absent => match Single::read(headers, ORIGIN) {
                Single::Value(text) if text.parse().is_ok_and(|origin| is_own(&origin)) => Self::SameOrigin,
                Single::Value(_) | Single::Doubtful => Self::CrossOrigin,
                Single::Absent => Self::Unknown,
            },
        }
    }

    /// Whether what only a cookie vouches for may be done. `safe`: the request changes nothing, and its answer is read by
    /// the person alone.
    pub fn may(self, safe: bool) -> bool {
        match self {
            Self::SameOrigin => true,
            Self::Person | Self::Link | Self::Unknown => safe,
            Self::CrossOrigin => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::{Initiator::*, *};

    fn read(fields: &[(&str, &str)]) -> Initiator {
        let mut request = Request::builder();
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        let own = "http://a.test:8080".parse::<Origin>().unwrap();
        Initiator::read(request.body(()).unwrap().headers(), |origin| *origin == own)
    }

    #[test]
    fn a_browser_says_which_page_asks() {
        let own = ("origin", "http://a.test:8080");
        let site = |site| ("sec-fetch-site", site);
        let link = [("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "document")];
        for (fields, initiator) in [
            (&[][..], Unknown),
            (&[own], SameOrigin),
            (&[site("same-origin")], SameOrigin),
            (&[site("same-origin"), ("origin", "null")], SameOrigin),
            (&[site("none")], Person),
            (&[site("cross-site"), link[0], link[1]], Link),
            (&[site("same-site"), link[0], link[1]], Link),
            (&[site("same-site"), link[0], ("sec-fetch-dest", "iframe")], CrossOrigin),
            (&[site("same-site"), ("sec-fetch-mode", "no-cors")], CrossOrigin),
            (&[site("same-site"), own], CrossOrigin),
            (&[site("cross-site"), own], CrossOrigin),
            (&[site(""), own], CrossOrigin),
            (&[("origin", "null")], CrossOrigin),
            (&[("origin", "http://b.test:8080")], CrossOrigin),
            (&[("origin", "http://a.test")], CrossOrigin),
            (&[("origin", "http://a.test:8080.evil")], CrossOrigin),
            // No browser sends a field twice.
            (&[own, own], CrossOrigin),
            (&[site("same-origin"), site("same-origin"), own], CrossOrigin),
            (&[site("cross-site"), site("same-origin"), link[0], link[1]], CrossOrigin),
            (&[site("cross-site"), link[0], link[0], link[1]], CrossOrigin),
        ] {
            assert_eq!(read(fields), initiator, "{fields:?}");
        }
    }

    #[test]
    fn only_its_own_pages_may_change_something() {
        for (initiator, safe, unsafe_) in [
            (SameOrigin, true, true),
            (Person, true, false),
            (Link, true, false),
            (Unknown, true, false),
            (CrossOrigin, false, false),
        ] {
            assert_eq!((initiator.may(true), initiator.may(false)), (safe, unsafe_), "{initiator:?}");
        }
    }
}
