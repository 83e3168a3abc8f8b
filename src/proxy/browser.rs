//! The pages under `/-/`, the one prefix of a Deployment's addresses that is ours: a browser signs in there, since it
//! cannot send a token by itself.
//!
//! Nobody learns here whether there is a Deployment: an address that leads nowhere has the same pages.

use std::{net::IpAddr, sync::Arc};

use askama::Template;
use bytes::Bytes;
use http::{
    HeaderValue, Method, Response, StatusCode,
    header::{
        ACCEPT, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, COOKIE, LOCATION, REFERRER_POLICY, SET_COOKIE,
        X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
    },
    request::Parts,
};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;

use super::{
    Gateway, Settings,
    credential::{self, Credential},
    forwarding::Forwarding,
    permit::Gate,
    rejection::{Denied, Rejection},
    same_origin,
    target::Target,
};
use crate::{
    config::TokenConfig,
    domain::{
        audit::Actor,
        code::OneTimeCode,
        cookie::{self, NONCE},
        deployment::DeploymentName,
        rights::Grantor,
        token_text::PresentedToken,
    },
    index::routes::Route,
    service::{
        self, Context, Kind,
        browser_sessions::{self, BrowserSession},
        deployments::address,
    },
    store::{SharedStore, StoreError},
    system::{self, Os, System},
};

/// Ours at every address of the proxy, public Deployments' too.
pub const PREFIX: &str = "/-/";

/// Largest form, bytes.
const MAX_FORM: usize = 16 * 1024;
/// How long somebody may take to sign in to the console on the way, seconds.
const NONCE_LIFETIME: u64 = 600;
const STYLE: &str = include_str!("../../assets/console.css");
const ICON: &str = include_str!("../../assets/icon.svg");
/// Nothing but our own stylesheet and forms, and nobody may frame it. Another site is not told where it came from; our own
/// forms must tell, for which `no-referrer` would be too strict.
const POLICY: &str =
    "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

#[derive(Template)]
#[template(path = "gate/sign-in.html")]
struct SignIn<'a> {
    /// Where our pages begin: `/-/`, behind a prefix if the address has one.
    base: &'a str,
    /// Where to go afterwards: a path of this host.
    to: &'a str,
    /// Whether there is a way to the console from here.
    console: bool,
    /// `None`: nothing is wrong.
    problem: Option<&'a str>,
}

#[derive(Template)]
#[template(path = "gate/signed-in.html")]
struct SignedIn<'a> {
    base: &'a str,
    host: &'a str,
    signed_in: bool,
}

#[derive(Template)]
#[template(path = "gate/message.html")]
struct Message<'a> {
    base: &'a str,
    title: &'a str,
    text: &'a str,
}

/// One request for a page of ours.
pub struct Visit<'a> {
    pub gateway: &'a Arc<Gateway>,
    pub settings: &'a Settings,
    pub gate: Gate<'a>,
    pub head: &'a Parts,
    pub target: &'a Target<'a>,
    pub route: &'a Route<'a>,
    pub forwarding: &'a Forwarding,
    pub named_deployment: Option<&'a str>,
}

/// Whether a person waits for a page.
pub fn navigates(head: &Parts) -> bool {
    matches!(head.method, Method::GET | Method::HEAD)
        && head.headers.get(ACCEPT).is_some_and(|accept| accept.to_str().is_ok_and(|text| text.contains("text/html")))
}

/// A person on their way to a page of the Deployment, who may have to sign in first.
pub struct Navigation {
    base: String,
    to: String,
    console: bool,
}

impl Navigation {
    pub fn of(visit: &Visit<'_>) -> Self {
        let to = visit.head.uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
        Self { base: visit.base(), to: local(to), console: visit.console().is_some() }
    }

    /// Makes a page to sign in of a refusal, whose status and challenge stay.
    ///
    /// `problem` of `None`: nothing was wrong, they have just not signed in.
    pub fn instead(&self, response: &mut Response<Bytes>, problem: Option<&str>) {
        let page = SignIn { base: &self.base, to: &self.to, console: self.console, problem };
        let Ok(html) = page.render() else { return };
        *response.body_mut() = Bytes::from(html);
        set_fields(response, "text/html; charset=utf-8");
    }
}

/// Every request under the prefix is answered here.
pub async fn answer(visit: &Visit<'_>, body: Option<Incoming>) -> Response<Bytes> {
    let page = &visit.target.path[visit.route.prefix_len + PREFIX.len()..];
    let is_get = matches!(visit.head.method, Method::GET | Method::HEAD);
    let is_post = visit.head.method == Method::POST;
    if is_post && !same_origin::holds(visit.head, visit.target, visit.forwarding.host.as_ref(), false) {
        return visit.message(StatusCode::FORBIDDEN, "Not accepted", "This form was sent by a page of another site.");
    }
    match page {
        "style.css" if is_get => asset("text/css; charset=utf-8", STYLE),
        "icon.svg" if is_get => asset("image/svg+xml", ICON),
        "" if is_get => visit.status_page().await,
        "sign-in" if is_get => visit.sign_in_page(StatusCode::OK, &visit.to(), None),
        "sign-in" if is_post => visit.sign_in(body).await,
        "console" if is_get => visit.to_console(),
        "hand-over" if is_get => visit.hand_over().await,
        "sign-out" if is_post => visit.sign_out().await,
        "sign-in" | "console" | "hand-over" | "sign-out" | "" | "style.css" | "icon.svg" => {
            visit.message(StatusCode::METHOD_NOT_ALLOWED, "Not so", "This page is not served by that method.")
        }
        _ => visit.message(
            StatusCode::NOT_FOUND,
            "There is no such page",
            "Addresses below /-/ belong to the gateway in front of this service, and it has no such page.",
        ),
    }
}

impl Visit<'_> {
    /// Takes a pasted token.
    async fn sign_in(&self, body: Option<Incoming>) -> Response<Bytes> {
        let Some(form) = self.form(body).await else {
            return self.message(StatusCode::BAD_REQUEST, "Not understood", "The form broke off or is too large.");
        };
        let to = local(form.get("to").unwrap_or_default());
        let pasted = form.get("token").unwrap_or_default().trim().to_owned();
        let presented = match PresentedToken::parse(pasted.as_bytes()) {
            Ok(presented) => presented,
            Err(_) => {
                let problem = "That is not an API token: one begins with bgw_ and is 66 characters long.";
                return self.sign_in_page(StatusCode::BAD_REQUEST, &to, Some(problem));
            }
        };
        let permit = match self.gate.admit(self.route, Ok(Some(Credential::Token(presented)))).await {
            Ok(permit) => permit,
            Err(denial) => return self.denied(denial, &to),
        };
        let (Some(uid), name) = (permit.token_uid(), permit.spec().name.clone()) else {
            // A public Deployment needs no session.
            return redirect(&to, None);
        };
        let lifetime = self.settings.browser.session_lifetime;
        let deployment = name.clone();
        let begun = self
            .in_store(async move |store| browser_sessions::sign_in(&store.context(), uid, &deployment, lifetime).await);
        self.begun(begun.await, &name, &to)
    }

    /// To the console, which sends the browser back with a code that only this browser can use.
    fn to_console(&self) -> Response<Bytes> {
        let (Some(console), Ok(nonce)) = (self.console(), system::new_code()) else {
            let text = "The console cannot be reached from here. Sign in with an API token.";
            return self.message(StatusCode::NOT_FOUND, "No console", text);
        };
        let at = format!("{}{}", self.origin(), self.prefix());
        let to = self.to();
        let query = serde_urlencoded::to_string([("at", &*at), ("to", &*to), ("nonce", nonce.hash().as_str())]);
        let location = format!("{console}/open?{}", query.unwrap_or_default());
        redirect(&location, Some(cookie::set(self.forwarding.https, NONCE, &nonce.expose(), NONCE_LIFETIME)))
    }

    /// Back from the console.
    async fn hand_over(&self) -> Response<Bytes> {
        let query = Form::read(self.target.query.unwrap_or_default().as_bytes());
        let to = local(query.get("to").unwrap_or_default());
        let code = query.get("code").and_then(OneTimeCode::parse);
        let nonce = cookie::get(self.cookies(), self.forwarding.https, NONCE).and_then(OneTimeCode::parse);
        let name = self.route.deployment.as_ref().map(|deployment| deployment.spec.name.clone());
        let (Some(code), Some(nonce), Some(name)) = (code, nonce, name) else {
            return self.denied_text(&service::Error::SignInOver.to_string(), StatusCode::BAD_REQUEST, &to);
        };
        let lifetime = self.settings.browser.session_lifetime;
        let deployment = name.clone();
        let begun = self.in_store(async move |store| {
            browser_sessions::redeem(&store.context(), &code, &nonce, &deployment, lifetime).await
        });
        self.begun(begun.await, &name, &to)
    }

    async fn sign_out(&self) -> Response<Bytes> {
        let Some(deployment) = &self.route.deployment else { return redirect(&self.base(), None) };
        let name = &deployment.spec.name;
        if let Some(text) = credential::session(&self.head.headers, self.forwarding.https, name)
            && let Ok(proven) = self.gateway.verifier.authenticate(&self.gateway.index, text).await
        {
            let (session, token) = (proven.entry().lookup_id(), proven.entry().uid);
            let ended =
                self.in_store(async move |store| browser_sessions::sign_out(&store.context(), session, token).await);
            if let Err(error) = ended.await {
                return self.denied_text(&error.to_string(), status(&error), "/");
            }
        }
        let gone = cookie::set(self.forwarding.https, &cookie::session(name.as_str()), "", 0);
        redirect(&self.base(), Some(gone))
    }

    async fn status_page(&self) -> Response<Bytes> {
        let session = self.route.deployment.as_ref().and_then(|deployment| {
            credential::session(&self.head.headers, self.forwarding.https, &deployment.spec.name)
        });
        let signed_in = match session {
            Some(text) => self.gate.admit(self.route, Ok(Some(Credential::Session(text)))).await.is_ok(),
            None => false,
        };
        page(StatusCode::OK, &SignedIn { base: &self.base(), host: &self.host(), signed_in })
    }

    fn sign_in_page(&self, status: StatusCode, to: &str, problem: Option<&str>) -> Response<Bytes> {
        page(status, &SignIn { base: &self.base(), to, console: self.console().is_some(), problem })
    }

    fn begun(&self, begun: service::Result<BrowserSession>, deployment: &DeploymentName, to: &str) -> Response<Bytes> {
        match begun {
            Ok(BrowserSession { text, until }) => {
                let name = cookie::session(deployment.as_str());
                let max_age = until.since(system::now()).as_secs();
                redirect(to, Some(cookie::set(self.forwarding.https, &name, text.expose(), max_age)))
            }
            Err(error) => self.denied_text(&error.to_string(), status(&error), to),
        }
    }

    fn denied(&self, denial: Denied, to: &str) -> Response<Bytes> {
        let failure = Rejection::Denied(denial);
        self.denied_text(&failure.sentence(self.named_deployment), failure.status(), to)
    }

    fn denied_text(&self, text: &str, status: StatusCode, to: &str) -> Response<Bytes> {
        self.sign_in_page(status, to, Some(text))
    }

    fn message(&self, status: StatusCode, title: &str, text: &str) -> Response<Bytes> {
        page(status, &Message { base: &self.base(), title, text })
    }

    // === what was asked ===

    /// The path that named the Deployment, without a slash at its end; mostly empty.
    fn prefix(&self) -> &str {
        self.target.path[..self.route.prefix_len].trim_end_matches('/')
    }

    fn base(&self) -> String {
        format!("{}{PREFIX}", self.prefix())
    }

    /// Host and port, as the browser knows them.
    fn host(&self) -> String {
        if let Some(host) = self.forwarding.host.as_ref().and_then(|host| host.to_str().ok()) {
            return host.to_owned();
        }
        let authority = &self.target.authority;
        format!("{}{}", authority.host, authority.port.map(|port| format!(":{port}")).unwrap_or_default())
    }

    fn origin(&self) -> String {
        format!("{}://{}", if self.forwarding.https { "https" } else { "http" }, self.host())
    }

    fn to(&self) -> String {
        let query = Form::read(self.target.query.unwrap_or_default().as_bytes());
        local(query.get("to").unwrap_or_default())
    }

    /// Where this browser reaches the console. `None`: it listens on another machine's loopback, as far as we know.
    fn console(&self) -> Option<String> {
        let management = &self.settings.browser.management;
        if management.public_url.is_some() {
            return Some(address::management(management));
        }
        let host = &*self.target.authority.host;
        let port = management.listen.port();
        match management.listen.ip() {
            ip if ip.is_unspecified() => Some(format!("http://{host}:{port}")),
            ip if ip.is_loopback() && !is_local(host, self.forwarding.client) => None,
            _ => Some(address::management(management)),
        }
    }

    fn cookies(&self) -> impl Iterator<Item = &[u8]> {
        self.head.headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes)
    }

    /// `None`: it broke off, took too long or is too large.
    async fn form(&self, body: Option<Incoming>) -> Option<Form> {
        let limited = Limited::new(body?, MAX_FORM);
        let read = tokio::time::timeout(self.settings.limits.header_timeout, limited.collect()).await;
        Some(Form::read(&read.ok()?.ok()?.to_bytes()))
    }

    /// Works with the store, which the threads of the proxy do not wait for, until every gateway decides by what was done:
    /// the next request may go to any.
    async fn in_store<T, F>(&self, work: impl FnOnce(Arc<Opened>) -> F) -> service::Result<T>
    where
        T: Send + 'static,
        F: Future<Output = service::Result<T>> + Send + 'static,
    {
        let away = |text: &str| StoreError::Unavailable(text.to_owned());
        let store = self.gateway.opened.get().cloned().ok_or_else(|| away("it has not been reached yet"))?;
        let opened = Arc::new(Opened { store, tokens: self.settings.browser.tokens.clone() });
        let (gateway, work) = (Arc::clone(self.gateway), work(Arc::clone(&opened)));
        let done = self.gateway.background.spawn(async move {
            let done = work.await;
            if done.is_ok() {
                gateway.wait_until_applied(&opened.store).await;
            }
            done
        });
        done.await.map_err(|error| away(&error.to_string()))?
    }
}

/// The store, and what a [`Context`] is made of on another thread.
struct Opened {
    store: SharedStore,
    tokens: TokenConfig,
}

impl Opened {
    fn context(&self) -> Context<'_> {
        Context {
            store: &self.store,
            tokens: &self.tokens,
            declared: &[],
            actor: Actor::System,
            grantor: Grantor::Nobody,
            request: None,
            system: &Os,
            now: Os.now(),
        }
    }
}

/// The pairs of a form or a query.
struct Form(Vec<(String, String)>);

impl Form {
    fn read(text: &[u8]) -> Self {
        Self(serde_urlencoded::from_bytes(text).unwrap_or_default())
    }

    fn get(&self, key: &str) -> Option<&str> {
        self.0.iter().find(|(name, _)| name == key).map(|(_, value)| &**value)
    }
}

/// A path of this host, whatever was asked for: nobody is sent elsewhere from here, or back to our own pages.
fn local(to: &str) -> String {
    let path = to.starts_with('/') && !to.starts_with("//") && to.bytes().all(|byte| byte.is_ascii_graphic());
    let ours = to.split('?').next().is_some_and(|path| path.contains(PREFIX));
    if path && !to.contains('\\') && !ours { to.to_owned() } else { "/".to_owned() }
}

fn is_local(host: &str, client: IpAddr) -> bool {
    client.is_loopback() || matches!(host, "localhost" | "127.0.0.1" | "[::1]")
}

fn status(error: &service::Error) -> StatusCode {
    match error.kind() {
        Kind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        Kind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        _ => StatusCode::BAD_REQUEST,
    }
}

fn redirect(to: &str, set_cookie: Option<String>) -> Response<Bytes> {
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = StatusCode::SEE_OTHER;
    let headers = response.headers_mut();
    headers.insert(LOCATION, HeaderValue::try_from(to).unwrap_or(HeaderValue::from_static("/")));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    if let Some(cookie) = set_cookie.and_then(|cookie| HeaderValue::try_from(cookie).ok()) {
        headers.insert(SET_COOKIE, cookie);
    }
    response
}

fn asset(content_type: &'static str, text: &'static str) -> Response<Bytes> {
    let mut response = Response::new(Bytes::from_static(text.as_bytes()));
    set_fields(&mut response, content_type);
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("max-age=3600"));
    response
}

fn page(status: StatusCode, template: &impl Template) -> Response<Bytes> {
    let mut response = Response::new(Bytes::from(template.render().unwrap_or_default()));
    *response.status_mut() = status;
    set_fields(&mut response, "text/html; charset=utf-8");
    response
}

fn set_fields(response: &mut Response<Bytes>, content_type: &'static str) {
    for (name, value) in [
        (CONTENT_TYPE, content_type),
        (CACHE_CONTROL, "no-store"),
        (CONTENT_SECURITY_POLICY, POLICY),
        (REFERRER_POLICY, "same-origin"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (X_FRAME_OPTIONS, "DENY"),
    ] {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_sent_elsewhere() {
        for path in ["/", "/docs?x=1", "/deployments/a/"] {
            assert_eq!(local(path), path);
        }
        for other in ["", "docs", "//evil.test", "https://evil.test", "/\\evil.test", "/-/sign-in", "/a\r\nb", "/ä"] {
            assert_eq!(local(other), "/", "{other}");
        }
    }
}
