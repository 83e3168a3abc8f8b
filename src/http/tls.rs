//! TLS towards callers, with certificates that can be replaced while connections go on.

use std::{path::Path, sync::Arc};

use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use tokio_rustls::rustls::{self, ServerConfig, crypto::ring};

/// Why the certificate cannot be used; nothing of the key is in it.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("{path} cannot be read as PEM: {reason}; it must hold {expected}")]
    File { path: String, reason: String, expected: &'static str },
    #[error("the certificate and the key do not make a pair: {0}")]
    Pair(#[from] rustls::Error),
}

/// Reads both files. `http2`: it is offered beside HTTP/1.1.
///
/// # Errors
/// [`TlsError`].
pub fn load(certificate: &Path, key: &Path, http2: bool) -> Result<Arc<ServerConfig>, TlsError> {
    let chain = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| file_error(certificate, &error, "the certificate and its chain"))?;
    if chain.is_empty() {
        let (path, reason) = (certificate.display().to_string(), "it holds no certificate".to_owned());
        return Err(TlsError::File { path, reason, expected: "the certificate and its chain" });
    }
    let key =
        PrivateKeyDer::from_pem_file(key).map_err(|error| file_error(key, &error, "an unencrypted private key"))?;
    let provider = Arc::new(ring::default_provider());
    let mut server = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    server.alpn_protocols = vec![b"http/1.1".to_vec()];
    if http2 {
        server.alpn_protocols.insert(0, b"h2".to_vec());
    }
    Ok(Arc::new(server))
}

fn file_error(path: &Path, reason: &rustls_pki_types::pem::Error, expected: &'static str) -> TlsError {
    TlsError::File { path: path.display().to_string(), reason: reason.to_string(), expected }
}
