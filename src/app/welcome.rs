//! What the terminal says once the gateway is ready: where it is, and what to run next.
//!
//! On standard output, which is for the person who started it; logs go to standard error. The first token is shown here
//! and nowhere else, once.

use std::{fmt::Write as _, io::Write as _, net::SocketAddr};

use crate::{
    config::Config,
    domain::{deployment::DeploymentSpec, host::HostName},
    service::Issued,
};

pub fn print(config: &Config, issued: Option<&Issued>) {
    // Whoever started it may have closed standard output: the gateway goes on all the same.
    let _ = std::io::stdout().write_all(text(config, issued).as_bytes());
}

/// For a gateway that ends before it was ready: this token is shown now or never.
pub fn print_first_token(issued: &Issued) {
    let _ = std::io::stdout().write_all(first_token(issued).as_bytes());
}

fn first_token(issued: &Issued) -> String {
    let token = issued.text.expose();
    format!("\nThe first API token. It is shown this once and opens every Deployment:\n\n  {token}\n\n")
}

fn text(config: &Config, issued: Option<&Issued>) -> String {
    let mut text = String::from("bento-gateway is ready.\n");
    for deployment in &config.deployments {
        let access = if deployment.protected { "protected" } else { "public" };
        let url = url(config, deployment).unwrap_or_else(|| "no address: give it a host or a listener".to_owned());
        let _ = writeln!(text, "  {}  {url}  {access}", deployment.name);
    }
    if config.deployments.is_empty() {
        text.push_str(
            "  No Deployment yet. Add one: bento-gateway deployment add NAME --upstream http://127.0.0.1:3000\n",
        );
    }
    match issued {
        Some(issued) => {
            let token = issued.text.expose();
            text.push_str(&first_token(issued));
            let _ = writeln!(text, "Try it:\n\n  curl {}/readyz", curl_arguments(config, token));
        }
        None => text.push_str("\nMake an API token:\n\n  bento-gateway token create NAME --scope 'deployment:*'\n"),
    }
    text.push('\n');
    text
}

/// Where a Deployment is reached. `None`: nowhere, with this configuration.
fn url(config: &Config, deployment: &DeploymentSpec) -> Option<String> {
    let proxy = &config.proxy;
    if let Some(address) = deployment.listen {
        return Some(base(config, address));
    }
    if let Some(host) = host(config, deployment) {
        return Some(format!("{}://{host}:{}", scheme(config), proxy.listen.port()));
    }
    if proxy.default_deployment.as_ref() == Some(&deployment.name) {
        return Some(base(config, proxy.listen));
    }
    proxy.path_prefix.then(|| format!("{}/deployments/{}", base(config, proxy.listen), deployment.name))
}

/// The host name by which a Deployment is found, if it is found by one.
fn host(config: &Config, deployment: &DeploymentSpec) -> Option<String> {
    let under_base = || config.proxy.base_domain.as_ref().map(|domain| format!("{}.{domain}", deployment.name));
    deployment.hosts.first().map(HostName::to_string).or_else(under_base)
}

/// What makes the first Deployment answer on this machine, where its host name need not resolve yet and a certificate
/// need not be for an address.
fn curl_arguments(config: &Config, token: &str) -> String {
    let insecure = if config.proxy.tls.is_some() { "--insecure " } else { "" };
    let first = config.deployments.first();
    let (host, url) = match first.map(|first| (first.listen, host(config, first), url(config, first))) {
        Some((None, Some(host), _)) => (format!("-H 'Host: {host}' "), base(config, config.proxy.listen)),
        Some((_, _, Some(url))) => (String::new(), url),
        _ => (String::new(), base(config, config.proxy.listen)),
    };
    format!("{insecure}{host}-H 'Authorization: Bearer {token}' {url}")
}

fn base(config: &Config, address: SocketAddr) -> String {
    format!("{}://{}", scheme(config), reachable(address))
}

fn scheme(config: &Config) -> &'static str {
    if config.proxy.tls.is_some() { "https" } else { "http" }
}

/// An address that listens everywhere is reached on this machine's own.
fn reachable(address: SocketAddr) -> SocketAddr {
    let mut address = address;
    if address.ip().is_unspecified() {
        address.set_ip(if address.is_ipv4() { [127, 0, 0, 1].into() } else { std::net::Ipv6Addr::LOCALHOST.into() });
    }
    address
}
