//! Takes secrets out of what is logged.

use std::borrow::Cow;

use memchr::memmem;

use crate::domain::{
    percent,
    token_text::{PREFIX, SECRET_LEN, SESSION_PREFIX},
};

/// A token has no business in a path, but some put it there, and it would let in all who read the log: percent-encoded, too.
pub fn without_tokens(text: &str) -> Cow<'_, str> {
    // Both prefixes end with it, plain or encoded, and most texts have neither.
    if memchr::memchr2(b'%', b'_', text.as_bytes()).is_none() {
        return text.into();
    }
    let (offsets, plain): (Vec<usize>, Vec<u8>) = percent::decoded(text.as_bytes()).unzip();
    // Of what was decoded: tokens are ASCII, so that these are boundaries of characters.
    let offset = |at: usize| offsets.get(at).copied().unwrap_or(text.len());
    let mut out = String::new();
    let (mut copied, mut at) = (0, 0);
    while let Some((begin, prefix)) = next_prefix(&plain, at) {
        let secret = begin + prefix.len();
        let end = secret + plain[secret..].iter().take_while(|&&byte| is_of_token(byte)).count();
        at = secret;
        if end - secret >= SECRET_LEN {
            out.extend([&text[copied..offset(begin)], prefix, "[redacted]"]);
            (copied, at) = (offset(end), end);
        }
    }
    if copied == 0 {
        return text.into();
    }
    out.push_str(&text[copied..]);
    out.into()
}

fn next_prefix(plain: &[u8], at: usize) -> Option<(usize, &'static str)> {
    let find = |prefix: &'static str| Some((at + memmem::find(&plain[at..], prefix.as_bytes())?, prefix));
    [PREFIX, SESSION_PREFIX].into_iter().filter_map(find).min()
}

fn is_of_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_taken_out_and_nothing_else() {
        let token = crate::system::new_token_text().unwrap();
        let token = token.expose();
        let encoded = token.replace('_', "%5F");
        let all: String = token.bytes().map(|byte| format!("%{byte:02X}")).collect();
        for (text, expected) in [
            ("/a/b".to_owned(), "/a/b"),
            (format!("/{token}"), "/bgw_[redacted]"),
            (format!("/a/{token}/b/{token}"), "/a/bgw_[redacted]/b/bgw_[redacted]"),
            (format!("/{token}%20x"), "/bgw_[redacted]%20x"),
            (format!("/%C3%A4/ä/{encoded}/%C3%A4ä{encoded}ä"), "/%C3%A4/ä/bgw_[redacted]/%C3%A4äbgw_[redacted]ä"),
            (format!("/{}%5f", all.to_lowercase()), "/bgw_[redacted]"),
            (format!("/bgw_%{encoded}"), "/bgw_%bgw_[redacted]"),
            ("/%5F%/%5".to_owned(), "/%5F%/%5"),
            (token[..60].to_owned(), "bgw_[redacted]"),
            ("/bgw_model/bgw_".to_owned(), "/bgw_model/bgw_"),
        ] {
            assert_eq!(without_tokens(&text), expected);
        }
    }
}
