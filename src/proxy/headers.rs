//! Which fields travel on, in both directions, and which are ours to say.
//!
//! The order is fixed. The gateway drops what `Connection` names and what is hop-by-hop, then names that a Python upstream
//! could read as others, then everything that claims an identity or a route; it sets its own fields last. Other gateways
//! had a vulnerability for each of these steps, because they left it out or did it at another place.

use bytes::{BufMut, BytesMut};
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Version,
    header::{
        ACCEPT, ACCEPT_ENCODING, ACCEPT_LANGUAGE, AUTHORIZATION, CACHE_CONTROL, CONNECTION, CONTENT_LENGTH,
        CONTENT_SECURITY_POLICY, CONTENT_TYPE, COOKIE, EXPECT, HOST, ORIGIN, REFERER, SEC_WEBSOCKET_PROTOCOL,
        SET_COOKIE, TRANSFER_ENCODING, UPGRADE, USER_AGENT, VARY,
    },
    request::Parts,
};

use super::{identity_fields::claims_identity, override_fields, rejection::BadRequest};
use crate::{
    config::LimitConfig,
    domain::identity_fields::{IdentityFields, Ruling},
    http::cookie,
};

static SERVICE_WORKER: HeaderName = HeaderName::from_static("service-worker");
static SERVICE_WORKER_ALLOWED: HeaderName = HeaderName::from_static("service-worker-allowed");

/// How many options `Connection` may have. No client has more than three; each is looked for among all fields.
const MAX_CONNECTION_OPTIONS: usize = 32;

/// Refuses a header of HTTP/2 that is beyond the limits. On HTTP/1 hyper does, with a line in the log; on HTTP/2 it does not
/// count fields, and the library refuses only what is twice as large.
///
/// # Errors
/// [`BadRequest::TooManyFields`], [`BadRequest::HeaderTooLarge`].
pub fn check_size(head: &Parts, limits: &LimitConfig) -> Result<(), BadRequest> {
    if head.version != Version::HTTP_2 {
        return Ok(());
    }
    // Browsers send each cookie in a field of its own (RFC 9113 § 8.2.3).
    let cookies = head.headers.get_all(COOKIE).iter().count();
    let fields = head.headers.len() - cookies.saturating_sub(1);
    // As RFC 9113 § 6.5.2 counts.
    let bytes: usize = head.headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 32).sum();
    match () {
        () if fields > limits.max_headers => Err(BadRequest::TooManyFields),
        () if bytes > limits.max_header_bytes => Err(BadRequest::HeaderTooLarge),
        () => Ok(()),
    }
}

/// Refuses a message that an upstream could take apart in another way than the gateway. Returns the fields that `Connection`
/// takes away (RFC 9110 § 7.6.1).
///
/// # Errors
/// [`BadRequest::TransferEncoding`], [`BadRequest::ConnectionOptions`], [`BadRequest::Connection`],
/// [`BadRequest::ServiceWorker`].
pub fn check_message<'h>(headers: &'h HeaderMap, identity_fields: &IdentityFields) -> Result<Vec<&'h str>, BadRequest> {
    // Most messages have none of these, and one look at all names costs less than three look-ups.
    let matters = |name: &HeaderName| matches!(*name, TRANSFER_ENCODING | CONNECTION) || *name == SERVICE_WORKER;
    if !headers.keys().any(matters) {
        return Ok(Vec::new());
    }
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    let chunked = |coding: &HeaderValue| coding.as_bytes().eq_ignore_ascii_case(b"chunked");
    if codings.next().is_some_and(|coding| !chunked(coding)) || codings.next().is_some() {
        return Err(BadRequest::TransferEncoding);
    }
    let mut refused = false;
    for (number, name) in nominated(headers).enumerate() {
        if number == MAX_CONNECTION_OPTIONS {
            return Err(BadRequest::ConnectionOptions);
        }
        refused |= !may_be_nominated(name, identity_fields);
    }
    if refused {
        return Err(BadRequest::Connection);
    }
    // Browsers say so of every script that is to stand between pages of an origin and its server.
    if headers.contains_key(&SERVICE_WORKER) {
        return Err(BadRequest::ServiceWorker);
    }
    Ok(nominated(headers).filter(|name| !is_connection_option(name)).collect())
}

/// Refuses what Bento would unpickle, which lets a caller run code in the service.
///
/// # Errors
/// [`BadRequest::Pickle`], [`BadRequest::PayloadField`].
pub fn check_pickle(headers: &HeaderMap) -> Result<(), BadRequest> {
    let names_pickle = |value: &HeaderValue| {
        let value = value.as_bytes();
        // By the letter that is rarest in types of content.
        memchr::memchr2_iter(b'k', b'K', value).any(|at| {
            let part = at.checked_sub(3).and_then(|begin| value.get(begin..begin + 6));
            part.is_some_and(|part| part.eq_ignore_ascii_case(b"pickle"))
        })
    };
    match () {
        () if headers.get_all(CONTENT_TYPE).iter().any(names_pickle) => Err(BadRequest::Pickle),
        () if headers.keys().any(|name| name.as_str().starts_with("payload-")) => Err(BadRequest::PayloadField),
        () => Ok(()),
    }
}

/// Whether this request asks for a WebSocket. Other protocols are not spoken: their `Upgrade` is dropped.
///
/// # Errors
/// [`BadRequest::Upgrade`] for a WebSocket request that is not a plain GET.
pub fn asks_for_websocket(head: &Parts, has_body: bool) -> Result<bool, BadRequest> {
    let mut upgrades = head.headers.get_all(UPGRADE).iter();
    let is_websocket = |value: &HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"websocket");
    let asked = head.version == Version::HTTP_11
        && upgrades.next().is_some_and(is_websocket)
        && upgrades.next().is_none()
        && nominated(&head.headers).any(|name| name.eq_ignore_ascii_case("upgrade"));
    if asked && (head.method != Method::GET || has_body) { Err(BadRequest::Upgrade) } else { Ok(asked) }
}

/// Whether a trailer may pass: nothing that frames, routes or authenticates (RFC 9110 § 6.5.1), nothing of ours.
pub fn may_be_trailer(name: &HeaderName, identity_fields: &IdentityFields) -> bool {
    let text = name.as_str();
    request_field(name, identity_fields) == FieldRule::Pass
        // Some servers add trailers to the fields that an application has seen, where Bento would unpickle by these, and others
        // would take another route.
        && !text.starts_with("payload-")
        && !override_fields::overrides(name)
        && !matches!(
            text,
            "content-type" | "content-encoding" | "content-range" | "set-cookie" | "cache-control" | "trailer"
        )
}

pub fn put_field(out: &mut BytesMut, name: &str, value: &[u8]) {
    out.put_slice(name.as_bytes());
    out.put_slice(b": ");
    out.put_slice(value);
    out.put_slice(b"\r\n");
}

/// Whether a field of a service's response may reach the caller. None of our own cookies, with which it could sign somebody
/// in as another, and no word on service workers: one could read what people type on the gateway's pages.
pub fn may_answer(name: &HeaderName, value: &HeaderValue) -> bool {
    match *name {
        SET_COOKIE => !cookie::is_ours(value.as_bytes()),
        _ => *name != SERVICE_WORKER_ALLOWED,
    }
}

/// Keeps a response that only a cookie has opened out of caches: a shared cache does not know what our cookie means, and
/// the browser's own must not show the response after signing out. Keeps it out of other sites' frames, too: on plain HTTP
/// a browser does not tell the gateway whether a frame or the Deployment's own page asks.
pub fn keep_private(headers: &mut HeaderMap) {
    headers.append(CONTENT_SECURITY_POLICY, HeaderValue::from_static("frame-ancestors 'self'"));
    headers.append(CACHE_CONTROL, HeaderValue::from_static("private"));
    headers.append(VARY, HeaderValue::from_static("cookie"));
}

/// What happens to a field of the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldRule {
    Pass,
    Drop,
    Authorization,
    Cookie,
    WebSocketProtocol,
}

/// The rule for the field with this name.
pub fn request_field(name: &HeaderName, identity_fields: &IdentityFields) -> FieldRule {
    match *name {
        AUTHORIZATION => FieldRule::Authorization,
        COOKIE => FieldRule::Cookie,
        SEC_WEBSOCKET_PROTOCOL => FieldRule::WebSocketProtocol,
        // Written by us from what was decided, or answered by us.
        HOST | CONTENT_LENGTH | EXPECT => FieldRule::Drop,
        // What nearly every request has, and claims nothing, need not be looked for.
        ACCEPT | ACCEPT_ENCODING | ACCEPT_LANGUAGE | CONTENT_TYPE | ORIGIN | REFERER | USER_AGENT => {
            match identity_fields.ruling(name.as_str()) {
                Some(Ruling::Drop) => FieldRule::Drop,
                Some(Ruling::Allow) | None => FieldRule::Pass,
            }
        }
        _ => other_field(name.as_str(), identity_fields),
    }
}

fn other_field(name: &str, identity_fields: &IdentityFields) -> FieldRule {
    match name {
        name if is_hop_by_hop(name) => FieldRule::Drop,
        // WSGI and ASGI read `_` as `-`, and some servers `.` too: `x_forwarded_for` would be a second spelling.
        name if !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') => FieldRule::Drop,
        name => match identity_fields.ruling(name) {
            Some(Ruling::Allow) => FieldRule::Pass,
            Some(Ruling::Drop) => FieldRule::Drop,
            None if claims_identity(name) => FieldRule::Drop,
            None => FieldRule::Pass,
        },
    }
}

/// RFC 9110 § 7.6.1, with what older and other software treats so.
pub fn is_hop_by_hop(name: &str) -> bool {
    matches!(
        name,
        "connection"
            | "keep-alive"
            | "proxy-connection"
            | "proxy-authenticate"
            | "proxy-authorization"
            | "te"
            | "transfer-encoding"
            | "upgrade"
            | "http2-settings"
    )
}

/// Whether further requests may follow on the connection (RFC 9112 § 9.3). Callers of HTTP/1.0 who ask for that are not
/// counted.
pub fn is_persistent(head: &Parts) -> bool {
    head.version == Version::HTTP_11 && !nominated(&head.headers).any(|option| option.eq_ignore_ascii_case("close"))
}

fn nominated(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let fields = headers.get_all(CONNECTION).iter();
    fields
        .flat_map(|field| field.to_str().unwrap_or_default().split(','))
        .map(str::trim)
        .filter(|name| !name.is_empty())
}

fn is_connection_option(name: &str) -> bool {
    ["close", "keep-alive", "upgrade", "te", "http2-settings"].iter().any(|option| option.eq_ignore_ascii_case(name))
}

/// Whether a caller may name this field in `Connection`, which takes the field away from the service.
fn may_be_nominated(name: &str, identity_fields: &IdentityFields) -> bool {
    let name = name.to_ascii_lowercase();
    is_connection_option(&name)
        || !(matches!(
            name.as_str(),
            "host" | "authorization" | "content-length" | "transfer-encoding" | "cookie" | "content-type"
        ) || claims_identity(&name)
            || identity_fields.ruling(&name).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    fn rule(name: &'static str, identity_fields: &IdentityFields) -> FieldRule {
        request_field(&HeaderName::from_static(name), identity_fields)
    }

    fn check(headers: &HeaderMap) -> Result<(), BadRequest> {
        check_message(headers, &IdentityFields::default()).map(drop)
    }

    #[test]
    fn the_operator_changes_the_list() {
        let fields =
            IdentityFields { drop: vec!["X-Corp-*".parse().unwrap()], allow: vec!["X-User-Id".parse().unwrap()] };
        assert_eq!(rule("x-corp-id", &fields), FieldRule::Drop);
        assert_eq!(rule("x-user-id", &fields), FieldRule::Pass);
        assert_eq!(rule("x-user", &fields), FieldRule::Drop);
        assert!(!may_be_trailer(&HeaderName::from_static("x-corp-id"), &fields));
        // Nobody takes away what is to arrive, nor what is to be seen as dropped.
        for name in ["x-corp-id", "x-user-id"] {
            assert_eq!(check_message(&headers(&[("connection", name)]), &fields), Err(BadRequest::Connection));
        }
    }

    #[test]
    fn what_travels_on() {
        for name in [
            "accept",
            "content-type",
            "traceparent",
            "tracestate",
            "origin",
            "user-agent",
            "range",
            "x-custom",
            "sec-websocket-key",
        ] {
            assert_eq!(rule(name, &IdentityFields::default()), FieldRule::Pass, "{name}");
        }
        for name in [
            "x-forwarded-for",
            "x-forwarded-anything",
            "x_forwarded_for",
            "x-forwarded_for",
            "x.real.ip",
            "forwarded",
            "x-real-ip",
            "proxy-authorization",
            "x-yatai-api-token",
            "te",
            "upgrade",
            "keep-alive",
            "http2-settings",
            "bento-name",
            "runner-name",
            "x-bento-gateway-token-uid",
            "content_type",
            "host",
            "content-length",
            "x-request-id",
            "remote-user",
            "expect",
        ] {
            assert_eq!(rule(name, &IdentityFields::default()), FieldRule::Drop, "{name}");
        }
    }

    #[test]
    fn connection_cannot_take_away_what_matters() {
        for value in ["close", "keep-alive, Upgrade", "x-hop", "TE, close", ""] {
            assert_eq!(check(&headers(&[("connection", value)])), Ok(()), "{value}");
        }
        for value in [
            "host",
            "close, Authorization",
            "Content-Length",
            "transfer-encoding",
            "X-Forwarded-For",
            "X-Request-Id",
            "cookie",
        ] {
            assert_eq!(check(&headers(&[("connection", value)])), Err(BadRequest::Connection), "{value}");
        }
    }

    #[test]
    fn one_transfer_coding() {
        assert_eq!(check(&headers(&[("transfer-encoding", "chunked")])), Ok(()));
        for fields in [
            &[("transfer-encoding", "gzip, chunked")][..],
            &[("transfer-encoding", "chunked, chunked")],
            &[("transfer-encoding", "chunked"), ("transfer-encoding", "chunked")],
            &[("transfer-encoding", "identity")],
            &[("transfer-encoding", " chunked")],
            &[("transfer-encoding", "")],
        ] {
            assert_eq!(check(&headers(fields)), Err(BadRequest::TransferEncoding), "{fields:?}");
        }
    }
}
