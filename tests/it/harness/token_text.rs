//! Token texts that no gateway has issued.

use bento_gateway::domain::token_text::{PREFIX, PresentedToken, RANDOM_BYTES, SESSION_PREFIX, TokenText};

/// The same lookup id and a right checksum, another secret.
pub fn with_wrong_secret(token: &str) -> String {
    with_secret_of(token, 7)
}

/// The same as often as is said, each with a secret of its own.
pub fn with_wrong_secrets(token: &str, count: usize) -> Vec<String> {
    assert!(count <= 256);
    (0..count).map(|seed| with_secret_of(token, seed as u8)).collect()
}

/// With another last character, whatever that is: the checksum is wrong.
pub fn misspelt(token: &str) -> String {
    let other = if token.ends_with('x') { 'y' } else { 'x' };
    format!("{}{other}", &token[..token.len() - 1])
}

fn with_secret_of(token: &str, seed: u8) -> String {
    let random: [u8; RANDOM_BYTES] = std::array::from_fn(|at| (at as u8).wrapping_mul(31) ^ seed);
    let other = TokenText::from_random(PREFIX, &random).unwrap();
    let split = PREFIX.len() + 13;
    let body = format!("{}{}", &token[..split], &other.expose()[split..other.expose().len() - 6]);
    // The checksum is CRC-32 in base 62.
    let alphabet = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let (mut rest, mut checksum) = (crc32fast::hash(body.as_bytes()), Vec::new());
    for _ in 0..6 {
        checksum.insert(0, alphabet[(rest % 62) as usize]);
        rest /= 62;
    }
    let text = format!("{body}{}", String::from_utf8(checksum).unwrap());
    assert!(PresentedToken::parse(text.as_bytes()).is_ok(), "the test's own mistake");
    text
}

/// A browser session of the right shape, and nobody issued it.
pub fn session(seed: u8) -> String {
    let random: [u8; RANDOM_BYTES] = std::array::from_fn(|at| (at as u8).wrapping_mul(59) ^ seed);
    TokenText::from_random(SESSION_PREFIX, &random).unwrap().expose().to_owned()
}

/// Of the right shape, and nobody issued it.
pub fn unknown_token() -> String {
    let random: [u8; RANDOM_BYTES] = std::array::from_fn(|at| (at as u8).wrapping_mul(53) ^ 0x55);
    TokenText::from_random(PREFIX, &random).unwrap().expose().to_owned()
}
