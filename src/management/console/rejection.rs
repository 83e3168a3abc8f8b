//! Why a visitor does not get the page that was asked for.

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};

use super::page;
use crate::management::error::ApiError;

/// The result of every page.
pub type PageResult = Result<Response, PageRejection>;

pub enum PageRejection {
    /// Nobody has signed in. With where they wanted to go, if that is a page.
    SignIn(Option<String>),
    Error(ApiError),
}

/// The error, if it is about what was typed: then the form is shown once more with it.
///
/// # Errors
/// Any other one: our own trouble, or that of a session that has ended.
pub fn about_the_form(error: impl Into<ApiError>) -> Result<ApiError, PageRejection> {
    let error = error.into();
    let is_other = error.status().is_server_error() || error.status() == StatusCode::UNAUTHORIZED;
    if is_other { Err(error.into()) } else { Ok(error) }
}

impl<E: Into<ApiError>> From<E> for PageRejection {
    fn from(error: E) -> Self {
        let error = error.into();
        // Of a session that was there when the request came.
        if error.status() == StatusCode::UNAUTHORIZED { Self::SignIn(None) } else { Self::Error(error) }
    }
}

impl IntoResponse for PageRejection {
    fn into_response(self) -> Response {
        match self {
            Self::SignIn(Some(wanted)) => {
                let query = serde_urlencoded::to_string([("next", wanted)]).unwrap_or_default();
                page::redirect(&format!("/sign-in?{query}"))
            }
            Self::SignIn(None) => page::message(
                StatusCode::UNAUTHORIZED,
                "Your session has ended",
                "Nothing was changed. Sign in and try again.",
            ),
            Self::Error(error) => {
                let mut response = page::problem(&error);
                if matches!(error.status(), StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS) {
                    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
                }
                response
            }
        }
    }
}
