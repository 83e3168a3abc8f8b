//! Percent-encoding (RFC 3986 § 2.1), decoded once. What is encoded twice is text to whoever decodes once.

/// The bytes of `text`, each with the offset at which it begins there. A `%` without two digits behind it stands for itself.
pub fn decoded(text: &[u8]) -> impl Iterator<Item = (usize, u8)> {
    let digit = |at: usize| text.get(at).and_then(|&byte| char::from(byte).to_digit(16));
    let mut next = 0;
    std::iter::from_fn(move || {
        let at = next;
        let byte = *text.get(at)?;
        let encoded = if byte == b'%' { digit(at + 1).zip(digit(at + 2)) } else { None };
        next += if encoded.is_some() { 3 } else { 1 };
        Some((at, encoded.map_or(byte, |(high, low)| (high << 4 | low) as u8)))
    })
}

/// The bytes alone.
pub fn decode(text: &[u8]) -> Vec<u8> {
    decoded(text).map(|(_, byte)| byte).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_encodings_are_decoded_and_others_stay() {
        for (text, expected) in
            [("a%5Fb%5f", "a_b_"), ("%62gw", "bgw"), ("%255F", "%5F"), ("%", "%"), ("%5", "%5"), ("%zz_", "%zz_")]
        {
            assert_eq!(decode(text.as_bytes()), expected.as_bytes(), "{text}");
        }
        assert_eq!(decoded(b"a%20b").collect::<Vec<_>>(), [(0, b'a'), (1, b' '), (4, b'b')]);
    }
}
