//! The `Bearer` scheme of `Authorization` (RFC 6750).

/// Another scheme, nothing after it, or more than one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotBearer;

/// The one word after `Bearer`, in any case, and spaces (RFC 9110 § 11.4): no tabs, no list.
///
/// # Errors
/// [`NotBearer`].
pub fn parse(field: &[u8]) -> Result<&[u8], NotBearer> {
    let (scheme, rest) = field.split_at_checked("Bearer ".len()).ok_or(NotBearer)?;
    let spaces = rest.iter().take_while(|&&byte| byte == b' ').count();
    let word = &rest[spaces..];
    // Every byte is looked at, for which the compiler takes many at once.
    let graphic = word.iter().fold(true, |graphic, byte| graphic & byte.is_ascii_graphic());
    if scheme.eq_ignore_ascii_case(b"Bearer ") && !word.is_empty() && graphic { Ok(word) } else { Err(NotBearer) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_word_after_the_scheme() {
        for field in ["Bearer x", "bearer x", "bEARER x", "Bearer    x"] {
            assert_eq!(parse(field.as_bytes()), Ok(b"x".as_slice()), "{field}");
        }
        for field in [
            "",
            "x",
            "Bearer",
            "Bearer ",
            "Bearer  ",
            "Bearerx",
            "Bearer\tx",
            "Bearer \tx",
            "Bearer x ",
            "Bearer x y",
            "Bearer x, Bearer y",
            " Bearer x",
            "Basic x",
            "Bearer ä",
        ] {
            assert_eq!(parse(field.as_bytes()), Err(NotBearer), "{field:?}");
        }
    }
}
