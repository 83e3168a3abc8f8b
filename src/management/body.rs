//! Reading a request's body: bounded in size and time.

use std::time::Duration;

use axum::{
    body::{Body, Bytes, to_bytes},
    http::StatusCode,
};

use super::error::ApiError;

/// Largest body, bytes: room for the longest list of leaked tokens, of hosts or of upstreams.
const MAX_BODY: usize = 64 * 1024;
/// Until all of it is there.
const TIMEOUT: Duration = Duration::from_secs(10);

/// # Errors
/// 413 and 408.
pub async fn read(body: Body) -> Result<Bytes, ApiError> {
    match tokio::time::timeout(TIMEOUT, to_bytes(body, MAX_BODY)).await {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(_)) => {
            let text = format!("the request body is incomplete or larger than {MAX_BODY} bytes");
            Err(ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", text))
        }
        Err(_) => {
            let text = format!("the request body was not complete within {} seconds", TIMEOUT.as_secs());
            Err(ApiError::new(StatusCode::REQUEST_TIMEOUT, "body_too_slow", text))
        }
    }
}
