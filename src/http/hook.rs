//! Calling a URL that somebody has set for it: a hook.

use std::{io, time::Duration};

use bytes::Bytes;
use http::{HeaderValue, Request, StatusCode, header};

use super::client::{self, ClientError};

/// Why a call of a hook counts as failed.
#[derive(Debug, thiserror::Error)]
pub enum HookError {
    #[error("it answered {}", .0.as_u16())]
    Answer(StatusCode),
    #[error("{0}")]
    Client(#[from] ClientError),
    #[error("there are no root certificates to verify it by: {0}")]
    NoRoots(io::Error),
    #[error("{0}")]
    Request(#[from] http::Error),
}

/// POSTs `json`. A status of 200 to 299 within `timeout` is success; no redirect is followed. A URL with `https` is reached by
/// the proxy that the environment names.
///
/// # Errors
/// [`HookError`]. None of them holds the URL.
pub async fn post(url: &str, json: String, timeout: Duration) -> Result<(), HookError> {
    let json_type = HeaderValue::from_static("application/json");
    let request = Request::post(url).header(header::CONTENT_TYPE, json_type);
    let request = request.body(Bytes::from(json))?;
    let response = if url.starts_with("https://") {
        client::outward(timeout).map_err(HookError::NoRoots)?.send(request).await?
    } else {
        client::plain(timeout).send(request).await?
    };
    if response.status().is_success() { Ok(()) } else { Err(HookError::Answer(response.status())) }
}
