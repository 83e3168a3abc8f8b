//! A caller that sees every byte: HTTP/1.1 by hand, on a socket or on anything else that reads and writes.

use std::{
    io::{self, Read, Write},
    net::{Shutdown, SocketAddr, TcpStream},
    time::Duration,
};

use serde_json::Value;
use socket2::SockRef;

use super::SOON;

/// One connection to the gateway.
pub struct Client<S = TcpStream> {
    pub stream: S,
    pub buffer: Vec<u8>,
}

/// The head of an answer, and its body where it was read.
#[derive(Clone, Debug)]
pub struct Response {
    pub version: u8,
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

/// Has the server say when it wants the body (RFC 9110 § 10.1.1), which our listeners do once they know who asks.
pub const EXPECTS: &str = "expect: 100-continue";

/// A request that was let in, and whose body was not sent yet.
pub struct Held {
    client: Client,
    body: String,
}

impl Held {
    /// `request`: whole, with [`EXPECTS`] among its fields.
    pub fn send(address: SocketAddr, request: &str) -> Self {
        let end = request.find("\r\n\r\n").unwrap() + 4;
        let mut client = Client::connect(address);
        client.send(&request[..end]);
        assert_eq!(client.head().status, 100, "{request}");
        Self { client, body: request[end..].to_owned() }
    }

    pub fn finish(mut self) -> Response {
        self.client.ask(&self.body)
    }
}

/// How reading ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadEnd {
    /// An orderly end of the other side.
    Closed,
    Reset,
    TimedOut,
    Malformed,
}

impl Client {
    pub fn connect(address: SocketAddr) -> Self {
        Self::try_connect(address).unwrap()
    }

    pub fn try_connect(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&address, SOON)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(SOON))?;
        stream.set_write_timeout(Some(SOON))?;
        Ok(Self::on(stream))
    }

    pub fn read_timeout(&self, limit: Duration) {
        self.stream.set_read_timeout(Some(limit)).unwrap();
    }

    /// Leaves without another word.
    pub fn leave(self) {
        let _ = self.stream.shutdown(Shutdown::Both);
    }

    /// Leaves so that the other side gets a reset.
    pub fn reset(self) {
        SockRef::from(&self.stream).set_linger(Some(Duration::ZERO)).unwrap();
    }
}

impl<S: Read + Write> Client<S> {
    pub fn on(stream: S) -> Self {
        Self { stream, buffer: Vec::new() }
    }

    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.try_send(bytes.as_ref()).unwrap();
    }

    pub fn try_send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)?;
        self.stream.flush()
    }

    /// Sends a request and reads its whole answer.
    pub fn ask(&mut self, request: impl AsRef<[u8]>) -> Response {
        let request = request.as_ref();
        self.send(request);
        self.response(request.starts_with(b"HEAD "))
    }

    /// The next answer with its body, which must be whole.
    pub fn response(&mut self, to_head: bool) -> Response {
        self.try_response(to_head).unwrap()
    }

    pub fn try_response(&mut self, to_head: bool) -> Result<Response, ReadEnd> {
        let mut answer = self.try_head()?;
        if !to_head {
            answer.body = self.body(&answer)?;
        }
        Ok(answer)
    }

    pub fn head(&mut self) -> Response {
        self.try_head().unwrap()
    }

    pub fn try_head(&mut self) -> Result<Response, ReadEnd> {
        loop {
            let mut fields = [httparse::EMPTY_HEADER; 256];
            let mut head = httparse::Response::new(&mut fields);
            match head.parse(&self.buffer) {
                Ok(httparse::Status::Complete(length)) => {
                    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                    let headers =
                        head.headers.iter().map(|field| (field.name.to_ascii_lowercase(), text(field.value))).collect();
                    let (version, status) = (head.version.unwrap(), head.code.unwrap());
                    self.buffer.drain(..length);
                    return Ok(Response { version, status, headers, body: Vec::new() });
                }
                Ok(httparse::Status::Partial) => self.fill()?,
                Err(_) => return Err(ReadEnd::Malformed),
            }
        }
    }

    /// The rest of the body by the framing that `answer` announces.
    pub fn body(&mut self, answer: &Response) -> Result<Vec<u8>, ReadEnd> {
        if answer.status < 200 || answer.status == 204 || answer.status == 304 {
            return Ok(Vec::new());
        }
        if answer.header("transfer-encoding").is_some() {
            let mut body = Vec::new();
            while let Some(chunk) = self.chunk()? {
                body.extend(chunk);
            }
            return self.trailers().map(|_| body);
        }
        match answer.header("content-length") {
            Some(length) => self.exactly(length.parse().unwrap()),
            None => loop {
                match self.fill() {
                    Ok(()) => {}
                    Err(ReadEnd::Closed) => return Ok(std::mem::take(&mut self.buffer)),
                    Err(stop) => return Err(stop),
                }
            },
        }
    }

    /// The next chunk as it was framed. `None`: the last one came; [`Client::trailers`] is to be read.
    pub fn chunk(&mut self) -> Result<Option<Vec<u8>>, ReadEnd> {
        let line = self.line()?;
        let size = line.split(';').next().unwrap_or_default();
        let size = usize::from_str_radix(size, 16).map_err(|_| ReadEnd::Malformed)?;
        if size == 0 {
            return Ok(None);
        }
        let chunk = self.exactly(size)?;
        if self.exactly(2)? == b"\r\n" { Ok(Some(chunk)) } else { Err(ReadEnd::Malformed) }
    }

    pub fn trailers(&mut self) -> Result<Vec<String>, ReadEnd> {
        let mut trailers = Vec::new();
        loop {
            let line = self.line()?;
            if line.is_empty() {
                return Ok(trailers);
            }
            trailers.push(line);
        }
    }

    fn line(&mut self) -> Result<String, ReadEnd> {
        loop {
            if let Some(at) = self.buffer.windows(2).position(|pair| pair == b"\r\n") {
                let line = String::from_utf8_lossy(&self.buffer[..at]).into_owned();
                self.buffer.drain(..at + 2);
                return Ok(line);
            }
            self.fill()?;
        }
    }

    pub fn exactly(&mut self, size: usize) -> Result<Vec<u8>, ReadEnd> {
        while self.buffer.len() < size {
            self.fill()?;
        }
        Ok(self.buffer.drain(..size).collect())
    }

    /// Reads on until nothing comes any more: how it ended, and what came before.
    pub fn rest(&mut self) -> (Vec<u8>, ReadEnd) {
        loop {
            if let Err(stop) = self.fill() {
                return (std::mem::take(&mut self.buffer), stop);
            }
        }
    }

    fn fill(&mut self) -> Result<(), ReadEnd> {
        let mut piece = [0; 64 * 1024];
        match self.stream.read(&mut piece) {
            Ok(0) => Err(ReadEnd::Closed),
            Ok(size) => {
                self.buffer.extend_from_slice(&piece[..size]);
                Ok(())
            }
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                Err(ReadEnd::TimedOut)
            }
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Err(ReadEnd::Closed),
            Err(_) => Err(ReadEnd::Reset),
        }
    }
}

impl Response {
    /// `None`: it is not there. There must not be two.
    pub fn header(&self, name: &str) -> Option<&str> {
        let all = self.all(name);
        assert!(all.len() <= 1, "{name} is there {} times", all.len());
        all.first().copied()
    }

    pub fn all(&self, name: &str) -> Vec<&str> {
        self.headers.iter().filter(|(key, _)| key == name).map(|(_, value)| value.as_str()).collect()
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("not JSON: {} {:?}", self.status, self.text()))
    }

    /// The stable code of an answer of the gateway's own; empty for others.
    pub fn code(&self) -> String {
        let json: Value = serde_json::from_slice(&self.body).unwrap_or_default();
        json["code"].as_str().unwrap_or_default().to_owned()
    }
}

/// A GET that keeps its connection.
pub fn get(host: &str, path: &str, token: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer {token}\r\n\r\n")
}

/// Any request: `fields` are whole lines without their ends.
pub fn request(method: &str, target: &str, host: &str, token: &str, fields: &[&str], body: &[u8]) -> Vec<u8> {
    let mut text = format!("{method} {target} HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer {token}\r\n");
    for field in fields {
        text.push_str(field);
        text.push_str("\r\n");
    }
    text.push_str("\r\n");
    [text.as_bytes(), body].concat()
}
