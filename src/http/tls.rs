//! TLS towards callers, with certificates that can be replaced while connections go on.

use std::{fmt, path::Path, sync::Arc};

use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use tokio_rustls::rustls::{
    self, ServerConfig,
    crypto::{CryptoProvider, ring},
};

use crate::domain::clean;

/// What the files must hold.
pub(super) const CHAIN: &str = "the certificate and its chain";
const KEY: &str = "an unencrypted private key";
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
    Pair(rustls::Error),
    #[error(
        "the root certificates of this machine cannot be read: {0}; install them (ca-certificates), or name a ca_file"
    )]
    Roots(std::io::Error),
    #[error("the certificate or the key cannot be used: {0}")]
    Refused(#[from] rustls::Error),
}

/// Reads both files. `http2`: it is offered beside HTTP/1.1.
///
/// # Errors
/// [`TlsError`].
pub fn load(certificate: &Path, key: &Path, http2: bool) -> Result<Arc<ServerConfig>, TlsError> {
    let provider = Arc::new(ring::default_provider());
    let (chain, key) = (certificates(certificate, CHAIN)?, private_key(key, &provider)?);
    let mut server = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(TlsError::of_pair)?;
    // The library's own cache is of 256 sessions. `docs/decisions/0029-sessions-of-tls.md`.
    server.ticketer = ring::Ticketer::new()?;
    server.alpn_protocols = vec![b"http/1.1".to_vec()];
    if http2 {
        server.alpn_protocols.insert(0, b"h2".to_vec());
    }
    Ok(Arc::new(server))
}

impl TlsError {
    /// Why a certificate and a key are not taken together.
    pub(super) fn of_pair(error: rustls::Error) -> Self {
        match error {
            rustls::Error::InconsistentKeys(_) => Self::Pair(error),
            other => Self::Refused(other),
        }
    }
}

/// At least one. `expected`: what the file must hold.
pub(super) fn certificates(path: &Path, expected: &'static str) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let certificates = CertificateDer::pem_slice_iter(text_of(&read(path, expected)?, path, expected)?)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| file_error(path, &error, expected))?;
    if certificates.is_empty() {
        return Err(file_error(path, &"it holds no certificate", expected));
    }
    Ok(certificates)
}

/// One that `provider` can sign with.
pub(super) fn private_key(path: &Path, provider: &CryptoProvider) -> Result<PrivateKeyDer<'static>, TlsError> {
    let key = PrivateKeyDer::from_pem_slice(text_of(&read(path, KEY)?, path, KEY)?)
        .map_err(|error| file_error(path, &error, KEY))?;
    provider
        .key_provider
        .load_private_key(key.clone_key())
        .map_err(|reason| TlsError::Key { path: path.display().to_string(), reason })?;
    Ok(key)
}

fn read(path: &Path, expected: &'static str) -> Result<Vec<u8>, TlsError> {
    std::fs::read(path).map_err(|error| file_error(path, &error, expected))
}

/// What the file holds, without what an editor has put before it, which would hide the first section.
fn text_of<'b>(bytes: &'b [u8], path: &Path, expected: &'static str) -> Result<&'b [u8], TlsError> {
    clean::without_mark(bytes).map_err(|reason| file_error(path, &reason, expected))
}

pub(super) fn file_error(path: &Path, reason: &dyn fmt::Display, expected: &'static str) -> TlsError {
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

    /// What is said about the two files. Empty: they can be used.
    fn said(certificate: &[u8], key: &[u8]) -> String {
        let directory = tempfile::tempdir().unwrap();
        let paths = ["cert.pem", "key.pem"].map(|name| directory.path().join(name));
        for (path, content) in paths.iter().zip([certificate, key]) {
            std::fs::write(path, content).unwrap();
        }
        load(&paths[0], &paths[1], true).err().map(|error| error.to_string()).unwrap_or_default()
    }

    #[test]
    fn files_are_read_as_editors_leave_them_and_faults_are_named() {
        let pair = rcgen::generate_simple_self_signed(["gateway.test".to_owned()]).unwrap();
        let (certificate, key) = (pair.cert.pem(), pair.signing_key.serialize_pem());
        let marked = |text: &str| [b"\xef\xbb\xbf", text.replace('\n', "\r\n").as_bytes()].concat();
        assert_eq!(said(&marked(&certificate), &marked(&key)), "");
        let wide: Vec<u8> = key.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let text = said(certificate.as_bytes(), &wide);
        assert!(text.contains("UTF-16") && text.contains("key.pem"), "{text}");
        let other = rcgen::KeyPair::generate().unwrap().serialize_pem();
        let text = said(certificate.as_bytes(), other.as_bytes());
        assert!(text.contains("do not make a pair"), "{text}");
        let text = said(certificate.as_bytes(), P521.as_bytes());
        assert!(text.contains("key.pem") && text.contains("not supported") && text.contains("P-384"), "{text}");
        // The shape of a key, and of no kind that is known.
        let unknown = "-----BEGIN PRIVATE KEY-----\nMAMCAQA=\n-----END PRIVATE KEY-----\n";
        let text = said(certificate.as_bytes(), unknown.as_bytes());
        assert!(text.contains("P-384") && !text.contains("pair"), "{text}");
    }
}
