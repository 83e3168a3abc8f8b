//! What every page of ours says to a browser, and where one is sent.

use askama::Template;
use http::{
    HeaderMap, HeaderName, HeaderValue, Response, StatusCode,
    header::{
        CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, LOCATION, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
        X_FRAME_OPTIONS,
    },
};

static CROSS_ORIGIN_OPENER_POLICY: HeaderName = HeaderName::from_static("cross-origin-opener-policy");
/// How long a browser keeps a stylesheet, an icon or a script, seconds.
const ASSET_AGE: &str = "max-age=3600";

/// What a page may load: our own stylesheet, pictures and forms, and nobody may frame it.
#[derive(Clone, Copy, Debug)]
pub enum Scripts {
    None,
    /// Our own.
    Own,
}

impl Scripts {
    fn policy(self) -> &'static str {
        match self {
            Self::None => {
                "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; \
                 frame-ancestors 'none'"
            }
            Self::Own => {
                "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; form-action 'self'; \
                 base-uri 'none'; frame-ancestors 'none'"
            }
        }
    }
}

/// A page from its template.
pub fn rendered<B: Default + From<String>>(
    status: StatusCode,
    template: &impl Template,
    scripts: Scripts,
) -> Response<B> {
    let Ok(html) = template.render() else { return empty(StatusCode::INTERNAL_SERVER_ERROR) };
    let mut response = Response::new(B::from(html));
    *response.status_mut() = status;
    set_fields(response.headers_mut(), scripts);
    response
}

/// What makes an answer a page, whatever else it says.
pub fn set_fields(headers: &mut HeaderMap, scripts: Scripts) {
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(scripts.policy()));
    // Nobody else is told where somebody came from. `no-referrer` would have browsers send `Origin: null` with our own
    // forms as well.
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("same-origin"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    headers.insert(CROSS_ORIGIN_OPENER_POLICY.clone(), HeaderValue::from_static("same-origin"));
}

/// A stylesheet, an icon or a script of ours.
pub fn asset<B: From<&'static str>>(content_type: &'static str, text: &'static str) -> Response<B> {
    let mut response = Response::new(B::from(text));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static(ASSET_AGE));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// Has the browser get another address. Codes that are good once may be in it: nobody keeps it, and whoever it leads to
/// does not learn what led there.
pub fn redirect<B: Default>(to: &str) -> Response<B> {
    let mut response = empty(StatusCode::SEE_OTHER);
    let headers = response.headers_mut();
    headers.insert(LOCATION, HeaderValue::try_from(to).unwrap_or(HeaderValue::from_static("/")));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    response
}

/// `text`, if it is a path of this very host, to which a browser may be sent. `None`: it is none, or a browser could read
/// it as another host's.
pub fn local_path(text: &str) -> Option<&str> {
    let is_path = text.starts_with('/') && !text.starts_with("//");
    (is_path && text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\')).then_some(text)
}

fn empty<B: Default>(status: StatusCode) -> Response<B> {
    let mut response = Response::new(B::default());
    *response.status_mut() = status;
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_sent_to_another_host() {
        for path in ["/", "/docs?x=1", "/deployments/a/", "/a//b"] {
            assert_eq!(local_path(path), Some(path));
        }
        for other in
            ["", "docs", "//evil.test", "https://evil.test", "/\\evil.test", "/a\r\nb", "/a b", "/ä", "\t//evil"]
        {
            assert_eq!(local_path(other), None, "{other:?}");
        }
    }
}
