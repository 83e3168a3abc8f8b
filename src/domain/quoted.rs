//! Repeating in an error what a request has named.

use memchr::memmem;

use super::{
    percent,
    token_text::{PREFIX, SESSION_PREFIX},
};

/// Characters of a request that an error repeats.
const MAX_QUOTED: usize = 100;

/// What a request has named, to be repeated in an error: never a token, percent-encoded or not, and not without end.
pub fn quoted(text: &str) -> String {
    let plain = percent::decode(text.as_bytes());
    if [PREFIX, SESSION_PREFIX].iter().any(|prefix| memmem::find(&plain, prefix.as_bytes()).is_some()) {
        return "\"[redacted]\"".to_owned();
    }
    format!("{:?}", text.chars().take(MAX_QUOTED).collect::<String>())
}

/// Errors are shown and logged. A password that somebody wrote into the URL must not be.
pub fn without_user_info(text: &str) -> String {
    let Some((user_info, host)) = text.rsplit_once('@') else { return text.to_owned() };
    let scheme = user_info.find("://").map_or("", |at| &user_info[..at + 3]);
    format!("{scheme}[redacted]@{host}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_repeated_is_no_token_and_not_long() {
        assert_eq!(quoted("a\"b"), "\"a\\\"b\"");
        for token in ["bgw_0123456789ab_secret", "/x/bgw%5F0123456789ab%5fsecret", "b%67s_0123456789ab_secret"] {
            assert_eq!(quoted(token), "\"[redacted]\"");
        }
        assert_eq!(quoted(&"x".repeat(1000)).len(), MAX_QUOTED + 2);
    }
}
