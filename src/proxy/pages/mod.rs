//! The pages under `/-/`, the one prefix of a Deployment's addresses that is ours: a browser signs in there, since it
//! cannot send a token by itself.
//!
//! Nobody learns here whether there is a Deployment: an address that leads nowhere has the same pages.

mod errors;
mod hand_over;
mod in_store;
mod sign_in;

use std::sync::Arc;

use askama::Template;
use bytes::Bytes;
use http::{
    HeaderValue, Method, Response, StatusCode,
    header::{ACCEPT, SET_COOKIE},
    request::Parts,
};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;

use self::errors::Errors;
pub use self::sign_in::Navigation;
use super::{
    credential::Presented,
    own_paths::{ERRORS, OWN_PAGES},
    permit::{Denied, Gate, Permit},
    rejection::About,
    request::Routed,
    target::Target,
};
use crate::{
    domain::{host::Authority, origin::Origin},
    gateway::{Gateway, Settings},
    http::{
        form::FormFields,
        forwarding::Forwarding,
        network::Network,
        page::{self, Scripts},
        same_origin::Initiator,
    },
    index::routes::{Route, RouteKey},
};

/// Largest form, bytes.
const MAX_FORM: usize = 16 * 1024;
const STYLE: &str = include_str!("../../../assets/console.css");
const ICON: &str = include_str!("../../../assets/icon.svg");
#[derive(Template)]
#[template(path = "gate/message.html")]
struct Message<'a> {
    base: &'a str,
    title: &'a str,
    text: &'a str,
}

/// One request for a page of ours.
pub struct OwnPage<'a> {
    gateway: &'a Arc<Gateway>,
    settings: &'a Settings,
    head: &'a Parts,
    target: &'a Target<'a>,
    route: &'a Route<'a>,
    forwarding: &'a Forwarding,
    about: About<'a>,
}

/// Whether a person waits for a page.
pub fn navigates(head: &Parts) -> bool {
    matches!(head.method, Method::GET | Method::HEAD)
        && head.headers.get(ACCEPT).is_some_and(|accept| accept.to_str().is_ok_and(|text| text.contains("text/html")))
}

/// Every request under the prefix is answered here.
pub async fn respond(request: &OwnPage<'_>, body: Option<Incoming>) -> Response<Bytes> {
    let name = &request.target.path[request.route.prefix_len + OWN_PAGES.len()..];
    let is_get = matches!(request.head.method, Method::GET | Method::HEAD);
    let is_post = request.head.method == Method::POST;
    if is_post && request.initiator() != Initiator::SameOrigin {
        return request.message(StatusCode::FORBIDDEN, "Access denied", "This form was submitted from another site.");
    }
    if !request.offers_sessions() && matches!(name, "" | "sign-in" | "console" | "hand-over" | "sign-out") {
        return request.sign_in_page(StatusCode::FORBIDDEN, "/", None);
    }
    match name {
        "style.css" if is_get => page::asset("text/css; charset=utf-8", STYLE),
        "icon.svg" if is_get => page::asset("image/svg+xml", ICON),
        ERRORS if is_get => render(StatusCode::OK, &Errors::new(&request.base())),
        "" if is_get => request.status_page().await,
        "sign-in" if is_get => request.sign_in_page(StatusCode::OK, &request.to(), None),
        "sign-in" if is_post => request.sign_in(body).await,
        "console" if is_get => request.to_console(),
        "hand-over" if is_get => request.hand_over().await,
        "sign-out" if is_post => request.sign_out().await,
        "sign-in" | "console" | "hand-over" | "sign-out" | "" | "style.css" | "icon.svg" | ERRORS => request.message(
            StatusCode::METHOD_NOT_ALLOWED,
            "Method not allowed",
            "This page does not support that method.",
        ),
        _ => request.message(
            StatusCode::NOT_FOUND,
            "Page not found",
            "Paths below /-/ belong to the gateway in front of this service. There is no page at this path.",
        ),
    }
}

impl<'a> OwnPage<'a> {
    pub fn new(gateway: &'a Arc<Gateway>, routed: &'a Routed<'a>) -> Self {
        Self {
            gateway,
            settings: routed.request.received.settings,
            head: routed.head(),
            target: &routed.request.target,
            route: routed.route(),
            forwarding: &routed.request.forwarding,
            about: routed.reply_context(None).about,
        }
    }

    /// Asks for a permit on the route of now: reading the form may have taken long.
    async fn admit(&self, presented: Presented<'_>) -> Result<Permit, Denied> {
        let mut route = self.gateway.index.route(RouteKey { method: None, ..self.route.key });
        Gate::of(self.gateway).admit(&mut route, presented, self.network()).await
    }

    /// The key of limits.
    fn network(&self) -> Network {
        Network::of(self.forwarding.client)
    }

    /// Whether browsers may sign in at this address: not where Deployments share an origin, and so each other's sessions.
    fn offers_sessions(&self) -> bool {
        self.route.prefix_len == 0 || self.settings.browser.path_prefix_sessions
    }

    fn message(&self, status: StatusCode, title: &str, text: &str) -> Response<Bytes> {
        render(status, &Message { base: &self.base(), title, text })
    }

    // === what was asked ===

    /// The path that named the Deployment, without a slash at its end; mostly empty.
    fn prefix(&self) -> &str {
        self.target.path[..self.route.prefix_len].trim_end_matches('/')
    }

    pub(super) fn base(&self) -> String {
        format!("{}{OWN_PAGES}", self.prefix())
    }

    /// Host and port, as the browser knows them.
    fn host(&self) -> &Authority<'_> {
        self.forwarding.host.as_ref().unwrap_or(&self.target.authority)
    }

    fn initiator(&self) -> Initiator {
        let public = self.settings.browser.public_url.as_ref();
        let is_own = |origin: &Origin| self.forwarding.goes_to(origin, &self.target.authority, public);
        Initiator::read(&self.head.headers, is_own)
    }

    fn origin(&self) -> Origin {
        Origin::new(self.forwarding.https, self.host().host_name(), self.host().port)
    }

    fn to(&self) -> String {
        return_path(self.query().text("to")).to_owned()
    }

    fn query(&self) -> FormFields {
        FormFields::parse(self.target.query.unwrap_or_default().as_bytes())
    }

    /// `None`: it broke off, took too long or is too large.
    async fn form(&self, body: Option<Incoming>) -> Option<FormFields> {
        let limited = Limited::new(body?, MAX_FORM);
        let read = tokio::time::timeout(self.settings.limits.header_timeout, limited.collect()).await;
        Some(FormFields::parse(&read.ok()?.ok()?.to_bytes()))
    }
}

/// Where a browser goes on: a path of this host, and none of our own pages.
fn return_path(to: &str) -> &str {
    let is_ours = to.split('?').next().is_some_and(|path| path.contains(OWN_PAGES));
    page::local_path(to).filter(|_| !is_ours).unwrap_or("/")
}

fn render(status: StatusCode, template: &impl Template) -> Response<Bytes> {
    page::rendered(status, template, Scripts::None)
}

fn redirect(to: &str, set_cookie: Option<String>) -> Response<Bytes> {
    let mut response = page::redirect(to);
    if let Some(cookie) = set_cookie.and_then(|cookie| HeaderValue::try_from(cookie).ok()) {
        response.headers_mut().insert(SET_COOKIE, cookie);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_sent_elsewhere_or_back_to_our_own_pages() {
        for path in ["/", "/docs?x=1", "/deployments/a/", "/docs?next=/-/"] {
            assert_eq!(return_path(path), path);
        }
        for other in
            ["", "docs", "//evil.test", "https://evil.test", "/\\evil.test", "/-/sign-in", "/deployments/a/-/", "/ä"]
        {
            assert_eq!(return_path(other), "/", "{other}");
        }
    }
}
