//! Streams of HTTP/2 that the library refuses by itself: a malformed request, a header that is far too large, a stream too
//! many. It tells nobody. So the gateway looks at the heads of the frames (RFC 9113 § 4.1): a stream that the caller has
//! opened and the library has not handed over is one that it has refused.

use std::sync::{Mutex, MutexGuard, PoisonError};

use h2::Reason;

const PREFACE: usize = 24;
const FRAME_HEAD: usize = 9;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const CONTINUATION: u8 = 9;
const END_HEADERS: u8 = 4;

/// How the library has refused a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It has answered 431.
    HeaderTooLarge,
    Reset(Reason),
    /// It will say so later.
    Unsaid,
}

/// The streams of one connection. The connection's bytes and its task share it.
pub struct Streams(Mutex<Ledger>);

struct Ledger {
    received: FrameHeads,
    sent: FrameHeads,
    /// Those whose header is complete, and that [`Streams::refused`] has not told apart yet.
    opened: Vec<(u32, Refusal)>,
    /// How many of them are requests.
    handed_over: usize,
    newest: u32,
    /// The newest one's header goes on in CONTINUATION.
    goes_on: bool,
    /// Whether the library has read all that came.
    waits: bool,
}

impl Default for Streams {
    fn default() -> Self {
        Self(Mutex::new(Ledger {
            received: FrameHeads { skip: PREFACE, ..FrameHeads::default() },
            sent: FrameHeads::default(),
            opened: Vec::new(),
            handed_over: 0,
            newest: 0,
            goes_on: false,
            waits: false,
        }))
    }
}

impl Streams {
    /// Takes the next bytes from the caller, which the library gets.
    pub fn received(&self, bytes: &[u8]) {
        let Ledger { received, opened, newest, goes_on, waits, .. } = &mut *self.ledger();
        *waits = bytes.is_empty();
        received.walk(bytes, |frame| {
            match frame.kind {
                HEADERS if frame.stream > *newest => (*newest, *goes_on) = (frame.stream, true),
                CONTINUATION => {}
                // The trailers of an older one.
                _ => return,
            }
            if *goes_on && frame.flags & END_HEADERS != 0 {
                *goes_on = false;
                opened.push((*newest, Refusal::Unsaid));
            }
        });
    }

    /// The library has read all that came, and wants more.
    pub fn waits(&self) {
        self.ledger().waits = true;
    }

    /// Takes the next bytes to the caller.
    pub fn sent(&self, bytes: &[u8]) {
        let Ledger { sent, opened, .. } = &mut *self.ledger();
        sent.walk(bytes, |frame| {
            let refusal = match frame.kind {
                HEADERS => Refusal::HeaderTooLarge,
                RST_STREAM => Refusal::Reset(frame.start.into()),
                _ => return,
            };
            let stream = opened.iter_mut().find(|(stream, said)| *stream == frame.stream && *said == Refusal::Unsaid);
            if let Some((_, said)) = stream {
                *said = refusal;
            }
        });
    }

    /// The library has handed a request over.
    pub fn handed_over(&self) {
        self.ledger().handed_over += 1;
    }

    /// What the library has refused since the last call. To be called when the connection was polled: by then it has handed
    /// over what it does not refuse, and no request's task has run since, so that what was sent on a new stream is its own
    /// word. If it could not read on for a while, because the caller does not, requests may have been answered meanwhile:
    /// then the number is right, and how each was refused may be another's.
    pub fn refused(&self) -> Vec<Refusal> {
        let ledger = &mut *self.ledger();
        if !ledger.waits || ledger.opened.is_empty() {
            return Vec::new();
        }
        let mut refused: Vec<Refusal> = ledger.opened.drain(..).map(|(_, refusal)| refusal).collect();
        // Those of which nothing was said come last, and are the requests.
        refused.sort_by_key(|refusal| *refusal == Refusal::Unsaid);
        refused.truncate(refused.len().saturating_sub(std::mem::take(&mut ledger.handed_over)));
        refused
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Frame {
    kind: u8,
    flags: u8,
    stream: u32,
    /// The first four bytes of what it carries, or 0.
    start: u32,
}

/// Finds the frames in the bytes of one direction.
#[derive(Default)]
struct FrameHeads {
    /// Bytes to pass over.
    skip: usize,
    /// Of the head, and of what RST_STREAM carries.
    head: [u8; FRAME_HEAD + 4],
    filled: usize,
}

impl FrameHeads {
    /// Calls `see` for each frame that is complete.
    fn walk(&mut self, mut bytes: &[u8], mut see: impl FnMut(Frame)) {
        loop {
            let skipped = self.skip.min(bytes.len());
            self.skip -= skipped;
            bytes = &bytes[skipped..];
            if self.skip > 0 {
                return;
            }
            if let Some(frame) = self.frame().filter(|_| self.filled == self.wanted()) {
                self.filled = 0;
                see(frame);
            }
            let Some((&byte, rest)) = bytes.split_first() else { return };
            self.head[self.filled] = byte;
            self.filled += 1;
            bytes = rest;
            if self.filled == self.wanted() {
                self.skip = self.length() - (self.filled - FRAME_HEAD);
            }
        }
    }

    /// How many bytes of the frame are kept.
    fn wanted(&self) -> usize {
        let is_reset = self.filled >= FRAME_HEAD && self.head[3] == RST_STREAM;
        FRAME_HEAD + if is_reset { self.length().min(4) } else { 0 }
    }

    fn length(&self) -> usize {
        let [high, middle, low, ..] = self.head;
        usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low)
    }

    fn frame(&self) -> Option<Frame> {
        let [_, _, _, kind, flags, a, b, c, d, start @ ..] = self.head;
        let start = if self.filled == self.head.len() { u32::from_be_bytes(start) } else { 0 };
        (self.filled >= FRAME_HEAD).then(|| Frame {
            kind,
            flags,
            stream: u32::from_be_bytes([a & 0x7f, b, c, d]),
            start,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
    }

    /// In pieces of `size`.
    fn refused(size: usize, received: &[Vec<u8>], handed_over: usize, sent: &[Vec<u8>]) -> Vec<Refusal> {
        let streams = Streams::default();
        let received = [&[b'x'; PREFACE][..], &received.concat()].concat();
        received.chunks(size).for_each(|piece| streams.received(piece));
        assert_eq!(streams.refused(), [], "the library may have more to read");
        streams.waits();
        (0..handed_over).for_each(|_| streams.handed_over());
        sent.concat().chunks(size).for_each(|piece| streams.sent(piece));
        let refused = streams.refused();
        assert_eq!(streams.refused(), [], "they were told already");
        refused
    }

    #[test]
    fn what_is_not_handed_over_is_refused() {
        let opened = |stream| frame(HEADERS, END_HEADERS, stream, b"fields");
        let reset = |stream, reason: Reason| frame(RST_STREAM, 0, stream, &u32::from(reason).to_be_bytes());
        let settings = frame(4, 0, 0, &[0; 12]);
        for size in [1, 2, 13, 1000] {
            let refused = |received: &[_], handed_over, sent: &[_]| refused(size, received, handed_over, sent);
            assert_eq!(refused(&[opened(1), opened(3)], 2, std::slice::from_ref(&settings)), []);
            let protocol = Refusal::Reset(Reason::PROTOCOL_ERROR);
            assert_eq!(refused(&[opened(1)], 0, &[reset(1, Reason::PROTOCOL_ERROR)]), [protocol]);
            assert_eq!(refused(&[opened(1)], 0, &[]), [Refusal::Unsaid]);
            assert_eq!(refused(&[opened(1)], 0, &[frame(HEADERS, END_HEADERS, 1, b"431")]), [Refusal::HeaderTooLarge]);
            let among = [opened(1), frame(0, 1, 1, b"body"), opened(3), opened(5), frame(0, 0, 5, b"")];
            assert_eq!(refused(&among, 2, &[settings.clone(), reset(3, Reason::PROTOCOL_ERROR)]), [protocol]);
            // A reset of a stream that was told apart before.
            assert_eq!(refused(&[opened(3)], 1, &[reset(1, Reason::CANCEL)]), []);
        }
    }

    #[test]
    fn a_stream_begins_when_its_header_is_complete() {
        let start = frame(HEADERS, 0, 1, b"fie");
        let end = frame(CONTINUATION, END_HEADERS, 1, b"lds");
        for size in [1, 5, 1000] {
            assert_eq!(refused(size, std::slice::from_ref(&start), 0, &[]), []);
            assert_eq!(refused(size, &[start.clone(), end.clone()], 0, &[]), [Refusal::Unsaid]);
            // Trailers open nothing.
            let trailers = frame(HEADERS, END_HEADERS, 1, b"");
            assert_eq!(refused(size, &[start.clone(), end.clone(), trailers], 1, &[]), []);
        }
    }
}
