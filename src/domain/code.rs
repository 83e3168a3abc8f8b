//! Short-lived secrets that the gateway makes: for links that work once, for cookies and for `bentoml cloud login`.

use std::fmt;

/// Random bytes of a code. 160 bits, because whoever holds the code may do what it is for, and nobody may guess it.
pub const CODE_BYTES: usize = 20;
/// Characters of a code: two hexadecimal digits for each byte.
const CODE_LEN: usize = 2 * CODE_BYTES;

/// A code in clear, as it stands in a link, a cookie or a form. The store keeps only its hash. It cannot be printed or
/// serialised by accident.
pub struct OneTimeCode([u8; CODE_BYTES]);

/// BLAKE3 of a code in hexadecimal. The code has 160 random bits, so a fast hash is enough.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CodeHash(Box<str>);

impl OneTimeCode {
    pub fn from_random(random: [u8; CODE_BYTES]) -> Self {
        Self(random)
    }

    /// `None`: the text does not have the form of a code.
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() != CODE_LEN || !text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
            return None;
        }
        let mut bytes = [0; CODE_BYTES];
        for (byte, at) in bytes.iter_mut().zip((0..CODE_LEN).step_by(2)) {
            *byte = u8::from_str_radix(text.get(at..at + 2)?, 16).ok()?;
        }
        Some(Self(bytes))
    }

    /// The clear text, for the link, cookie or form.
    pub fn expose(&self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    pub fn hash(&self) -> CodeHash {
        CodeHash(blake3::hash(&self.0).to_hex().as_str().into())
    }
}

impl CodeHash {
    /// What [`CodeHash::as_str`] gave.
    pub fn from_stored(text: String) -> Self {
        Self(text.into())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for OneTimeCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OneTimeCode([redacted])")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_reads_back() {
        let code = OneTimeCode::from_random([0xa7; CODE_BYTES]);
        let text = code.expose();
        assert_eq!(OneTimeCode::parse(&text).unwrap().hash(), code.hash());
        for wrong in ["", "a7", &text.to_uppercase(), &format!("{text}0"), &text.replace('a', "é")] {
            assert!(OneTimeCode::parse(wrong).is_none(), "{wrong:?}");
        }
    }
}
