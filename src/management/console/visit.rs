//! Who looks at a page, and that a form was sent by the person whom it was made for.
//!
//! A handler gets a [`SignedIn`] or a [`Anonymous`] and, if it changes anything, a [`CsrfForm`] form: these are made here only,
//! after the checks, so that no page can forget them.

use std::{net::IpAddr, ops::Deref, sync::Arc};

use axum::{
    body::to_bytes,
    extract::{FromRequest, FromRequestParts, Request},
    http::{HeaderValue, Method, StatusCode, header, request::Parts},
    response::{IntoResponse, Redirect, Response},
};

use super::page;
use crate::{
    config::Config,
    domain::{
        audit::Actor,
        code::OneTimeCode,
        origin::Origin,
        rights::{Forbidden, Grantor},
        session::ConsoleSession,
        timestamp::Timestamp,
        user::{Role, User, UserId},
    },
    http::{authority, cookie, same_origin::Initiator},
    management::{Management, error::ApiError},
    service::Context,
    store::SharedStore,
};

/// Largest form, bytes: lists of hosts and upstreams.
const MAX_FORM: usize = 64 * 1024;
/// Where a form has its token.
pub const CSRF_FIELD: &str = "csrf";

/// Somebody with a browser.
pub struct Anonymous {
    pub management: Arc<Management>,
    pub store: SharedStore,
    pub config: Arc<Config>,
    pub now: Timestamp,
    pub address: IpAddr,
    /// The browser's connection is secure, as far as can be known.
    pub https: bool,
    /// By which the browser reaches the console. `None`: it does not say.
    pub origin: Option<Origin>,
    /// What has the browser send the request.
    initiator: Initiator,
    /// What the browser calls itself.
    pub client: String,
    /// What ties forms to this browser, and whether it has been told.
    form: (OneTimeCode, bool),
    session: Option<(OneTimeCode, ConsoleSession, User)>,
}

/// Somebody who has signed in.
pub struct SignedIn {
    visitor: Anonymous,
    pub user: User,
    pub session: ConsoleSession,
    csrf: String,
}

/// A form that was sent from a page of ours by the browser that the page was made for.
pub struct CsrfForm<W> {
    pub who: W,
    pub fields: Fields,
}

/// What a form says. A field may come several times.
pub struct Fields(Vec<(String, String)>);

/// Why nobody gets to the page.
pub enum PageRejection {
    /// Nobody has signed in. With where they wanted to go, if that is a page.
    SignIn(Option<String>),
    Refused(ApiError),
}

/// Who a form can be made for.
pub trait FromBrowser: Sized + Send {
    fn extract(
        head: &mut Parts,
        management: &Arc<Management>,
    ) -> impl Future<Output = Result<Self, PageRejection>> + Send;

    fn visitor(&self) -> &Anonymous;

    /// What a form of theirs must carry.
    fn csrf(&self) -> &str;
}

impl Anonymous {
    async fn read(head: &Parts, management: &Arc<Management>) -> Result<Self, ApiError> {
        let store = management.store()?;
        let config = management.config.load_full();
        let forwarding = management.forwarding(head);
        let public = config.management.public_url.as_ref();
        let https = public.map_or(forwarding.https, Origin::is_https);
        let asked = authority::read(head).ok();
        let initiator = Initiator::read(&head.headers, |origin| {
            public == Some(origin) || asked.as_ref().is_some_and(|asked| forwarding.goes_to(origin, asked))
        });
        let host = forwarding.host.as_ref().or(asked.as_ref());
        let origin = public.cloned().or(host.map(|host| Origin::new(https, host.host_name(), host.port)));
        let (form, session) = (code(head, https, cookie::FORM), code(head, https, cookie::CONSOLE));
        let form = match form {
            Some(code) => (code, true),
            None => (management.system.new_code()?, false),
        };
        let client = head.headers.get(header::USER_AGENT).and_then(|value| value.to_str().ok());
        let mut visitor = Self {
            management: Arc::clone(management),
            store,
            config,
            now: management.system.now(),
            address: forwarding.client,
            https,
            origin,
            initiator,
            client: client.unwrap_or_default().to_owned(),
            form,
            session: None,
        };
        if let Some(code) = session {
            let found = visitor.store.session(&code.hash(), visitor.now).await?;
            visitor.session = found.map(|(session, user)| (code, session, user));
        }
        Ok(visitor)
    }

    /// For what anybody may do.
    pub fn context(&self) -> Context<'_> {
        self.context_of(Actor::System, Grantor::Nobody)
    }

    fn context_of<'a>(&'a self, actor: Actor, grantor: Grantor<'a>) -> Context<'a> {
        Context {
            store: &self.store,
            tokens: &self.config.tokens,
            declared: &self.config.deployments,
            actor,
            grantor,
            request: None,
            system: &*self.management.system,
            now: self.now,
        }
    }

    /// The session that this browser has already, if any.
    pub fn session(&self) -> Option<&ConsoleSession> {
        self.session.as_ref().map(|(_, session, _)| session)
    }

    pub fn set_cookie(&self, response: &mut Response, purpose: &str, value: &str, max_age: u64) {
        if let Ok(value) = HeaderValue::try_from(cookie::set(self.https, purpose, value, max_age)) {
            response.headers_mut().append(header::SET_COOKIE, value);
        }
    }

    /// A page with a form for somebody who need not have signed in: its browser is told what the form must come back with.
    pub fn page(&self, status: StatusCode, template: &impl askama::Template) -> Response {
        let mut response = page::rendered(status, template);
        let (code, told) = &self.form;
        if !told {
            self.set_cookie(&mut response, cookie::FORM, &code.expose(), FORM_LIFETIME);
        }
        response
    }

    pub fn form_token(&self) -> String {
        csrf(&self.form.0)
    }
}

/// A sign-in page may stay open for so long, seconds.
const FORM_LIFETIME: u64 = 24 * 3600;

impl SignedIn {
    /// For the verbs of [`service`](crate::service), on behalf of who has signed in.
    pub fn context(&self) -> Context<'_> {
        self.visitor.context_of(Actor::User(self.user.id), Grantor::Person(self.user.role))
    }

    pub fn is_admin(&self) -> bool {
        self.user.role == Role::Admin
    }

    /// # Errors
    /// 403 for members.
    pub fn needs_admin(&self) -> Result<(), ApiError> {
        if self.is_admin() { Ok(()) } else { Err(Forbidden::Admin.into()) }
    }

    /// Whether things of `owner` are theirs to see and change.
    pub fn manages(&self, owner: UserId) -> bool {
        self.is_admin() || owner == self.user.id
    }

    pub fn csrf_token(&self) -> &str {
        &self.csrf
    }
}

impl Deref for SignedIn {
    type Target = Anonymous;

    fn deref(&self) -> &Anonymous {
        &self.visitor
    }
}

impl FromBrowser for Anonymous {
    async fn extract(head: &mut Parts, management: &Arc<Management>) -> Result<Self, PageRejection> {
        Ok(Self::read(head, management).await?)
    }

    fn visitor(&self) -> &Anonymous {
        self
    }

    fn csrf(&self) -> &str {
        ""
    }
}

impl FromBrowser for SignedIn {
    async fn extract(head: &mut Parts, management: &Arc<Management>) -> Result<Self, PageRejection> {
        let mut visitor = Anonymous::read(head, management).await?;
        match visitor.session.take() {
            Some((code, session, user)) => Ok(Self { csrf: csrf(&code), visitor, user, session }),
            None => {
                let wanted = head.uri.path_and_query().map(|target| target.as_str().to_owned());
                Err(PageRejection::SignIn(wanted.filter(|_| head.method == Method::GET)))
            }
        }
    }

    fn visitor(&self) -> &Anonymous {
        &self.visitor
    }

    fn csrf(&self) -> &str {
        &self.csrf
    }
}

impl FromRequestParts<Arc<Management>> for Anonymous {
    type Rejection = PageRejection;

    async fn from_request_parts(head: &mut Parts, management: &Arc<Management>) -> Result<Self, PageRejection> {
        Self::extract(head, management).await
    }
}

impl FromRequestParts<Arc<Management>> for SignedIn {
    type Rejection = PageRejection;

    async fn from_request_parts(head: &mut Parts, management: &Arc<Management>) -> Result<Self, PageRejection> {
        Self::extract(head, management).await
    }
}

impl<W: FromBrowser> FromRequest<Arc<Management>> for CsrfForm<W> {
    type Rejection = PageRejection;

    async fn from_request(request: Request, management: &Arc<Management>) -> Result<Self, PageRejection> {
        let (mut head, body) = request.into_parts();
        let who = W::extract(&mut head, management).await?;
        if who.visitor().initiator != Initiator::SameOrigin {
            return Err(forged("this form was sent by a page of another site"));
        }
        let body = to_bytes(body, MAX_FORM).await;
        let body = body.map_err(|_| ApiError::invalid("the form broke off or is too large"))?;
        let fields = serde_urlencoded::from_bytes(&body);
        let fields = Fields(fields.map_err(|_| ApiError::invalid("the form cannot be read"))?);
        let expected = match who.csrf() {
            "" => who.visitor().form_token(),
            csrf => csrf.to_owned(),
        };
        if !constant_time_eq(fields.text(CSRF_FIELD).as_bytes(), expected.as_bytes()) {
            return Err(forged("this form is too old, or was made for another browser; open the page again"));
        }
        Ok(Self { who, fields })
    }
}

impl Fields {
    /// Empty where it is missing.
    pub fn text(&self, name: &str) -> &str {
        self.0.iter().find(|(field, _)| field == name).map_or("", |(_, value)| value.trim())
    }

    /// As it was typed: a password.
    pub fn exact(&self, name: &str) -> &str {
        self.0.iter().find(|(field, _)| field == name).map_or("", |(_, value)| value)
    }

    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(field, _)| field == name).map(|(_, value)| value.trim())
    }

    /// Words and lines of one field.
    pub fn words<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a str> {
        self.text(name).split(|c: char| c.is_whitespace() || c == ',').filter(|word| !word.is_empty())
    }

    /// A box that is ticked.
    pub fn on(&self, name: &str) -> bool {
        !self.text(name).is_empty()
    }
}

/// `None`: there is no such cookie, or it is not one of ours.
pub fn code(head: &Parts, https: bool, purpose: &str) -> Option<OneTimeCode> {
    cookie::get(&head.headers, https, purpose).and_then(OneTimeCode::parse)
}

/// A path of the console; the front page where it is none.
pub fn local(next: &str) -> &str {
    let path = next.starts_with('/') && !next.starts_with("//") && next.bytes().all(|byte| byte.is_ascii_graphic());
    if path && !next.contains('\\') { next } else { "/" }
}

fn csrf(code: &OneTimeCode) -> String {
    let key = blake3::derive_key("bento-gateway 2026 form token", code.expose().as_bytes());
    blake3::Hash::from_bytes(key).to_hex().to_string()
}

fn constant_time_eq(one: &[u8], other: &[u8]) -> bool {
    blake3::hash(one) == blake3::hash(other)
}

fn forged(text: &str) -> PageRejection {
    PageRejection::Refused(ApiError::new(StatusCode::FORBIDDEN, "cross_site", text))
}

impl From<ApiError> for PageRejection {
    fn from(error: ApiError) -> Self {
        Self::Refused(error)
    }
}

impl IntoResponse for PageRejection {
    fn into_response(self) -> Response {
        match self {
            Self::SignIn(Some(wanted)) => {
                let query = serde_urlencoded::to_string([("next", wanted)]).unwrap_or_default();
                Redirect::to(&format!("/sign-in?{query}")).into_response()
            }
            Self::SignIn(None) => page::message(
                StatusCode::UNAUTHORIZED,
                "You are not signed in any more",
                "Nothing was changed. Sign in, and do it again.",
            ),
            Self::Refused(error) => page::problem(&error),
        }
    }
}
