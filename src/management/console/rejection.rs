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

impl<E: Into<ApiError>> From<E> for PageRejection {
    fn from(error: E) -> Self {
        Self::Error(error.into())
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
