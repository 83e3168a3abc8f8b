//! Fields by which a caller can have some services take another method or path than those of its request.

use http::{HeaderMap, HeaderName};

/// As frameworks and proxies have them; what `identity_fields.rs` drops from every request is here, too, since an operator can
/// let it through, and since other proxies forward what they only ask about.
const NAMES: [&str; 9] = [
    "x-http-method-override",
    "x-http-method",
    "x-method-override",
    "x-original-method",
    "x-original-path",
    "x-original-uri",
    "x-original-url",
    "x-override-url",
    "x-rewrite-url",
];

/// Whether it overrides, in whatever spelling: WSGI reads `_` as `-`, and some servers `.` too.
pub fn overrides(name: &HeaderName) -> bool {
    let name = name.as_str().bytes().map(|byte| if matches!(byte, b'_' | b'.') { b'-' } else { byte });
    NAMES.iter().any(|known| name.clone().eq(known.bytes()))
}

/// Whether one of those does that reach the service.
pub fn are_among(fields: &HeaderMap, reaches: impl Fn(&HeaderName) -> bool) -> bool {
    fields.keys().any(|name| overrides(name) && reaches(name))
}
