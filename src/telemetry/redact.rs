//! Takes secrets out of what is logged.

use std::borrow::Cow;

use crate::domain::token_text::{PREFIX, SECRET_LEN, SESSION_PREFIX};

/// A token has no business in a path, but some put it there, and it would let in all who read the log.
pub fn without_tokens(text: &str) -> Cow<'_, str> {
    // Both prefixes end with it, and most paths have none.
    if !text.contains('_') {
        return text.into();
    }
    [PREFIX, SESSION_PREFIX].into_iter().fold(text.into(), |text, prefix| match without(prefix, &text) {
        Some(redacted) => redacted.into(),
        None => text,
    })
}

/// `None`: there is nothing to redact.
fn without(prefix: &str, text: &str) -> Option<String> {
    if !text.contains(prefix) {
        return None;
    }
    let mut parts = text.split(prefix);
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let rest = part.trim_start_matches(|c: char| c.is_ascii_alphanumeric() || c == '_');
        let redacted =
            if part.len() - rest.len() >= SECRET_LEN { "[redacted]" } else { &part[..part.len() - rest.len()] };
        out.extend([prefix, redacted, rest]);
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_taken_out_and_nothing_else() {
        let token = crate::system::new_token_text().unwrap();
        let token = token.expose();
        for (text, expected) in [
            ("/a/b".to_owned(), "/a/b"),
            (format!("/{token}"), "/bgw_[redacted]"),
            (format!("/a/{token}/b/{token}"), "/a/bgw_[redacted]/b/bgw_[redacted]"),
            (format!("/{token}%20x"), "/bgw_[redacted]%20x"),
            (token[..60].to_owned(), "bgw_[redacted]"),
            ("/bgw_model/bgw_".to_owned(), "/bgw_model/bgw_"),
        ] {
            assert_eq!(without_tokens(&text), expected);
        }
    }
}
