//! How the upstreams of a Deployment are reached, as far as only the configuration can say it: the files that it stands in are
//! the gateway's.

use std::{fmt, sync::Arc};

use rustls_pki_types::ServerName;
use tokio_rustls::rustls::ClientConfig;

use super::{upstream_credential::UpstreamCredential, upstream_url::UpstreamUrl};

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UpstreamAccess {
    /// What they are shown. `None`: nothing.
    pub credential: Option<Arc<UpstreamCredential>>,
    /// `None`: those with `https` are verified by the system's roots and by the host of their URL.
    pub tls: Option<Arc<UpstreamTls>>,
}

/// Whom the gateway trusts to be an upstream, and what it shows them. [`upstream_tls`](crate::http::upstream_tls) makes it.
pub struct UpstreamTls {
    /// `None`: there is nobody to trust, so that no handshake can be made.
    pub client: Option<Arc<ClientConfig>>,
    /// Whom certificates must name. `None`: the host of the URL.
    pub server_name: Option<ServerName<'static>>,
    /// A hash of the files that it was made of.
    pub contents: [u8; 32],
}

/// With whom a handshake is made, and how.
#[derive(Clone, Debug)]
pub struct TlsPeer {
    /// As in [`UpstreamTls`].
    pub client: Option<Arc<ClientConfig>>,
    pub name: ServerName<'static>,
}

impl UpstreamTls {
    /// `None`: the URL asks for no TLS.
    pub fn peer(&self, url: &UpstreamUrl) -> Option<TlsPeer> {
        let name = self.server_name.as_ref().or(url.tls_name()).filter(|_| url.tls_name().is_some())?;
        Some(TlsPeer { client: self.client.clone(), name: name.clone() })
    }
}

/// Files that say the same make the same of it.
impl PartialEq for UpstreamTls {
    fn eq(&self, other: &Self) -> bool {
        self.contents == other.contents && self.server_name == other.server_name
    }
}

impl Eq for UpstreamTls {}

/// Without the key.
impl fmt::Debug for UpstreamTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UpstreamTls").field("server_name", &self.server_name).finish_non_exhaustive()
    }
}
