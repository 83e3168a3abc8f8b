//! The text of an API token: `bgw_` + lookup id + `_` + secret + checksum.
//!
//! The prefix and the checksum let a scanner recognise a leaked token offline and let a typo fail before any work.
//! One alphabet, `[0-9A-Za-z]` with `_` between the parts, so that a double click selects it whole. The prefix must
//! never change: secret scanners and every token in the field depend on it.

use std::fmt;

/// What every token begins with.
pub const PREFIX: &str = "bgw_";
/// What the secret of a browser session begins with. It is a part of what is hashed, so neither can pass for the other.
pub const SESSION_PREFIX: &str = "bgs_";
/// Characters of the lookup id: 62^12 > 2^71, so it does not repeat and cannot be guessed.
pub const LOOKUP_ID_LEN: usize = 12;
/// Characters of the secret: 62^43 > 2^256.
pub const SECRET_LEN: usize = 43;
/// Characters of the checksum: 62^6 > 2^32, a whole CRC-32.
pub const CHECKSUM_LEN: usize = 6;
/// Characters of a token. At most 76 may be used: the box of `bentoml api-token create` breaks longer ones in two.
pub const TOKEN_LEN: usize = PREFIX.len() + LOOKUP_ID_LEN + 1 + SECRET_LEN + CHECKSUM_LEN;
/// Random bytes that [`TokenText::from_random`] takes: twice the characters it must fill, so that enough of them are
/// below 248 (see there).
pub const RANDOM_BYTES: usize = 4 * (LOOKUP_ID_LEN + SECRET_LEN);

const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const _: () = assert!(SESSION_PREFIX.len() == PREFIX.len());
/// What both prefixes begin with.
const COMMON_START: &str = "bg";
const LOOKUP_START: usize = PREFIX.len();
const SEPARATOR: usize = LOOKUP_START + LOOKUP_ID_LEN;
const CHECKSUM_START: usize = TOKEN_LEN - CHECKSUM_LEN;

/// A whole token, secret included. It cannot be printed, compared or serialised by accident: the text is had from
/// [`TokenText::expose`] only, and is overwritten when dropped.
pub struct TokenText([u8; TOKEN_LEN]);

/// The part of a token by which its record is found. It is not the token's uid: whoever has it can make this gateway
/// compute Argon2, so it is neither shown nor logged.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LookupId([u8; LOOKUP_ID_LEN]);

/// A text that has the shape of a token, and whose checksum is right. Nothing is known about its secret yet.
#[derive(Clone, Copy)]
pub struct PresentedToken<'a> {
    text: &'a [u8; TOKEN_LEN],
}

/// The bytes cannot be a token of any gateway of this kind: wrong length, prefix, alphabet or checksum.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a bento-gateway token: expected {PREFIX} and {} more letters and digits", TOKEN_LEN - PREFIX.len())]
pub struct NotAToken;

impl TokenText {
    /// Makes a token, or with [`SESSION_PREFIX`] a session's secret, from bytes of the operating system's CSPRNG. A byte of 248 or more is skipped, since taking it
    /// modulo 62 would favour some characters.
    ///
    /// `None` if too few bytes were usable, which for true randomness happens less than once in 10^60 calls.
    pub fn from_random(prefix: &str, random: &[u8; RANDOM_BYTES]) -> Option<Self> {
        let mut characters = random.iter().filter(|&&byte| byte < 248).map(|&byte| ALPHABET[usize::from(byte % 62)]);
        let mut text = [b'_'; TOKEN_LEN];
        text[..LOOKUP_START].copy_from_slice(prefix.as_bytes());
        for at in (LOOKUP_START..SEPARATOR).chain(SEPARATOR + 1..CHECKSUM_START) {
            text[at] = characters.next()?;
        }
        let checksum = checksum(&text[..CHECKSUM_START]);
        text[CHECKSUM_START..].copy_from_slice(&checksum);
        Some(Self(text))
    }

    /// The clear text, for the one time it is shown.
    pub fn expose(&self) -> &str {
        // Only the alphabet and `_` are ever written; an empty text, were that ever wrong, opens nothing.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    pub fn presented(&self) -> PresentedToken<'_> {
        PresentedToken { text: &self.0 }
    }
}

impl Drop for TokenText {
    fn drop(&mut self) {
        self.0 = std::hint::black_box([0; TOKEN_LEN]);
    }
}

impl fmt::Debug for TokenText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenText([redacted])")
    }
}

impl<'a> PresentedToken<'a> {
    /// # Errors
    /// [`NotAToken`] unless length, prefix, alphabet and checksum are those of a token.
    pub fn parse(text: &'a [u8]) -> Result<Self, NotAToken> {
        Self::parse_with(PREFIX, text)
    }

    /// The same for what a browser session's cookie holds.
    ///
    /// # Errors
    /// [`NotAToken`].
    pub fn parse_session(text: &'a [u8]) -> Result<Self, NotAToken> {
        Self::parse_with(SESSION_PREFIX, text)
    }

    fn parse_with(prefix: &str, text: &'a [u8]) -> Result<Self, NotAToken> {
        let text: &[u8; TOKEN_LEN] = text.try_into().map_err(|_| NotAToken)?;
        // Every byte is looked at, for which the compiler takes many at once.
        let in_alphabet = |part: &[u8]| part.iter().fold(true, |all, byte| all & byte.is_ascii_alphanumeric());
        let well_formed = text.starts_with(prefix.as_bytes())
            && text[SEPARATOR] == b'_'
            && in_alphabet(&text[LOOKUP_START..SEPARATOR])
            && in_alphabet(&text[SEPARATOR + 1..])
            && checksum(&text[..CHECKSUM_START]) == text[CHECKSUM_START..];
        if well_formed { Ok(Self { text }) } else { Err(NotAToken) }
    }

    /// A copy of its own, for work on another thread.
    pub fn to_text(self) -> TokenText {
        TokenText(*self.text)
    }

    pub fn lookup_id(self) -> LookupId {
        let mut id = [0; LOOKUP_ID_LEN];
        id.copy_from_slice(&self.text[LOOKUP_START..SEPARATOR]);
        LookupId(id)
    }

    /// What is hashed: the whole text, so that no part of one token can be combined with a part of another.
    pub fn secret_bytes(self) -> &'a [u8; TOKEN_LEN] {
        self.text
    }

    /// The text without what all tokens and sessions begin with.
    pub fn distinguishing_bytes(self) -> &'a [u8] {
        &self.text[COMMON_START.len()..]
    }
}

impl fmt::Debug for PresentedToken<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PresentedToken([redacted])")
    }
}

impl LookupId {
    /// Reads what [`LookupId::as_str`] gave, as the store keeps it. `None` if it is not of that form.
    pub fn from_stored(text: &str) -> Option<Self> {
        let id: [u8; LOOKUP_ID_LEN] = text.as_bytes().try_into().ok()?;
        id.iter().all(u8::is_ascii_alphanumeric).then_some(Self(id))
    }

    /// For the store only.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    pub fn as_bytes(&self) -> &[u8; LOOKUP_ID_LEN] {
        &self.0
    }
}

impl fmt::Debug for LookupId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LookupId([redacted])")
    }
}

/// Whether a token, or the secret of a browser session, stands anywhere in it. The checksum is computed only where a prefix
/// is, and what is shorter than a token is not looked at.
pub fn is_within(bytes: &[u8]) -> bool {
    let is_token = |text| PresentedToken::parse(text).is_ok() || PresentedToken::parse_session(text).is_ok();
    // Both prefixes end with it, and it is rarer than their letters. Where it is not, two bytes say that nothing begins here.
    memchr::memchr_iter(b'_', bytes).any(|at| {
        let begin = at.checked_sub(PREFIX.len() - 1);
        let text = begin.and_then(|begin| bytes.get(begin..begin + TOKEN_LEN));
        text.is_some_and(|text| text[0] == PREFIX.as_bytes()[0] && text[SEPARATOR] == b'_' && is_token(text))
    })
}

/// CRC-32 (IEEE) in base 62, most significant character first.
fn checksum(text: &[u8]) -> [u8; CHECKSUM_LEN] {
    let mut rest = crc32fast::hash(text);
    let mut out = [0; CHECKSUM_LEN];
    for character in out.iter_mut().rev() {
        *character = ALPHABET[(rest % 62) as usize];
        rest /= 62;
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn token(seed: u8) -> TokenText {
        let mut random = [0; RANDOM_BYTES];
        for (at, byte) in random.iter_mut().enumerate() {
            *byte = (at as u8).wrapping_mul(37).wrapping_add(seed);
        }
        TokenText::from_random(PREFIX, &random).unwrap()
    }

    #[test]
    fn a_session_is_no_token_and_a_token_no_session() {
        let random = std::array::from_fn(|at| at as u8);
        let [token, session] = [PREFIX, SESSION_PREFIX].map(|prefix| TokenText::from_random(prefix, &random).unwrap());
        assert!(PresentedToken::parse(token.expose().as_bytes()).is_ok());
        assert!(PresentedToken::parse(session.expose().as_bytes()).is_err());
        assert!(PresentedToken::parse_session(session.expose().as_bytes()).is_ok());
        assert!(PresentedToken::parse_session(token.expose().as_bytes()).is_err());
        assert_ne!(token.presented().secret_bytes(), session.presented().secret_bytes());
        assert_ne!(token.presented().distinguishing_bytes(), session.presented().distinguishing_bytes());
        assert!([PREFIX, SESSION_PREFIX].iter().all(|prefix| prefix.starts_with(COMMON_START)));
    }

    #[test]
    fn fits_the_clients_box_and_one_alphabet() {
        let token = token(1);
        assert_eq!(token.expose().len(), TOKEN_LEN);
        assert_eq!(TOKEN_LEN, 66);
        assert!(token.expose().bytes().all(|byte| byte == b'_' || byte.is_ascii_alphanumeric()));
    }

    #[test]
    fn skips_bytes_that_would_bias_the_alphabet() {
        assert!(TokenText::from_random(PREFIX, &[248; RANDOM_BYTES]).is_none());
        assert!(TokenText::from_random(PREFIX, &[247; RANDOM_BYTES]).is_some());
    }

    #[test]
    fn every_changed_character_is_noticed() {
        let token = token(7);
        for at in 0..TOKEN_LEN {
            let mut text = token.expose().as_bytes().to_vec();
            text[at] = if text[at] == b'A' { b'B' } else { b'A' };
            assert!(PresentedToken::parse(&text).is_err(), "changed at {at}");
        }
    }

    #[test]
    fn nothing_prints_it() {
        let token = token(3);
        let printed = format!("{token:?} {:?} {:?}", token.presented(), token.presented().lookup_id());
        assert!(!printed.contains(token.presented().lookup_id().as_str()));
        assert!(!printed.contains(&token.expose()[4..]));
    }

    proptest! {
        #[test]
        fn reads_back_what_it_makes(random in proptest::collection::vec(0u8..248, RANDOM_BYTES)) {
            let random: [u8; RANDOM_BYTES] = random.try_into().unwrap();
            let token = TokenText::from_random(PREFIX, &random).unwrap();
            let presented = PresentedToken::parse(token.expose().as_bytes()).unwrap();
            prop_assert_eq!(presented.secret_bytes().as_slice(), token.expose().as_bytes());
            prop_assert_eq!(LookupId::from_stored(presented.lookup_id().as_str()), Some(presented.lookup_id()));
        }

        #[test]
        fn arbitrary_bytes_are_refused_or_reproduced(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            if let Ok(presented) = PresentedToken::parse(&bytes) {
                prop_assert_eq!(presented.secret_bytes().as_slice(), bytes.as_slice());
            }
        }

        #[test]
        fn a_right_shape_with_a_wrong_checksum_is_refused(tail in "[0-9A-Za-z]{6}") {
            let token = token(9);
            let text = format!("{}{tail}", &token.expose()[..TOKEN_LEN - CHECKSUM_LEN]);
            prop_assert_eq!(PresentedToken::parse(text.as_bytes()).is_ok(), text == token.expose());
        }
    }
}
