//! Whose browser asks for a page. A handler takes an [`Anonymous`], a [`SignedIn`] or an [`Admin`]: each is made here only,
//! after the check, so that no page can forget it.

use std::{hash::Hash, net::IpAddr, ops::Deref, sync::Arc};

use axum::{
    extract::FromRequestParts,
    http::{HeaderMap, HeaderValue, Method, StatusCode, header, request::Parts},
    response::Response,
};

use super::{afterwards::Afterwards, page, rejection::PageRejection, session_cookie};
use crate::{
    config::Config,
    domain::{
        audit::Actor,
        code::{CodeKey, Nonce, OneTimeCode},
        origin::Origin,
        rights::{Forbidden, Grantor, Person},
        session::ConsoleSession,
        timestamp::{DAY, Timestamp},
        user::{Role, User, UserId},
    },
    http::{
        authority, cookie,
        lane::{Lane, Place},
        network::Network,
        same_origin::Initiator,
    },
    management::{Management, error::ApiError, path_of},
    service::{Context, lookup::Viewer, receipt::Receipt, refusals::Refused},
    store::{Committed, Priority, Reader, SharedStore},
};

/// How long a form for anonymous visitors may stay open, seconds.
const FORM_LIFETIME: u64 = DAY.as_secs();

/// A browser of which nothing more is asked.
pub struct Anonymous {
    pub management: Arc<Management>,
    /// Only for who has a place: see [`Inside`].
    store: SharedStore,
    pub config: Arc<Config>,
    pub now: Timestamp,
    pub address: IpAddr,
    /// The browser's connection is secure, as far as can be known.
    pub https: bool,
    /// By which the browser reaches the console. `None`: it does not say.
    pub origin: Option<Origin>,
    /// What has the browser send the request.
    pub(super) initiator: Initiator,
    headers: HeaderMap,
    /// Ties the forms for anonymous visitors to this browser.
    form_code: Nonce,
    /// The browser has sent `form_code`, so it need not be given it again.
    has_form_code: bool,
    session: Option<(OneTimeCode, ConsoleSession, User)>,
}

/// A browser of which nothing more is asked, for which the store may be asked: one of a bounded number. There is no other
/// way for it to the store.
pub struct Inside<'a> {
    browser: &'a Anonymous,
    _place: Place,
}

/// A browser with a session of the console.
pub struct SignedIn {
    browser: Anonymous,
    pub user: User,
    pub session: ConsoleSession,
    csrf: blake3::Hash,
}

/// A browser with a session of an admin.
pub struct Admin(SignedIn);

/// For whom a page is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Audience {
    Anonymous,
    SignedIn,
    Admin,
}

/// Whom a page can be for, and whose form a [`CsrfForm`](super::form::CsrfForm) can be.
pub trait Visitor: Sized + Send {
    const AUDIENCE: Audience;

    fn extract(
        head: &mut Parts,
        management: &Arc<Management>,
    ) -> impl Future<Output = Result<Self, PageRejection>> + Send;

    fn browser(&self) -> &Anonymous;

    /// What the forms that are made for this visitor carry.
    fn csrf(&self) -> blake3::Hash;
}

impl Visitor for Anonymous {
    const AUDIENCE: Audience = Audience::Anonymous;

    async fn extract(head: &mut Parts, management: &Arc<Management>) -> Result<Self, PageRejection> {
        Ok(Self::read(head, management).await?)
    }

    fn browser(&self) -> &Anonymous {
        self
    }

    fn csrf(&self) -> blake3::Hash {
        csrf(&self.form_code.expose())
    }
}

impl Visitor for SignedIn {
    const AUDIENCE: Audience = Audience::SignedIn;

    async fn extract(head: &mut Parts, management: &Arc<Management>) -> Result<Self, PageRejection> {
        let mut browser = Anonymous::read(head, management).await?;
        match browser.session.take() {
            Some((code, session, user)) => {
                browser.store = browser.store.at(priority(&head.method)).read_by(Reader::User(user.id));
                Ok(Self { csrf: csrf(&code.expose()), browser, user, session })
            }
            None => {
                let wanted = head.uri.path_and_query().map(|target| target.as_str().to_owned());
                Err(PageRejection::SignIn(wanted.filter(|_| head.method == Method::GET)))
            }
        }
    }

    fn browser(&self) -> &Anonymous {
        &self.browser
    }

    fn csrf(&self) -> blake3::Hash {
        self.csrf
    }
}

impl Visitor for Admin {
    const AUDIENCE: Audience = Audience::Admin;

    async fn extract(head: &mut Parts, management: &Arc<Management>) -> Result<Self, PageRejection> {
        let visitor = SignedIn::extract(head, management).await?;
        if visitor.is_admin() {
            return Ok(Self(visitor));
        }
        let error = ApiError::from(Forbidden::Admin);
        management.refused_change(
            &head.method,
            path_of(head),
            Actor::User(visitor.user.id),
            visitor.browser.address,
            &error,
        );
        Err(error.into())
    }

    fn browser(&self) -> &Anonymous {
        &self.browser
    }

    fn csrf(&self) -> blake3::Hash {
        self.csrf
    }
}

impl Anonymous {
    async fn read(head: &Parts, management: &Arc<Management>) -> Result<Self, ApiError> {
        let forwarding = management.forwarding(head);
        let reader = Reader::Network(Network::of(forwarding.client));
        let store = management.store()?.read_by(reader);
        let config = management.config.load_full();
        let public = config.management.public_url.as_ref();
        let https = public.map_or(forwarding.https, Origin::is_https);
        let asked = authority::read(head).ok();
        let initiator = Initiator::read(&head.headers, |origin| {
            public == Some(origin) || asked.as_ref().is_some_and(|asked| forwarding.goes_to(origin, asked, public))
        });
        let host = forwarding.host.as_ref().or(asked.as_ref());
        let origin = public.cloned().or(host.map(|host| Origin::new(https, host.host_name(), host.port)));
        let now = management.system.now();
        let form_code = cookie::get(&head.headers, https, cookie::FORM).and_then(Nonce::parse);
        let session = cookie::get(&head.headers, https, cookie::CONSOLE)
            .and_then(|text| session_cookie::read(store.codes(), text, now));
        let has_form_code = form_code.is_some();
        let form_code = form_code.map_or_else(|| management.system.new_nonce(), Ok)?;
        let mut browser = Self {
            management: Arc::clone(management),
            store,
            config,
            now,
            address: forwarding.client,
            https,
            origin,
            initiator,
            headers: head.headers.clone(),
            form_code,
            has_form_code,
            session: None,
        };
        if let Some(code) = session {
            let store = browser.store.at(priority(&head.method)).read_by(reader);
            let found = store.session(&code.hash(), browser.now).await?;
            browser.session = found.map(|(session, user)| (code, session, user));
        }
        Ok(browser)
    }

    /// What our cookies are checked with, in memory.
    pub(super) fn codes(&self) -> &CodeKey {
        self.store.codes()
    }

    /// The key of limits.
    pub fn network(&self) -> Network {
        Network::of(self.address)
    }

    /// Takes one of the places of a lane.
    ///
    /// # Errors
    /// 503.
    pub fn enter<K: Copy + Eq + Hash + Send + Sync + 'static>(
        &self,
        lane: &Lane<K>,
        key: K,
    ) -> Result<Inside<'_>, ApiError> {
        Ok(Inside { browser: self, _place: lane.enter(key).ok_or_else(ApiError::busy)? })
    }

    fn context_of<'a>(&'a self, actor: Actor, grantor: Grantor<'a>) -> Context<'a> {
        Context {
            store: &self.store,
            tokens: &self.config.tokens,
            declared: &self.config.declared,
            sign_on: self.config.management.single_sign_on(),
            actor,
            grantor,
            request: None,
            system: &*self.management.system,
            now: self.now,
        }
    }

    /// For the audit trail. `meant`: the account that somebody wanted to sign in to. `None`: none that there is.
    pub fn refused_sign_in(&self, method: &'static str, meant: Option<UserId>) {
        self.management.gateway.refusals.note(Refused::SignIn(method), meant, self.address, self.now);
    }

    /// What the browser calls itself.
    pub fn client(&self) -> &str {
        self.headers.get(header::USER_AGENT).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// The value of our cookie `purpose`. `None`: the browser has sent none.
    pub fn cookie(&self, purpose: &str) -> Option<&str> {
        cookie::get(&self.headers, self.https, purpose)
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

    /// A page with a form for an anonymous visitor, whose browser gets the cookie that the form is tied to.
    pub fn page(&self, status: StatusCode, template: &impl askama::Template) -> Response {
        let mut response = page::rendered(status, template);
        if !self.has_form_code {
            self.set_cookie(&mut response, cookie::FORM, &self.form_code.expose(), FORM_LIFETIME);
        }
        response
    }
}

impl Inside<'_> {
    /// For what anybody may do.
    pub fn context(&self) -> Context<'_> {
        self.browser.context_of(Actor::System, Grantor::Nobody)
    }

    pub fn store(&self) -> &SharedStore {
        &self.browser.store
    }

    /// As [`SignedIn::settle`], without the receipt.
    pub async fn settle<T>(self, committed: Committed<T>) -> (T, Afterwards<Self>) {
        let (management, store) = (Arc::clone(&self.management), self.browser.store.clone());
        let (value, _, afterwards) = Afterwards::of(committed, self, &management, &store).await;
        (value, afterwards)
    }
}

impl Deref for Inside<'_> {
    type Target = Anonymous;

    fn deref(&self) -> &Anonymous {
        self.browser
    }
}

impl SignedIn {
    /// Opens what was committed once every replica decides by it, with its receipt. It takes the visitor, and with them the
    /// store: see [`Afterwards`].
    pub async fn settle<T>(self, committed: Committed<T>) -> (T, Option<Receipt>, Afterwards<Self>) {
        let (management, store) = (Arc::clone(&self.management), self.browser.store.clone());
        Afterwards::of(committed, self, &management, &store).await
    }

    /// For the verbs of [`service`](crate::service), on behalf of the user.
    pub fn context(&self) -> Context<'_> {
        let person = Person { role: self.user.role, session: &self.session.id_hash };
        self.browser.context_of(Actor::User(self.user.id), Grantor::Person(person))
    }

    pub fn store(&self) -> &SharedStore {
        &self.browser.store
    }

    pub fn is_admin(&self) -> bool {
        self.user.role == Role::Admin
    }

    pub fn viewer(&self) -> Viewer {
        Viewer::of(&self.user)
    }
}

impl Admin {
    /// As [`SignedIn::settle`].
    pub async fn settle<T>(self, committed: Committed<T>) -> (T, Option<Receipt>, Afterwards<Self>) {
        let (management, store) = (Arc::clone(&self.management), self.browser.store.clone());
        Afterwards::of(committed, self, &management, &store).await
    }
}

impl Deref for SignedIn {
    type Target = Anonymous;

    fn deref(&self) -> &Anonymous {
        &self.browser
    }
}

impl Deref for Admin {
    type Target = SignedIn;

    fn deref(&self) -> &SignedIn {
        &self.0
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

impl FromRequestParts<Arc<Management>> for Admin {
    type Rejection = PageRejection;

    async fn from_request_parts(head: &mut Parts, management: &Arc<Management>) -> Result<Self, PageRejection> {
        Self::extract(head, management).await
    }
}

/// A form can take a right away: nobody's ordinary work holds up what is looked up for it.
fn priority(method: &Method) -> Priority {
    if *method == Method::POST { Priority::Urgent } else { Priority::Ordinary }
}

/// `cookie` is the value of the cookie that the form is tied to.
fn csrf(cookie: &str) -> blake3::Hash {
    blake3::Hash::from_bytes(blake3::derive_key("bento-gateway 2026 form token", cookie.as_bytes()))
}
