//! TLS towards callers: what is negotiated, and certificates that are replaced.

use std::{
    fs,
    io::Write,
    net::{SocketAddr, TcpStream},
    path::Path,
    sync::Arc,
};

use http::{Request, StatusCode, Version};
use rcgen::{CertifiedKey, KeyPair};
use tokio_rustls::{
    TlsConnector,
    rustls::{
        ClientConfig, ClientConnection, HandshakeKind, RootCertStore, StreamOwned, SupportedProtocolVersion,
        crypto::ring,
        pki_types::{CertificateDer, ServerName},
        version::{TLS12, TLS13},
    },
};

use crate::harness::{
    SOON,
    gateway::{Gateway, Setup, deployment},
    http::{Client, ReadEnd, get},
    http2::{http2, no_body, run, send, whole},
    pair::HOST,
    upstream::Upstream,
    wait_until,
};

pub struct Certificate(CertifiedKey<KeyPair>);

impl Certificate {
    pub fn new() -> Self {
        Self(rcgen::generate_simple_self_signed([HOST.to_owned()]).unwrap())
    }

    pub fn write(&self, directory: &Path) {
        fs::write(directory.join("key.pem"), self.0.signing_key.serialize_pem()).unwrap();
        fs::write(directory.join("cert.pem"), self.0.cert.pem()).unwrap();
    }

    fn der(&self) -> &CertificateDer<'static> {
        self.0.cert.der()
    }
}

pub fn client(trusted: &[&Certificate], protocols: &[&str]) -> Arc<ClientConfig> {
    by_version(trusted, protocols, &[&TLS13, &TLS12])
}

fn by_version(
    trusted: &[&Certificate],
    protocols: &[&str],
    versions: &[&'static SupportedProtocolVersion],
) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    for certificate in trusted {
        roots.add(certificate.der().clone()).unwrap();
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let builder = builder.with_protocol_versions(versions).unwrap();
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
    Arc::new(config)
}

fn with_tls(upstream: &Upstream, certificate: &Certificate) -> Gateway {
    let setup = Setup::new(&format!(
        "[proxy.tls]\ncertificate = \"cert.pem\"\nkey = \"key.pem\"\n[proxy.limits]\nheader_timeout = \"1s\"\n{}",
        deployment("a", upstream.address, "protected = false")
    ));
    certificate.write(setup.directory());
    setup.start()
}

pub type TlsClient = Client<StreamOwned<ClientConnection, TcpStream>>;

fn by_tls(gateway: &Gateway, config: &Arc<ClientConfig>) -> TlsClient {
    by_tls_at(gateway.proxy, config)
}

pub fn by_tls_at(address: SocketAddr, config: &Arc<ClientConfig>) -> TlsClient {
    by_tls_behind(b"", address, config)
}

/// `preface`: what is sent before the handshake.
pub fn by_tls_behind(preface: &[u8], address: SocketAddr, config: &Arc<ClientConfig>) -> TlsClient {
    let name = ServerName::try_from(HOST).unwrap();
    let connection = ClientConnection::new(Arc::clone(config), name).unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(preface).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    Client::on(StreamOwned::new(connection, stream))
}

#[test]
fn tls_speaks_what_was_negotiated() {
    let (upstream, certificate) = (Upstream::named("a"), Certificate::new());
    let gateway = with_tls(&upstream, &certificate);

    for protocols in [&[][..], &["http/1.1"]] {
        let mut caller = by_tls(&gateway, &client(&[&certificate], protocols));
        for _ in 0..2 {
            let answer = caller.ask(get(HOST, "/", "unused"));
            assert_eq!((answer.status, answer.text().as_str()), (200, "a"), "{protocols:?}");
        }
        let negotiated = caller.stream.conn.alpn_protocol();
        assert_eq!(negotiated, (!protocols.is_empty()).then_some(b"http/1.1".as_slice()));
    }
    assert_eq!(upstream.requests()[0].header("x-forwarded-proto"), Some("https"));

    run(async {
        let stream = tokio::net::TcpStream::connect(gateway.proxy).await.unwrap();
        let connector = TlsConnector::from(client(&[&certificate], &["h2", "http/1.1"]));
        let stream = connector.connect(ServerName::try_from(HOST).unwrap(), stream).await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(b"h2".as_slice()));
        let mut connection = http2(stream).await;
        let request = Request::get(format!("https://{HOST}/h2")).body(no_body());
        let answer = send(&mut connection, request).await;
        assert_eq!((answer.version(), answer.status()), (Version::HTTP_2, StatusCode::OK));
        assert_eq!(whole(answer).await, "a");
    });
    assert_eq!(upstream.requests().last().unwrap().header("x-forwarded-proto"), Some("https"));
}

#[test]
fn clear_text_and_silence_get_nowhere_on_a_tls_port() {
    let (upstream, certificate) = (Upstream::named("a"), Certificate::new());
    let gateway = with_tls(&upstream, &certificate);
    let mut caller = gateway.connect();
    caller.send("GET / HTTP/1.1\r\nhost: a.test\r\n\r\n");
    let (bytes, stop) = caller.rest();
    assert_ne!(stop, ReadEnd::TimedOut);
    assert!(!bytes.starts_with(b"HTTP/"), "{}", String::from_utf8_lossy(&bytes));

    gateway.await_said(&["a TLS handshake failed", "127.0.0.1", "what came is not TLS"]);
    // A caller that does not trust the certificate says so by an alert, and leaves.
    let mut stranger = by_tls(&gateway, &client(&[&Certificate::new()], &[]));
    assert!(stranger.try_send(b"GET / HTTP/1.1\r\n\r\n").is_err());
    gateway.await_said(&["a TLS handshake failed", "127.0.0.1", "received fatal alert"]);

    // The other timers are longer than the test waits.
    assert_ne!(gateway.connect().rest().1, ReadEnd::TimedOut, "the handshake was waited for");
    assert_eq!(upstream.connections(), 0);
    // Who only looks whether the port is open has failed at nothing.
    let failed = gateway.stderr().iter().filter(|line| line.contains("a TLS handshake failed")).count();
    assert_eq!(failed, 2);
}

/// However many others have come between, and by either version. `docs/decisions/0029-sessions-of-tls.md`.
#[test]
fn a_caller_that_comes_back_resumes_its_session() {
    // More than a library that keeps sessions in memory keeps.
    const OTHERS: usize = 300;
    let (upstream, first, second) = (Upstream::named("a"), Certificate::new(), Certificate::new());
    let gateway = with_tls(&upstream, &first);
    let handshake = |config: &Arc<ClientConfig>| {
        let mut caller = by_tls(&gateway, config);
        assert_eq!(caller.ask(get(HOST, "/", "unused")).status, 200);
        caller.stream.conn.handshake_kind().unwrap()
    };
    let callers = [&[&TLS13][..], &[&TLS12]].map(|versions| by_version(&[&first, &second], &[], versions));
    for caller in &callers {
        assert_eq!(handshake(caller), HandshakeKind::Full);
    }
    for _ in 0..OTHERS {
        assert_eq!(handshake(&client(&[&first, &second], &[])), HandshakeKind::Full);
    }
    for caller in &callers {
        assert_eq!(handshake(caller), HandshakeKind::Resumed);
    }
    // With the certificate the keys of the tickets are replaced, too.
    second.write(&gateway.path(""));
    wait_until("a full handshake", SOON, || handshake(&callers[0]) == HandshakeKind::Full);
    let mut caller = by_tls(&gateway, &callers[1]);
    assert_eq!(caller.ask(get(HOST, "/", "unused")).status, 200);
    assert_eq!(&caller.stream.conn.peer_certificates().unwrap()[0], second.der());
}

/// New connections get the new certificate, running ones go on, and a broken file changes nothing.
#[test]
fn a_certificate_is_replaced_without_a_restart() {
    let upstream = Upstream::named("a");
    let (first, second) = (Certificate::new(), Certificate::new());
    let gateway = with_tls(&upstream, &first);
    let config = client(&[&first, &second], &[]);
    let presented = |caller: &TlsClient| caller.stream.conn.peer_certificates().unwrap()[0].clone();
    let fresh = || {
        let mut caller = by_tls(&gateway, &config);
        assert_eq!(caller.ask(get(HOST, "/", "unused")).status, 200);
        presented(&caller)
    };

    let mut old = by_tls(&gateway, &config);
    assert_eq!(old.ask(get(HOST, "/", "unused")).status, 200);
    assert_eq!(&presented(&old), first.der());

    second.write(&gateway.path(""));
    wait_until("the new certificate is presented", SOON, || &fresh() == second.der());
    assert_eq!(old.ask(get(HOST, "/", "unused")).status, 200);

    fs::write(gateway.path("cert.pem"), "no certificate").unwrap();
    gateway.await_said(&["was not reloaded", "cert.pem"]);
    assert_eq!(&fresh(), second.der());
}
