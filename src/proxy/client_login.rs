//! `bentoml cloud login` that was given the address of the proxy in place of the management listener's.
//!
//! The client takes the member `code` of whatever it gets at `/api/v1/auth/code` for the code of its login, opens
//! `/api_tokens?code=…` and asks `/api/v1/auth/token?code=…` until that succeeds. A refusal is no end for it: it would ask
//! for ever. So the code that it gets here is the code of the error, and what is asked with that code is answered as the
//! management listener answers a login that has ended: the page says where to go, and an empty token ends the client.
//!
//! Whether there is a Deployment does not show, and a service that has these paths keeps them: only what is refused for
//! want of a credential is answered here.

use askama::Template;
use bytes::Bytes;
use http::{HeaderValue, Method, Response, StatusCode, header::CONTENT_TYPE};

use super::{credential::Presented, pages::OwnPage, permit::Denied, rejection::Rejection, request::Routed};
use crate::http::{
    form::FormFields,
    page::{self, Scripts},
};

/// A step of the login.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    Code,
    /// What a person opens.
    Page,
    /// The poll.
    Token,
}

#[derive(Template)]
#[template(path = "gate/login-elsewhere.html")]
struct LoginElsewhere<'a> {
    base: &'a str,
    /// `None`: not known from here.
    console: Option<&'a str>,
}

impl Step {
    /// The step that is refused. `None`: this is none.
    pub fn refused(rejection: Rejection, routed: &Routed<'_>) -> Option<Self> {
        let target = &routed.request.target;
        // The endpoint that the client was given may have a path of its own.
        let paths =
            [("/api/v1/auth/code", Self::Code), ("/api/v1/auth/token", Self::Token), ("/api_tokens", Self::Page)];
        let (_, step) = paths.into_iter().find(|(path, _)| target.path.ends_with(path))?;
        let is_ours = || {
            let query = FormFields::parse(target.query.unwrap_or_default().as_bytes());
            query.text("code") == ELSEWHERE.code()
        };
        let refused = routed.head().method == Method::GET
            && matches!(rejection, Rejection::Denied(_))
            && matches!(routed.presented(), Presented::Nothing);
        (refused && (step == Self::Code || is_ours())).then_some(step)
    }

    /// Makes the step's own answer of a refusal.
    pub fn answer(self, response: &mut Response<Bytes>, page: &OwnPage<'_>) {
        match self {
            Self::Code => {}
            Self::Page => {
                let console = page.console().map(|console| console.to_string());
                let told = LoginElsewhere { base: &page.base(), console: console.as_deref() };
                let Ok(html) = told.render() else { return };
                *response.body_mut() = Bytes::from(html);
                page::set_fields(response.headers_mut(), Scripts::None);
            }
            Self::Token => {
                *response.status_mut() = StatusCode::OK;
                response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
                *response.body_mut() = Bytes::from_static(br#"{"token":""}"#);
            }
        }
    }
}

/// What each step is refused with.
pub const ELSEWHERE: Rejection = Rejection::Denied(Denied::LoginElsewhere);
