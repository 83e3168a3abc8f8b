//! The host that a request asks for.

use http::{Version, header::HOST, request::Parts};

use crate::domain::host::Authority;

/// Why it cannot be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoAuthority {
    /// There is no `Host`, or there are several.
    NotOne,
    /// It is malformed, or contradicts the request target.
    Malformed,
}

/// One authority, whichever of `Host`, `:authority` and absolute-form target carry it (RFC 9112 § 3.2, RFC 9113 § 8.3.1).
///
/// # Errors
/// [`NoAuthority`].
pub fn read(head: &Parts) -> Result<Authority<'_>, NoAuthority> {
    let parse = |text| Authority::parse(text).map_err(|_| NoAuthority::Malformed);
    let mut fields = head.headers.get_all(HOST).iter();
    match (head.uri.authority(), fields.next(), fields.next()) {
        (_, _, Some(_)) => Err(NoAuthority::NotOne),
        (None, Some(field), None) => parse(field.as_bytes()),
        (Some(target), Some(field), None) => {
            let target = parse(target.as_str().as_bytes())?;
            if parse(field.as_bytes())? == target { Ok(target) } else { Err(NoAuthority::Malformed) }
        }
        // HTTP/1.1 wants a Host beside an absolute-form target too.
        (Some(target), None, None) if head.version >= Version::HTTP_2 => parse(target.as_str().as_bytes()),
        (_, None, None) => Err(NoAuthority::NotOne),
    }
}
