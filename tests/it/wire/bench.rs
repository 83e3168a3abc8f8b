//! A gateway in front of an upstream that notes every byte, on which the rows run one after the other.

use std::{
    net::TcpStream,
    sync::{Arc, Mutex},
};

use super::{
    case::{Case, Frame, Sends, TOKEN, Then},
    judge::{Authorised, Law, judge, shown},
    reader::{Rest, STRICT},
};
use crate::harness::{
    SOON,
    frames::{self, DATA, END_STREAM, Frames, GOAWAY, HEADERS, RST_STREAM, headers, status},
    gateway::{Gateway, Token, deployment},
    http::{Client, ReadEnd, get},
    pair::HOST,
    upstream::{Upstream, UpstreamConnection, response},
    wait_until,
};

/// A plain request after each row. It goes over the upstream connection that the row has used, so that what is left over
/// there would come before it.
const SENTINEL: &str = "/sentinel";

/// Small, so that rows of any size are.
const LIMITS: &str = "max_header_bytes = \"8 KiB\"\nmax_headers = 40\nmax_uri_bytes = \"2 KiB\"";

pub struct Bench {
    gateway: Gateway,
    _upstream: Upstream,
    notes: Notes,
    token: Token,
    law: Law,
}

/// What came on each of the upstream's connections.
#[derive(Clone, Default)]
struct Notes(Arc<Mutex<Vec<Note>>>);

#[derive(Default)]
struct Note {
    /// `None`: its thread has not begun yet.
    stream: Option<TcpStream>,
    bytes: Vec<u8>,
    /// How much of it earlier rows have sent.
    judged: usize,
    closed: bool,
}

/// Runs the rows, and tells of all that fail.
pub fn run(cases: &[Case]) {
    let bench = Bench::start();
    let failed: Vec<String> = cases.iter().filter_map(|case| bench.failure(case)).collect();
    assert!(failed.is_empty(), "{} of {} failed\n\n{}", failed.len(), cases.len(), failed.join("\n\n"));
}

impl Bench {
    fn start() -> Self {
        let notes = Notes::default();
        let upstream = Upstream::start({
            let notes = notes.clone();
            move |peer| notes.serve(peer)
        });
        let other = format!("[deployments.b]\nupstream = \"http://{}\"\nhosts = [\"b.test\"]\n", upstream.address);
        let gateway = Gateway::start(&format!(
            "[proxy]\npath_prefix = true\n[proxy.limits]\n{LIMITS}\n{}{other}",
            deployment("a", upstream.address, "")
        ));
        let token = gateway.token(&["deployment:a"]);
        let law = Law { deployment: "a", host: HOST, token_uid: token.uid.clone() };
        Self { gateway, _upstream: upstream, notes, token, law }
    }

    /// Everything that is wrong with a row. `None`: nothing.
    fn failure(&self, case: &Case) -> Option<String> {
        let outcome = match &case.sends {
            Sends::Bytes(bytes) => self.send_bytes(case, &replace(bytes, TOKEN, &self.token.text)),
            Sends::Frames(frames) => self.send_frames(case, frames),
        };
        let upstream = self.notes.take();
        let connections: Vec<&[u8]> = upstream.iter().map(|bytes| &**bytes).collect();
        let sentinel = Authorised { method: "GET".to_owned(), target: SENTINEL.to_owned(), ..Authorised::default() };
        let authorised = [&case.arrives[..], &[sentinel]].concat();
        let mut faults = judge(&connections, &authorised, case.arrives.is_empty(), &self.law);
        faults.extend(outcome.err());
        let all = connections.concat();
        let is_there = |text: &&String| all.windows(text.len()).any(|part| part == text.as_bytes());
        faults.extend(case.without.iter().filter(is_there).map(|text| format!("{text:?} is there")));
        if faults.is_empty() {
            return None;
        }
        let sent = match &case.sends {
            Sends::Bytes(bytes) => shown(bytes),
            Sends::Frames(frames) => format!("{frames:?}"),
        };
        Some(format!(
            "{}\n  - {}\n  in:\n    {sent}\n  out:\n    {}",
            case.name,
            faults.join("\n  - "),
            upstream.iter().map(|bytes| shown(bytes)).collect::<Vec<_>>().join("\n   and ")
        ))
    }

    fn send_bytes(&self, case: &Case, bytes: &[u8]) -> Result<(), String> {
        let mut caller = self.gateway.connect();
        // The gateway may close before it has read everything.
        let _ = caller.try_send(bytes);
        if case.then == Then::Left {
            caller.stream.shutdown(std::net::Shutdown::Write).map_err(|error| error.to_string())?;
        }
        let (mut statuses, mut code) = (Vec::new(), String::new());
        for _ in &case.statuses {
            let to_head = bytes.starts_with(b"HEAD ");
            match caller.try_response(to_head) {
                Ok(response) => {
                    statuses.push(response.status);
                    code = response.code();
                }
                Err(end) => return self.ask_anew().and(Err(format!("{end:?} after {statuses:?}"))),
            }
        }
        let ended = if case.then == Then::GoesOn { self.ask_sentinel(&mut caller) } else { is_closed(&mut caller) };
        let ended = ended.or_else(|fault| self.ask_anew().and(Err(fault)));
        if case.then != Then::GoesOn && ended.is_ok() {
            self.ask_anew()?;
        }
        if statuses != case.statuses || case.code.is_some_and(|wanted| wanted != code) {
            return Err(format!("{statuses:?} and {code:?}, not {:?} and {:?}", case.statuses, case.code));
        }
        ended
    }

    fn ask_sentinel(&self, caller: &mut Client) -> Result<(), String> {
        caller.send(get(HOST, SENTINEL, &self.token.text));
        match caller.try_response(false) {
            Ok(response) if response.status == 200 => Ok(()),
            other => Err(format!("the next request of the connection: {other:?}")),
        }
    }

    fn ask_anew(&self) -> Result<(), String> {
        self.ask_sentinel(&mut self.gateway.connect())
    }

    fn send_frames(&self, case: &Case, sends: &[Frame]) -> Result<(), String> {
        let mut caller = Frames::connect(self.gateway.proxy);
        let token = |text: &str| text.replace(TOKEN, &self.token.text);
        // In one go: what comes first is not answered before the rest is here.
        let bytes = sends.iter().flat_map(|frame| match frame {
            Frame::Fields(fields, last) => {
                let fields: Vec<_> = fields.iter().map(|(name, value)| (&**name, token(value))).collect();
                headers(1, &fields, *last)
            }
            Frame::Data(data, last) => {
                frames::frame(DATA, if *last { END_STREAM } else { 0 }, 1, token(data).as_bytes())
            }
        });
        // The gateway may end the connection before it has read everything.
        let _ = caller.write(&bytes.collect::<Vec<_>>());
        let outcome = outcome_of_stream(&mut caller);
        let wanted = match (&*case.statuses, case.then) {
            ([status], _) => Outcome::Response(*status),
            (_, Then::GoesOn) => Outcome::Reset,
            _ => Outcome::Ended,
        };
        if outcome != Outcome::Ended {
            caller.request(3, &plain(SENTINEL, &self.token.text));
            caller.await_end(3);
        } else {
            self.ask_anew()?;
        }
        if outcome == wanted { Ok(()) } else { Err(format!("{outcome:?}, not {wanted:?}")) }
    }
}

/// What became of stream 1.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    Response(u16),
    Reset,
    /// The whole connection has ended.
    Ended,
}

fn outcome_of_stream(caller: &mut Frames) -> Outcome {
    let mut response = None;
    loop {
        let Ok(frame) = caller.next() else { return Outcome::Ended };
        match frame.kind {
            GOAWAY => return Outcome::Ended,
            HEADERS if response.is_none() => response = Some(Outcome::Response(status(&frame.payload))),
            RST_STREAM => return response.unwrap_or(Outcome::Reset),
            _ => {}
        }
        if frame.stream == 1 && frame.kind <= HEADERS && frame.flags & END_STREAM != 0 {
            return response.unwrap_or(Outcome::Reset);
        }
    }
}

/// The fields of a GET over HTTP/2.
fn plain<'a>(path: &'a str, token: &str) -> [(&'a str, String); 5] {
    let own = str::to_owned;
    [
        (":method", own("GET")),
        (":scheme", own("http")),
        (":authority", own(HOST)),
        (":path", own(path)),
        ("authorization", format!("Bearer {token}")),
    ]
}

fn is_closed(caller: &mut Client) -> Result<(), String> {
    match caller.rest() {
        (bytes, ReadEnd::Closed) if bytes.is_empty() => Ok(()),
        (bytes, end) => Err(format!("{end:?} after {:?}", shown(&bytes))),
    }
}

fn replace(bytes: &[u8], from: &str, to: &str) -> Vec<u8> {
    let mut replaced = Vec::new();
    let mut rest = bytes;
    while let Some(at) = rest.windows(from.len()).position(|part| part == from.as_bytes()) {
        replaced.extend([&rest[..at], to.as_bytes()].concat());
        rest = &rest[at + from.len()..];
    }
    [&replaced, rest].concat()
}

impl Note {
    /// Whether all that the gateway has sent is noted, and the last request of it complete.
    fn is_whole(&self) -> bool {
        let unread = self.stream.as_ref().map(|stream| rustix::io::ioctl_fionread(stream).unwrap());
        unread == Some(0) && STRICT.read(&self.bytes[self.judged..]).rest == Rest::Nothing
    }
}

impl Notes {
    /// Answers each request that is whole, and notes all.
    fn serve(&self, peer: &mut UpstreamConnection) {
        {
            let mut notes = self.0.lock().unwrap();
            let count = notes.len().max(peer.number + 1);
            notes.resize_with(count, Note::default);
            notes[peer.number].stream = Some(peer.stream.try_clone().unwrap());
        }
        // What is not read to its end yet, and how many requests of it are answered.
        let (mut bytes, mut answered) = (Vec::new(), 0);
        while peer.stream.peek(&mut [0]).is_ok_and(|size| size > 0) {
            {
                // What is read is noted before anybody looks.
                let mut notes = self.0.lock().unwrap();
                peer.fill();
                notes[peer.number].bytes.extend_from_slice(&peer.buffer);
                bytes.append(&mut peer.buffer);
            }
            let reading = STRICT.read(&bytes);
            for request in &reading.requests[answered..] {
                let body: &[u8] = if request.method == "HEAD" { b"" } else { b"ok" };
                peer.send(response(200, &[], body));
            }
            answered = reading.requests.len();
            match reading.rest {
                // A connection carries thousands.
                Rest::Nothing => (bytes, answered) = (Vec::new(), 0),
                Rest::Partial(_) => {}
                Rest::Nonsense(_) => break,
            }
        }
        peer.close();
        self.0.lock().unwrap()[peer.number].closed = true;
    }

    /// What came since the last call, of each connection that something came on. What was begun on one is complete by
    /// then, or the connection is closed.
    fn take(&self) -> Vec<Vec<u8>> {
        wait_until("requests at the upstream end", SOON, || {
            let notes = self.0.lock().unwrap();
            notes.iter().all(|note| note.closed || note.is_whole())
        });
        let mut notes = self.0.lock().unwrap();
        let new = notes.iter_mut().map(|note| {
            let new = note.bytes[note.judged..].to_vec();
            note.judged = note.bytes.len();
            new
        });
        new.filter(|bytes| !bytes.is_empty()).collect()
    }
}
