//! A caller of HTTP/2 that sees and makes every frame.

use std::{
    io::Write,
    net::{SocketAddr, TcpStream},
};

use super::http::{Client, ReadEnd};

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const WINDOW_UPDATE: u8 = 8;
pub const ACK: u8 = 1;
pub const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const CONTINUATION: u8 = 9;
/// SETTINGS_MAX_FRAME_SIZE where nobody has said more.
const MAX_FRAME: usize = 16_384;

#[derive(Clone, Debug)]
pub struct Frame {
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
    pub payload: Vec<u8>,
}

pub struct Frames {
    client: Client<TcpStream>,
}

impl Frames {
    pub fn connect(address: SocketAddr) -> Self {
        Self::connect_with(address, &[])
    }

    /// Says the preface and its SETTINGS, and acknowledges the gateway's.
    pub fn connect_with(address: SocketAddr, settings: &[u8]) -> Self {
        let mut frames = Self { client: Client::connect(address) };
        frames.client.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
        frames.send(SETTINGS, 0, 0, settings);
        frames.find(|frame| frame.kind == SETTINGS && frame.flags == 0);
        frames.send(SETTINGS, ACK, 0, &[]);
        frames
    }

    pub fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        self.try_send(kind, flags, stream, payload).unwrap();
    }

    pub fn try_send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) -> std::io::Result<()> {
        self.write(&frame(kind, flags, stream, payload))
    }

    /// Frames that arrive together.
    pub fn write(&mut self, frames: &[u8]) -> std::io::Result<()> {
        self.client.stream.write_all(frames)
    }

    /// A request without body, its fields in the order given.
    pub fn request(&mut self, stream: u32, fields: &[(&str, impl AsRef<[u8]>)]) {
        self.write(&headers(stream, fields, true)).unwrap();
    }

    /// Asks for a path of a host without a token.
    pub fn get(&mut self, stream: u32, host: &str, path: &str) {
        self.request(stream, &[(":method", "GET"), (":scheme", "http"), (":authority", host), (":path", path)]);
    }

    pub fn next(&mut self) -> Result<Frame, ReadEnd> {
        let head = self.client.exactly(9)?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        let payload = self.client.exactly(length as usize)?;
        Ok(Frame { kind: head[3], flags: head[4], stream, payload })
    }

    /// Reads until such a frame comes.
    pub fn find(&mut self, wanted: impl Fn(&Frame) -> bool) -> Frame {
        loop {
            let frame = self.next().unwrap();
            if wanted(&frame) {
                return frame;
            }
        }
    }

    /// Reads until the stream ends.
    pub fn await_end(&mut self, stream: u32) {
        self.find(|frame| frame.stream == stream && frame.kind <= HEADERS && frame.flags & END_STREAM != 0);
    }

    /// All that still comes, and how it ends.
    pub fn rest(&mut self) -> (Vec<Frame>, ReadEnd) {
        let mut frames = Vec::new();
        loop {
            match self.next() {
                Ok(frame) => frames.push(frame),
                Err(end) => return (frames, end),
            }
        }
    }

    /// Asks with a PING and awaits its answer. `Err`: the connection ended first.
    pub fn ping(&mut self) -> Result<(), ReadEnd> {
        self.try_send(PING, 0, 0, b"01234567").map_err(|_| ReadEnd::Reset)?;
        while self.next()?.kind != PING {}
        Ok(())
    }
}

pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// HEADERS, and CONTINUATION as needed. `last`: the stream ends with them.
pub fn headers(stream: u32, fields: &[(&str, impl AsRef<[u8]>)], last: bool) -> Vec<u8> {
    let block = block(fields);
    let (first, rest) = block.split_at(block.len().min(MAX_FRAME));
    let end = |is_last: bool| if is_last { END_HEADERS } else { 0 };
    let flags = end(rest.is_empty()) | if last { END_STREAM } else { 0 };
    let mut frames = frame(HEADERS, flags, stream, first);
    let count = rest.chunks(MAX_FRAME).len();
    for (number, part) in (1..).zip(rest.chunks(MAX_FRAME)) {
        frames.extend(frame(CONTINUATION, end(number == count), stream, part));
    }
    frames
}

/// HPACK (RFC 7541 § 6.2.2): each field as a literal that is not indexed.
fn block(fields: &[(&str, impl AsRef<[u8]>)]) -> Vec<u8> {
    let text = |text: &[u8]| {
        let length = text.len();
        let prefix = if length < 127 { vec![length as u8] } else { [&[127][..], &integer(length - 127)].concat() };
        [&prefix, text].concat()
    };
    fields.iter().flat_map(|(name, value)| [vec![0], text(name.as_bytes()), text(value.as_ref())].concat()).collect()
}

/// The status with which the first block of a response on its connection begins.
pub fn status(block: &[u8]) -> u16 {
    /// RFC 7541 appendix A, from 8 on.
    const INDEXED: [u16; 7] = [200, 204, 206, 304, 400, 404, 500];
    match block {
        [indexed @ 0x88..=0x8e, ..] => INDEXED[usize::from(indexed - 0x88)],
        // A literal with the name of index 8, plain or in Huffman's code.
        [0x08 | 0x18 | 0x48, 3, digits @ ..] => str::from_utf8(&digits[..3]).unwrap().parse().unwrap(),
        [0x08 | 0x18 | 0x48, length, code @ ..] if length & 0x80 != 0 => digits(&code[..usize::from(length & 0x7f)]),
        _ => panic!("not a status: {block:?}"),
    }
}

/// Three digits in Huffman's code (RFC 7541 appendix B): five bits for 0 to 2, six for the others.
fn digits(code: &[u8]) -> u16 {
    let mut bits = code.iter().flat_map(|byte| (0..8).rev().map(move |bit| u16::from(byte >> bit & 1)));
    let mut take = |count: usize| bits.by_ref().take(count).fold(0, |number, bit| number << 1 | bit);
    let mut digit = || match take(5) {
        small @ 0..=2 => small,
        large => (large << 1 | take(1)) - 0b01_1001 + 3,
    };
    let [hundreds, tens, ones] = [digit(), digit(), digit()];
    hundreds * 100 + tens * 10 + ones
}

fn integer(mut rest: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while rest >= 128 {
        bytes.push((rest % 128) as u8 | 128);
        rest /= 128;
    }
    bytes.push(rest as u8);
    bytes
}
