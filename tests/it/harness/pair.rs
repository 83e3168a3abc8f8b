//! What most tests of the data plane need: a gateway in front of one service.

use super::{
    gateway::{Gateway, Token, deployment},
    http::{Client, get, request},
    upstream::Upstream,
};

/// Leads to the Deployment of a [`Pair`].
pub const HOST: &str = "a.test";

/// The Deployment `a` in front of one upstream, and a token that opens it.
pub struct Pair {
    pub upstream: Upstream,
    pub gateway: Gateway,
    pub token: Token,
}

impl Pair {
    /// `settings` are those of the Deployment.
    pub fn new(upstream: Upstream, settings: &str) -> Self {
        Self::with(upstream, "", settings)
    }

    /// `proxy` is what else the configuration file holds, before the Deployment.
    pub fn with(upstream: Upstream, proxy: &str, settings: &str) -> Self {
        let gateway = Gateway::start(&format!("{proxy}\n{}", deployment("a", upstream.address, settings)));
        let token = gateway.token(&["deployment:a"]);
        Self { upstream, gateway, token }
    }

    pub fn plain() -> Self {
        Self::new(Upstream::named("a"), "")
    }

    /// The start of a request with the token, whose further fields and body follow. `line` as in `GET / HTTP/1.1`.
    pub fn start(&self, line: &str) -> String {
        format!("{line}\r\nhost: {HOST}\r\nauthorization: Bearer {}\r\n", self.token.text)
    }

    /// A connection on which a path was asked for.
    pub fn get(&self, path: &str) -> Client {
        let mut client = self.gateway.connect();
        client.send(get(HOST, path, &self.token.text));
        client
    }

    /// A connection on which a body was announced by a field such as `content-length: 3`, and is to follow.
    pub fn post(&self, framing: &str) -> Client {
        let mut client = self.gateway.connect();
        client.send(request("POST", "/x", HOST, &self.token.text, &[framing], b""));
        client
    }
}
