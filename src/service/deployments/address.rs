//! Where a Deployment is reached, as callers see it.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::{
    config::{ManagementConfig, ProxyConfig, PublicUrl},
    domain::{code::OneTimeCode, deployment::DeploymentSpec, host::HostName},
};

/// `None`: nowhere, with this configuration.
pub fn url(proxy: &ProxyConfig, deployment: &DeploymentSpec) -> Option<String> {
    if let Some(address) = deployment.listen {
        return Some(listener(proxy, address));
    }
    if let Some(host) = host(proxy, deployment) {
        return Some(match &proxy.public_url {
            Some(public) => format!("{}://{host}{}", scheme(public.https), suffix(public.port)),
            None => format!("{}://{host}:{}", scheme(proxy.tls.is_some()), proxy.listen.port()),
        });
    }
    let common = || match &proxy.public_url {
        Some(public) => format!("{}://{}{}", scheme(public.https), public.host, suffix(public.port)),
        None => listener(proxy, proxy.listen),
    };
    if proxy.default_deployment.as_ref() == Some(&deployment.name) {
        return Some(common());
    }
    proxy.path_prefix.then(|| format!("{}/deployments/{}", common(), deployment.name))
}

/// The host name by which a Deployment is found, if it is found by one.
pub fn host(proxy: &ProxyConfig, deployment: &DeploymentSpec) -> Option<String> {
    let under_base = || proxy.base_domain.as_ref().map(|domain| format!("{}.{domain}", deployment.name));
    deployment.hosts.first().map(HostName::to_string).or_else(under_base)
}

/// The URL of an address that the proxy listens on.
pub fn listener(proxy: &ProxyConfig, address: SocketAddr) -> String {
    format!("{}://{}", scheme(proxy.tls.is_some()), reachable(address))
}

/// The console, as browsers reach it.
pub fn management(config: &ManagementConfig) -> String {
    let listener = || format!("{}://{}", scheme(false), reachable(config.listen));
    config.public_url.as_ref().map_or_else(listener, PublicUrl::origin)
}

/// The link by which somebody sets their password.
pub fn invitation(config: &ManagementConfig, code: &OneTimeCode) -> String {
    format!("{}/welcome?code={}", management(config), code.expose())
}

/// What listens everywhere is reached on this machine's own address.
pub fn reachable(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(if address.is_ipv4() { Ipv4Addr::LOCALHOST.into() } else { Ipv6Addr::LOCALHOST.into() });
    }
    address
}

fn scheme(https: bool) -> &'static str {
    if https { "https" } else { "http" }
}

fn suffix(port: Option<u16>) -> String {
    port.map(|port| format!(":{port}")).unwrap_or_default()
}
