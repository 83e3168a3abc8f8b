//! The HTTP client for what the gateway itself asks: a Bento and a gateway whether they are ready, a provider of single
//! sign-on what it knows. Requests of callers go upstream by `proxy::upstream`.

use std::{error::Error, io, sync::Arc, time::Duration};

use super::{
    egress::Egress,
    resolver::{self, SharedResolver},
};
use crate::domain::upstream_access::TlsPeer;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full, Limited};
use hyper_rustls::{ConfigBuilderExt, FixedServerNameResolver, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{self, connect::Connect, connect::HttpConnector},
    rt::TokioExecutor,
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::{
    self, ClientConfig, DigitallySignedStruct, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature},
};

/// Largest body of a response, bytes.
const MAX_BODY: usize = 1024 * 1024;

/// Each request has a connection of its own: one that was kept might be closed by the other end just when it is used, which few
/// requests would often meet. It follows no redirect: a response must come from where it was asked for.
#[derive(Clone)]
pub struct Client<C> {
    http: legacy::Client<C, Full<Bytes>>,
    /// For connection, request and response together.
    timeout: Duration,
}

#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    #[error("{0}")]
    Connection(String),
    #[error("it does not speak HTTP")]
    NotHttp,
    #[error("its response cannot be read: {0}")]
    Body(Box<dyn Error + Send + Sync>),
    #[error("it did not answer within {0:?}")]
    Slow(Duration),
}

/// With TLS where the URL says so.
pub type Secure = Client<HttpsConnector<HttpConnector<SharedResolver>>>;

/// The same, by a proxy where the environment names one.
pub type Outward = Client<HttpsConnector<Egress>>;

fn over<C: Connect + Clone>(connector: C, timeout: Duration) -> Client<C> {
    let mut builder = legacy::Client::builder(TokioExecutor::new());
    Client { http: builder.pool_max_idle_per_host(0).build(connector), timeout }
}

/// Without TLS.
pub fn plain(timeout: Duration) -> Client<HttpConnector<SharedResolver>> {
    over(resolver::connector(), timeout)
}

/// With TLS, as an upstream is reached. `None`: there is nobody to trust.
pub fn with_tls(timeout: Duration, peer: &TlsPeer) -> Option<Secure> {
    let mut config = ClientConfig::clone(peer.client.as_ref()?);
    // The connector names protocols itself.
    config.alpn_protocols.clear();
    let connector = HttpsConnectorBuilder::new().with_tls_config(config).https_only();
    let connector = connector.with_server_name_resolver(FixedServerNameResolver::new(peer.name.clone()));
    let connector = connector.enable_http1().wrap_connector(resolver::below_tls());
    Some(over(connector, timeout))
}

/// With TLS where the URL says so, and with whatever certificate the other end has: for asking a listener of this machine,
/// by its address, whether it answers. What is sent must be no secret.
///
/// # Errors
/// The cryptographic library refuses its own defaults.
pub fn unverified(timeout: Duration) -> Result<Secure, rustls::Error> {
    let provider = Arc::new(ring::default_provider());
    let config = ClientConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions()?;
    let config = config.dangerous().with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)));
    let connector = HttpsConnectorBuilder::new().with_tls_config(config.with_no_client_auth()).https_or_http();
    let connector = connector.enable_http1().wrap_connector(resolver::below_tls());
    Ok(over(connector, timeout))
}

/// For what is not on this machine: with TLS where the URL says so, and then by the proxy that the environment names.
///
/// # Errors
/// This machine has no root certificates.
pub fn outward(timeout: Duration) -> io::Result<Outward> {
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let config = config.with_safe_default_protocol_versions().map_err(io::Error::other)?;
    let config = config.with_native_roots()?.with_no_client_auth();
    let secure = |config| HttpsConnectorBuilder::new().with_tls_config(config).https_or_http().enable_http1();
    let egress = Egress::from_environment(secure(config.clone()).wrap_connector(resolver::below_tls()));
    let connector = secure(config).wrap_connector(egress);
    Ok(over(connector, timeout))
}

impl<C: Connect + Clone + Send + Sync + 'static> Client<C> {
    /// # Errors
    /// [`ClientError`]: no response came, or not all of it.
    pub async fn get(&self, url: &str) -> Result<Response<Bytes>, ClientError> {
        let request = Request::get(url).body(Bytes::new());
        self.send(request.map_err(|error| ClientError::Connection(error.to_string()))?).await
    }

    /// # Errors
    /// [`ClientError`]: no response came, or not all of it.
    pub async fn send(&self, request: Request<impl Into<Bytes>>) -> Result<Response<Bytes>, ClientError> {
        let request = request.map(|body| Full::new(body.into()));
        let exchange = async {
            let (head, body) = self.http.request(request).await?.into_parts();
            let body = Limited::new(body, MAX_BODY).collect().await.map_err(ClientError::Body)?;
            Ok(Response::from_parts(head, body.to_bytes()))
        };
        tokio::time::timeout(self.timeout, exchange).await.map_err(|_| ClientError::Slow(self.timeout))?
    }
}

/// Asks for no name and no issuer. The other end must hold the key of its certificate, as always.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

impl From<legacy::Error> for ClientError {
    /// What is at the bottom of it: the errors above say only in which of their steps it came.
    fn from(error: legacy::Error) -> Self {
        let mut cause: &dyn Error = &error;
        while let Some(below) = cause.source() {
            if below.downcast_ref().is_some_and(is_not_http) {
                return Self::NotHttp;
            }
            cause = below;
        }
        Self::Connection(cause.to_string())
    }
}

/// What came cannot be parsed, or came before anything was asked.
fn is_not_http(error: &hyper::Error) -> bool {
    let ended = error.is_incomplete_message() || error.is_canceled() || error.is_closed();
    error.is_parse() || (error.source().is_none() && !ended)
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };

    use super::*;

    /// Somebody who answers one request like that, and then holds the connection or closes it.
    async fn server(answer: &'static [u8], closes: bool) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let _ = stream.read(&mut [0; 1024]).await;
            let _ = stream.write_all(answer).await;
            if !closes {
                std::future::pending::<()>().await;
            }
        });
        address
    }

    async fn outcome(answer: &'static [u8], closes: bool) -> Result<(u16, String), String> {
        outcome_within(Duration::from_secs(60), answer, closes).await
    }

    async fn outcome_within(timeout: Duration, answer: &'static [u8], closes: bool) -> Result<(u16, String), String> {
        let address = server(answer, closes).await;
        let response = plain(timeout).get(&format!("http://{address}/readyz")).await;
        let text = |response: Response<Bytes>| {
            (response.status().as_u16(), String::from_utf8_lossy(response.body()).into_owned())
        };
        response.map(text).map_err(|error| error.to_string())
    }

    #[tokio::test]
    async fn what_was_answered_or_why_nothing_was() {
        let ok = |status, body: &str| Ok((status, body.to_owned()));
        assert_eq!(outcome(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nready", false).await, ok(200, "ready"));
        assert_eq!(outcome(b"HTTP/1.0 503 No\r\n\r\nstore", true).await, ok(503, "store"));
        let elsewhere = b"HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n";
        assert_eq!(outcome(elsewhere, false).await, ok(302, ""));
        for (answer, closes, why) in [
            (b"SSH-2.0-OpenSSH_9.2\r\n".as_slice(), false, "it does not speak HTTP"),
            (b"", true, "connection closed before message completed"),
            (b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nre", true, "its response cannot be read: "),
        ] {
            let error = outcome(answer, closes).await.unwrap_err();
            assert!(error.starts_with(why), "{error}");
        }
        for answer in [b"".as_slice(), b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nre"] {
            let error = outcome_within(Duration::from_millis(50), answer, false).await.unwrap_err();
            assert_eq!(error, "it did not answer within 50ms");
        }
        let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let error = plain(Duration::from_secs(60)).get(&format!("http://{nobody}/")).await.unwrap_err();
        assert!(error.to_string().starts_with("Connection refused"), "{error}");
    }

    /// Whoever keeps a connection closes it at some time, which may be when the next request is sent.
    #[tokio::test]
    async fn no_request_meets_a_connection_that_ends() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                tokio::spawn(async move {
                    let _ = stream.read(&mut [0; 1024]).await;
                    let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
                    // It takes another request, and closes.
                    let _ = stream.read(&mut [0; 1024]).await;
                });
            }
        });
        let client = plain(Duration::from_secs(60));
        for _ in 0..3 {
            let request = Request::post(format!("http://{address}/token")).body("code=x").unwrap();
            assert_eq!(client.send(request).await.unwrap().status(), 200);
        }
    }

    #[tokio::test]
    async fn a_response_is_not_read_without_end() {
        let answer = [b"HTTP/1.1 200 OK\r\n\r\n".as_slice(), &vec![b'x'; MAX_BODY + 1]].concat();
        let error = outcome(answer.leak(), false).await.unwrap_err();
        assert_eq!(error, "its response cannot be read: length limit exceeded");
    }
}
