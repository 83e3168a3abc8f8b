//! Short-lived secrets that the gateway makes: for links that work once, for cookies and for `bentoml cloud login`.

use std::fmt;

use data_encoding::HEXLOWER;

/// Random bytes of a code. 160 bits, because whoever holds the code may do what it is for, and nobody may guess it.
pub const CODE_BYTES: usize = 20;

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
        let bytes = HEXLOWER.decode(text.as_bytes()).ok()?;
        bytes.try_into().ok().map(Self)
    }

    /// The clear text, for the link, cookie or form.
    pub fn expose(&self) -> String {
        HEXLOWER.encode(&self.0)
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

    /// What a browser brings. `None`: it is no hash.
    pub fn parse(text: &str) -> Option<Self> {
        blake3::Hash::from_hex(text).ok().map(|hash| Self(hash.to_hex().as_str().into()))
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
        let hash = code.hash();
        assert_eq!(CodeHash::parse(hash.as_str()), Some(hash));
        for wrong in ["", "x", &text, &"g".repeat(64), &"0".repeat(65)] {
            assert_eq!(CodeHash::parse(wrong), None, "{wrong:?}");
        }
    }
}
