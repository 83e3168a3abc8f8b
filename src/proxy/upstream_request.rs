//! A permitted request as the upstream gets it: one framing, the fields that may pass, ours last.

use std::sync::Arc;

use bytes::{BufMut, BytesMut};
use http::{
    HeaderMap, HeaderName, HeaderValue, Method,
    header::{CONTENT_LENGTH, COOKIE, HOST, TE},
    request::Parts,
};
use hyper::body::{Body, Incoming};
use uuid::fmt::Hyphenated;

use super::{
    credential,
    headers::{self, FieldRule, put_field},
    override_fields,
    permit::Permit,
    rejection::BadRequest,
    request::Request,
    state::Entrance,
    upstream::request_writer::{BodyFraming, TrailerRules},
};
use crate::{
    domain::{host::Authority, identity_fields::IdentityFields, token_text},
    http::cookie,
};

/// All that the head for the upstream is made of. It is made of a [`Permit`] only.
pub struct UpstreamRequest<'a> {
    request: &'a Request<'a>,
    permit: &'a Permit,
    framing: BodyFraming,
}

/// What becomes of a caller's field.
enum Passage {
    AsItIs,
    /// It is written from what was read of it.
    Anew,
    /// Why it is not for the service.
    KeptBack(&'static str),
}

/// What says what becomes of them.
struct Passages<'a> {
    identity_fields: &'a IdentityFields,
    /// The field of the service's credential.
    credential: Option<&'a str>,
    forward_authorization: bool,
}

impl Passages<'_> {
    /// Of a field that `Connection` does not name.
    #[inline]
    fn of(&self, name: &HeaderName, value: &HeaderValue) -> Passage {
        if self.credential.is_some_and(|credential| credential == name.as_str()) {
            return Passage::KeptBack("a field that the service's credential goes in is not the caller's");
        }
        match headers::request_field(name, self.identity_fields) {
            FieldRule::Pass if token_text::is_within(value.as_bytes()) => {
                Passage::KeptBack("a field with a token of this gateway is not for the service")
            }
            FieldRule::Pass => Passage::AsItIs,
            FieldRule::Authorization if self.forward_authorization => Passage::AsItIs,
            FieldRule::Authorization => Passage::KeptBack("the caller's credential is not for the service"),
            // `write_our_fields` takes our own protocols out of one of them.
            FieldRule::Cookie | FieldRule::WebSocketProtocol => Passage::Anew,
            // What every request has, and `write_our_fields` says anew.
            FieldRule::Drop if matches!(*name, HOST | CONTENT_LENGTH) => Passage::Anew,
            FieldRule::Drop => Passage::KeptBack("a field of the caller's is not for the service"),
        }
    }
}

impl<'a> UpstreamRequest<'a> {
    /// # Errors
    /// [`BadRequest::Pickle`], [`BadRequest::PayloadField`], [`BadRequest::TooLarge`]: what the permitted Deployment does not
    /// take. [`BadRequest::RouteOverride`]: what a token for some routes does not open.
    pub fn new(request: &'a Request<'a>, permit: &'a Permit, framing: BodyFraming) -> Result<Self, BadRequest> {
        let head = request.received.head;
        let settings = &permit.spec().settings;
        if permit.is_bound_to_route() && overrides_route(request) {
            return Err(BadRequest::RouteOverride);
        }
        if !settings.allow_pickle {
            headers::check_pickle(&head.headers)?;
        }
        match (framing, settings.max_body_bytes) {
            (BodyFraming::Length(length), Some(limit)) if length > limit => Err(BadRequest::TooLarge),
            _ => Ok(Self { request, permit, framing }),
        }
    }

    pub fn request(&self) -> &Request<'a> {
        self.request
    }

    pub fn permit(&self) -> &Permit {
        self.permit
    }

    pub fn trailer_rules(&self) -> TrailerRules {
        TrailerRules {
            identity_fields: Arc::clone(&self.request.received.settings.identity_fields),
            credential: self.permit.upstream_credential().cloned(),
        }
    }

    pub fn framing(&self) -> BodyFraming {
        self.framing
    }

    /// The request's head as it goes to an upstream whose URL has the path `base_path`.
    pub fn write(&self, base_path: &str) -> BytesMut {
        let mut out = BytesMut::with_capacity(1024);
        self.write_request_line(base_path, &mut out);
        self.write_host(&mut out);
        self.write_callers_fields(&mut out);
        self.write_our_fields(&mut out);
        out.put_slice(b"\r\n");
        out
    }

    fn head(&self) -> &Parts {
        self.request.received.head
    }

    fn write_request_line(&self, base_path: &str, out: &mut BytesMut) {
        let target = &self.request.target;
        let path = &target.path[self.permit.prefix_len()..];
        out.put_slice(self.head().method.as_str().as_bytes());
        out.put_slice(b" ");
        out.put_slice(base_path.as_bytes());
        if !path.starts_with('/') {
            out.put_slice(b"/");
        }
        out.put_slice(path.as_bytes());
        if let Some(query) = target.query {
            out.put_slice(b"?");
            out.put_slice(query.as_bytes());
        }
        out.put_slice(b" HTTP/1.1\r\n");
    }

    fn write_host(&self, out: &mut BytesMut) {
        out.put_slice(b"host: ");
        put_authority(out, &self.request.target.authority);
        out.put_slice(b"\r\n");
    }

    fn write_callers_fields(&self, out: &mut BytesMut) {
        let all = &self.head().headers;
        let named = &self.request.named_by_connection;
        let (mut cookies, passages) = (false, self.passages());
        for (name, value) in all {
            let text = name.as_str();
            if named.iter().any(|named| named.eq_ignore_ascii_case(text)) {
                tracing::debug!(field = text, "a field that Connection names is not for the service");
                continue;
            }
            match passages.of(name, value) {
                Passage::AsItIs => put_field(out, text, value.as_bytes()),
                // HTTP/2 splits it into crumbs, which HTTP/1.1 wants as one field (RFC 9113 § 8.2.3).
                Passage::Anew if name == COOKIE => cookies = true,
                Passage::Anew => {}
                Passage::KeptBack(why) => tracing::debug!(field = text, "{why}"),
            }
        }
        if cookies {
            put_cookies(out, all);
        }
    }

    /// The caller's fields that are not for the service, for whoever forwards the request in our place.
    pub fn kept_back(&self) -> Vec<HeaderName> {
        let passages = self.passages();
        let is_kept_back =
            |(name, value): &(&HeaderName, &HeaderValue)| matches!(passages.of(name, value), Passage::KeptBack(_));
        self.head().headers.iter().filter(is_kept_back).map(|(name, _)| name.clone()).collect()
    }

    fn passages(&self) -> Passages<'_> {
        Passages {
            identity_fields: &self.request.received.settings.identity_fields,
            credential: self.permit.upstream_credential().map(|credential| credential.header()),
            forward_authorization: self.permit.spec().settings.forward_authorization,
        }
    }

    fn write_our_fields(&self, out: &mut BytesMut) {
        if let Some(credential) = self.permit.upstream_credential() {
            put_field(out, credential.header(), credential.expose().as_bytes());
        }
        match self.framing {
            BodyFraming::None => {}
            BodyFraming::Length(length) => {
                put_field(out, "content-length", itoa::Buffer::new().format(length).as_bytes())
            }
            BodyFraming::Chunked => put_field(out, "transfer-encoding", b"chunked"),
        }
        if self.head().headers.get(TE).is_some_and(|te| te.as_bytes().eq_ignore_ascii_case(b"trailers")) {
            put_field(out, "te", b"trailers");
        }
        if self.request.websocket {
            put_field(out, "connection", b"upgrade");
            put_field(out, "upgrade", b"websocket");
            if let Some(protocols) = credential::protocols_for_upstream(&self.head().headers) {
                put_field(out, "sec-websocket-protocol", protocols.as_bytes());
            }
        }
        put_field(out, "x-request-id", self.request.received.id.as_bytes());
        self.write_forwarding(out);
        put_field(out, "x-bento-gateway-deployment", self.permit.spec().name.as_str().as_bytes());
        if let Some(uid) = self.permit.token_uid() {
            let uid = uid.0.hyphenated();
            put_field(out, "x-bento-gateway-token-uid", uid.encode_lower(&mut [0; Hyphenated::LENGTH]).as_bytes());
        }
    }

    fn write_forwarding(&self, out: &mut BytesMut) {
        let Request { target, forwarding, .. } = self.request;
        let peer = &self.request.received.connection.peer;
        put_field(out, "x-forwarded-for", forwarding.chain.as_deref().unwrap_or(peer.address_text()).as_bytes());
        put_field(out, "x-forwarded-proto", if forwarding.https { b"https" } else { b"http" });
        out.put_slice(b"x-forwarded-host: ");
        put_authority(out, forwarding.host.as_ref().unwrap_or(&target.authority));
        out.put_slice(b"\r\n");
        if self.permit.prefix_len() > 0 {
            put_field(out, "x-forwarded-prefix", &target.path.as_bytes()[..self.permit.prefix_len()]);
        }
    }
}

/// Whether the service may get a field by which it takes another method or path than those that were decided about.
fn overrides_route(request: &Request<'_>) -> bool {
    let received = &request.received;
    // Who only asks us forwards what we would drop.
    let elsewhere = received.connection.entrance == Entrance::ForwardAuth;
    let passes =
        |name: &HeaderName| headers::request_field(name, &received.settings.identity_fields) != FieldRule::Drop;
    override_fields::are_among(&received.head.headers, |name| elsewhere || passes(name))
}

/// One framing towards the upstream, whatever came: a length if the caller announced one, else chunks if there is a body.
pub fn framing(head: &Parts, body: Option<&Incoming>) -> BodyFraming {
    let Some(body) = body else { return BodyFraming::None };
    match body.size_hint().exact() {
        // With these methods a request that has no body says so.
        Some(0) if matches!(head.method, Method::POST | Method::PUT | Method::PATCH) => BodyFraming::Length(0),
        Some(0) => BodyFraming::None,
        Some(length) => BodyFraming::Length(length),
        None if body.is_end_stream() => BodyFraming::None,
        None => BodyFraming::Chunked,
    }
}

fn put_authority(out: &mut BytesMut, authority: &Authority<'_>) {
    out.put_slice(authority.host.as_bytes());
    if let Some(port) = authority.port {
        out.put_slice(b":");
        out.put_slice(itoa::Buffer::new().format(port).as_bytes());
    }
}

/// Writes all cookies but ours, and those that hold a token of ours, as one field, or none if nothing is left.
fn put_cookies(out: &mut BytesMut, headers: &HeaderMap) {
    let fields = headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes);
    let mut first = true;
    for pair in fields.flat_map(|field| field.split(|byte| *byte == b';')) {
        let pair = pair.trim_ascii();
        if pair.is_empty() || cookie::is_ours(pair) || token_text::is_within(pair) {
            continue;
        }
        out.put_slice(if first { b"cookie: " } else { b"; " });
        out.put_slice(pair);
        first = false;
    }
    if !first {
        out.put_slice(b"\r\n");
    }
}
