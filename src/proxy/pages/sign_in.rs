//! Signing in with a pasted API token, and out again.

use std::collections::BTreeSet;

use askama::Template;
use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header::SET_COOKIE};
use hyper::body::Incoming;

use super::{OwnPage, redirect, render, return_path};
use crate::{
    domain::{deployment::DeploymentName, token_text::PresentedToken},
    http::{
        cookie,
        page::{self, Scripts},
    },
    index::verify::Shown,
    proxy::{
        credential::{self, Presented, Session},
        permit::Denied,
        rejection::Rejection,
    },
    service::{
        self, Kind,
        browser_sessions::{self, BrowserSession},
        refusals::Refused,
    },
    system,
};

#[derive(Template)]
#[template(path = "gate/sign-in.html")]
struct SignIn<'a> {
    /// Where our pages begin: `/-/`, behind a prefix if the address has one.
    base: &'a str,
    /// Where to go afterwards: a path of this host.
    to: &'a str,
    way: Way,
    /// `None`: nothing is wrong.
    problem: Option<&'a str>,
}

/// How many cookies signing out takes away at once.
const MAX_TAKEN_AWAY: usize = 16;

/// How a person signs in at an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// By the console: what is typed there, the service cannot read.
    Console,
    /// By typing a token here, where the service's own scripts could read it. There is no way to the console.
    Token,
    /// Not at all: this address is shared with other Deployments.
    None,
}

#[derive(Template)]
#[template(path = "gate/signed-in.html")]
struct SignedIn<'a> {
    base: &'a str,
    host: &'a str,
    signed_in: bool,
}

/// A person on their way to a page of the Deployment, who may have to sign in first.
pub struct Navigation {
    base: String,
    to: String,
    way: Way,
}

impl Navigation {
    pub fn of(page: &OwnPage<'_>) -> Self {
        let to = page.head.uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
        Self { base: page.base(), to: return_path(to).to_owned(), way: page.way() }
    }

    /// Makes a page to sign in of a refusal, whose status and challenge stay.
    ///
    /// `problem` of `None`: nothing was wrong, they have just not signed in.
    pub fn instead(&self, response: &mut Response<Bytes>, problem: Option<&str>) {
        let sign_in = SignIn { base: &self.base, to: &self.to, way: self.way, problem };
        let Ok(html) = sign_in.render() else { return };
        *response.body_mut() = Bytes::from(html);
        page::set_fields(response.headers_mut(), Scripts::None);
    }
}

impl OwnPage<'_> {
    fn way(&self) -> Way {
        match self.console() {
            _ if !self.offers_sessions() => Way::None,
            Some(_) => Way::Console,
            None => Way::Token,
        }
    }

    /// Takes a pasted token.
    pub(super) async fn sign_in(&self, body: Option<Incoming>) -> Response<Bytes> {
        let Some(form) = self.form(body).await else {
            return self.message(StatusCode::BAD_REQUEST, "Invalid form", "The form is incomplete or too large.");
        };
        let to = return_path(form.text("to"));
        let pasted = form.text("token");
        let presented = match PresentedToken::parse(pasted.as_bytes()) {
            Ok(presented) => presented,
            Err(_) => {
                let problem = "This is not an API token. API tokens start with bgw_ and have 66 characters.";
                return self.sign_in_page(StatusCode::BAD_REQUEST, to, Some(problem));
            }
        };
        let permit = match self.admit(Presented::Token(presented)).await {
            Ok(permit) => permit,
            Err(denial) => {
                if matches!(Rejection::Denied(denial).status(), StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
                    let from = self.forwarding.client;
                    self.gateway.refusals.note(Refused::SignIn("token"), None, from, system::now());
                }
                return self.denied(denial, to);
            }
        };
        let (Some(uid), name) = (permit.token_uid(), permit.spec().name.clone()) else {
            // A public Deployment needs no session.
            return redirect(to, None);
        };
        let lifetime = self.settings.browser.session_lifetime;
        let deployment = name.clone();
        if let Err(error) = self.gateway.sign_ins.allow(uid) {
            return self.begun(Err(error), &name, to);
        }
        let place = self.gateway.sign_ins.signing_in.enter(self.network());
        let begun = self.in_store(place, async move |store| {
            browser_sessions::sign_in(&store.context(), uid, &deployment, lifetime).await
        });
        self.begun(begun.await, &name, to)
    }

    /// Ends the session that counts here, and takes away the cookies that the browser has sent. Whether there is a Deployment
    /// does not show.
    pub(super) async fn sign_out(&self) -> Response<Bytes> {
        let (headers, https) = (&self.head.headers, self.forwarding.https);
        let shown = Shown { from: self.network(), at: system::now() };
        if let Some(session) = self.session()
            && let Ok(proven) = self.gateway.verifier.authenticate(&self.gateway.index, session.token, shown).await
            && self.route.deployment.as_ref().is_some_and(|here| proven.entry().is_session_of(&here.spec.name))
        {
            let (session, token) = (proven.lookup_id(), proven.entry().uid);
            let place = self.gateway.sign_ins.signing_out.enter(self.network());
            let ended = self
                .in_store(place, async move |store| browser_sessions::sign_out(&store.context(), session, token).await);
            if let Err(error) = ended.await {
                return self.denied_text(&error.to_string(), status(&error), "/");
            }
        }
        let mut response = redirect(&self.base(), None);
        let sent: BTreeSet<&str> = cookie::all(headers, https, cookie::SESSION).map(|(name, _)| name).collect();
        for name in sent.into_iter().take(MAX_TAKEN_AWAY) {
            if let Ok(gone) = HeaderValue::try_from(cookie::set(https, &cookie::session(name), "", 0)) {
                response.headers_mut().append(SET_COOKIE, gone);
            }
        }
        response
    }

    fn session(&self) -> Option<Session<'_>> {
        let deployment = self.route.deployment.as_ref().map(|deployment| &deployment.spec.name);
        credential::session(&self.head.headers, self.forwarding.https, deployment)
    }

    pub(super) async fn status_page(&self) -> Response<Bytes> {
        let signed_in = match self.session() {
            Some(session) => self.admit(Presented::Session { session, cross_site: false }).await.is_ok(),
            None => false,
        };
        render(StatusCode::OK, &SignedIn { base: &self.base(), host: &self.host().to_string(), signed_in })
    }

    pub(super) fn sign_in_page(&self, status: StatusCode, to: &str, problem: Option<&str>) -> Response<Bytes> {
        render(status, &SignIn { base: &self.base(), to, way: self.way(), problem })
    }

    pub(super) fn begun(
        &self,
        begun: service::Result<BrowserSession>,
        deployment: &DeploymentName,
        to: &str,
    ) -> Response<Bytes> {
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
        self.denied_text(&failure.sentence(self.about), failure.status(), to)
    }

    pub(super) fn denied_text(&self, text: &str, status: StatusCode, to: &str) -> Response<Bytes> {
        self.sign_in_page(status, to, Some(text))
    }
}

fn status(error: &service::Error) -> StatusCode {
    match error.kind() {
        Kind::TooMany => StatusCode::TOO_MANY_REQUESTS,
        Kind::Unavailable | Kind::Uncertain => StatusCode::SERVICE_UNAVAILABLE,
        Kind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        _ => StatusCode::BAD_REQUEST,
    }
}
