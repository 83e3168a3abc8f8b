//! Reads the head of a response, in whatever pieces it comes.

use bytes::BytesMut;
use http::Method;

use super::{
    head::{self, MAX_HEAD, ResponseHead},
    pieces::Pieces,
};
use crate::proxy::rejection::Malformed;

/// A head on its way.
#[derive(Debug, Default)]
pub struct HeadReader(Pieces);

impl HeadReader {
    /// Takes a head off `buffer`, to which bytes were only added since the last call. `None`: it is not complete yet.
    ///
    /// # Errors
    /// [`Malformed`].
    pub fn take(&mut self, buffer: &mut BytesMut, method: &Method) -> Result<Option<ResponseHead>, Malformed> {
        if self.0.are_due(buffer, MAX_HEAD) { self.parse(buffer, method) } else { Ok(None) }
    }

    /// Says of bytes that nothing follows what is wrong with them, if they cannot be the start of a head.
    ///
    /// # Errors
    /// [`Malformed`].
    pub fn check_rest(&mut self, buffer: &mut BytesMut, method: &Method) -> Result<(), Malformed> {
        self.parse(buffer, method).map(drop)
    }

    fn parse(&mut self, buffer: &mut BytesMut, method: &Method) -> Result<Option<ResponseHead>, Malformed> {
        let head = head::take(buffer, method)?;
        match head {
            Some(_) => *self = Self::default(),
            None => self.0.were_parsed(buffer),
        }
        Ok(head)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_no_head_is_refused_before_it_ends() {
        let mut buffer = BytesMut::from("SSH-2.0-x\r\n");
        assert!(HeadReader::default().take(&mut buffer, &Method::GET).is_err());
        // Where it comes in pieces, at the latest when nothing follows.
        let (mut reader, mut buffer) = (HeadReader::default(), BytesMut::from("HTTP/1.1 200 OK\r\n"));
        assert!(reader.take(&mut buffer, &Method::GET).unwrap().is_none());
        buffer.extend_from_slice(b"x a\r\n");
        assert!(reader.take(&mut buffer, &Method::GET).unwrap().is_none());
        assert!(reader.check_rest(&mut buffer, &Method::GET).is_err());
    }

    proptest! {
        /// In whatever pieces it comes, a head is what it is in one.
        #[test]
        fn pieces_do_not_matter(
            bytes in "(\r?\n){0,2}HTTP/1.[01] (200|100|999) ?(O|\r|\n)?\r?\n((a|b-c|content-length) ?: ?(1|x|\r|\n){0,3}\r?\n){0,3}\r?\n?x{0,2}",
            sizes in proptest::collection::vec(1_usize..7, 1..4),
        ) {
            let mut whole = BytesMut::from(&*bytes);
            let expected = head::take(&mut whole, &Method::GET).map(|head| head.map(|head| format!("{head:?}")));
            let (mut reader, mut buffer, mut rest) = (HeadReader::default(), BytesMut::new(), bytes.as_bytes());
            let mut sizes = sizes.iter().cycle();
            let read = loop {
                let (piece, behind) = rest.split_at(rest.len().min(*sizes.next().unwrap()));
                buffer.extend_from_slice(piece);
                rest = behind;
                match reader.take(&mut buffer, &Method::GET) {
                    Ok(None) if rest.is_empty() => break reader.check_rest(&mut buffer, &Method::GET).map(|()| None),
                    Ok(None) => {}
                    done => break done.map(|head| head.map(|head| format!("{head:?}"))),
                }
            };
            match (read, expected) {
                (Ok(read), Ok(expected)) => {
                    let complete = read.is_some();
                    prop_assert_eq!(read, expected);
                    prop_assert!(!complete || buffer.len() + rest.len() == whole.len());
                }
                // Which of several faults is named depends on how much has come.
                (read, expected) => prop_assert_eq!(read.is_err(), expected.is_err()),
            }
        }
    }
}
