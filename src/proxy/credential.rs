//! The one credential of a request, or why it has none that counts.
//!
//! It is one `Authorization: Bearer` field or, for WebSockets from browsers, which can set no header, one entry of
//! `Sec-WebSocket-Protocol`; where there is neither, the cookie of a browser that has signed in to this very Deployment.
//! Never a query parameter, a form field or another header: a token there is refused with words that help, and reaches no
//! service.

use http::{
    HeaderMap, HeaderValue,
    header::{AUTHORIZATION, COOKIE, SEC_WEBSOCKET_PROTOCOL},
};

use crate::{
    domain::{
        deployment::DeploymentName,
        token_text::{self, PresentedToken},
    },
    http::{
        bearer::{self, NotBearer},
        cookie, list,
    },
};

/// A browser offers `["bento-gateway", "bento-gateway.bearer.TOKEN"]`, and its own protocols if it has any.
pub const PROTOCOL_PREFIX: &str = "bento-gateway.bearer.";
/// What is answered if the upstream chose no protocol: some browsers fail a WebSocket whose offers are all passed over.
pub const PROTOCOL: &str = "bento-gateway";

/// What the caller shows.
#[derive(Clone, Copy, Debug)]
pub enum Presented<'a> {
    Nothing,
    /// The gateway refuses it without looking anything up.
    Bad(BadCredential),
    Token(PresentedToken<'a>),
    /// A browser's session, in a cookie.
    Session {
        session: Session<'a>,
        /// Whether a page of another site may have made the browser send it.
        cross_site: bool,
    },
}

/// What a browser sent as its session.
#[derive(Clone, Copy, Debug)]
pub struct Session<'a> {
    pub token: PresentedToken<'a>,
    /// Whether it can be one of the Deployment that was asked for.
    pub counts: bool,
}

/// The browser session that is named after `deployment`, or else any, which does not count. It is refused as a session that
/// has ended would be; so nobody learns by sending a cookie whether there is a Deployment, and of what name.
/// `None`: the browser sent none, or what it sent has not the form of one.
pub fn session<'a>(headers: &'a HeaderMap, https: bool, deployment: Option<&DeploymentName>) -> Option<Session<'a>> {
    let parse = |text: &'a str| PresentedToken::parse_session(text.as_bytes()).ok();
    let (mut its_own, mut others) = (None, None);
    let mut several = false;
    for (name, text) in cookie::all(headers, https, cookie::SESSION) {
        if deployment.is_some_and(|deployment| deployment.as_str() == name) {
            several |= its_own.replace(text).is_some();
        }
        others = others.or_else(|| parse(text));
    }
    // Of two with one name, one may be somebody else's.
    match its_own.filter(|_| !several).and_then(parse) {
        Some(token) => Some(Session { token, counts: true }),
        None => others.map(|token| Session { token, counts: false }),
    }
}

/// Why the credential is refused before anyone looks it up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadCredential {
    /// RFC 6750 § 2: one method, once.
    Several,
    /// Another scheme, nothing after it, or more than one word after it.
    NotBearer,
    /// One word after `Bearer`, but not of the shape of this gateway's tokens.
    NotAToken,
    /// There is none where one is read, but a token in another field or a cookie.
    Misplaced,
}

/// Whether a token stands in a field where it is not read. `docs/decisions/0024-tokens-in-other-places.md`.
pub fn is_misplaced(headers: &HeaderMap) -> bool {
    // The browser's sessions are looked for elsewhere.
    let in_cookie = |pair: &[u8]| !cookie::is_ours(pair) && token_text::is_within(pair);
    headers.iter().filter(|(name, _)| **name != AUTHORIZATION).any(|(name, value)| match value.as_bytes() {
        // Most have none, and need not be taken apart.
        value if !token_text::is_within(value) => false,
        value => *name != COOKIE || value.split(|&byte| byte == b';').any(in_cookie),
    })
}

/// The token of the request, or why it has none that counts. The cookie is [`session`]'s.
pub fn presented(headers: &HeaderMap, websocket: bool) -> Presented<'_> {
    let mut fields = headers.get_all(AUTHORIZATION).iter();
    let mut offers = websocket.then(|| websocket_tokens(headers)).into_iter().flatten();
    let token = match (fields.next(), offers.next()) {
        (None, None) => return Presented::Nothing,
        (Some(field), None) if fields.next().is_none() => bearer(field.as_bytes()),
        (None, Some(token)) if offers.next().is_none() => parse(token.as_bytes()),
        _ => Err(BadCredential::Several),
    };
    token.map_or_else(Presented::Bad, Presented::Token)
}

/// The protocols that the upstream may see: all but ours. `None`: none is left.
pub fn protocols_for_upstream(headers: &HeaderMap) -> Option<HeaderValue> {
    let ours = |protocol: &&str| *protocol == PROTOCOL || protocol.starts_with(PROTOCOL_PREFIX);
    let passes = |protocol: &&str| !ours(protocol) && !token_text::is_within(protocol.as_bytes());
    let left: Vec<&str> = protocols(headers).filter(passes).collect();
    if left.is_empty() { None } else { HeaderValue::try_from(left.join(", ")).ok() }
}

/// Whether [`PROTOCOL`] was offered, so that it may be answered.
pub fn offers_protocol(headers: &HeaderMap) -> bool {
    protocols(headers).any(|protocol| protocol == PROTOCOL)
}

fn bearer(field: &[u8]) -> Result<PresentedToken<'_>, BadCredential> {
    parse(bearer::parse(field).map_err(|NotBearer| BadCredential::NotBearer)?)
}

fn parse(token: &[u8]) -> Result<PresentedToken<'_>, BadCredential> {
    PresentedToken::parse(token).map_err(|_| BadCredential::NotAToken)
}

fn websocket_tokens(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let offers = protocol_fields(headers).flat_map(|field| list::elements_with(field, b',', PROTOCOL_PREFIX));
    offers.filter_map(|protocol| protocol.trim().strip_prefix(PROTOCOL_PREFIX))
}

fn protocols(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    protocol_fields(headers).flat_map(|field| field.split(',')).map(str::trim)
}

fn protocol_fields(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    headers.get_all(SEC_WEBSOCKET_PROTOCOL).iter().filter_map(|field| field.to_str().ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system;

    fn outcome(fields: &[(&'static str, &str)], websocket: bool) -> Result<Option<String>, BadCredential> {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, HeaderValue::from_str(value).unwrap());
        }
        match presented(&headers, websocket) {
            Presented::Nothing => Ok(None),
            Presented::Bad(bad) => Err(bad),
            Presented::Token(token) | Presented::Session { session: Session { token, .. }, .. } => {
                Ok(Some(String::from_utf8(token.secret_bytes().to_vec()).unwrap()))
            }
        }
    }

    #[test]
    fn what_counts_as_a_credential() {
        use BadCredential::*;
        let token = system::new_token_text().unwrap();
        let text = token.expose();
        let (header, protocol) = (format!("Bearer {text}"), format!("bento-gateway, {PROTOCOL_PREFIX}{text}"));
        let found = Ok(Some(text.to_owned()));

        assert_eq!(outcome(&[], true), Ok(None));
        assert_eq!(outcome(&[("authorization", &header)], false), found);
        assert_eq!(outcome(&[("authorization", &header.replace("Bearer", "bEARER"))], false), found);
        assert_eq!(outcome(&[("authorization", &header.replace(' ', "   "))], false), found);
        assert_eq!(outcome(&[("sec-websocket-protocol", &protocol)], true), found);
        assert_eq!(outcome(&[("sec-websocket-protocol", &protocol)], false), Ok(None));
        assert_eq!(outcome(&[("x-yatai-api-token", text), ("cookie", &format!("token={text}"))], false), Ok(None));

        assert_eq!(outcome(&[("authorization", &header), ("authorization", &header)], false), Err(Several));
        assert_eq!(outcome(&[("authorization", &header), ("sec-websocket-protocol", &protocol)], true), Err(Several));
        assert_eq!(
            outcome(&[("sec-websocket-protocol", &format!("{protocol}, {PROTOCOL_PREFIX}{text}"))], true),
            Err(Several)
        );
        for value in [
            "",
            "Bearer",
            "Bearer ",
            "Basic YTpi",
            text,
            &format!("Bearer{text}"),
            &format!("{header} x"),
            &format!("{header}, {header}"),
            &format!("Bearer\t{text}"),
            "Token abc",
        ] {
            assert_eq!(outcome(&[("authorization", value)], false), Err(NotBearer), "{value}");
        }
        for value in ["Bearer $YOUR_TOKEN", "Bearer x", &format!("{header}x"), &header[..header.len() - 1]] {
            assert_eq!(outcome(&[("authorization", value)], false), Err(NotAToken), "{value}");
        }
    }

    #[test]
    fn the_upstream_sees_no_protocol_of_ours() {
        let mut headers = HeaderMap::new();
        headers.append(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static("bento-gateway, chat"));
        headers.append(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static("bento-gateway.bearer.x, superchat"));
        assert_eq!(protocols_for_upstream(&headers).unwrap(), "chat, superchat");
        headers.remove(SEC_WEBSOCKET_PROTOCOL);
        assert_eq!(protocols_for_upstream(&headers), None);
    }
}
