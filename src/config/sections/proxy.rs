//! `[proxy]`, `[proxy.tls]`, `[proxy.limits]` and `[proxy.identity_fields]`.

use std::{net::IpAddr, path::PathBuf, time::Duration};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use crate::{
    config::{
        LimitConfig, ProxyConfig, TlsConfig,
        reader::{Invalid, Section, expect},
    },
    domain::{
        deployment::DeploymentSettings,
        identity_fields::{FieldPattern, IdentityFields, NotAFieldName, Untouchable},
        origin::Origin,
    },
};

const SECOND: Duration = Duration::from_secs(1);

/// `settings` has been read already from `[proxy.deployment_defaults]`.
pub fn read(section: Section<'_>, settings: Option<DeploymentSettings>) -> Option<ProxyConfig> {
    let listen = section.parsed("listen", expect("an address with a port", "127.0.0.1:8080"));
    let workers = section.integer("workers", 0..=1024_i64);
    let base_domain = section.optional("base_domain", expect("a host name", "bento.example.com"));
    let public_url = section.optional("public_url", public_url);
    let path_prefix = section.boolean("path_prefix");
    let path_prefix_sessions = section.boolean("path_prefix_sessions");
    let default_deployment = section.optional("default_deployment", super::deployments::name);
    let trusted_proxies = section.list("trusted_proxies", network);
    let proxy_protocol = section.boolean("proxy_protocol");
    if proxy_protocol == Some(true) && trusted_proxies.as_ref().is_some_and(Vec::is_empty) {
        let fix = "name the addresses of the load balancers in proxy.trusted_proxies: nobody else is believed";
        section.report("proxy_protocol", "is on, but no proxy is trusted", fix);
    }
    let http2 = section.boolean("http2");
    let drain_timeout = section.duration("drain_timeout", Duration::ZERO);
    let session_lifetime = section.duration("session_lifetime", SECOND);
    let upstream_keep_alive = section.duration("upstream_keep_alive", Duration::ZERO);
    let tls = tls(section.section("tls"), "proxy.tls");
    let limits = limits(section.section("limits"));
    let identity_fields = identity_fields(section.section("identity_fields"));
    section.finish();
    Some(ProxyConfig {
        listen: listen?,
        workers: match usize::try_from(workers?).ok()? {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            workers => workers,
        },
        base_domain: base_domain?,
        public_url: public_url?,
        path_prefix: path_prefix?,
        path_prefix_sessions: path_prefix_sessions?,
        default_deployment: default_deployment?,
        trusted_proxies: trusted_proxies?,
        proxy_protocol: proxy_protocol?,
        tls: tls?,
        http2: http2?,
        drain_timeout: drain_timeout?,
        upstream_keep_alive: upstream_keep_alive?,
        session_lifetime: session_lifetime?,
        limits: limits?,
        identity_fields: identity_fields?,
        deployment_defaults: settings?,
    })
}

pub(super) fn public_url(text: &str) -> Result<Origin, Invalid> {
    text.strip_suffix('/').unwrap_or(text).parse().map_err(|_| Invalid {
        message: "is not the URL of a listener".to_owned(),
        fix: "write http://HOST:PORT or https://HOST, without a path".to_owned(),
    })
}

/// `Some(None)`: no TLS. `path` is the section's.
pub(super) fn tls(section: Section<'_>, path: &str) -> Option<Option<TlsConfig>> {
    let certificate = section.text("certificate").map(PathBuf::from);
    let key = section.text("key").map(PathBuf::from);
    let given = |path: &Option<PathBuf>| path.as_ref().is_some_and(|path| !path.as_os_str().is_empty());
    for (missing, other) in [("certificate", "key"), ("key", "certificate")] {
        let (present, absent) = if missing == "key" { (&certificate, &key) } else { (&key, &certificate) };
        if given(present) && !given(absent) && absent.is_some() {
            section.report(missing, format!("is missing beside {path}.{other}"), "give both files, or neither");
        }
    }
    let both = given(&certificate) && given(&key);
    let tls = TlsConfig { certificate: certificate?, key: key? };
    section.finish();
    Some(both.then_some(tls))
}

fn limits(section: Section<'_>) -> Option<LimitConfig> {
    let max_header_bytes = section.size("max_header_bytes", 1024..=16 << 20);
    let max_headers = section.integer("max_headers", 1..=10_000_i64);
    let max_uri_bytes = section.size("max_uri_bytes", 64..=1 << 20);
    let max_connections = section.integer("max_connections", 1..=10_000_000_i64);
    let header_timeout = section.duration("header_timeout", SECOND);
    let keep_alive_timeout = section.duration("keep_alive_timeout", SECOND);
    section.finish();
    Some(LimitConfig {
        max_header_bytes: max_header_bytes?,
        max_headers: usize::try_from(max_headers?).ok()?,
        max_uri_bytes: max_uri_bytes?,
        max_connections: usize::try_from(max_connections?).ok()?,
        header_timeout: header_timeout?,
        keep_alive_timeout: keep_alive_timeout?,
    })
}

fn identity_fields(section: Section<'_>) -> Option<IdentityFields> {
    let drop = section.list("drop", |text| field(text, FieldPattern::check_drop));
    let allow = section.list("allow", |text| field(text, FieldPattern::check_allow));
    let (drop, allow) = (drop?, allow?);
    if drop.iter().any(|pattern| allow.contains(pattern)) {
        section.report("allow", "holds a field that proxy.identity_fields.drop holds, too", "leave it in one of them");
    }
    section.finish();
    Some(IdentityFields { drop, allow })
}

/// `check`: whether the list may hold it.
fn field(text: &str, check: fn(&FieldPattern) -> Result<(), Untouchable>) -> Result<FieldPattern, Invalid> {
    let pattern: FieldPattern = text.parse().map_err(|NotAFieldName| Invalid {
        message: format!("holds {text:?}, which is not a field's name"),
        fix: "write names of letters, digits and -, or their beginning and *: [\"X-Corp-User\", \"X-Corp-*\"]"
            .to_owned(),
    })?;
    let because =
        |why: &str, fix: &str| Invalid { message: format!("holds {text:?}, which {why}"), fix: fix.to_owned() };
    match check(&pattern) {
        Ok(()) => Ok(pattern),
        Err(Untouchable::Ours) => Err(because(
            "is or covers a field that the gateway sets itself, or Bento",
            "leave it out, or write a longer name",
        )),
        Err(Untouchable::Message) => Err(because(
            "is or covers a field that belongs to the message or its credential",
            "leave it out; for Authorization there is forward_authorization at the Deployment",
        )),
    }
}

/// A network, or one address. In canonical form, as peers are: `::ffff:10.0.0.0/104` is `10.0.0.0/8`.
fn network(text: &str) -> Result<IpNet, Invalid> {
    let address = || text.parse::<IpAddr>().map(IpNet::from);
    text.parse::<IpNet>().or_else(|_| address()).map(canonical).map_err(|_| Invalid {
        message: format!("holds {text:?}, which is not an address or a network"),
        fix: "write for example [\"10.0.0.0/8\", \"192.0.2.7\"]".to_owned(),
    })
}

fn canonical(network: IpNet) -> IpNet {
    let mapped = |network: Ipv6Net| {
        let prefix = network.prefix_len().checked_sub(96)?;
        Ipv4Net::new(network.addr().to_ipv4_mapped()?, prefix).ok()
    };
    match network {
        IpNet::V6(network) => mapped(network).map_or(IpNet::V6(network), IpNet::V4),
        network => network,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_are_compared_in_canonical_form() {
        for (text, canonical) in [
            ("10.0.0.0/8", "10.0.0.0/8"),
            ("192.0.2.7", "192.0.2.7/32"),
            ("::ffff:10.0.0.0/104", "10.0.0.0/8"),
            ("::ffff:192.0.2.7", "192.0.2.7/32"),
            ("::ffff:0:0/96", "0.0.0.0/0"),
            ("fd00::/8", "fd00::/8"),
            ("::/0", "::/0"),
        ] {
            assert_eq!(network(text).unwrap().to_string(), canonical);
        }
    }
}
