//! Where Deployments and the console are reached, as callers and browsers see it.
//!
//! `here` is the host by which whoever asks has reached this machine: what listens on every address is reached there.
//! `None`: by the loopback address.

use std::{fmt, net::SocketAddr};

use serde::{Deserialize, Serialize};

use crate::{
    config::{Config, ManagementConfig, ProxyConfig},
    domain::{
        code::OneTimeCode,
        deployment::{DeploymentName, DeploymentSpec},
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

/// How callers reach the Deployments of a gateway.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reach {
    https: bool,
    listen: SocketAddr,
    public_url: Option<Origin>,
    base_domain: Option<HostName>,
    path_prefix: bool,
    /// The one that is in effect: as [`Declared::default_deployment`](crate::domain::routing::Declared).
    pub default_deployment: Option<DeploymentName>,
}

/// What a gateway writes into the store, for commands that may have another configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Addresses {
    pub console: Origin,
    pub reach: Reach,
}

impl Reach {
    /// `default_deployment` is the one that is in effect, which is not for the configuration alone to say.
    pub fn new(proxy: &ProxyConfig, default_deployment: Option<DeploymentName>) -> Self {
        Self {
            https: proxy.tls.is_some(),
            listen: proxy.listen,
            public_url: proxy.public_url.clone(),
            base_domain: proxy.base_domain.clone(),
            path_prefix: proxy.path_prefix,
            default_deployment,
        }
    }

    /// The first of [`Reach::all`]. `None`: nowhere.
    pub fn deployment(&self, spec: &DeploymentSpec, here: Option<&HostName>) -> Option<Address> {
        self.all(spec, here).into_iter().next()
    }

    /// Every address that leads to the Deployment, the one to show first.
    fn all(&self, spec: &DeploymentSpec, here: Option<&HostName>) -> Vec<Address> {
        let common = self.common(here);
        let own_listener = spec.listen.map(|listen| Address::from(origin(self.https, listen, here)));
        let by_host = self.hosts(spec).into_iter().map(|host| common.at(host).into());
        let default = self.default_deployment.as_ref() == Some(&spec.name);
        let prefix = format!("/deployments/{}", spec.name);
        let mut all: Vec<Address> = own_listener.into_iter().chain(by_host).collect();
        all.extend(default.then(|| common.clone().into()));
        all.extend(self.path_prefix.then_some(Address { origin: common, prefix }));
        all
    }

    /// The address of a Deployment that a browser says it comes from. `None`: it is none of this Deployment, and may be
    /// another one's, which must not get what is meant for this one.
    ///
    /// The scheme is not looked at: only we know whether something in front of us ends TLS.
    pub fn asked(&self, spec: &DeploymentSpec, here: Option<&HostName>, asked: &str) -> Option<Address> {
        let (_, asked) = asked.split_once("://")?;
        let (authority, path) = asked.split_at(asked.find('/').unwrap_or(asked.len()));
        let authority = Authority::parse(authority.as_bytes()).ok()?;
        self.all(spec, here).into_iter().filter(|address| address.prefix == path).find_map(|address| {
            let Address { origin, prefix } = address;
            let names: &[&str] = if origin.is_loopback() { &["127.0.0.1", "localhost"] } else { &[] };
            let others: Vec<Origin> = names.iter().filter_map(|name| Some(origin.at(name.parse().ok()?))).collect();
            let origin = std::iter::once(origin).chain(others).find(|origin| origin.is_of(&authority))?;
            Some(Address { origin, prefix })
        })
    }

    /// The host name by which a Deployment is found, if it is found by one.
    pub fn host(&self, spec: &DeploymentSpec) -> Option<HostName> {
        self.hosts(spec).into_iter().next()
    }

    fn hosts(&self, spec: &DeploymentSpec) -> Vec<HostName> {
        routing::hosts(spec, self.base_domain.as_ref())
    }

    /// The Deployment that was the default one and is no longer since another one was `added`. `after`: the default one now.
    pub fn lost_default(&self, after: Option<&DeploymentName>, added: &DeploymentName) -> Option<&DeploymentName> {
        self.default_deployment.as_ref().filter(|lost| *lost != added && after.is_none())
    }

    /// What the proxy listens on.
    pub fn listener(&self, here: Option<&HostName>) -> Origin {
        origin(self.https, self.listen, here)
    }

    /// The address that all share.
    pub fn common(&self, here: Option<&HostName>) -> Origin {
        self.public_url.clone().unwrap_or_else(|| self.listener(here))
    }
}

impl Addresses {
    /// As a gateway with this configuration has them. `default_deployment` as in [`Reach::new`].
    pub fn new(config: &Config, default_deployment: Option<DeploymentName>) -> Self {
        Self { console: management(&config.management, None), reach: Reach::new(&config.proxy, default_deployment) }
    }
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

    fn reach(settings: &[(&str, &str)]) -> Reach {
        let env = settings.iter().map(|(key, value)| (format!("BENTO_GATEWAY__PROXY__{key}"), (*value).to_owned()));
        let proxy = load(&Sources { env: env.collect(), ..Sources::default() }).unwrap().proxy;
        let default = proxy.default_deployment.clone();
        Reach::new(&proxy, default)
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
            let address = reach(settings).deployment(&spec, Some(&"gpu-box".parse().unwrap()));
            assert_eq!(address.map(|address| address.to_string()).as_deref(), shown, "{settings:?} {spec:?}");
        }
        let everywhere = reach(&[]).deployment(&spec(&[], Some("[::]:9000")), None);
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
            let address = reach(settings).asked(&spec, Some(&"gpu-box".parse().unwrap()), at);
            assert_eq!(address.map(|address| address.to_string()).as_deref(), shown, "{settings:?} {spec:?} {at}");
        }
    }
}
