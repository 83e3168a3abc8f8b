//! What a proxy asks by HTTP: how it tells of the request that it has.
//!
//! Each way reads its own fields and no others: proxies pass on what their callers send, so that a field that the proxy does
//! not set itself is the caller's word on what it asks for. Which way a proxy means, its path says, and so it does to which
//! Deployment it forwards: what a caller says of that in host and path, a proxy may read in another way than we do.

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, Uri, Version,
    header::{
        CONNECTION, CONTENT_LENGTH, COOKIE, EXPECT, HOST, SEC_WEBSOCKET_KEY, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
        WWW_AUTHENTICATE,
    },
    request::Parts,
};

use crate::{domain::deployment::DeploymentName, proxy::credential};

/// Where Envoy asks by HTTP, before the Deployment and the path of the request.
const EXT_AUTHZ: &str = "/ext-authz/";

const X_FORWARDED_METHOD: Told =
    Told { name: HeaderName::from_static("x-forwarded-method"), shown: "X-Forwarded-Method" };
const X_FORWARDED_HOST: Told = Told { name: HeaderName::from_static("x-forwarded-host"), shown: "X-Forwarded-Host" };
const X_FORWARDED_URI: Told = Told { name: HeaderName::from_static("x-forwarded-uri"), shown: "X-Forwarded-Uri" };
const X_ORIGINAL_METHOD: Told = Told { name: HeaderName::from_static("x-original-method"), shown: "X-Original-Method" };
const X_ORIGINAL_URI: Told = Told { name: HeaderName::from_static("x-original-uri"), shown: "X-Original-URI" };
const X_ORIGINAL_URL: Told = Told { name: HeaderName::from_static("x-original-url"), shown: "X-Original-URL" };
const ASKED_HOST: Told = Told { name: HOST, shown: "Host" };

/// A field by which a proxy tells of the request that it has.
struct Told {
    name: HeaderName,
    /// As people write it.
    shown: &'static str,
}

/// A request that another proxy has, as if it had come here.
#[derive(Debug)]
pub struct Question {
    pub head: Parts,
    pub dialect: Dialect,
    /// To which the proxy forwards it.
    pub deployment: DeploymentName,
    /// Whether a token stands where none is read. The proxy would pass it on to the service.
    pub token_elsewhere: bool,
    /// Whether a field would pass for one of ours at a service that reads `_` as `-`. The proxy would pass it on.
    pub passes_for_ours: bool,
}

/// How a proxy asks, and which answers it understands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// `/forward-auth/NAME`: Traefik and Caddy. A refusal goes to the caller as it is.
    ForwardAuth,
    /// `/auth-request/NAME`: nginx's `auth_request`, HAProxy. 401 and 403 are refusals, anything else but 2xx is a failure.
    AuthRequest,
    /// `/auth-url/NAME`: the `auth-url` of nginx's ingress controller. Answers as above.
    AuthUrl,
    /// `/ext-authz/NAME/...`: Envoy by HTTP, with the path behind it. A refusal goes to the caller as it is.
    ExtAuthz,
    /// Envoy by gRPC.
    Grpc,
}

/// Why a question cannot be answered. Whoever configures that proxy can mend it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadQuestion {
    #[error(
        "this listener answers other proxies, at /forward-auth/NAME, /auth-request/NAME, /auth-url/NAME and \
         /ext-authz/NAME/, where NAME is the Deployment that the proxy forwards to; services are called at the address \
         of the proxy"
    )]
    Path,
    #[error(
        "the proxy that asks by gRPC must name the Deployment that it forwards to, in context_extensions with the key \
         deployment"
    )]
    Deployment,
    #[error("the proxy that asks must send exactly one {0}, which tells of the request that it has")]
    Field(&'static str),
    #[error("the proxy that asks sent a {0} that is malformed")]
    Malformed(&'static str),
    #[error("the proxy that asks sent a body; have it ask without the body and Content-Length of its request")]
    Body,
    #[error("what the proxy asked by gRPC is no CheckRequest of Envoy, is compressed, or is too large")]
    Message,
}

impl Question {
    /// `asked_at`: what its path says.
    ///
    /// # Errors
    /// [`BadQuestion`].
    pub fn read(
        head: &Parts,
        asked_at: Option<(Dialect, DeploymentName)>,
        has_body: bool,
    ) -> Result<Self, BadQuestion> {
        if has_body {
            return Err(BadQuestion::Body);
        }
        let fields = &head.headers;
        let (dialect, deployment) = asked_at.ok_or(BadQuestion::Path)?;
        let (method, host, target) = match dialect {
            Dialect::ForwardAuth => (
                X_FORWARDED_METHOD.method(fields)?,
                X_FORWARDED_HOST.one(fields)?.clone(),
                X_FORWARDED_URI.target(fields)?,
            ),
            Dialect::AuthRequest => {
                (X_ORIGINAL_METHOD.method(fields)?, ASKED_HOST.one(fields)?.clone(), X_ORIGINAL_URI.target(fields)?)
            }
            Dialect::AuthUrl => {
                let (host, target) = X_ORIGINAL_URL.url(fields)?;
                (X_ORIGINAL_METHOD.method(fields)?, host, target)
            }
            Dialect::ExtAuthz => {
                let whole = head.uri.path_and_query().map_or("", |whole| whole.as_str());
                let behind = EXT_AUTHZ.len() + deployment.as_str().len();
                // `:authority` of HTTP/2.
                let authority = head.uri.authority().map(|authority| HeaderValue::from_str(authority.as_str()));
                let host = match authority {
                    Some(Ok(authority)) => authority,
                    _ => ASKED_HOST.one(fields)?.clone(),
                };
                (head.method.clone(), host, target(&whole.as_bytes()[behind..], "path")?)
            }
            Dialect::Grpc => return Err(BadQuestion::Path),
        };
        Ok(Self::of(dialect, deployment, method, target, host, fields.clone()))
    }

    pub fn of(
        dialect: Dialect,
        deployment: DeploymentName,
        method: Method,
        target: Uri,
        host: HeaderValue,
        mut fields: HeaderMap,
    ) -> Self {
        for told in dialect.tells() {
            fields.remove(told);
        }
        let token_elsewhere = credential::is_misplaced(&fields);
        // By gRPC the proxy is told to take such fields out.
        let passes_for_ours = dialect != Dialect::Grpc && fields.keys().any(passes_for_ours);
        let head = asked(method, target, host, fields);
        Self { head, dialect, deployment, token_elsewhere, passes_for_ours }
    }

    /// Whether the proxy would let the service take another protocol than that of a WebSocket: whatever follows would be asked
    /// about no more.
    pub fn switches_elsewhere(&self, websocket: bool) -> bool {
        !websocket && self.head.headers.contains_key(UPGRADE)
    }
}

impl Dialect {
    /// The fields of a question that are no fields of the request that it is about. Where another way has them, they are the
    /// caller's.
    fn tells(self) -> Vec<HeaderName> {
        match self {
            Self::ForwardAuth => vec![X_FORWARDED_METHOD.name, X_FORWARDED_URI.name],
            Self::AuthRequest => vec![X_ORIGINAL_METHOD.name, X_ORIGINAL_URI.name],
            Self::AuthUrl => vec![X_ORIGINAL_METHOD.name, X_ORIGINAL_URL.name],
            Self::ExtAuthz | Self::Grpc => Vec::new(),
        }
    }

    /// The way that a path means, and the Deployment that it names. `None`: it is no such path.
    pub fn of(path: &str) -> Option<(Self, DeploymentName)> {
        let whole = [
            ("/forward-auth/", Self::ForwardAuth),
            ("/auth-request/", Self::AuthRequest),
            ("/auth-url/", Self::AuthUrl),
        ];
        let (dialect, name) = match path.strip_prefix(EXT_AUTHZ) {
            Some(rest) => (Self::ExtAuthz, rest.split_at(rest.find('/')?).0),
            None => whole.into_iter().find_map(|(prefix, dialect)| Some((dialect, path.strip_prefix(prefix)?)))?,
        };
        Some((dialect, name.parse().ok()?))
    }

    /// Says it so that the proxy understands it.
    pub fn fold(self, response: &mut Response<Bytes>) {
        match self {
            // nginx makes a 500 of other statuses, which blames itself for what the caller did.
            Self::AuthRequest | Self::AuthUrl if response.status().is_client_error() => {
                if response.status() != StatusCode::UNAUTHORIZED {
                    *response.status_mut() = StatusCode::FORBIDDEN;
                    response.headers_mut().remove(WWW_AUTHENTICATE);
                }
            }
            Self::AuthRequest | Self::AuthUrl | Self::ForwardAuth | Self::ExtAuthz | Self::Grpc => {}
        }
    }
}

fn passes_for_ours(name: &HeaderName) -> bool {
    let read = name.as_str().replace(['_', '.'], "-");
    read != name.as_str() && read.starts_with("x-bento-gateway-")
}

/// The head of the request that is asked about. Nothing in it is of the connection between the two proxies.
pub fn asked(method: Method, target: Uri, host: HeaderValue, fields: HeaderMap) -> Parts {
    let (mut head, ()) = http::Request::new(()).into_parts();
    head.version = Version::HTTP_11;
    head.uri = target;
    head.headers = fields;
    for name in [CONNECTION, CONTENT_LENGTH, EXPECT, TE, TRAILER, TRANSFER_ENCODING] {
        head.headers.remove(name);
    }
    // Signing in and out is for browsers that call here.
    head.headers.remove(COOKIE);
    head.headers.insert(HOST, host);
    // What asks for a WebSocket belongs to a connection, and the proxy may have left it out.
    let upgrade = head.headers.get(UPGRADE);
    let may_be_websocket = upgrade.is_none_or(|to| to.as_bytes().eq_ignore_ascii_case(b"websocket"));
    if may_be_websocket && method == Method::GET && head.headers.contains_key(SEC_WEBSOCKET_KEY) {
        head.headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        head.headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    }
    head.method = method;
    head
}

impl Told {
    fn one<'h>(&self, fields: &'h HeaderMap) -> Result<&'h HeaderValue, BadQuestion> {
        let mut values = fields.get_all(&self.name).iter();
        match (values.next(), values.next()) {
            (Some(value), None) => Ok(value),
            _ => Err(BadQuestion::Field(self.shown)),
        }
    }

    fn method(&self, fields: &HeaderMap) -> Result<Method, BadQuestion> {
        Method::from_bytes(self.one(fields)?.as_bytes()).map_err(|_| BadQuestion::Malformed(self.shown))
    }

    fn target(&self, fields: &HeaderMap) -> Result<Uri, BadQuestion> {
        target(self.one(fields)?.as_bytes(), self.shown)
    }

    /// The host and the rest of an absolute URL.
    fn url(&self, fields: &HeaderMap) -> Result<(HeaderValue, Uri), BadQuestion> {
        url(self.one(fields)?.as_bytes(), self.shown)
    }
}

/// The host and the rest of an absolute URL.
pub fn url(text: &[u8], shown: &'static str) -> Result<(HeaderValue, Uri), BadQuestion> {
    let malformed = BadQuestion::Malformed(shown);
    let rest = text.strip_prefix(b"http://").or_else(|| text.strip_prefix(b"https://")).ok_or(malformed)?;
    let (host, path) = rest.split_at(rest.iter().position(|&byte| byte == b'/').ok_or(malformed)?);
    Ok((HeaderValue::from_bytes(host).map_err(|_| malformed)?, target(path, shown)?))
}

/// A target in origin form. `http::Uri` would drop what follows `#`, which the service might not.
pub fn target(text: &[u8], shown: &'static str) -> Result<Uri, BadQuestion> {
    if !text.starts_with(b"/") || text.contains(&b'#') {
        return Err(BadQuestion::Malformed(shown));
    }
    http::uri::PathAndQuery::try_from(text).map(Uri::from).map_err(|_| BadQuestion::Malformed(shown))
}
