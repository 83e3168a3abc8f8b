//! TLS towards callers, with certificates that can be replaced while connections go on.

use std::{path::Path, sync::Arc};

use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use tokio_rustls::rustls::{self, ServerConfig, crypto::ring};

/// What `ring` signs with.
const SUPPORTED_KEYS: &str = "RSA of 2048 to 8192 bits, ECDSA on P-256 or P-384, or Ed25519";

/// Why the certificate cannot be used; nothing of the key is in it.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("{path} cannot be read as PEM: {reason}; it must hold {expected}")]
    File { path: String, reason: String, expected: &'static str },
    #[error(
        "the private key in {path} is of a kind that is not supported; use {SUPPORTED_KEYS} (the library says: {reason})"
    )]
    Key { path: String, reason: rustls::Error },
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
    let path = key;
    let key =
        PrivateKeyDer::from_pem_file(path).map_err(|error| file_error(path, &error, "an unencrypted private key"))?;
    let provider = Arc::new(ring::default_provider());
    provider
        .key_provider
        .load_private_key(key.clone_key())
        .map_err(|reason| TlsError::Key { path: path.display().to_string(), reason })?;
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Made by `openssl ecparam -name secp521r1 -genkey`, for this test.
    const P521: &str = "-----BEGIN PRIVATE KEY-----
MIHuAgEAMBAGByqGSM49AgEGBSuBBAAjBIHWMIHTAgEBBEIAGmoLYKquLXiv5MGf
Zgd8LynMsxbp6YwGYBjlup+nBKYR7DcXu4LPTCO+w58Fi402QtGHA63CChy6Bimv
CW86zNShgYkDgYYABAFocSj8PeU5Y0COt589GIA6tXYixl+jx9mJX17iyu0rYyxj
7PLzvSRArd7v8k8jiN+I6pa3YC8r8N3PliCPapRriAH2mSYopeYTj+IVKxZWbLUF
4mAad0LmK4OTvjvVj+iIPWjfyqAZKfqsNScffrTFRp0ocYHXnn5bbwU5FTT1hFuu
Ew==
-----END PRIVATE KEY-----";

    #[test]
    fn a_key_that_cannot_be_used_is_told_from_one_that_does_not_fit() {
        let directory = tempfile::tempdir().unwrap();
        let [certificate, key] = ["cert.pem", "key.pem"].map(|name| directory.path().join(name));
        let made = rcgen::generate_simple_self_signed(["a.test".to_owned()]).unwrap();
        std::fs::write(&certificate, made.cert.pem()).unwrap();
        let error = |text: &str| {
            std::fs::write(&key, text).unwrap();
            load(&certificate, &key, true).unwrap_err().to_string()
        };
        let said = error(P521);
        assert!(said.contains("key.pem") && said.contains("not supported") && said.contains("P-384"), "{said}");
        let another = rcgen::KeyPair::generate().unwrap().serialize_pem();
        assert!(error(&another).contains("do not make a pair"));
        std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
        assert!(load(&certificate, &key, true).is_ok());
    }
}
