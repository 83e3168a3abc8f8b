//! The streams of a connection of HTTP/2, as the heads of its frames show them, and what the library does not tell.
//!
//! It refuses some streams by itself: a malformed request, a header that is far too large, a stream too many. The library gets
//! one header at a time. By the time it asks for more, it has handed that stream over, or has refused it.
//!
//! And it takes of a response what its caller has opened no window for, up to some size. The line of such a request waits
//! until the last frame of its stream is written.

use std::{
    ops::ControlFlow,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use h2::Reason;

use super::frame_heads::{CONTINUATION, DATA, FrameHeads, HEADERS, RST_STREAM};
use crate::telemetry::{line::RequestOutcome, unsent::UnsentLine};

/// How the library has refused a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It has answered 431.
    HeaderTooLarge,
    Reset(Reason),
    /// It will say so later.
    Unsaid,
}

/// The streams of one connection. The connection's bytes, its task and its requests share it.
pub struct Streams(Mutex<Ledger>);

struct Ledger {
    received: FrameHeads,
    sent: FrameHeads,
    newest: u32,
    /// The newest one's header goes on in CONTINUATION.
    goes_on: bool,
    /// The stream whose header is complete, until the library has handed it over or refused it.
    opened: Option<(u32, Refusal)>,
    /// Whether the library has asked for what comes behind that header.
    asked: bool,
    /// The stream whose last frame is HEADERS that goes on in CONTINUATION, or 0.
    ending: u32,
    requests: Vec<Request>,
}

/// A request from when the library hands it over until both it and its stream have ended.
struct Request {
    stream: u32,
    /// `None`: the response is not all there yet. Else how long the caller may take nothing of what is left.
    limit: Option<Duration>,
    /// Of one whose response the library has all of.
    line: Option<UnsentLine>,
    /// How its stream has ended: `Complete` if the last frame of the response was written.
    end: Option<RequestOutcome>,
}

impl Default for Streams {
    fn default() -> Self {
        Self(Mutex::new(Ledger {
            received: FrameHeads::after_preface(),
            sent: FrameHeads::default(),
            newest: 0,
            goes_on: false,
            opened: None,
            asked: false,
            ending: 0,
            requests: Vec::new(),
        }))
    }
}

impl Streams {
    /// Whether the library is to get nothing more now.
    pub fn holds_back(&self) -> bool {
        let ledger = &mut *self.ledger();
        ledger.asked = ledger.opened.is_some();
        ledger.asked
    }

    /// Takes bytes of the caller's up to the end of the next header. Returns how many: the library may have those.
    pub fn received(&self, bytes: &[u8]) -> usize {
        let Ledger { received, opened, newest, goes_on, requests, .. } = &mut *self.ledger();
        received.walk(bytes, |frame| {
            match frame.kind {
                HEADERS if frame.stream > *newest => (*newest, *goes_on) = (frame.stream, true),
                CONTINUATION => {}
                RST_STREAM => {
                    end(requests, frame.stream, RequestOutcome::CallerLeft);
                    return ControlFlow::Continue(());
                }
                // The trailers of an older one, or no header.
                _ => return ControlFlow::Continue(()),
            }
            if *goes_on && frame.ends_headers() {
                *goes_on = false;
                *opened = Some((*newest, Refusal::Unsaid));
                return ControlFlow::Break(());
            }
            ControlFlow::Continue(())
        })
    }

    /// Takes the next bytes to the caller: whether any are of a response.
    pub fn sent(&self, bytes: &[u8]) -> bool {
        let Ledger { sent, opened, ending, requests, .. } = &mut *self.ledger();
        let mut of_response = false;
        sent.walk(bytes, |frame| {
            let refusal = match frame.kind {
                RST_STREAM => {
                    end(requests, frame.stream, RequestOutcome::CallerLeft);
                    Refusal::Reset(frame.start.into())
                }
                HEADERS | DATA | CONTINUATION => {
                    of_response = true;
                    if frame.kind != CONTINUATION && frame.ends_stream() {
                        *ending = frame.stream;
                    }
                    if *ending == frame.stream && (frame.kind == DATA || frame.ends_headers()) {
                        *ending = 0;
                        end(requests, frame.stream, RequestOutcome::Complete);
                    }
                    Refusal::HeaderTooLarge
                }
                _ => return ControlFlow::Continue(()),
            };
            if let Some((_, said)) = opened.as_mut().filter(|opened| *opened == &(frame.stream, Refusal::Unsaid)) {
                *said = refusal;
            }
            ControlFlow::Continue(())
        });
        of_response || sent.is_within_data()
    }

    /// The library has handed a request over. Its stream; `None`: none is known.
    pub fn handed_over(&self) -> Option<u32> {
        let ledger = &mut *self.ledger();
        let (stream, _) = ledger.opened.take()?;
        ledger.requests.push(Request { stream, limit: None, line: None, end: None });
        Some(stream)
    }

    /// The stream that the library has refused. To be called when the connection was polled, and to be followed by another poll
    /// if there is one: the library waits for nothing then.
    pub fn refused(&self) -> Option<Refusal> {
        let ledger = &mut *self.ledger();
        let (_, refusal) = ledger.opened.take_if(|_| ledger.asked)?;
        Some(refusal)
    }

    /// All that is left of the response waits for the caller, which may take nothing of it for `limit`.
    pub fn rests(&self, stream: u32, limit: Duration) {
        if let Some(request) = self.ledger().requests.iter_mut().find(|request| request.stream == stream) {
            request.limit = Some(limit);
        }
    }

    /// The library has got all of a response. Its line is pushed when that is written, or will never be.
    pub fn responded(&self, stream: u32, line: UnsentLine) {
        let requests = &mut self.ledger().requests;
        let Some(at) = requests.iter().position(|request| request.stream == stream) else { return line.push() };
        match requests[at].end {
            Some(outcome) => {
                requests.swap_remove(at);
                line.push_as(outcome);
            }
            None => requests[at].line = Some(line),
        }
    }

    /// The request has ended without a whole response.
    pub fn left(&self, stream: u32) {
        self.ledger().requests.retain(|request| request.stream != stream);
    }

    /// Pushes the lines of streams that have ended: whether there were any. `flushed`: all that was written has left.
    pub fn push_ended(&self, flushed: bool) -> bool {
        let requests = &mut self.ledger().requests;
        let before = requests.len();
        let arrived = |end: RequestOutcome| flushed || end != RequestOutcome::Complete;
        for request in requests.extract_if(.., |request| request.line.is_some() && request.end.is_some_and(arrived)) {
            if let (Some(line), Some(outcome)) = (request.line, request.end) {
                line.push_as(outcome);
            }
        }
        requests.len() < before
    }

    /// How long the caller may take nothing, if all that is left waits for it. `None`: nothing does.
    pub fn longest_wait(&self) -> Option<Duration> {
        self.ledger().requests.iter().filter_map(|request| request.limit).max()
    }

    /// The connection is gone: whatever was not written by then has ended so.
    pub fn end(&self, outcome: RequestOutcome) {
        self.ledger().requests.retain_mut(|request| {
            request.end = Some(outcome);
            request.line.take().map(|line| line.push_as(outcome)).is_none()
        });
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Notes the first end of a stream.
fn end(requests: &mut [Request], stream: u32, outcome: RequestOutcome) {
    if let Some(request) = requests.iter_mut().find(|request| request.stream == stream) {
        request.end.get_or_insert(outcome);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const END_HEADERS: u8 = 4;

    fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
    }

    fn opened(stream: u32) -> Vec<u8> {
        frame(HEADERS, END_HEADERS, stream, b"fields")
    }

    /// Hands a library, in pieces of `size`, what comes. It takes the streams in `takes` for requests, and answers each other
    /// one as `sent` says. What it has refused.
    fn refused(size: usize, received: &[Vec<u8>], takes: &[u32], sent: &[Vec<u8>]) -> Vec<Refusal> {
        let streams = Streams::default();
        let received = [&[b'x'; 24][..], &received.concat()].concat();
        let mut refused = Vec::new();
        let mut answers = sent.iter();
        for mut piece in received.chunks(size) {
            while !piece.is_empty() {
                assert!(!streams.holds_back());
                piece = &piece[streams.received(piece)..];
                assert_eq!(streams.refused(), None, "the library has not asked for more");
                if !streams.holds_back() {
                    continue;
                }
                let stream = streams.ledger().opened.map(|(stream, _)| stream);
                if stream.is_some_and(|stream| takes.contains(&stream)) {
                    assert_eq!(streams.handed_over(), stream);
                    assert_eq!(streams.refused(), None);
                } else {
                    answers.next().into_iter().flat_map(|answer| answer.chunks(size)).for_each(|bytes| {
                        streams.sent(bytes);
                    });
                    refused.extend(streams.refused());
                }
            }
        }
        refused
    }

    #[test]
    fn what_is_not_handed_over_is_refused() {
        let reset = |stream, reason: Reason| frame(RST_STREAM, 0, stream, &u32::from(reason).to_be_bytes());
        let settings = frame(4, 0, 0, &[0; 12]);
        let protocol = Refusal::Reset(Reason::PROTOCOL_ERROR);
        for size in [1, 2, 13, 1000] {
            let refused = |received: &[_], takes: &[_], sent: &[_]| refused(size, received, takes, sent);
            assert_eq!(refused(&[opened(1), opened(3)], &[1, 3], &[]), []);
            assert_eq!(refused(&[opened(1)], &[], &[reset(1, Reason::PROTOCOL_ERROR)]), [protocol]);
            assert_eq!(refused(&[opened(1)], &[], std::slice::from_ref(&settings)), [Refusal::Unsaid]);
            assert_eq!(
                refused(&[opened(1)], &[], &[frame(HEADERS, END_HEADERS, 1, b"431")]),
                [Refusal::HeaderTooLarge]
            );
            let among = [opened(1), frame(DATA, 1, 1, b"body"), opened(3), opened(5), frame(DATA, 0, 5, b"")];
            assert_eq!(refused(&among, &[1, 5], &[reset(3, Reason::PROTOCOL_ERROR)]), [protocol]);
            // A reset of a stream that was told apart before.
            assert_eq!(refused(&[opened(3)], &[], &[reset(1, Reason::CANCEL)]), [Refusal::Unsaid]);
        }
    }

    #[test]
    fn a_stream_begins_when_its_header_is_complete() {
        let start = frame(HEADERS, 0, 1, b"fie");
        let end = frame(CONTINUATION, END_HEADERS, 1, b"lds");
        for size in [1, 5, 1000] {
            assert_eq!(refused(size, std::slice::from_ref(&start), &[], &[]), []);
            assert_eq!(refused(size, &[start.clone(), end.clone()], &[], &[]), [Refusal::Unsaid]);
            // Trailers open nothing.
            let trailers = frame(HEADERS, END_HEADERS, 1, b"");
            assert_eq!(refused(size, &[start.clone(), end.clone(), trailers], &[1], &[]), []);
        }
    }

    /// In pieces of one byte, and how each stream has ended after each frame.
    #[test]
    fn a_stream_has_ended_when_its_last_frame_is_written() {
        let streams = Streams::default();
        streams.received(&[b'x'; 24]);
        for stream in [1, 3, 5, 7] {
            streams.received(&opened(stream));
            streams.handed_over();
        }
        let ends = || streams.ledger().requests.iter().map(|request| request.end).collect::<Vec<_>>();
        let mut expected = [None; 4];
        for (frame, of_response, ended) in [
            (frame(HEADERS, END_HEADERS, 1, b"head"), true, None),
            (frame(DATA, 0, 1, b"body"), true, None),
            (frame(6, 1, 0, b"01234567"), false, None),
            (frame(DATA, 1, 1, b"end"), true, Some((0, RequestOutcome::Complete))),
            (frame(RST_STREAM, 0, 1, &[0; 4]), false, None),
            (frame(HEADERS, 1, 3, b"a long"), true, None),
            (frame(CONTINUATION, END_HEADERS, 3, b" head"), true, Some((1, RequestOutcome::Complete))),
            (frame(HEADERS, 1 | END_HEADERS, 5, b"no body"), true, Some((2, RequestOutcome::Complete))),
            (frame(RST_STREAM, 0, 7, &[0; 4]), false, Some((3, RequestOutcome::CallerLeft))),
        ] {
            for byte in &frame[..frame.len() - 1] {
                streams.sent(std::slice::from_ref(byte));
                assert_eq!(ends(), expected, "{frame:?}");
            }
            assert_eq!(streams.sent(&frame[frame.len() - 1..]), of_response, "{frame:?}");
            if let Some((at, outcome)) = ended {
                expected[at] = Some(outcome);
            }
            assert_eq!(ends(), expected, "{frame:?}");
        }
    }
}
