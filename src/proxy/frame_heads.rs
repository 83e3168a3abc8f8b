//! The heads of the frames of HTTP/2 (RFC 9113 § 4.1), found in the bytes of one direction.

use std::ops::ControlFlow;

const PREFACE: usize = 24;
const FRAME_HEAD: usize = 9;
pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const RST_STREAM: u8 = 3;
pub const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

pub struct Frame {
    pub kind: u8,
    flags: u8,
    pub stream: u32,
    /// The first four bytes of what RST_STREAM carries.
    pub start: u32,
}

impl Frame {
    /// Of DATA and HEADERS.
    pub fn ends_stream(&self) -> bool {
        self.flags & END_STREAM != 0
    }

    /// Of HEADERS and CONTINUATION.
    pub fn ends_headers(&self) -> bool {
        self.flags & END_HEADERS != 0
    }
}

#[derive(Default)]
pub struct FrameHeads {
    /// Bytes to pass over.
    skip: usize,
    /// Of the head, and of what RST_STREAM carries.
    head: [u8; FRAME_HEAD + 4],
    filled: usize,
}

impl FrameHeads {
    /// Of the direction that begins with the preface.
    pub fn after_preface() -> Self {
        Self { skip: PREFACE, ..Self::default() }
    }

    /// Calls `ended` at the end of each frame. Returns how many bytes it has passed over: all, unless `ended` breaks off.
    pub fn walk(&mut self, bytes: &[u8], mut ended: impl FnMut(Frame) -> ControlFlow<()>) -> usize {
        let mut rest = bytes;
        loop {
            let skipped = self.skip.min(rest.len());
            self.skip -= skipped;
            rest = &rest[skipped..];
            if self.skip > 0 {
                break;
            }
            if let Some(frame) = self.frame().filter(|_| self.filled == self.wanted()) {
                self.filled = 0;
                if ended(frame).is_break() {
                    break;
                }
            }
            let Some((&byte, behind)) = rest.split_first() else { break };
            self.head[self.filled] = byte;
            self.filled += 1;
            rest = behind;
            if self.filled == self.wanted() {
                self.skip = self.length() - (self.filled - FRAME_HEAD);
            }
        }
        bytes.len() - rest.len()
    }

    /// Whether the last byte belongs to a DATA frame that goes on.
    pub fn is_within_data(&self) -> bool {
        self.filled >= FRAME_HEAD && self.head[3] == DATA
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
