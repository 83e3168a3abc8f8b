//! Where a request came from, as far as it can be believed.

use std::{
    fmt::Write,
    net::{IpAddr, Ipv6Addr, SocketAddr},
};

use http::{HeaderMap, HeaderName};
use ipnet::IpNet;

use super::peer::Peer;
use crate::domain::{host::Authority, origin::Origin};

static X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
static X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
static X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// Who the client is and what it saw, as far as it can be believed.
#[derive(Debug)]
pub struct Forwarding {
    /// The client's address: the peer's, or the last one that a trusted proxy vouches for.
    pub client: IpAddr,
    /// The value of `X-Forwarded-For` for the upstream. `None`: the peer alone.
    pub chain: Option<String>,
    pub https: bool,
    /// What a trusted proxy says that the client asked for. `None`: the authority of this request.
    pub host: Option<Authority<'static>>,
}

impl Forwarding {
    /// Believes the forwarding fields of a trusted proxy, and of `X-Forwarded-For` what trusted proxies have written: it is
    /// read from the right, where each proxy adds the peer that it saw.
    pub fn read(headers: &HeaderMap, peer: &Peer, trusted: &[IpNet]) -> Self {
        let is_trusted = |address: IpAddr| is_trusted(address, trusted);
        let mut client = peer.address();
        if !peer.speaks_for_itself || !is_trusted(client) {
            return Self { client, chain: None, https: peer.tls, host: None };
        }
        let hops: Vec<IpAddr> = hops(headers).collect();
        for hop in &hops {
            if is_trusted(client) {
                client = *hop;
            }
        }
        let chain = (!hops.is_empty()).then(|| chain(&hops, peer));
        Self { client, chain, https: is_secure(headers).unwrap_or(peer.tls), host: host(headers) }
    }

    /// Whether the request goes to `origin`. `host` is what the request itself asks for, `public` the configured address of
    /// the listener: some proxies leave the port out of `Host`, which is then `public`'s.
    pub fn goes_to(&self, origin: &Origin, host: &Authority<'_>, public: Option<&Origin>) -> bool {
        let by_public = |public: &Origin| host.port.is_none() && *origin == public.at(host.host_name());
        origin.is_of(host) || self.host.as_ref().is_some_and(|host| origin.is_of(host)) || public.is_some_and(by_public)
    }
}

/// `address` is in canonical form, as those of networks are.
pub fn is_trusted(address: IpAddr, trusted: &[IpNet]) -> bool {
    trusted.iter().any(|network| network.contains(&address))
}

/// The hops that `X-Forwarded-For` names, the last one first. What is no address ends them: nobody vouches for what stands
/// to the left of it. So does an empty element, which may stand for a peer that a proxy could not name.
fn hops(headers: &HeaderMap) -> impl Iterator<Item = IpAddr> {
    let fields = headers.get_all(&X_FORWARDED_FOR).iter().rev();
    fields.flat_map(|field| field.as_bytes().rsplit(|&byte| byte == b',')).map_while(address)
}

/// The hops, the last one first, and the peer behind them.
fn chain(hops: &[IpAddr], peer: &Peer) -> String {
    let mut chain = String::new();
    for hop in hops.iter().rev() {
        // Into a `String`, which takes everything.
        let _ = write!(chain, "{hop}, ");
    }
    chain + peer.address_text()
}

/// `1.2.3.4`, `::1`, `[::1]`, the first and the last also with a port. In canonical form, which trusted networks are
/// compared with.
fn address(element: &[u8]) -> Option<IpAddr> {
    let text = trimmed(element)?;
    let bracketed = || text.strip_prefix('[')?.strip_suffix(']')?.parse().ok().map(|address: Ipv6Addr| address.into());
    let with_port = || text.parse().ok().map(|address: SocketAddr| address.ip());
    let address: IpAddr = text.parse().ok().or_else(bracketed).or_else(with_port)?;
    Some(address.to_canonical())
}

/// Whether the client's connection is secure. `None`: the proxy does not say. Traefik names a WebSocket's own scheme.
fn is_secure(headers: &HeaderMap) -> Option<bool> {
    match first(headers, &X_FORWARDED_PROTO)?.to_ascii_lowercase().as_str() {
        "https" | "wss" => Some(true),
        "http" | "ws" => Some(false),
        _ => None,
    }
}

fn host(headers: &HeaderMap) -> Option<Authority<'static>> {
    let host = first(headers, &X_FORWARDED_HOST)?;
    Authority::parse(host.as_bytes()).ok().map(Authority::into_owned)
}

/// The first element of a list, which the proxy nearest to the client has written.
fn first<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h str> {
    trimmed(headers.get(name)?.as_bytes().split(|&byte| byte == b',').next()?)
}

/// Without the white space that may surround an element of a list (RFC 9110 § 5.6.1).
fn trimmed(element: &[u8]) -> Option<&str> {
    std::str::from_utf8(element).ok().map(|text| text.trim_matches([' ', '\t']))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn read(name: &HeaderName, values: &[&[u8]], peer: &str) -> Forwarding {
        let values = values.iter().map(|value| (name.clone(), HeaderValue::from_bytes(value).unwrap()));
        let trusted = ["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()];
        Forwarding::read(&values.collect(), &Peer::new(peer.parse().unwrap(), false), &trusted)
    }

    #[test]
    fn the_client_is_the_last_address_that_a_trusted_proxy_vouches_for() {
        for (values, client, chain) in [
            (&[][..], "10.0.0.1", "10.0.0.1"),
            (&[b"6.6.6.6, 203.0.113.7".as_slice()], "203.0.113.7", "6.6.6.6, 203.0.113.7, 10.0.0.1"),
            (&[b"6.6.6.6", b"203.0.113.7"], "203.0.113.7", "6.6.6.6, 203.0.113.7, 10.0.0.1"),
            (&[b"203.0.113.7,10.0.0.9"], "203.0.113.7", "203.0.113.7, 10.0.0.9, 10.0.0.1"),
            (&[b"\t203.0.113.7 , fd00::9\t"], "203.0.113.7", "203.0.113.7, fd00::9, 10.0.0.1"),
            (&[b"10.0.0.8, 10.0.0.9"], "10.0.0.8", "10.0.0.8, 10.0.0.9, 10.0.0.1"),
            // With a port.
            (&[b"203.0.113.7:5555, 10.0.0.9:1"], "203.0.113.7", "203.0.113.7, 10.0.0.9, 10.0.0.1"),
            (&[b"[2001:db8::1]:5555, [fd00::9]:1"], "2001:db8::1", "2001:db8::1, fd00::9, 10.0.0.1"),
            (&[b"[2001:db8::1], [fd00::9]"], "2001:db8::1", "2001:db8::1, fd00::9, 10.0.0.1"),
            // One address in another form.
            (&[b"::ffff:203.0.113.7, ::ffff:10.0.0.9"], "203.0.113.7", "203.0.113.7, 10.0.0.9, 10.0.0.1"),
            (&[b"[::FFFF:203.0.113.7], [::ffff:10.0.0.9]:1"], "203.0.113.7", "203.0.113.7, 10.0.0.9, 10.0.0.1"),
            // What is no address.
            (&[b"6.6.6.6, unknown, 10.0.0.9"], "10.0.0.9", "10.0.0.9, 10.0.0.1"),
            (&[b"6.6.6.6, unknown, 203.0.113.7, 10.0.0.9"], "203.0.113.7", "203.0.113.7, 10.0.0.9, 10.0.0.1"),
            (&[b"6.6.6.6, \xff, 10.0.0.9"], "10.0.0.9", "10.0.0.9, 10.0.0.1"),
            (&[b"6.6.6.6, , 10.0.0.9"], "10.0.0.9", "10.0.0.9, 10.0.0.1"),
            (&[b"6.6.6.6", b"", b"10.0.0.9"], "10.0.0.9", "10.0.0.9, 10.0.0.1"),
            (&[b""], "10.0.0.1", "10.0.0.1"),
            (&[b"6.6.6.6,"], "10.0.0.1", "10.0.0.1"),
            (&[b"6.6.6.6, 10.0.0.9:"], "10.0.0.1", "10.0.0.1"),
            (&[b"6.6.6.6, 10.0.0.9:99999"], "10.0.0.1", "10.0.0.1"),
            (&[b"6.6.6.6, [10.0.0.9]"], "10.0.0.1", "10.0.0.1"),
            (&[b"6.6.6.6, 010.0.0.9"], "10.0.0.1", "10.0.0.1"),
            (&[b"6.6.6.6, fd00::9%eth0"], "10.0.0.1", "10.0.0.1"),
            (&[b"6.6.6.6, for=10.0.0.9"], "10.0.0.1", "10.0.0.1"),
            (&[b"6.6.6.6 10.0.0.9"], "10.0.0.1", "10.0.0.1"),
        ] {
            for peer in ["10.0.0.1:5", "[::ffff:10.0.0.1]:5"] {
                let read = read(&X_FORWARDED_FOR, values, peer);
                let read = (read.client.to_string(), read.chain.unwrap_or_else(|| "10.0.0.1".to_owned()));
                assert_eq!(read, (client.to_owned(), chain.to_owned()), "{values:?}");
            }
            // A peer that is not trusted is the client, whatever it says.
            let read = read(&X_FORWARDED_FOR, values, "203.0.113.9:5");
            assert_eq!((read.client.to_string().as_str(), read.chain), ("203.0.113.9", None));
        }
    }

    /// Whatever the caller has written travels on the proxy's connection.
    #[test]
    fn a_proxy_that_does_not_name_its_caller_vouches_for_nothing() {
        let fields = ["x-forwarded-for", "x-forwarded-proto", "x-forwarded-host"].map(HeaderName::from_static);
        let headers = fields.map(|name| (name, HeaderValue::from_static("https")));
        let peer = Peer::for_somebody("10.0.0.1:5".parse().unwrap(), false);
        let read = Forwarding::read(&headers.into_iter().collect(), &peer, &["10.0.0.0/8".parse().unwrap()]);
        assert_eq!((read.client.to_string().as_str(), read.chain, read.https), ("10.0.0.1", None, false));
        assert!(read.host.is_none());
    }

    #[test]
    fn the_first_scheme_counts() {
        for (values, https) in [
            (&[][..], false),
            (&[b"https".as_slice()], true),
            (&[b"HTTPS"], true),
            (&[b"https, http"], true),
            (&[b"\thttps ,http"], true),
            (&[b"https", b"http"], true),
            (&[b"wss"], true),
            (&[b"http"], false),
            (&[b"http, https"], false),
            (&[b"http", b"https"], false),
            (&[b"ws"], false),
            (&[b""], false),
            (&[b", https"], false),
            (&[b"httpsx"], false),
            (&[b"\xff"], false),
        ] {
            assert_eq!(read(&X_FORWARDED_PROTO, values, "10.0.0.1:5").https, https, "{values:?}");
            assert!(!read(&X_FORWARDED_PROTO, values, "203.0.113.9:5").https, "{values:?}");
        }
        // A proxy that says nothing of use leaves what we see.
        let peer = Peer::new("10.0.0.1:5".parse().unwrap(), true);
        let odd = HeaderMap::from_iter([(X_FORWARDED_PROTO.clone(), HeaderValue::from_static("x"))]);
        assert!(Forwarding::read(&odd, &peer, &["10.0.0.0/8".parse().unwrap()]).https);
    }

    #[test]
    fn the_first_host_counts() {
        for (values, host) in [
            (&[][..], None),
            (&[b"public.test".as_slice()], Some("public.test")),
            (&[b"Public.Test.:8443"], Some("public.test:8443")),
            (&[b" public.test ,inner.test"], Some("public.test")),
            (&[b"public.test", b"inner.test"], Some("public.test")),
            (&[b"[2001:db8::1]:8080"], Some("[2001:db8::1]:8080")),
            (&[b""], None),
            (&[b", public.test"], None),
            (&[b"a b"], None),
            (&[b"https://public.test"], None),
            (&[b"evil@public.test"], None),
            (&[b"\xff"], None),
        ] {
            let read = |peer| read(&X_FORWARDED_HOST, values, peer).host.map(|host| host.to_string());
            assert_eq!(read("10.0.0.1:5").as_deref(), host, "{values:?}");
            assert_eq!(read("203.0.113.9:5"), None, "{values:?}");
        }
    }
}
