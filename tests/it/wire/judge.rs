//! What must be true of every byte that the gateway writes to an upstream, however it is read.

use std::collections::BTreeMap;

use super::identity::is_claim;
use super::reader::{READERS, Rest, STRICT, Seen, text};

/// A request that the gateway was allowed to forward.
#[derive(Clone, Debug, Default)]
pub struct Authorised {
    pub method: String,
    pub target: String,
    pub body: String,
    /// Lines that the upstream must get, `x-a: 1`.
    pub with: Vec<String>,
    /// Whether it asks for a WebSocket.
    pub upgrades: bool,
}

/// What is true of a whole table of cases.
pub struct Law {
    /// The only Deployment that the caller's token opens.
    pub deployment: &'static str,
    /// The only host that leads to it.
    pub host: &'static str,
    pub token_uid: String,
}

/// Begins every token, none of which is for a service.
const TOKEN_PREFIX: &str = "bgw_";

/// Fields that concern one connection, or are the gateway's to answer.
const HOP_BY_HOP: &[&str] = &[
    "authorization",
    "connection",
    "expect",
    "http2-settings",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "upgrade",
];

/// What is wrong with the connections' bytes, in words; empty: every reader finds `authorised`, in this order, and nothing
/// that is not theirs. `cut`: a last request may have been left incomplete.
pub fn judge(connections: &[&[u8]], authorised: &[Authorised], cut: bool, law: &Law) -> Vec<String> {
    let mut found: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for reader in READERS {
        let mut fault = |what: String| found.entry(what).or_default().push(reader.name);
        let mut seen = Vec::new();
        for bytes in connections {
            let reading = reader.read(bytes);
            seen.extend(reading.requests);
            match reading.rest {
                Rest::Nothing => {}
                Rest::Nonsense(why) => fault(why.to_owned()),
                Rest::Partial(_) if !cut => fault("a request is not complete".to_owned()),
                Rest::Partial(partial) => {
                    partial.iter().flat_map(|seen| law.broken_by(seen, false)).for_each(&mut fault);
                }
            }
        }
        let requests: Vec<_> = seen.iter().map(|seen| (&seen.method, &seen.target, &seen.body)).collect();
        let wanted: Vec<_> = authorised.iter().map(|one| (&one.method, &one.target, &one.body)).collect();
        if requests != wanted {
            fault(format!("finds {requests:?} where {wanted:?} was authorised"));
        }
        let upgrades = authorised.iter().map(|one| one.upgrades).chain(std::iter::repeat(false));
        seen.iter().zip(upgrades).flat_map(|(seen, upgrades)| law.broken_by(seen, upgrades)).for_each(&mut fault);
        for (seen, wanted) in seen.iter().zip(authorised) {
            let has = |line: &str| seen.fields.iter().any(|(name, value)| line == format!("{name}: {value}"));
            wanted.with.iter().filter(|line| !has(line)).for_each(|line| fault(format!("{line:?} is missing")));
        }
    }
    let found = found.into_iter().map(|(what, readers)| match readers.len() {
        all if all == READERS.len() => what,
        _ => format!("{}: {what}", readers.join(", ")),
    });
    found.chain(connections.iter().flat_map(|bytes| odd_bytes(bytes))).collect()
}

impl Law {
    fn broken_by(&self, seen: &Seen, upgrades: bool) -> Vec<String> {
        let mut faults = Vec::new();
        for (name, value) in [
            ("host", self.host),
            ("x-bento-gateway-deployment", self.deployment),
            ("x-bento-gateway-token-uid", &self.token_uid),
            ("x-forwarded-for", "127.0.0.1"),
            ("x-forwarded-proto", "http"),
            ("x-forwarded-host", self.host),
        ] {
            if seen.all(name) != [value] {
                faults.push(format!("{name} is {:?}, not {value:?} once", seen.all(name)));
            }
        }
        if seen.all("x-request-id").len() != 1 {
            faults.push("there is not one x-request-id".to_owned());
        }
        if seen.all("content-length").len() + seen.all("transfer-encoding").len() > 1 {
            faults.push("there is more than one framing".to_owned());
        }
        let ours = |name: &str| {
            ["deployment", "token-uid"].iter().any(|end| name == format!("x-bento-gateway-{end}"))
                || ["for", "proto", "host"].iter().any(|end| name == format!("x-forwarded-{end}"))
        };
        for (name, value) in &seen.fields {
            let asks = [("connection", "upgrade"), ("upgrade", "websocket")].contains(&(&**name, &**value));
            let is_hop = HOP_BY_HOP.contains(&name.as_str()) || (name == "te" && value != "trailers");
            if (is_hop && !(upgrades && asks)) || (!ours(name) && name != "x-request-id" && is_claim(name)) {
                faults.push(format!("{name} is not for the service"));
            }
        }
        for (name, _) in &seen.trailers {
            let frames = ["host", "content-length", "transfer-encoding", "te", "cookie", "content-type", "trailer"];
            let is_bad = frames.contains(&name.as_str()) || HOP_BY_HOP.contains(&name.as_str());
            if is_bad || is_claim(name) {
                faults.push(format!("{name} is no trailer"));
            }
        }
        if seen.fields.iter().chain(&seen.trailers).any(|(_, value)| value.contains(TOKEN_PREFIX))
            || seen.target.contains(TOKEN_PREFIX)
        {
            faults.push("a token is there".to_owned());
        }
        faults
    }
}

/// Bytes of heads and trailers that no reader should have to think about.
fn odd_bytes(bytes: &[u8]) -> Vec<String> {
    let reading = STRICT.read(bytes);
    let partial = match &reading.rest {
        Rest::Partial(Some(partial)) => Some(partial),
        _ => None,
    };
    let mut faults = Vec::new();
    for seen in reading.requests.iter().chain(partial) {
        for (name, value) in seen.fields.iter().chain(&seen.trailers) {
            if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') {
                faults.push(format!("{name:?} is an odd name"));
            }
            if value.chars().any(|one| one.is_ascii_control() && one != '\t') {
                faults.push(format!("{name} has an odd value: {value:?}"));
            }
        }
        let method = seen.method.bytes().all(|byte| byte.is_ascii_graphic());
        let target = seen.target.starts_with('/') && seen.target.bytes().all(|byte| byte.is_ascii_graphic());
        if seen.method.is_empty() || !method || !target || seen.target.contains('#') {
            faults.push(format!("an odd request line: {:?} {:?}", seen.method, seen.target));
        }
    }
    faults
}

/// For the message of a case that has failed.
pub fn shown(bytes: &[u8]) -> String {
    text(bytes).escape_debug().to_string().replace("\\n", "\\n\n    ")
}
