//! Prints, once the gateway is ready, where it listens and what to run next.
//!
//! On standard output, which is for the person who started it; logs go to standard error. The first token is shown here,
//! once, and nowhere else.

use std::{fmt::Write as _, io::Write as _};

use crate::{
    config::Config,
    domain::{deployment::DeploymentSpec, units::format_duration},
    index::routes::RoutingTable,
    service::{
        Issued,
        bootstrap::FirstStart,
        deployments::address::{self, Reach},
    },
};

pub fn print(config: &Config, routes: &RoutingTable, first: Option<&FirstStart>) {
    // The gateway goes on if whoever started it has closed standard output.
    let _ = std::io::stdout().write_all(text(config, routes, first).as_bytes());
}

/// For a gateway that ends before it is ready: the first token and link are shown now or never.
pub fn print_secrets(config: &Config, first: &FirstStart) {
    let token = first.token.as_ref().map(first_token).unwrap_or_default();
    let _ = std::io::stdout().write_all(format!("{token}{}", set_up(config, first)).as_bytes());
}

fn set_up(config: &Config, first: &FirstStart) -> String {
    let link = address::invitation(&address::management(&config.management, None), &first.invitation);
    let lifetime = format_duration(config.management.invitation_lifetime);
    format!("\nOpen the console and choose the admin's password. The link works once, within {lifetime}:\n\n  {link}\n")
}

fn first_token(issued: &Issued) -> String {
    let token = issued.text.expose();
    format!("\nThe first API token. It is shown this once and opens every Deployment:\n\n  {token}\n\n")
}

fn text(config: &Config, routes: &RoutingTable, first: Option<&FirstStart>) -> String {
    let reach = Reach::new(&config.proxy, routes.default_deployment().cloned());
    let deployments = routes.deployments();
    let mut text = String::from("bento-gateway is ready.\n");
    for deployment in &deployments {
        let access = if deployment.protected { "protected" } else { "public" };
        let url = reach
            .deployment(deployment, None)
            .map_or_else(|| "has no address; give it a host or a listener".to_owned(), |url| url.to_string());
        let _ = writeln!(text, "  {}  {url}  {access}", deployment.name);
    }
    if deployments.is_empty() {
        let _ = writeln!(
            text,
            "\nThere is no Deployment yet. Add the service that the gateway is to protect; the command prints its \
             address:\n\n  bento-gateway deployment add NAME --upstream http://127.0.0.1:3000"
        );
    }
    match first.and_then(|first| first.token.as_ref()) {
        Some(issued) => {
            text.push_str(&first_token(issued));
            if let Some(arguments) = curl_arguments(&reach, &deployments, issued.text.expose()) {
                let _ = writeln!(text, "Try it:\n\n  curl {arguments}/readyz");
            }
        }
        None => text.push_str("\nCreate an API token:\n\n  bento-gateway token create NAME --scope 'deployment:*'\n"),
    }
    let management = address::management(&config.management, None);
    match first {
        Some(first) => text.push_str(&set_up(config, first)),
        None => {
            let _ =
                writeln!(text, "\nThe console, for the users that `bento-gateway user list` shows:\n\n  {management}");
        }
    }
    let _ = writeln!(text, "\nManage it with BentoML's own client:\n\n  bentoml cloud login --endpoint {management}\n");
    text
}

/// Arguments with which curl on this machine reaches a Deployment, even if its host name does not resolve yet and the
/// certificate is for another name. `None`: none has an address.
fn curl_arguments(reach: &Reach, deployments: &[&DeploymentSpec], token: &str) -> Option<String> {
    let (deployment, url) = deployments.iter().find_map(|spec| Some((spec, reach.deployment(spec, None)?)))?;
    let listener = reach.listener(None);
    let insecure = if listener.is_https() { "--insecure " } else { "" };
    let (host, url) = match reach.host(deployment).filter(|_| deployment.listen.is_none()) {
        Some(host) => (format!("-H 'Host: {host}' "), listener.into()),
        None => (String::new(), url),
    };
    Some(format!("{insecure}{host}-H 'Authorization: Bearer {token}' {url}"))
}
