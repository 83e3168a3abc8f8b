//! Prints, once the gateway is ready, where it listens and what to run next.
//!
//! On standard output, which is for the person who started it; logs go to standard error. The first token is shown here,
//! once, and nowhere else.

use std::{fmt::Write as _, io::Write as _};

use crate::{
    config::Config,
    domain::units::format_duration,
    service::{
        Issued,
        bootstrap::FirstStart,
        deployments::address::{self, Address},
    },
};

pub fn print(config: &Config, first: Option<&FirstStart>) {
    // The gateway goes on if whoever started it has closed standard output.
    let _ = std::io::stdout().write_all(text(config, first).as_bytes());
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

fn text(config: &Config, first: Option<&FirstStart>) -> String {
    let mut text = String::from("bento-gateway is ready.\n");
    for deployment in &config.declared.deployments {
        let access = if deployment.protected { "protected" } else { "public" };
        let url = address::deployment(&config.proxy, deployment, None)
            .map_or_else(|| "has no address; give it a host or a listener".to_owned(), |url| url.to_string());
        let _ = writeln!(text, "  {}  {url}  {access}", deployment.name);
    }
    if config.declared.deployments.is_empty() {
        text.push_str(
            "  No Deployments yet. Add one: bento-gateway deployment add NAME --upstream http://127.0.0.1:3000\n",
        );
    }
    match first.and_then(|first| first.token.as_ref()) {
        Some(issued) => {
            let token = issued.text.expose();
            text.push_str(&first_token(issued));
            let _ = writeln!(text, "Try it:\n\n  curl {}/readyz", curl_arguments(config, token));
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

/// Arguments with which curl on this machine reaches the first Deployment, even if its host name does not resolve yet and
/// the certificate is for another name.
fn curl_arguments(config: &Config, token: &str) -> String {
    let insecure = if config.proxy.tls.is_some() { "--insecure " } else { "" };
    let listener = || address::listener(&config.proxy, config.proxy.listen, None).into();
    let (host, url): (String, Address) = match config.declared.deployments.first() {
        Some(first) => match address::host(&config.proxy, first).filter(|_| first.listen.is_none()) {
            Some(host) => (format!("-H 'Host: {host}' "), listener()),
            None => {
                let url = address::deployment(&config.proxy, first, None);
                (String::new(), url.unwrap_or_else(listener))
            }
        },
        None => (String::new(), listener()),
    };
    format!("{insecure}{host}-H 'Authorization: Bearer {token}' {url}")
}
