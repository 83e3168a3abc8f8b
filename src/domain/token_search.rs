//! Finds tokens in text that should not contain any: by prefix and checksum, so offline and without false alarms.

use memchr::{memchr_iter, memmem, memrchr};

use super::token_text::{PREFIX, PresentedToken, TOKEN_LEN};

/// Searches a stream piece by piece. It also finds a token that lies across two pieces, and one in UTF-16 of either byte
/// order, with or without a mark: every other byte of that is the text.
#[derive(Default)]
pub struct TokenSearch {
    plain: Lane,
    /// Of the bytes at even and at odd offsets.
    wide: [Lane; 2],
    /// Bytes that were read.
    length: u64,
}

/// A stream of bytes of which each is a character of a token.
#[derive(Default)]
struct Lane {
    /// The end of what was read, which may be the beginning of a token.
    rest: Vec<u8>,
    /// Bytes before `rest`.
    offset: u64,
    /// Line breaks before `rest`.
    lines: u64,
    /// Bytes between the last line break and `rest`.
    column: u64,
}

/// Where a token begins. It contains no part of the token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Location {
    /// From 1.
    pub line: u64,
    /// In bytes, from 1.
    pub column: u64,
    /// In bytes, from 0.
    pub offset: u64,
}

impl TokenSearch {
    /// The tokens that end in this piece. A token inside a longer word counts, too: a leak is a leak.
    pub fn read(&mut self, piece: &[u8]) -> Vec<Location> {
        let mut found = self.plain.read(piece);
        for (parity, lane) in self.wide.iter_mut().enumerate() {
            let first = (parity as u64 + self.length) % 2;
            let bytes: Vec<u8> = piece.iter().skip(first as usize).step_by(2).copied().collect();
            let wide = |at: u64| at * 2 + parity as u64;
            found.extend(lane.read(&bytes).into_iter().map(|Location { line, column, offset }| Location {
                line,
                column: wide(column - 1) + 1,
                offset: wide(offset),
            }));
        }
        self.length += piece.len() as u64;
        found.sort_by_key(|location| location.offset);
        found
    }
}

impl Lane {
    fn read(&mut self, piece: &[u8]) -> Vec<Location> {
        self.rest.extend_from_slice(piece);
        let mut found = Vec::new();
        let (mut after, mut at) = (0, 0);
        while let Some(next) = memmem::find(&self.rest[at..], PREFIX.as_bytes()) {
            let begin = at + next;
            let Some(text) = self.rest.get(begin..begin + TOKEN_LEN) else { break };
            if PresentedToken::parse(text).is_ok() {
                found.push(self.location(begin));
                after = begin + TOKEN_LEN;
                at = after;
            } else {
                at = begin + 1;
            }
        }
        self.forget(after.max(self.rest.len().saturating_sub(TOKEN_LEN - 1)));
        found
    }

    fn location(&self, at: usize) -> Location {
        let before = &self.rest[..at];
        let lines = memchr_iter(b'\n', before).count() as u64;
        let column = match memrchr(b'\n', before) {
            Some(line_break) => (at - line_break - 1) as u64,
            None => self.column + at as u64,
        };
        Location { line: self.lines + lines + 1, column: column + 1, offset: self.offset + at as u64 }
    }

    fn forget(&mut self, end: usize) {
        let Location { line, column, offset } = self.location(end);
        (self.lines, self.column, self.offset) = (line - 1, column - 1, offset);
        self.rest.drain(..end);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::system;

    fn search(pieces: &[&[u8]]) -> Vec<Location> {
        let mut search = TokenSearch::default();
        pieces.iter().flat_map(|piece| search.read(piece)).collect()
    }

    fn token() -> String {
        system::new_token_text().unwrap().expose().to_owned()
    }

    #[test]
    fn places() {
        let token = token();
        let text = format!("a\nb{token}{token}\n\"{token}\"x{token}9");
        let expected = [(2, 2), (2, 68), (3, 2), (3, 70)];
        let found = search(&[text.as_bytes()]);
        assert_eq!(found.iter().map(|place| (place.line, place.column)).collect::<Vec<_>>(), expected);
        for place in found {
            assert!(text[usize::try_from(place.offset).unwrap()..].starts_with(&token));
        }
    }

    #[test]
    fn what_is_no_token() {
        let token = token();
        let last = if token.ends_with('0') { '1' } else { '0' };
        let mistyped = format!("{}{last}", &token[..TOKEN_LEN - 1]);
        for text in [mistyped.as_str(), &token[..TOKEN_LEN - 1], &token[1..], "bgw_", "bgw_bgw_"] {
            assert_eq!(search(&[text.as_bytes()]), []);
        }
        assert_eq!(search(&[b"bgw_", token.as_bytes()]).len(), 1);
    }

    #[test]
    fn utf_16_of_either_byte_order() {
        let token = token();
        let text = format!("first\r\n$env:TOKEN = '{token}'\r\n{token}");
        for order in [u16::to_le_bytes, u16::to_be_bytes] {
            let bytes: Vec<u8> = text.encode_utf16().flat_map(order).collect();
            for mark in [&[][..], &order(0xfeff), b"x"] {
                let wide = [mark, &bytes].concat();
                let found = search(&[&wide]);
                assert_eq!(found.iter().map(|place| place.line).collect::<Vec<_>>(), [2, 3], "{mark:?}");
                for place in &found {
                    assert_eq!(wide[usize::try_from(place.offset).unwrap()], b'b');
                }
                for size in [1, 2, 3, 7, 64] {
                    assert_eq!(search(&wide.chunks(size).collect::<Vec<_>>()), found, "{size}");
                }
            }
        }
    }

    proptest! {
        #[test]
        fn however_it_comes_in_pieces(
            before in prop::collection::vec(any::<u8>(), 0..200),
            after in prop::collection::vec(any::<u8>(), 0..200),
            size in 1_usize..100,
        ) {
            let text = [before.as_slice(), token().as_bytes(), &after].concat();
            let pieces: Vec<&[u8]> = text.chunks(size).collect();
            let found = search(&pieces);
            prop_assert_eq!(&found, &search(&[&text]));
            prop_assert_eq!(found.len(), 1);
            prop_assert_eq!(found[0].offset, before.len() as u64);
            let lines = before.iter().filter(|byte| **byte == b'\n').count() as u64;
            prop_assert_eq!(found[0].line, lines + 1);
        }

        #[test]
        fn nothing_in_noise(noise in prop::collection::vec(any::<u8>(), 0..2000)) {
            prop_assert_eq!(search(&[&noise]), []);
        }
    }
}
