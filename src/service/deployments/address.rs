//! Where Deployments and the console are reached, as callers and browsers see it.
//!
//! `here` is the host by which whoever asks has reached this machine: what listens on every address is reached there.
//! `None`: by the loopback address.

use std::{fmt, net::SocketAddr};

use crate::{
    config::{ManagementConfig, ProxyConfig},
    domain::{
        code::OneTimeCode,
        deployment::DeploymentSpec,
        host::{Authority, HostName},
        origin::Origin,
        routing,
    },
};

/// Where a Deployment is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    pub origin: Origin,
    /// What every path begins with: `/deployments/NAME`, or nothing.
    pub prefix: String,
}

/// The first of [`all`]. `None`: nowhere, with this configuration.
pub fn deployment(proxy: &ProxyConfig, spec: &DeploymentSpec, here: Option<&HostName>) -> Option<Address> {
    all(proxy, spec, here).into_iter().next()
}

/// Every address that leads to the Deployment, the one to show first.
fn all(proxy: &ProxyConfig, spec: &DeploymentSpec, here: Option<&HostName>) -> Vec<Address> {
    let common = proxy.public_url.clone().unwrap_or_else(|| listener(proxy, proxy.listen, here));
    let own_listener = spec.listen.map(|listen| Address::from(listener(proxy, listen, here)));
    let by_host = hosts(proxy, spec).into_iter().map(|host| common.at(host).into());
    let default = proxy.default_deployment.as_ref() == Some(&spec.name);
    let prefix = format!("/deployments/{}", spec.name);
    let mut all: Vec<Address> = own_listener.into_iter().chain(by_host).collect();
    all.extend(default.then(|| common.clone().into()));
    all.extend(proxy.path_prefix.then_some(Address { origin: common, prefix }));
    all
}

/// The address of a Deployment that a browser says it comes from. `None`: it is none of this Deployment, and may be
/// another one's, which must not get what is meant for this one.
///
/// The scheme is not looked at: only we know whether something in front of us ends TLS.
pub fn asked(proxy: &ProxyConfig, spec: &DeploymentSpec, here: Option<&HostName>, asked: &str) -> Option<Address> {
    let (_, asked) = asked.split_once("://")?;
    let (authority, path) = asked.split_at(asked.find('/').unwrap_or(asked.len()));
    let authority = Authority::parse(authority.as_bytes()).ok()?;
    all(proxy, spec, here).into_iter().filter(|address| address.prefix == path).find_map(|address| {
        let Address { origin, prefix } = address;
        let names: &[&str] = if origin.is_loopback() { &["127.0.0.1", "localhost"] } else { &[] };
        let others: Vec<Origin> = names.iter().filter_map(|name| Some(origin.at(name.parse().ok()?))).collect();
        let origin = std::iter::once(origin).chain(others).find(|origin| origin.is_of(&authority))?;
        Some(Address { origin, prefix })
    })
}

/// The host name by which a Deployment is found, if it is found by one.
pub fn host(proxy: &ProxyConfig, spec: &DeploymentSpec) -> Option<HostName> {
    hosts(proxy, spec).into_iter().next()
}

fn hosts(proxy: &ProxyConfig, spec: &DeploymentSpec) -> Vec<HostName> {
    routing::hosts(spec, proxy.base_domain.as_ref())
}

/// What the proxy listens on.
pub fn listener(proxy: &ProxyConfig, listen: SocketAddr, here: Option<&HostName>) -> Origin {
    origin(proxy.tls.is_some(), listen, here)
}

/// The console, as browsers reach it.
pub fn management(config: &ManagementConfig, here: Option<&HostName>) -> Origin {
    config.public_url.clone().unwrap_or_else(|| origin(config.tls.is_some(), config.listen, here))
}

/// The link by which somebody sets their password.
pub fn invitation(console: &Origin, code: &OneTimeCode) -> String {
    format!("{console}/welcome?code={}", code.expose())
}

fn origin(https: bool, listen: SocketAddr, here: Option<&HostName>) -> Origin {
    let origin = Origin::of_listener(https, listen);
    match here {
        Some(here) if listen.ip().is_unspecified() => origin.at(here.clone()),
        _ => origin,
    }
}

// === text ===

impl From<Origin> for Address {
    fn from(origin: Origin) -> Self {
        Self { origin, prefix: String::new() }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.origin, self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Sources, load};

    fn proxy(settings: &[(&str, &str)]) -> ProxyConfig {
        let env = settings.iter().map(|(key, value)| (format!("BENTO_GATEWAY__PROXY__{key}"), (*value).to_owned()));
        load(&Sources { env: env.collect(), ..Sources::default() }).unwrap().proxy
    }

    fn spec(hosts: &[&str], listen: Option<&str>) -> DeploymentSpec {
        DeploymentSpec {
            name: "a".parse().unwrap(),
            hosts: hosts.iter().map(|host| host.parse().unwrap()).collect(),
            listen: listen.map(|listen| listen.parse().unwrap()),
            upstreams: Vec::new(),
            protected: true,
            terminated: false,
            settings: Default::default(),
        }
    }

    const PUBLIC: (&str, &str) = ("PUBLIC_URL", "https://gateway.test");
    const EVERYWHERE: (&str, &str) = ("LISTEN", "0.0.0.0:8080");

    #[test]
    fn a_deployment_is_reached_where_the_configuration_says() {
        let named = spec(&["b.test", "c.test"], None);
        for (settings, spec, shown) in [
            (&[][..], spec(&[], None), None),
            (&[("DEFAULT_DEPLOYMENT", "a")], spec(&[], None), Some("http://127.0.0.1:8080")),
            (&[("DEFAULT_DEPLOYMENT", "a"), EVERYWHERE], spec(&[], None), Some("http://gpu-box:8080")),
            (&[("DEFAULT_DEPLOYMENT", "a"), EVERYWHERE, PUBLIC], spec(&[], None), Some("https://gateway.test")),
            (&[("PATH_PREFIX", "true")], spec(&[], None), Some("http://127.0.0.1:8080/deployments/a")),
            (&[("PATH_PREFIX", "true"), PUBLIC], spec(&[], None), Some("https://gateway.test/deployments/a")),
            (&[("BASE_DOMAIN", "base.test")], spec(&[], None), Some("http://a.base.test:8080")),
            (&[("BASE_DOMAIN", "base.test"), PUBLIC], spec(&[], None), Some("https://a.base.test")),
            (&[("BASE_DOMAIN", "base.test"), EVERYWHERE], named.clone(), Some("http://b.test:8080")),
            (&[PUBLIC], named.clone(), Some("https://b.test")),
            (&[("LISTEN", "10.0.0.1:80")], named, Some("http://b.test")),
            (&[PUBLIC], spec(&["b.test"], Some("10.0.0.1:9000")), Some("http://10.0.0.1:9000")),
            (&[], spec(&[], Some("[::]:9000")), Some("http://gpu-box:9000")),
        ] {
            let address = deployment(&proxy(settings), &spec, Some(&"gpu-box".parse().unwrap()));
            assert_eq!(address.map(|address| address.to_string()).as_deref(), shown, "{settings:?} {spec:?}");
        }
        let everywhere = deployment(&proxy(&[]), &spec(&[], Some("[::]:9000")), None);
        assert_eq!(everywhere.unwrap().to_string(), "http://[::1]:9000");
    }

    #[test]
    fn a_browser_comes_from_an_address_of_the_deployment_or_from_none() {
        let named = || spec(&["b.test", "c.test"], None);
        let default = ("DEFAULT_DEPLOYMENT", "a");
        for (settings, spec, at, shown) in [
            (&[][..], named(), "http://b.test:8080", Some("http://b.test:8080")),
            (&[], named(), "http://C.test:8080", Some("http://c.test:8080")),
            (&[], named(), "https://c.test:8080", Some("http://c.test:8080")),
            // TLS ends in front of a gateway that does not know of it, but for its address.
            (&[PUBLIC], named(), "http://c.test", Some("https://c.test")),
            (&[PUBLIC], named(), "https://c.test:443", Some("https://c.test")),
            (&[default], spec(&[], None), "http://localhost:8080", Some("http://localhost:8080")),
            (&[default], spec(&[], None), "http://127.0.0.1:8080", Some("http://127.0.0.1:8080")),
            (&[default, EVERYWHERE], spec(&[], None), "http://gpu-box:8080", Some("http://gpu-box:8080")),
            (
                &[("PATH_PREFIX", "true")],
                spec(&[], None),
                "http://localhost:8080/deployments/a",
                Some("http://localhost:8080/deployments/a"),
            ),
            // Every way that leads to it, also beside the one that is shown.
            (&[("BASE_DOMAIN", "base.test")], named(), "http://a.base.test:8080", Some("http://a.base.test:8080")),
            (&[default, PUBLIC], named(), "https://gateway.test", Some("https://gateway.test")),
            (
                &[("PATH_PREFIX", "true")],
                named(),
                "http://127.0.0.1:8080/deployments/a",
                Some("http://127.0.0.1:8080/deployments/a"),
            ),
            (&[], spec(&["b.test"], Some("10.0.0.1:9000")), "http://b.test:8080", Some("http://b.test:8080")),
            // Somebody else's.
            (&[("BASE_DOMAIN", "base.test")], named(), "http://b.base.test:8080", None),
            (&[], named(), "http://b.test", None),
            (&[], named(), "http://b.test:8081", None),
            (&[], named(), "http://d.test:8080", None),
            (&[], named(), "http://b.test:8080/", None),
            (&[], named(), "http://b.test:8080/deployments/a", None),
            (&[], named(), "http://b.test:8080.evil", None),
            (&[], named(), "http://b.test:8080@evil", None),
            (&[], named(), "b.test:8080", None),
            (&[], named(), "", None),
            (&[default], spec(&[], None), "http://gpu-box:8080", None),
            (&[("PATH_PREFIX", "true")], spec(&[], None), "http://localhost:8080/deployments/b", None),
            (&[("PATH_PREFIX", "true")], spec(&[], None), "http://localhost:8080", None),
            (&[], spec(&["b.test"], Some("10.0.0.1:9000")), "http://b.test:9000", None),
            (&[], spec(&[], None), "http://127.0.0.1:8080", None),
        ] {
            let address = asked(&proxy(settings), &spec, Some(&"gpu-box".parse().unwrap()), at);
            assert_eq!(address.map(|address| address.to_string()).as_deref(), shown, "{settings:?} {spec:?} {at}");
        }
    }
}
