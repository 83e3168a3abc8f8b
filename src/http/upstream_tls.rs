//! TLS towards upstreams: whom the gateway trusts to be one, and what it shows them.

use std::{
    path::Path,
    sync::{Arc, LazyLock},
};

use hyper_rustls::ConfigBuilderExt;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{
    ClientConfig, ConfigBuilder, RootCertStore, WantsVerifier, client::WantsClientCert, crypto::ring,
};

use super::tls::{self, TlsError};
use crate::domain::{
    upstream_access::{TlsPeer, UpstreamAccess, UpstreamTls},
    upstream_url::UpstreamUrl,
};

/// What the file must hold.
const AUTHORITIES: &str = "the certificates of the authorities that sign for upstreams";

/// By what stands in the configuration for a Deployment.
///
/// `ca`: who signs for its upstreams; `None`: whom the system trusts. `identity`: a certificate and its key, which upstreams
/// may ask for. `server_name`: as in [`UpstreamTls`].
///
/// # Errors
/// [`TlsError`].
pub fn load(
    ca: Option<&Path>,
    identity: Option<(&Path, &Path)>,
    server_name: Option<ServerName<'static>>,
) -> Result<UpstreamTls, TlsError> {
    let authorities = ca.map(|path| tls::certificates(path, AUTHORITIES)).transpose()?;
    let identity = identity
        .map(|(certificate, key)| {
            let chain = tls::certificates(certificate, tls::CHAIN)?;
            Ok::<_, TlsError>((chain, tls::private_key(key, &ring::default_provider())?))
        })
        .transpose()?;
    let contents = contents(authorities.as_deref(), identity.as_ref());
    let builder = match (authorities, ca) {
        (Some(authorities), Some(path)) => {
            let mut roots = RootCertStore::empty();
            for authority in authorities {
                roots.add(authority).map_err(|error| tls::file_error(path, &error, AUTHORITIES))?;
            }
            trusting(roots)?
        }
        _ => trusting_the_system()?,
    };
    let client = match identity {
        None => builder.with_no_client_auth(),
        Some((chain, key)) => builder.with_client_auth_cert(chain, key).map_err(TlsError::of_pair)?,
    };
    Ok(UpstreamTls { client: Some(Arc::new(speaking_http_1(client))), server_name, contents })
}

/// With whom the handshake is made before an upstream is spoken to. `None`: its URL asks for no TLS.
pub fn peer(access: &UpstreamAccess, url: &UpstreamUrl) -> Option<TlsPeer> {
    url.tls_name()?;
    access.tls.as_deref().unwrap_or(&SYSTEM).peer(url)
}

/// For upstreams of which the configuration says nothing. It is made for the first of them: others need no roots.
static SYSTEM: LazyLock<UpstreamTls> = LazyLock::new(|| {
    let client = trusting_the_system().map(Trusting::with_no_client_auth).inspect_err(|error| {
        tracing::error!("no upstream with https can be verified: {error}");
    });
    let client = client.ok().map(|client| Arc::new(speaking_http_1(client)));
    UpstreamTls { client, server_name: None, contents: contents(None, None) }
});

type Trusting = ConfigBuilder<ClientConfig, WantsClientCert>;

fn trusting(roots: RootCertStore) -> Result<Trusting, TlsError> {
    Ok(builder()?.with_root_certificates(roots))
}

fn trusting_the_system() -> Result<Trusting, TlsError> {
    builder()?.with_native_roots().map_err(TlsError::Roots)
}

fn builder() -> Result<ConfigBuilder<ClientConfig, WantsVerifier>, TlsError> {
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    Ok(builder.with_safe_default_protocol_versions()?)
}

/// `docs/decisions/0034-upstreams-by-tls.md` has the reason.
fn speaking_http_1(mut client: ClientConfig) -> ClientConfig {
    client.alpn_protocols = vec![b"http/1.1".to_vec()];
    client
}

type Identity = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

/// Each part with its length, so that no two settings look the same.
fn contents(authorities: Option<&[CertificateDer<'_>]>, identity: Option<&Identity>) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    let mut part = |bytes: &[u8]| {
        hasher.update(&(bytes.len() as u64).to_le_bytes());
        hasher.update(bytes);
    };
    for certificates in [authorities, identity.map(|(chain, _)| &chain[..])] {
        part(&certificates.map_or(u64::MAX, |all| all.len() as u64).to_le_bytes());
        certificates.into_iter().flatten().for_each(|certificate| part(certificate));
    }
    part(identity.map_or(b"", |(_, key)| key.secret_der()));
    hasher.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_files_are_the_same_and_others_are_not() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        for name in ["one", "other"] {
            let pair = rcgen::generate_simple_self_signed(["upstream.test".to_owned()]).unwrap();
            std::fs::write(path(name), pair.cert.pem()).unwrap();
            std::fs::write(path(&format!("{name}-key")), pair.signing_key.serialize_pem()).unwrap();
        }
        let (one, other, one_key, other_key) = (path("one"), path("other"), path("one-key"), path("other-key"));
        let name = |name: &str| ServerName::try_from(name.to_owned()).ok();
        let read = |ca: &Path, identity, server_name| load(Some(ca), identity, server_name).unwrap();
        let plain = read(&one, None, None);
        assert_eq!(plain, read(&one, None, None));
        for different in [
            read(&other, None, None),
            read(&one, Some((&*one, &*one_key)), None),
            read(&one, Some((&*other, &*other_key)), None),
            read(&one, None, name("b.test")),
        ] {
            assert_ne!(plain, different);
        }
        let refused = load(Some(&one), Some((&one, &other_key)), None).unwrap_err().to_string();
        assert!(refused.contains("do not make a pair"), "{refused}");
        let refused = load(Some(&one_key), None, None).unwrap_err().to_string();
        assert!(refused.contains("one-key") && refused.contains("authorities"), "{refused}");
    }

    #[test]
    fn who_must_be_named_is_the_host_unless_something_else_is_said() {
        let directory = tempfile::tempdir().unwrap();
        let ca = directory.path().join("ca");
        let pair = rcgen::generate_simple_self_signed(["upstream.test".to_owned()]).unwrap();
        std::fs::write(&ca, pair.cert.pem()).unwrap();
        let named = |url: &str, server_name: Option<&str>| {
            let server_name = server_name.and_then(|name| ServerName::try_from(name.to_owned()).ok());
            let tls = Some(Arc::new(load(Some(&ca), None, server_name).unwrap()));
            let access = UpstreamAccess { credential: None, tls };
            peer(&access, &url.parse().unwrap()).map(|peer| peer.name.to_str().into_owned())
        };
        assert_eq!(named("https://a.test", None).as_deref(), Some("a.test"));
        assert_eq!(named("https://a.test", Some("b.test")).as_deref(), Some("b.test"));
        assert_eq!(named("http://a.test", Some("b.test")), None);
    }
}
