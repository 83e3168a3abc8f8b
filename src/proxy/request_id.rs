//! The name of a request: in the log, towards the service, and in the response.

use std::ops::Deref;

use data_encoding::HEXLOWER;
use http::{HeaderMap, HeaderName};

use crate::domain::token_text;

pub static X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Longest `X-Request-Id` that is taken over from the caller.
const MAX_CALLERS: usize = 128;
/// Digits of one of our own.
const LEN: usize = 32;

/// What an id of our own is made of.
#[derive(Clone, Copy, Default)]
pub struct RequestNumber {
    /// Random per worker, so that ids do not repeat between processes.
    pub prefix: u64,
    pub number: u64,
}

/// Goes into header fields, JSON and logs as it is.
pub enum RequestId<'a> {
    Callers(&'a str),
    Own([u8; LEN]),
}

impl RequestNumber {
    pub fn id(self) -> RequestId<'static> {
        let bytes = (u128::from(self.prefix) << 64 | u128::from(self.number)).to_be_bytes();
        let mut digits = [0; LEN];
        HEXLOWER.encode_mut(&bytes, &mut digits);
        RequestId::Own(digits)
    }
}

impl<'a> RequestId<'a> {
    /// The caller's own if it is harmless, else `own`.
    pub fn of(headers: &'a HeaderMap, own: impl FnOnce() -> RequestNumber) -> Self {
        let mut fields = headers.get_all(&X_REQUEST_ID).iter();
        match (fields.next().and_then(|id| id.to_str().ok()).filter(|id| is_harmless(id)), fields.next()) {
            (Some(id), None) => Self::Callers(id),
            _ => own().id(),
        }
    }
}

impl Deref for RequestId<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        match self {
            Self::Callers(id) => id,
            Self::Own(digits) => std::str::from_utf8(digits).unwrap_or_default(),
        }
    }
}

/// It goes to the upstream and into logs, where a token must not.
fn is_harmless(id: &str) -> bool {
    (1..=MAX_CALLERS).contains(&id.len())
        && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.:+/=".contains(&byte))
        && !id.contains(token_text::PREFIX)
        && !id.contains(token_text::SESSION_PREFIX)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn what_is_harmless_is_taken_over() {
        let own = RequestNumber { prefix: 0xab, number: 16 };
        let new = "00000000000000ab0000000000000010";
        for (sent, expected) in [
            (&["abc-1.2:3"][..], "abc-1.2:3"),
            (&[], new),
            (&["a b"], new),
            (&[""], new),
            (&["bgw_secret"], new),
            (&["a", "b"], new),
        ] {
            let fields = sent.iter().map(|id| (X_REQUEST_ID.clone(), HeaderValue::from_static(id)));
            assert_eq!(&*RequestId::of(&fields.collect(), || own), expected, "{sent:?}");
        }
    }
}
