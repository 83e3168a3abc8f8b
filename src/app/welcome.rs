//! What the terminal says once the gateway is ready: where it is, and what to run next.
//!
//! On standard output, which is for the person who started it; logs go to standard error. The first token is shown here
//! and nowhere else, once.

use std::{fmt::Write as _, io::Write as _, net::SocketAddr};

use crate::{config::Config, domain::deployment::DeploymentSpec, service::Issued};

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
    format!(
        "\nThe first API token. It is shown this once, opens every Deployment and manages this gateway:\n\n  {token}\n\n"
    )
}

fn text(config: &Config, issued: Option<&Issued>) -> String {
    let mut text = String::from("bento-gateway is ready.\n");
    for deployment in &config.deployments {
        let access = if deployment.protected { "protected" } else { "public" };
        let _ = writeln!(text, "  {}  {}  {access}", deployment.name, url(config, deployment));
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
            let example = config.deployments.first();
            let _ = writeln!(
                text,
                "Try it:\n\n  curl {}-H 'Authorization: Bearer {token}' {}/readyz",
                insecure(config),
                example.map_or(base(config, config.proxy.listen), |first| url(config, first))
            );
        }
        None => text.push_str("\nMake an API token:\n\n  bento-gateway token create NAME --scope 'deployment:*'\n"),
    }
    text.push('\n');
    text
}

/// Where a Deployment is reached.
fn url(config: &Config, deployment: &DeploymentSpec) -> String {
    let proxy = &config.proxy;
    let scheme = scheme(config);
    match (deployment.listen, deployment.hosts.first(), &proxy.base_domain) {
        (Some(address), _, _) => base(config, address),
        _ if proxy.default_deployment.as_ref() == Some(&deployment.name) => base(config, proxy.listen),
        (None, Some(host), _) => format!("{scheme}://{host}:{}", proxy.listen.port()),
        (None, None, Some(domain)) => format!("{scheme}://{}.{domain}:{}", deployment.name, proxy.listen.port()),
        (None, None, None) => format!("{}/deployments/{}", base(config, proxy.listen), deployment.name),
    }
}

fn base(config: &Config, address: SocketAddr) -> String {
    format!("{}://{}", scheme(config), reachable(address))
}

fn scheme(config: &Config) -> &'static str {
    if config.proxy.tls.is_some() { "https" } else { "http" }
}

/// A certificate for a name does not fit an address: the line must work when pasted all the same.
fn insecure(config: &Config) -> &'static str {
    if config.proxy.tls.is_some() { "--insecure " } else { "" }
}

/// An address that listens everywhere is reached on this machine's own.
fn reachable(address: SocketAddr) -> SocketAddr {
    let mut address = address;
    if address.ip().is_unspecified() {
        address.set_ip(if address.is_ipv4() { [127, 0, 0, 1].into() } else { std::net::Ipv6Addr::LOCALHOST.into() });
    }
    address
}
