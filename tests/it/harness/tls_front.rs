//! TLS in front of a service that has none, as its own server would end it.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex},
    thread::JoinHandle,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, split},
    net::{TcpListener, TcpStream},
    runtime, select,
    sync::oneshot,
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{ALL_VERSIONS, ServerConfig, SupportedProtocolVersion, crypto::ring, server::WebPkiClientVerifier},
};

use super::authority::{Authority, Identity};

/// Ends with the test.
pub struct TlsFront {
    pub address: SocketAddr,
    seen: Arc<Mutex<Vec<Handshake>>>,
    ends: Arc<Mutex<Vec<bool>>>,
    stop: Option<oneshot::Sender<()>>,
    serving: Option<JoinHandle<()>>,
}

/// What the gateway has said in a handshake that succeeded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Handshake {
    /// SNI. `None`: it asked for an address.
    pub server_name: Option<String>,
    pub protocol: Option<Vec<u8>>,
    pub shows_certificate: bool,
}

/// How a service is like that is behind it.
pub struct Setting<'a> {
    pub identity: &'a Identity,
    /// Who must have signed the gateway's certificate. `None`: it is not asked for one.
    pub clients: Option<&'a Authority>,
    /// Whether TLS says the end when the service ends a connection.
    pub says_end: bool,
    pub versions: &'a [&'static SupportedProtocolVersion],
}

impl<'a> Setting<'a> {
    pub fn of(identity: &'a Identity) -> Self {
        Self { identity, clients: None, says_end: true, versions: ALL_VERSIONS }
    }
}

impl TlsFront {
    pub fn start(to: SocketAddr, setting: &Setting<'_>) -> Self {
        let provider = Arc::new(ring::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider));
        let builder = builder.with_protocol_versions(setting.versions).unwrap();
        let builder = match setting.clients {
            None => builder.with_no_client_auth(),
            Some(authority) => builder.with_client_cert_verifier(
                WebPkiClientVerifier::builder_with_provider(authority.roots(), provider).build().unwrap(),
            ),
        };
        let Identity { certificate, key, .. } = setting.identity;
        let mut config = builder.with_single_cert(vec![certificate.clone()], key.clone_key()).unwrap();
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let says_end = setting.says_end;

        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let (seen, ends) = (Arc::<Mutex<Vec<Handshake>>>::default(), Arc::<Mutex<Vec<bool>>>::default());
        let (stop, stopped) = oneshot::channel();
        let (seeing, ending) = (Arc::clone(&seen), Arc::clone(&ends));
        let serving = std::thread::spawn(move || {
            let serve = async move {
                let listener = TcpListener::from_std(listener).unwrap();
                while let Ok((tcp, _)) = listener.accept().await {
                    let (acceptor, seen, ends) = (acceptor.clone(), Arc::clone(&seeing), Arc::clone(&ending));
                    tokio::spawn(async move {
                        let Ok(tls) = acceptor.accept(tcp).await else { return };
                        let session = tls.get_ref().1;
                        seen.lock().unwrap().push(Handshake {
                            server_name: session.server_name().map(str::to_owned),
                            protocol: session.alpn_protocol().map(<[u8]>::to_vec),
                            shows_certificate: session.peer_certificates().is_some(),
                        });
                        let Ok(service) = TcpStream::connect(to).await else { return };
                        let (mut from_gateway, mut to_gateway) = split(tls);
                        let (mut from_service, mut to_service) = service.into_split();
                        let upwards = tokio::spawn(async move {
                            let carried = carry(&mut from_gateway, &mut to_service).await;
                            ends.lock().unwrap().push(carried.is_ok());
                            let _ = to_service.shutdown().await;
                            from_gateway
                        });
                        let _ = carry(&mut from_service, &mut to_gateway).await;
                        if says_end {
                            let _ = to_gateway.shutdown().await;
                            let _ = upwards.await;
                        } else {
                            // Both halves go, and the socket with them.
                            upwards.abort();
                        }
                    });
                }
            };
            let runtime = runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                select! {
                    () = serve => {}
                    _ = stopped => {}
                }
            });
        });
        Self { address, seen, ends, stop: Some(stop), serving: Some(serving) }
    }

    pub fn handshakes(&self) -> Vec<Handshake> {
        self.seen.lock().unwrap().clone()
    }

    /// For each connection that the gateway has ended, whether it has said so.
    pub fn ends(&self) -> Vec<bool> {
        self.ends.lock().unwrap().clone()
    }
}

impl Drop for TlsFront {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(serving) = self.serving.take() {
            let _ = serving.join();
        }
    }
}

async fn carry(from: &mut (impl AsyncReadExt + Unpin), to: &mut (impl AsyncWriteExt + Unpin)) -> std::io::Result<()> {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let size = from.read(&mut buffer).await?;
        if size == 0 {
            return Ok(());
        }
        to.write_all(&buffer[..size]).await?;
        to.flush().await?;
    }
}
