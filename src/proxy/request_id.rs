//! The name of a request: in the log, towards the service, and in the response.

use data_encoding::HEXLOWER;
use http::{HeaderMap, HeaderName};

use crate::domain::token_text;

pub static X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Longest `X-Request-Id` that is taken over from the caller.
const MAX_CALLERS: usize = 128;
/// Room for the digits of one of our own.
pub type Digits = [u8; 32];

/// What an id of our own is made of.
#[derive(Clone, Copy, Default)]
pub struct RequestNumber {
    /// Random per worker, so that ids do not repeat between processes.
    pub prefix: u64,
    pub number: u64,
}

impl RequestNumber {
    pub fn id(self, digits: &mut Digits) -> &str {
        let bytes = (u128::from(self.prefix) << 64 | u128::from(self.number)).to_be_bytes();
        HEXLOWER.encode_mut_str(&bytes, digits)
    }
}

/// The caller's own if it is harmless, else `own`. It goes into header fields, JSON and logs as it is.
pub fn of_request<'a>(headers: &'a HeaderMap, own: impl FnOnce() -> RequestNumber, digits: &'a mut Digits) -> &'a str {
    let mut fields = headers.get_all(&X_REQUEST_ID).iter();
    match (fields.next().and_then(|id| id.to_str().ok()).filter(|id| is_harmless(id)), fields.next()) {
        (Some(id), None) => id,
        _ => own().id(digits),
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
            assert_eq!(of_request(&fields.collect(), || own, &mut Digits::default()), expected, "{sent:?}");
        }
    }
}
