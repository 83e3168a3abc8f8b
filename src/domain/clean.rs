//! Characters that nobody sees: editors and shells put them at the ends of files and values, and two values that look the
//! same are not.

use std::{borrow::Cow, fmt};

/// Why a file is no text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotText {
    #[error("it is UTF-16, as PowerShell's > writes it; save it as UTF-8")]
    Utf16,
    #[error("it is not UTF-8")]
    NotUtf8,
}

/// What is wrong with a value. It holds nothing of the value but that one character.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unclean {
    /// The first of them.
    Hidden(char),
    OuterBlank,
}

/// The bytes of a text file without its byte order mark.
///
/// # Errors
/// [`NotText::Utf16`]. Whether it is UTF-8 is not looked at.
pub fn without_mark(bytes: &[u8]) -> Result<&[u8], NotText> {
    let wide =
        |bytes: &[u8]| matches!(bytes, [0xff, 0xfe, ..] | [0xfe, 0xff, ..] | [0, 1..=0x7f, ..] | [1..=0x7f, 0, ..]);
    if wide(bytes) { Err(NotText::Utf16) } else { Ok(bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes)) }
}

/// The text of a file.
///
/// # Errors
/// [`NotText`].
pub fn text_of(bytes: &[u8]) -> Result<&str, NotText> {
    std::str::from_utf8(without_mark(bytes)?).map_err(|_| NotText::NotUtf8)
}

/// The value that a file consists of: its text without the line ends after it.
///
/// # Errors
/// [`NotText`].
pub fn value_of(bytes: &[u8]) -> Result<&str, NotText> {
    Ok(text_of(bytes)?.trim_end_matches(['\r', '\n']))
}

/// Whether somebody who reads the value sees all of it.
///
/// # Errors
/// [`Unclean`].
pub fn check(value: &str) -> Result<(), Unclean> {
    if let Some(hidden) = value.chars().find(|c| c.is_control() || *c == '\u{feff}') {
        return Err(Unclean::Hidden(hidden));
    }
    if value.trim() == value { Ok(()) } else { Err(Unclean::OuterBlank) }
}

impl fmt::Display for Unclean {
    /// Continues the sentence that begins with the name of the value.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name: Cow<'static, str> = match self {
            Self::OuterBlank => return f.write_str("begins or ends with a blank"),
            Self::Hidden('\r') => "a carriage return (\\r)".into(),
            Self::Hidden('\n') => "a line feed (\\n)".into(),
            Self::Hidden('\t') => "a tab (\\t)".into(),
            Self::Hidden('\u{feff}') => "a byte order mark (\\u{feff})".into(),
            Self::Hidden(other) => format!("the control character {}", other.escape_unicode()).into(),
        };
        write!(f, "holds {name}, which is not seen")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_read_without_what_editors_add() {
        for (bytes, value) in [
            (&b"value"[..], Ok("value")),
            (b"value\n", Ok("value")),
            (b"value\r\n\r\n", Ok("value")),
            (b"\xef\xbb\xbfvalue\n", Ok("value")),
            (b"\xef\xbb\xbf\xef\xbb\xbfvalue", Ok("\u{feff}value")),
            (b" value ", Ok(" value ")),
            (b"", Ok("")),
            (b"\xff\xfev\0a\0", Err(NotText::Utf16)),
            (b"\xfe\xff\0v\0a", Err(NotText::Utf16)),
            (b"v\0a\0", Err(NotText::Utf16)),
            (b"\0v\0a", Err(NotText::Utf16)),
            (b"\xe4", Err(NotText::NotUtf8)),
        ] {
            assert_eq!(value_of(bytes), value, "{bytes:?}");
        }
    }

    #[test]
    fn what_nobody_sees_is_named() {
        for (value, told) in [
            ("a\r", "\\r"),
            ("a\nb", "\\n"),
            ("a\tb", "\\t"),
            ("\u{feff}a", "byte order mark"),
            ("a\u{0}", "\\u{0}"),
            ("a\u{1b}[2J", "\\u{1b}"),
            ("a\u{85}", "\\u{85}"),
            (" a", "blank"),
            ("a\u{a0}", "blank"),
        ] {
            let unclean = check(value).unwrap_err().to_string();
            assert!(unclean.contains(told) && !unclean.chars().any(char::is_control), "{value:?}: {unclean}");
        }
        for value in ["", "a b", "Größe 👩‍👩‍👧", "päß wörd"] {
            assert_eq!(check(value), Ok(()));
        }
    }
}
