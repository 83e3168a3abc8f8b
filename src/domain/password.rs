//! Which passwords may be set.

const MIN_CHARS: usize = 12;
/// Argon2 takes more, but then a request could make the gateway hash megabytes.
pub const MAX_PASSWORD_BYTES: usize = 1024;

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPassword {
    #[error("the password has {0} characters; expected at least {MIN_CHARS}")]
    TooShort(usize),
    #[error("the password has {0} bytes; expected at most {MAX_PASSWORD_BYTES}")]
    TooLong(usize),
}

/// # Errors
/// [`InvalidPassword`] if the password is too short or too long.
pub fn check(password: &str) -> Result<(), InvalidPassword> {
    match (password.chars().count(), password.len()) {
        (chars, _) if chars < MIN_CHARS => Err(InvalidPassword::TooShort(chars)),
        (_, bytes) if bytes > MAX_PASSWORD_BYTES => Err(InvalidPassword::TooLong(bytes)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths() {
        assert_eq!(check("twelve chars"), Ok(()));
        assert_eq!(check("ääääääääääää"), Ok(()));
        assert_eq!(check("eleven char"), Err(InvalidPassword::TooShort(11)));
        assert_eq!(check(&"a".repeat(1024)), Ok(()));
        assert_eq!(check(&"a".repeat(1025)), Err(InvalidPassword::TooLong(1025)));
    }
}
