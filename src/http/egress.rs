//! How the gateway's own requests leave this machine: directly, or by the proxy that the environment names. As curl does,
//! it looks for `HTTPS_PROXY`, `ALL_PROXY` and `NO_PROXY`, in capitals or not. What is asked without TLS never goes by a
//! proxy, which could read and change it.

use std::{
    env,
    error::Error,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use http::{Uri, uri::Scheme};
use hyper_rustls::{HttpsConnector, MaybeHttpsStream};
use hyper_util::{
    client::{
        legacy::connect::{HttpConnector, proxy::Tunnel},
        proxy::matcher::{Intercept, Matcher},
    },
    rt::TokioIo,
};
use tokio::net::TcpStream;
use tower::Service;

use super::resolver::{self, SharedResolver};

type BoxError = Box<dyn Error + Send + Sync>;
type Stream = MaybeHttpsStream<TokioIo<TcpStream>>;

/// Makes the connections over which TLS is then spoken with whom the URL names.
#[derive(Clone)]
pub struct Egress {
    direct: HttpConnector<SharedResolver>,
    /// To the proxy, with TLS where its own URL says so.
    to_proxy: HttpsConnector<HttpConnector<SharedResolver>>,
    proxies: Arc<Matcher>,
}

/// The address is without the name and password that the environment may have put before it.
#[derive(Debug, thiserror::Error)]
#[error("the proxy {proxy}, which HTTPS_PROXY or ALL_PROXY names, {why}")]
struct ProxyError {
    proxy: Uri,
    why: String,
}

impl Egress {
    pub fn from_environment(to_proxy: HttpsConnector<HttpConnector<SharedResolver>>) -> Self {
        if let Some(name) = ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"].into_iter().find(names_no_proxy) {
            tracing::warn!(
                "{name} is not the URL of a proxy, such as http://proxy.example.com:3128; it is passed over"
            );
        }
        Self { direct: resolver::below_tls(), to_proxy, proxies: Arc::new(Matcher::from_env()) }
    }

    fn proxy_for(&self, destination: &Uri) -> Option<Intercept> {
        let secure = destination.scheme() == Some(&Scheme::HTTPS);
        if secure { self.proxies.intercept(destination) } else { None }
    }
}

impl Service<Uri> for Egress {
    type Response = Stream;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Stream, BoxError>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.direct.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, destination: Uri) -> Self::Future {
        let Some(proxy) = self.proxy_for(&destination) else {
            let connected = self.direct.call(destination);
            return Box::pin(async move { Ok(MaybeHttpsStream::Http(connected.await?)) });
        };
        let address = proxy.uri().clone();
        if !matches!(address.scheme_str(), Some("http" | "https")) {
            let why = "is not an HTTP proxy; no other kind can be used".to_owned();
            return Box::pin(async move { Err(ProxyError { proxy: address, why }.into()) });
        }
        let mut tunnel = Tunnel::new(address.clone(), self.to_proxy.clone());
        if let Some(credentials) = proxy.basic_auth() {
            tunnel = tunnel.with_auth(credentials.clone());
        }
        let tunnelled = tunnel.call(destination);
        Box::pin(async move {
            tunnelled.await.map_err(|error| {
                let why = format!("makes no tunnel: {}", root(&error));
                ProxyError { proxy: address, why }.into()
            })
        })
    }
}

/// What is at the bottom of it.
fn root(error: &dyn Error) -> String {
    let mut cause = error;
    while let Some(below) = cause.source() {
        cause = below;
    }
    cause.to_string()
}

/// The library passes over what it cannot read.
fn names_no_proxy(variable: &&str) -> bool {
    let Ok(value) = env::var(variable) else { return false };
    let anywhere = Uri::from_static("https://provider.invalid");
    !value.is_empty() && Matcher::builder().https(value).build().intercept(&anywhere).is_none()
}
