//! What a browser keeps while its user is at the provider.

use serde::{Deserialize, Serialize};

use crate::domain::{code::CodeKey, timestamp::Timestamp};

/// Longest way back to where they wanted to go, bytes: browsers drop cookies of more than 4096.
const MAX_NEXT: usize = 1024;

#[derive(Deserialize, Serialize)]
pub struct Begun {
    pub state: String,
    pub nonce: String,
    pub verifier: String,
    pub next: String,
}

impl Begun {
    /// The cookie's value, good until then. Only who has the key can make one: an invented one asks no provider for
    /// anything.
    pub fn seal(&self, codes: &CodeKey, until: Timestamp) -> String {
        let next = if self.next.len() > MAX_NEXT { "/" } else { &self.next };
        let pairs = [("state", &*self.state), ("nonce", &self.nonce), ("verifier", &self.verifier), ("next", next)];
        let body = format!("{}.{}", until.as_millis(), serde_urlencoded::to_string(pairs).unwrap_or_default());
        format!("{}.{body}", codes.seal_begun(&body).to_hex())
    }

    /// `None`: nobody who has the key has made it, or it was good until before `now`.
    pub fn open(codes: &CodeKey, text: &str, now: Timestamp) -> Option<Self> {
        let (tag, body) = text.split_once('.')?;
        // Hashes compare in constant time.
        if blake3::Hash::from_hex(tag).ok()? != codes.seal_begun(body) {
            return None;
        }
        let (until, pairs) = body.split_once('.')?;
        if Timestamp::from_millis(until.parse().ok()?) <= now {
            return None;
        }
        serde_urlencoded::from_str(pairs).ok()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn key(byte: u8) -> CodeKey {
        CodeKey::from_stored(&[byte; 32], HashSet::new()).unwrap()
    }

    fn begun(next: &str) -> Begun {
        let text = |text: &str| text.to_owned();
        Begun { state: text("s"), nonce: text("n"), verifier: text("v.v"), next: text(next) }
    }

    #[test]
    fn only_ours_and_only_in_time() {
        let (until, before) = (Timestamp::from_millis(1_000), Timestamp::from_millis(999));
        let text = begun("/tokens?a=b;c").seal(&key(7), until);
        let read = Begun::open(&key(7), &text, before).unwrap();
        assert_eq!((&*read.state, &*read.nonce, &*read.verifier), ("s", "n", "v.v"));
        assert_eq!(read.next, "/tokens?a=b;c");
        assert!(Begun::open(&key(7), &text, until).is_none(), "too late");
        assert!(Begun::open(&key(8), &text, before).is_none(), "of another store");
        for place in 0..text.len() {
            let mut other = text.clone().into_bytes();
            other[place] = if other[place] == b'1' { b'2' } else { b'1' };
            let other = String::from_utf8(other).unwrap();
            assert!(other == text || Begun::open(&key(7), &other, before).is_none(), "{other}");
        }
        for text in ["", ".", "..", "state=s&nonce=n&verifier=v&next=/"] {
            assert!(Begun::open(&key(7), text, before).is_none(), "{text}");
        }
    }

    #[test]
    fn a_long_way_back_does_not_cost_the_sign_in() {
        let text = begun(&format!("/{}", "é".repeat(511))).seal(&key(7), Timestamp::from_millis(1_000));
        assert!(text.len() < 4000, "{}", text.len());
        let text = begun(&format!("/{}", "x".repeat(MAX_NEXT))).seal(&key(7), Timestamp::from_millis(1_000));
        assert_eq!(Begun::open(&key(7), &text, Timestamp::from_millis(0)).unwrap().next, "/");
    }
}
