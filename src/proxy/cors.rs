//! Pages of other origins that call a Deployment (the CORS protocol of the Fetch standard).
//!
//! Where a Deployment names origins, the gateway speaks CORS for it: preflights, which carry no credential, end here, and
//! every answer of the service says who may read it. The gateway's own refusals can be read by the page that asked. Cookies
//! are never allowed across origins.

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode,
    header::{
        ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
        ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS,
        ACCESS_CONTROL_REQUEST_METHOD, ORIGIN, VARY,
    },
    request::Parts,
};

use crate::{http::single::Single, index::routes::Route};

/// How long a browser need not ask again, seconds.
const MAX_AGE: &str = "600";
const METHODS: &str = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";

/// What the answer says about other origins.
#[derive(Clone, Debug, Default)]
pub enum Cors {
    /// Whatever the upstream says.
    #[default]
    Upstream,
    /// Nothing: nobody else's page asks, or one that may not.
    Nobody,
    /// This origin may read it.
    Allowed(HeaderValue),
}

/// Says that a response depends on the page that asks.
pub fn vary(headers: &mut HeaderMap) {
    headers.append(VARY, HeaderValue::from_static("origin"));
}

/// Lets the page that asked read a refusal of ours, which [varies](vary) by it, whichever page it is: the refusal holds nothing that the page could not get
/// without a browser, and what it says depends on the request alone, so that nobody learns from it whether there is a
/// Deployment. A preflight that is refused is told nothing.
pub fn readable(response: &mut Response<Bytes>, head: &Parts) {
    if let Some(origin) = head.headers.get(ORIGIN)
        && !asks_before(head)
    {
        let headers = response.headers_mut();
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static("*"));
    }
}

/// Whether this is a preflight.
fn asks_before(head: &Parts) -> bool {
    head.method == Method::OPTIONS && head.headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD)
}

impl Cors {
    pub fn of(head: &Parts, route: &Route<'_>) -> Self {
        let Some(deployment) = &route.deployment else { return Self::Upstream };
        let settings = &deployment.spec.settings;
        if settings.cors_origins.is_empty() {
            return Self::Upstream;
        }
        match (Single::read(&head.headers, ORIGIN), head.headers.get(ORIGIN)) {
            (Single::Value(text), Some(origin)) if settings.allows_origin(text) => Self::Allowed(origin.clone()),
            _ => Self::Nobody,
        }
    }

    /// The answer to a preflight. `None`: this is none, or the origin may not.
    pub fn preflight(&self, head: &Parts) -> Option<Response<Bytes>> {
        let Self::Allowed(_) = self else { return None };
        if !asks_before(head) {
            return None;
        }
        let mut response = Response::new(Bytes::new());
        *response.status_mut() = StatusCode::NO_CONTENT;
        let headers = response.headers_mut();
        self.apply(headers);
        headers.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static(METHODS));
        headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static(MAX_AGE));
        // As they were asked for: `*` does not stand for Authorization.
        if let Some(asked) = head.headers.get(ACCESS_CONTROL_REQUEST_HEADERS) {
            headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, asked.clone());
        }
        Some(response)
    }

    fn apply(&self, headers: &mut HeaderMap) {
        if let Self::Upstream = self {
            return;
        }
        vary(headers);
        if let Self::Allowed(origin) = self {
            headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
            headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static("*"));
        }
    }

    /// Makes an upstream's answer say so; its own word on it does not count.
    pub fn replace(&self, headers: &mut HeaderMap) {
        if let Self::Upstream = self {
            return;
        }
        let names: Vec<HeaderName> =
            headers.keys().filter(|name| name.as_str().starts_with("access-control-")).cloned().collect();
        for name in names {
            headers.remove(name);
        }
        self.apply(headers);
    }
}
