//! Prints, once the gateway is ready, where it listens and what to run next.
//!
//! On standard output, which is for the person who started it; logs go to standard error. The first token is shown here,
//! once, and nowhere else.

use std::{fmt::Write as _, io::Write as _};

use crate::{
    config::{Config, Sources},
    domain::{
        deployment::{DeploymentName, DeploymentSpec},
        units::format_duration,
        user::Email,
    },
    index::routes::RoutingTable,
    service::{
        Issued,
        bootstrap::FirstStart,
        deployments::address::{self, Reach},
    },
};

/// What the text is made of.
pub struct Welcome<'a> {
    pub config: &'a Config,
    pub routes: &'a RoutingTable,
    /// As [`program`].
    pub program: &'a str,
    pub has_tokens: bool,
    /// Of the Deployments, those none of whose upstreams is ready.
    pub silent: Vec<DeploymentName>,
}

/// How commands are called that work on the same store: the program's name with what this one was given.
pub fn program(sources: &Sources) -> String {
    let quoted = |text: &str| {
        let plain = text.chars().all(|c| c.is_ascii_alphanumeric() || "-_./:=@+,%".contains(c));
        if plain { text.to_owned() } else { format!("'{}'", text.replace('\'', r"'\''")) }
    };
    let mut program = "bento-gateway".to_owned();
    if let Some(file) = &sources.file {
        let _ = write!(program, " --config {}", quoted(&file.to_string_lossy()));
    }
    match &sources.overrides.store {
        // The password of a database is not for a terminal's history.
        Some(url) if !url.starts_with("sqlite:") => program.push_str(" --store URL"),
        Some(url) => drop(write!(program, " --store {}", quoted(url))),
        None => {}
    }
    program
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

impl Welcome<'_> {
    /// `uninvited`: the admin to invite, because nobody can sign in as one.
    pub fn print(&self, first: Option<&FirstStart>, uninvited: Option<&Email>) {
        let text = format!("{}{}{}", self.deployments(), self.token(first), self.console(first, uninvited));
        // The gateway goes on if whoever started it has closed standard output.
        let _ = std::io::stdout().write_all(text.as_bytes());
    }

    fn reach(&self) -> Reach {
        Reach::new(&self.config.proxy, self.routes.default_deployment().cloned())
    }

    fn deployments(&self) -> String {
        let (reach, deployments) = (self.reach(), self.routes.deployments());
        let mut text = String::from("bento-gateway is ready.\n");
        for deployment in &deployments {
            let access = if deployment.protected { "protected" } else { "public" };
            let url = reach
                .deployment(deployment, None)
                .map_or_else(|| "has no address; give it a host or a listener".to_owned(), |url| url.to_string());
            let _ = writeln!(text, "  {}  {url}  {access}", deployment.name);
        }
        for deployment in deployments.iter().filter(|deployment| self.silent.contains(&deployment.name)) {
            let upstreams: Vec<String> = deployment.upstreams.iter().map(ToString::to_string).collect();
            let _ = writeln!(
                text,
                "\nThe service of {} is not ready yet at {}; callers get an error until it is. Start it there, or look at \
                 its log.",
                deployment.name,
                upstreams.join(", ")
            );
        }
        if deployments.is_empty() {
            let _ = writeln!(
                text,
                "\nThere is no Deployment yet. Add the service that the gateway is to protect; the command prints its \
                 address:\n\n  {} deployment add NAME --upstream http://127.0.0.1:3000",
                self.program
            );
        }
        text
    }

    fn token(&self, first: Option<&FirstStart>) -> String {
        let Some(issued) = first.and_then(|first| first.token.as_ref()) else {
            // Whoever starts it again looks for the one that was shown the first time.
            let create = if self.has_tokens {
                "API tokens are shown once, when they are made. Create another one"
            } else {
                "Create an API token"
            };
            return format!("\n{create}:\n\n  {} token create NAME --scope 'deployment:*'\n", self.program);
        };
        let arguments = curl_arguments(&self.reach(), &self.routes.deployments(), issued.text.expose());
        let example = arguments.map(|arguments| format!("Try it:\n\n  curl {arguments}/readyz\n"));
        format!("{}{}", first_token(issued), example.unwrap_or_default())
    }

    fn console(&self, first: Option<&FirstStart>, uninvited: Option<&Email>) -> String {
        let (program, management) = (self.program, address::management(&self.config.management, None));
        let sign_in = match (first, uninvited) {
            (Some(first), _) => set_up(self.config, first),
            (None, Some(email)) => format!(
                "\nNobody can sign in to the console yet. Make a link by which {email} chooses a password:\n\n  \
                 {program} user invite {email}\n"
            ),
            (None, None) => {
                format!("\nThe console, for the users that `{program} user list` shows:\n\n  {management}\n")
            }
        };
        format!("{sign_in}\nManage it with BentoML's own client:\n\n  bentoml cloud login --endpoint {management}\n\n")
    }
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
