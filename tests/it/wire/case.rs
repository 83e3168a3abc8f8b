//! One row: what a caller sends, and what must be true then.

use super::judge::Authorised;
use crate::harness::pair::HOST;

/// Stands for the caller's token, which opens the Deployment `a` and no other.
pub const TOKEN: &str = "$TOKEN";

/// Stands in the target of every request that must never be one.
const SMUGGLED: &str = "/smuggled";

/// One chunk, and the end.
pub const CHUNKS: &str = "1\r\nx\r\n0\r\n\r\n";

/// Names and values, in the order in which they are sent.
pub type Fields<'a> = &'a [(&'a str, &'a str)];

#[derive(Clone)]
pub struct Case {
    pub name: String,
    pub sends: Sends,
    /// Statuses of the responses, in order.
    pub statuses: Vec<u16>,
    /// The code of the last one, if the row says so.
    pub code: Option<&'static str>,
    /// What of it the upstream gets.
    pub arrives: Vec<Authorised>,
    /// Texts that the upstream does not get.
    pub without: Vec<String>,
    pub then: Then,
}

#[derive(Clone)]
pub enum Sends {
    /// HTTP/1.1, byte for byte.
    Bytes(Vec<u8>),
    /// HTTP/2, frame by frame, on stream 1.
    Frames(Vec<Frame>),
}

#[derive(Clone, Debug)]
pub enum Frame {
    /// HEADERS; whether the stream ends with them.
    Fields(Vec<(String, String)>, bool),
    /// DATA; whether the stream ends with it.
    Data(String, bool),
}

/// What becomes of the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// It carries another request.
    GoesOn,
    /// The gateway closes it, and reads nothing of what follows.
    Closed,
    /// The caller breaks off, and the gateway closes it.
    Left,
}

impl Case {
    fn new(name: &str, sends: Sends, statuses: &[u16], then: Then) -> Self {
        let (arrives, without) = (Vec::new(), Vec::new());
        Self { name: name.to_owned(), sends, statuses: statuses.to_vec(), code: None, arrives, without, then }
    }

    pub fn code(mut self, code: &'static str) -> Self {
        self.code = Some(code);
        self
    }

    /// A further request that arrives.
    pub fn arrives(mut self, method: &str, target: &str, body: &str) -> Self {
        let (method, target, body) = (method.to_owned(), target.to_owned(), body.to_owned());
        self.arrives.push(Authorised { method, target, body, ..Authorised::default() });
        self
    }

    /// The last request that arrives asks for a WebSocket.
    pub fn upgrades(mut self) -> Self {
        self.arrives.last_mut().unwrap().upgrades = true;
        self.with("connection: upgrade").with("upgrade: websocket")
    }

    /// A line that the last request has when it arrives.
    pub fn with(mut self, line: &str) -> Self {
        self.arrives.last_mut().unwrap().with.push(line.to_owned());
        self
    }

    pub fn without(mut self, text: &str) -> Self {
        self.without.push(text.to_owned());
        self
    }

    pub fn then(mut self, then: Then) -> Self {
        self.then = then;
        self
    }
}

/// A request that cannot be read in one way only: it is refused, and the request behind it is none.
pub fn refuse(status: u16, name: &str, bytes: impl AsRef<[u8]>) -> Case {
    let behind = line(&format!("GET {SMUGGLED} HTTP/1.1"));
    let bytes = [bytes.as_ref(), behind.as_bytes()].concat();
    Case::new(name, Sends::Bytes(bytes), &[status], Then::Closed).without(SMUGGLED)
}

/// A request that ends where everybody sees it, and is refused all the same.
pub fn deny(status: u16, name: &str, bytes: impl AsRef<[u8]>) -> Case {
    Case::new(name, Sends::Bytes(bytes.as_ref().to_vec()), &[status], Then::GoesOn)
}

/// A request that breaks off; in time for a response, if there is a status.
pub fn leave(statuses: &[u16], name: &str, bytes: impl AsRef<[u8]>) -> Case {
    Case::new(name, Sends::Bytes(bytes.as_ref().to_vec()), statuses, Then::Left)
}

/// Requests in one go, and the statuses of their responses.
pub fn answer(statuses: &[u16], name: &str, bytes: impl AsRef<[u8]>) -> Case {
    Case::new(name, Sends::Bytes(bytes.as_ref().to_vec()), statuses, Then::GoesOn)
}

/// A request that arrives, as one with this method, target and body.
pub fn forward(name: &str, bytes: impl AsRef<[u8]>, (method, target, body): (&str, &str, &str)) -> Case {
    answer(&[200], name, bytes).arrives(method, target, body)
}

/// A request with this request line, `GET / HTTP/1.1`, and the token.
pub fn line(line: &str) -> String {
    format!("{line}\r\n{}\r\n", common())
}

/// A GET of `/x` with the token and these lines.
pub fn get(fields: &str) -> String {
    head("GET /x HTTP/1.1", fields)
}

/// A POST to `/x` with the token and these lines.
pub fn post(fields: &str, body: &str) -> String {
    head("POST /x HTTP/1.1", fields) + body
}

fn head(line: &str, fields: &str) -> String {
    format!("{line}\r\n{}{fields}{}\r\n", common(), if fields.is_empty() { "" } else { "\r\n" })
}

fn common() -> String {
    format!("host: {HOST}\r\nauthorization: Bearer {TOKEN}\r\n")
}

/// HEADERS that end the stream.
pub fn fields(fields: Fields<'_>) -> Frame {
    Frame::Fields(owned(fields), true)
}

/// HEADERS behind which something comes.
pub fn open(fields: Fields<'_>) -> Frame {
    Frame::Fields(owned(fields), false)
}

/// The last DATA of the stream.
pub fn data(text: &str) -> Frame {
    Frame::Data(text.to_owned(), true)
}

/// DATA that others follow.
pub fn part(text: &str) -> Frame {
    Frame::Data(text.to_owned(), false)
}

fn owned(fields: Fields<'_>) -> Vec<(String, String)> {
    fields.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect()
}

/// What stream 1 gets: a response with this status.
pub fn stream(status: u16, name: &str, frames: &[Frame]) -> Case {
    Case::new(name, Sends::Frames(frames.to_vec()), &[status], Then::GoesOn)
}

/// The stream is reset, and nothing arrives.
pub fn reset(name: &str, frames: &[Frame]) -> Case {
    Case::new(name, Sends::Frames(frames.to_vec()), &[], Then::GoesOn)
}

/// The whole connection is ended.
pub fn ended(name: &str, frames: &[Frame]) -> Case {
    Case::new(name, Sends::Frames(frames.to_vec()), &[], Then::Closed)
}
