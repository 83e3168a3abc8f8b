//! The names of our cookies, which both listeners set and the proxy keeps from services.
//!
//! Every name begins with `bgw-`. Over TLS it is `__Host-bgw-…`: browsers take such a cookie from the very host only, and
//! a sibling host cannot set it. Cookies do not know ports, so a name says what it is for.

use http::{HeaderMap, HeaderValue, header::COOKIE};

use super::list;

const PREFIX: &str = "bgw-";
const HOST_PREFIX: &str = "__Host-";

/// The console's session.
pub const CONSOLE: &str = "console";
/// Ties a form of the console to the browser that it was made for, before anybody has signed in.
pub const FORM: &str = "form";
/// Where somebody wanted to go who has no password yet.
pub const WANTED: &str = "wanted";
/// Says that an account has signed in with this browser before.
pub const KNOWN: &str = "known";
/// What single sign-on must come back with.
pub const SIGN_ON: &str = "sign-on";

/// What the name of a Deployment's browser session begins with.
pub const SESSION: &str = "session-";

/// A browser session of a Deployment.
pub fn session(deployment: &str) -> String {
    format!("{SESSION}{deployment}")
}

/// Ties a hand-over to the browser that asked for it.
pub const NONCE: &str = "nonce";

/// `Set-Cookie` for our cookie `purpose`. `max_age`: seconds; 0 deletes it.
pub fn set(https: bool, purpose: &str, value: &str, max_age: u64) -> String {
    let (prefix, secure) = if https { (HOST_PREFIX, "; Secure") } else { ("", "") };
    format!("{prefix}{PREFIX}{purpose}={value}; Path=/; HttpOnly; SameSite=Lax; Max-Age={max_age}{secure}")
}

/// The value of our cookie `purpose` in the `Cookie` fields, of which HTTP/2 may have several (RFC 9113 § 8.2.3). `None`:
/// none, or several, one of which may be somebody else's.
pub fn get<'a>(headers: &'a HeaderMap, https: bool, purpose: &str) -> Option<&'a str> {
    let mut values = all(headers, https, purpose).filter_map(|(rest, value)| rest.is_empty().then_some(value));
    let first = values.next();
    first.filter(|_| values.next().is_none())
}

/// What follows `purpose` in the names of our cookies, and their values: those that the browser has sent, whoever set them.
pub fn all<'a>(headers: &'a HeaderMap, https: bool, purpose: &str) -> impl Iterator<Item = (&'a str, &'a str)> {
    let with_ours = headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes).flat_map(pairs_with_ours);
    with_ours.filter_map(move |pair| {
        let (name, value) = pair.split_once('=')?;
        let name = if https { name.strip_prefix(HOST_PREFIX)? } else { name };
        Some((name.strip_prefix(PREFIX)?.strip_prefix(purpose)?, value))
    })
}

/// Whether a cookie pair or a `Set-Cookie` value is one of ours, or would be one to somebody who reads less strictly.
pub fn is_ours(pair: &[u8]) -> bool {
    // A cookie without a name is sent back as what looks like one with a name: `=bgw-x=y` as `bgw-x=y`. And many take off
    // blanks beyond ASCII, of UTF-8 or of Latin-1.
    let start = pair.iter().position(|&byte| byte.is_ascii_graphic() && byte != b'=').unwrap_or(pair.len());
    let pair = &pair[start..];
    let pair = pair.strip_prefix(HOST_PREFIX.as_bytes()).unwrap_or(pair);
    pair.starts_with(PREFIX.as_bytes())
}

/// The pairs of a `Cookie` field that may be ours. Only blanks of ASCII surround them (RFC 6265 § 4.2.1): with another one
/// before its name, a sibling host can set a cookie that browsers do not take for one of `__Host-`.
fn pairs_with_ours(field: &[u8]) -> impl Iterator<Item = &str> {
    let text = std::str::from_utf8(field).unwrap_or_default();
    list::elements_with(text, b';', PREFIX).map(|pair| pair.trim_matches([' ', '\t']))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(fields: &[&'static str], https: bool) -> Option<String> {
        let headers = fields.iter().map(|field| (COOKIE, HeaderValue::from_static(field))).collect();
        get(&headers, https, CONSOLE).map(str::to_owned)
    }

    #[test]
    fn a_cookie_is_read_where_it_cannot_be_anothers() {
        assert_eq!(found(&["a=b; bgw-console=x", "c=d"], false).as_deref(), Some("x"));
        assert_eq!(found(&["__Host-bgw-console=x"], true).as_deref(), Some("x"));
        assert_eq!(found(&["bgw-console=x"], true), None);
        assert_eq!(found(&["__Host-bgw-console=x"], false), None);
        assert_eq!(found(&["bgw-console=x; bgw-console=y"], false), None);
        assert_eq!(found(&["bgw-console=x", "bgw-console=x"], false), None);
        assert_eq!(found(&["bgw-console-x=x; xbgw-console=y"], false), None);
        assert_eq!(found(&["a=b;\t bgw-console=x ;c=d"], false).as_deref(), Some("x"));
    }

    #[test]
    fn a_sibling_host_cannot_pass_a_cookie_off_as_ours_with_a_blank_before_its_name() {
        for blank in ["\u{a0}", "\u{2000}", "\u{3000}", "\u{85}", "\u{b}", "\u{c}"] {
            let field = format!("a=b; {blank}__Host-bgw-console=x");
            let mut headers = HeaderMap::new();
            // What hyper lets through.
            let Ok(value) = HeaderValue::from_bytes(field.as_bytes()) else { continue };
            headers.insert(COOKIE, value);
            assert_eq!(get(&headers, true, CONSOLE), None, "{blank:?}");
            assert!(is_ours(format!("{blank}__Host-bgw-console=x").as_bytes()), "{blank:?}: no service gets it");
        }
        assert!(is_ours(b"\xa0bgw-session-a=x") && is_ours(b" =\x85 bgw-session-a=x"), "Latin-1");
    }

    #[test]
    fn ours_are_known_by_their_name() {
        assert!(is_ours(b"bgw-console=x; Path=/") && is_ours(b" __Host-bgw-session-a=x"));
        assert!(is_ours(b"=bgw-session-a=x") && is_ours(b" = bgw-session-a=x; Path=/"));
        assert!(!is_ours(b"session=bgw-console") && !is_ours(b"__Secure-bgw-console=x"));
        assert_eq!(
            set(true, CONSOLE, "x", 60),
            "__Host-bgw-console=x; Path=/; HttpOnly; SameSite=Lax; Max-Age=60; Secure"
        );
        assert_eq!(set(false, CONSOLE, "", 0), "bgw-console=; Path=/; HttpOnly; SameSite=Lax; Max-Age=0");
    }
}
