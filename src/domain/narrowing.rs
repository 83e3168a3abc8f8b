//! What narrows a scope to some routes of a Deployment: methods, and a path with all below it.
//!
//! What a scope opens must be what the service does. So a path is compared byte by byte, and one that a server could read in
//! another way is opened by no scope for paths (`docs/decisions/0047-scopes-for-routes.md`).

use std::fmt;

use super::request_path;

/// Methods, a path, or both.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Narrowing {
    /// `None`: any method.
    methods: Option<Methods>,
    /// `None`: any path.
    prefix: Option<PathPrefix>,
}

/// At least one. Each is a bit, by its place in [`METHODS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Methods(u8);

/// Begins with a slash and ends with none.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct PathPrefix(Box<str>);

/// What is asked for of a Deployment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked<'a> {
    Route {
        method: &'a str,
        /// As the service gets it, before the base path of its URL, without the query. Begins with a slash, and has no dot
        /// segment.
        path: &'a str,
    },
    /// Every route: a scope for some of them is not enough.
    Everything,
    /// No particular route: a scope for any of them is enough.
    Anything,
}

/// Why a text narrows nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotNarrowing {
    Methods,
    Path,
}

/// What a scope may name, in the order of its text. A request with another method is opened by no scope for methods.
const METHODS: [&str; 7] = ["DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"];
/// A scope is shown whole, in lists and in a field of a response.
const MAX_PREFIX: usize = 200;

impl Narrowing {
    /// `None` if there is neither.
    ///
    /// # Errors
    /// [`NotNarrowing`]: it is not written in the one way.
    pub fn parse(methods: Option<&str>, prefix: Option<&str>) -> Result<Option<Self>, NotNarrowing> {
        let methods = methods.map(|text| Methods::parse(text).ok_or(NotNarrowing::Methods)).transpose()?;
        let prefix = prefix.map(|text| PathPrefix::parse(text).ok_or(NotNarrowing::Path)).transpose()?;
        Ok((methods.is_some() || prefix.is_some()).then_some(Self { methods, prefix }))
    }

    pub fn opens(&self, asked: Asked<'_>) -> bool {
        match asked {
            Asked::Route { method, path } => {
                self.methods.is_none_or(|methods| methods.open(method))
                    && self.prefix.as_ref().is_none_or(|prefix| prefix.opens(path))
            }
            Asked::Everything => false,
            Asked::Anything => true,
        }
    }

    /// Whether it opens whatever `other` opens.
    pub fn covers(&self, other: &Self) -> bool {
        let methods = match (self.methods, other.methods) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(these), Some(others)) => others.0 & !these.0 == 0,
        };
        let path = match (&self.prefix, &other.prefix) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(this), Some(other)) => this.rest_of(&other.0).is_some(),
        };
        methods && path
    }

    /// For a sentence: `GET below /v1/models`.
    pub fn in_words(&self) -> String {
        let methods = self.methods.map_or_else(|| "all".to_owned(), |methods| methods.to_string());
        match &self.prefix {
            Some(PathPrefix(prefix)) => format!("{methods} below {prefix}"),
            None => methods,
        }
    }
}

impl Methods {
    fn parse(text: &str) -> Option<Self> {
        let (mut all, mut least) = (0, 0);
        for name in text.split(',') {
            let at = METHODS.iter().position(|method| *method == name).filter(|at| *at >= least)?;
            // What GET has opened is not said twice.
            if name == "HEAD" && Self(all).open("GET") {
                return None;
            }
            (all, least) = (all | Self::bit(at), at + 1);
        }
        let all = Self(all);
        // Whoever answers a GET answers a HEAD, with less (RFC 9110 § 9.3.2).
        Some(if all.open("GET") { Self(all.0 | Self::of("HEAD").0) } else { all })
    }

    fn open(self, method: &str) -> bool {
        self.0 & Self::of(method).0 != 0
    }

    /// None for a method that no scope names.
    fn of(method: &str) -> Self {
        Self(METHODS.iter().position(|known| *known == method).map_or(0, Self::bit))
    }

    fn bit(at: usize) -> u8 {
        1 << at
    }
}

impl PathPrefix {
    fn parse(text: &str) -> Option<Self> {
        // What RFC 3986 § 3.3 allows in a segment as it is, but for what is no part of a name to some servers (`;`), and what
        // people take for a pattern (`*`).
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~:@!$&'()+,=".contains(&byte);
        let is_segment = |segment: &str| !matches!(segment, "" | "." | "..") && segment.bytes().all(is_plain);
        let segments = text.strip_prefix('/')?;
        let plain = segments.split('/').all(is_segment) && !request_path::may_climb(text);
        (plain && text.len() <= MAX_PREFIX).then(|| Self(text.into()))
    }

    fn opens(&self, path: &str) -> bool {
        self.rest_of(path).is_some_and(|rest| !request_path::may_climb(rest))
    }

    /// What is behind the prefix: nothing, or more segments. `None`: `path` is not below it.
    fn rest_of<'p>(&self, path: &'p str) -> Option<&'p str> {
        path.strip_prefix(&*self.0).filter(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

impl fmt::Display for Narrowing {
    /// As it stands behind a scope.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(methods) = self.methods {
            write!(f, ":{methods}")?;
        }
        if let Some(PathPrefix(prefix)) = &self.prefix {
            write!(f, ":{prefix}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Methods {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut written =
            METHODS.iter().filter(|method| self.open(method) && (**method != "HEAD" || !self.open("GET")));
        f.write_str(written.next().unwrap_or(&""))?;
        written.try_for_each(|method| write!(f, ",{method}"))
    }
}

impl fmt::Display for NotNarrowing {
    /// Behind `is not a scope`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Methods => write!(
                f,
                "behind the name of the Deployment stand operations, methods and a path, or some of them, in this order and \
                 each after a colon; methods are some of {}, in this order and with commas, without HEAD beside GET, which \
                 opens both",
                METHODS.join(", ")
            ),
            Self::Path => write!(
                f,
                "its path must be written as the service gets it: it begins with a slash and ends with none, has no \
                 empty segments, no dot segments, no query, nothing encoded and none of ; and *, and at most {MAX_PREFIX} \
                 characters; to open every path, leave it out"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::percent;

    fn narrowing(text: &str) -> Option<Narrowing> {
        let (methods, prefix) = match text.strip_prefix(':') {
            Some(text) if text.starts_with('/') => (None, Some(text)),
            Some(text) => text
                .split_once(":/")
                .map_or((Some(text), None), |(methods, _)| (Some(methods), Some(&text[methods.len() + 1..]))),
            None => (None, None),
        };
        Narrowing::parse(methods, prefix).ok().flatten()
    }

    fn opens(text: &str, method: &str, path: &str) -> bool {
        narrowing(text).unwrap().opens(Asked::Route { method, path })
    }

    #[test]
    fn one_text_for_each() {
        for text in [
            ":GET",
            ":HEAD",
            ":DELETE,GET,PUT",
            ":HEAD,POST",
            ":/v1",
            ":/v1/models/x:y",
            ":GET,POST:/v1",
            ":POST:/a.b/~c",
        ] {
            assert_eq!(narrowing(text).unwrap().to_string(), text);
        }
        for methods in [
            "",
            "get",
            "GET,",
            ",GET",
            "GET,GET",
            "POST,GET",
            "GET,HEAD",
            "GET, POST",
            "FETCH",
            "TRACE",
            "CONNECT",
            "*",
            "ANY",
        ] {
            assert_eq!(Narrowing::parse(Some(methods), None), Err(NotNarrowing::Methods), "{methods:?}");
        }
        for prefix in [
            "",
            "/",
            "v1",
            "/v1/",
            "//v1",
            "/v1//x",
            "/./v1",
            "/v1/..",
            "/...",
            "/v1/%6dodels",
            "/v1;x",
            "/v1?x",
            "/v1#x",
            "/v1\\x",
            "/v1/*",
            "/v1 x",
            "/v1\n",
            "/v1\"",
            "/ä",
            "/v1|x",
            "/{id}",
        ] {
            assert_eq!(Narrowing::parse(None, Some(prefix)), Err(NotNarrowing::Path), "{prefix:?}");
        }
        let longest = format!("/{}", "x".repeat(MAX_PREFIX - 1));
        assert!(Narrowing::parse(None, Some(&longest)).is_ok());
        assert!(Narrowing::parse(None, Some(&format!("{longest}x"))).is_err());
        assert_eq!(Narrowing::parse(None, None), Ok(None));
    }

    #[test]
    fn what_methods_open() {
        for (text, method, expected) in [
            (":GET", "GET", true),
            (":GET", "HEAD", true),
            (":GET", "POST", false),
            (":GET", "OPTIONS", false),
            (":HEAD", "GET", false),
            (":HEAD", "HEAD", true),
            (":GET,POST", "POST", true),
            (":POST", "post", false),
            (":POST", "GET", false),
            (":DELETE,GET,OPTIONS,PATCH,POST,PUT", "PROPFIND", false),
            (":/v1", "PROPFIND", true),
        ] {
            assert_eq!(opens(text, method, "/v1"), expected, "{text} {method}");
        }
    }

    #[test]
    fn what_a_path_opens() {
        for path in ["", "/", "/x", "/meta-llama%2FLlama", "/x/y/", "//x", "/a.b", "/x;a=b", "/%20"] {
            assert!(opens(":/v1/models", "GET", &format!("/v1/models{path}")), "{path}");
        }
        for path in [
            "/",
            "/v1",
            "/v1/",
            "/v1/model",
            "/v1/models2",
            "/v1/Models",
            "/V1/models",
            "//v1/models",
            "/v1//models",
            "/v1/%6dodels",
            "/v1%2fmodels",
            "/v1/models%2fx",
            "/v1/models;x",
            "/v1/models%3f",
            "/v1/models/%252e%252e/x",
            "/v1/models/x%0a",
            "/v1/models/x%23",
            "/v1/models/..%20/x",
            "/v1/models/...",
            "/v1/models/%c0%ae%c0%ae/x",
            "/x/v1/models",
        ] {
            assert!(!opens(":/v1/models", "GET", path), "{path}");
        }
        assert!(opens(":/v1", "GET", "/v1/models2") && !opens(":POST:/v1", "GET", "/v1"));
        let both = narrowing(":GET:/v1").unwrap();
        assert!(both.opens(Asked::Anything) && !both.opens(Asked::Everything));
    }

    /// As a server that repairs and decodes whatever it can: `None` if it would not leave the root.
    fn lenient(path: &str) -> Vec<String> {
        let once = percent::decode(path.as_bytes());
        let twice = percent::decode(&once);
        let end = twice.iter().position(|byte| byte.is_ascii_control() || matches!(byte, b'?' | b'#'));
        let mut resolved: Vec<String> = Vec::new();
        for segment in twice[..end.unwrap_or(twice.len())].split(|byte| matches!(byte, b'/' | b'\\')) {
            // An overlong dot.
            let text = String::from_utf8_lossy(segment).replace("\u{fffd}\u{fffd}", ".");
            let name = text.split(';').next().unwrap_or_default().trim();
            match name {
                "" | "." => {}
                name if name.starts_with("..") && name.bytes().all(|byte| matches!(byte, b'.' | b' ')) => {
                    drop(resolved.pop())
                }
                name => resolved.push(name.to_owned()),
            }
        }
        resolved
    }

    proptest! {
        /// However it is written, what a path opens is there for every server.
        #[test]
        fn no_spelling_opens_another_route(
            path in "(/v1/models|/v1|/|/v1%2fmodels)((/|//|%2f|%2F|\\\\|%5c)?(models|x|\\.|\\.\\.|%2e|%2e%2e|\\.%2E|%252e%252e|%252f|;|;y|%3b|%20|%00|%0a|%3f|%23|\\?|%c0%ae%c0%ae|\\.\\.%20|\\.\\.\\.|%|v1|pause)){0,5}"
        ) {
            if opens(":/v1/models", "GET", &path) {
                let read = lenient(&path);
                prop_assert!(read.starts_with(&["v1".to_owned(), "models".to_owned()]), "{path} is {read:?}");
            }
        }

        #[test]
        fn whatever_is_read_is_written_so(methods in proptest::option::of("[A-Z,]{0,12}|(GET|POST|PUT|HEAD|DELETE)(,(GET|POST|PUT|HEAD)){0,2}"), prefix in proptest::option::of("\\PC{0,8}|(/[a-z.:%;/]{0,4}){0,3}")) {
            if let Ok(Some(narrowing)) = Narrowing::parse(methods.as_deref(), prefix.as_deref()) {
                let part = |text: Option<String>| text.map(|text| format!(":{text}")).unwrap_or_default();
                prop_assert_eq!(narrowing.to_string(), part(methods) + &part(prefix));
            }
        }
    }
}
