//! Where a request came from, as far as it can be believed.

use std::net::IpAddr;

use http::{HeaderMap, HeaderName, HeaderValue};
use ipnet::IpNet;

use super::peer::Peer;

static X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
static X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
static X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// Who the caller is and what it saw, as far as it can be believed.
#[derive(Debug)]
pub struct Forwarding {
    /// The caller's address: the peer's, or the last one that a trusted proxy vouches for.
    pub client: IpAddr,
    /// The value of `X-Forwarded-For` for the upstream.
    pub chain: String,
    pub https: bool,
    /// What a trusted proxy says that the caller asked for. `None`: the authority of this request.
    pub host: Option<HeaderValue>,
}

impl Forwarding {
    pub fn read(headers: &HeaderMap, peer: Peer, trusted: &[IpNet]) -> Self {
        let is_trusted = |address: &IpAddr| trusted.iter().any(|net| net.contains(address));
        if trusted.is_empty() || !is_trusted(&peer.address()) {
            return Self { client: peer.address(), chain: peer.address().to_string(), https: peer.tls, host: None };
        }
        let mut hops: Vec<IpAddr> = Vec::new();
        for field in headers.get_all(&X_FORWARDED_FOR) {
            hops.extend(
                field.to_str().unwrap_or_default().split(',').filter_map(|hop| hop.trim().parse::<IpAddr>().ok()),
            );
        }
        hops.push(peer.address());
        let client = hops.iter().rev().find(|hop| !is_trusted(hop)).or(hops.first()).copied().unwrap_or(peer.address());
        let chain = hops.iter().map(IpAddr::to_string).collect::<Vec<_>>().join(", ");
        let https = headers.get(&X_FORWARDED_PROTO).map_or(peer.tls, |proto| proto == "https");
        Self { client, chain, https, host: headers.get(&X_FORWARDED_HOST).cloned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        let field = |(name, value): &(&'static str, &'static str)| {
            (HeaderName::from_static(name), HeaderValue::from_static(value))
        };
        fields.iter().map(field).collect()
    }

    #[test]
    fn forwarding_is_believed_from_trusted_proxies_only() {
        let claims = headers(&[
            ("x-forwarded-for", "6.6.6.6, 10.0.0.9"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-host", "a"),
        ]);
        let peer = Peer::new("10.0.0.1:5".parse().unwrap(), false);

        let stranger = Forwarding::read(&claims, peer, &[]);
        assert_eq!((stranger.client, stranger.chain.as_str(), stranger.https), (peer.address(), "10.0.0.1", false));
        assert!(stranger.host.is_none());

        let trusted = Forwarding::read(&claims, peer, &["10.0.0.0/8".parse().unwrap()]);
        assert_eq!(trusted.client.to_string(), "6.6.6.6");
        assert_eq!(trusted.chain, "6.6.6.6, 10.0.0.9, 10.0.0.1");
        assert!(trusted.https && trusted.host.is_some());
    }
}
