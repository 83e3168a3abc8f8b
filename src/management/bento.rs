//! What the gateway asks a Bento of its own accord.

use std::time::Duration;

use bytes::Bytes;
use http::Response;

use crate::{
    domain::{deployment::DeploymentSpec, routing::Declared, upstream_access::TlsPeer, upstream_url::UpstreamUrl},
    http::{client, upstream_tls},
};

/// One upstream, and how it is reached.
pub struct Bento {
    pub url: UpstreamUrl,
    tls: Option<TlsPeer>,
}

impl Bento {
    /// The upstreams of a Deployment, without those that are drained.
    pub fn all(spec: &DeploymentSpec, declared: &Declared) -> Vec<Self> {
        let access = declared.access.get(&spec.name).cloned().unwrap_or_default();
        let urls = spec.upstreams.iter().filter(|upstream| upstream.weight > 0).map(|upstream| &upstream.url);
        urls.map(|url| Self { url: url.clone(), tls: upstream_tls::peer(&access, url) }).collect()
    }

    /// `None`: there is no answer in that time.
    pub async fn get(&self, path: &str, timeout: Duration) -> Option<Response<Bytes>> {
        let url = format!("{}{path}", self.url);
        match &self.tls {
            None => client::plain(timeout).get(&url).await.ok(),
            Some(peer) => client::with_tls(timeout, peer)?.get(&url).await.ok(),
        }
    }
}
