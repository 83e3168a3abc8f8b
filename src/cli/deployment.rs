//! `bento-gateway deployment …`.

use serde::Serialize;

use super::{
    args::{AddDeployment, DeploymentCommand},
    environment::{Environment, OpenStore},
    error::CliError,
    output::{Printer, card, table},
    settle::Effect,
};
use crate::{
    domain::deployment::{DeploymentName, DeploymentSettings, DeploymentSpec},
    service::deployments::{self, Listed, Placed, Predecessor, UpdateDeployment, address::Reach},
    store::TouchedToken,
};

pub fn run(command: DeploymentCommand, environment: &Environment, printer: &mut Printer<'_>) -> Result<(), CliError> {
    let store = environment.open()?;
    let context = store.context();
    match command {
        DeploymentCommand::Add(args) => {
            let predecessor = if args.was_declared { Predecessor::Declared } else { Predecessor::None };
            let spec = spec(args, &store.config.proxy.deployment_defaults);
            let before = store.addresses()?;
            let added = store.block_on(deployments::add(&context, &spec, predecessor))?;
            let print = |added: &Placed, printer: &mut Printer<'_>| print_spec(&added.spec, printer);
            store.settle_and_look(added, Effect::Grants, printer, print, |store, added, printer| {
                note_address(store, &added.spec, &before.reach, printer)
            })
        }
        DeploymentCommand::Update(args) => {
            let before = store.addresses()?;
            let name = args.name.clone();
            let updated = store.block_on(deployments::update(&context, &name, update(args)))?;
            let print = |updated: &Placed, printer: &mut Printer<'_>| print_spec(&updated.spec, printer);
            store.settle_and_look(updated, Effect::Withdraws, printer, print, |store, updated, printer| {
                note_address(store, &updated.spec, &before.reach, printer)
            })
        }
        DeploymentCommand::List => {
            let listed = store.block_on(deployments::list(&context))?;
            let elsewhere = store.block_on(deployments::declared_elsewhere(&context, &listed))?;
            if !elsewhere.is_empty() {
                let names = joined(&elsewhere);
                printer.note(&format!("Declared by a running gateway's own file or flags: {names}"));
            }
            printer.answer(&listed, || {
                let rows = listed.iter().map(row);
                table(["NAME", "ACCESS", "UPSTREAMS", "HOSTS", "LISTEN", "SOURCE"], rows)
            })
        }
        DeploymentCommand::Terminate { name } => {
            let terminated = store.block_on(deployments::terminate(&context, &name))?;
            let text = || format!("Terminated {name}; its callers get 503.");
            store.settle(terminated, Effect::Withdraws, printer, |placed, printer| printer.answer(&placed.spec, text))
        }
        DeploymentCommand::Start { name } => {
            let started = store.block_on(deployments::start(&context, &name))?;
            let text = || format!("Started {name}.");
            store.settle(started, Effect::Grants, printer, |placed, printer| printer.answer(&placed.spec, text))
        }
        DeploymentCommand::Remove { name } => {
            let removed = store.block_on(deployments::remove(&context, &name))?;
            store.settle(removed, Effect::Withdraws, printer, |touched, printer| print_removed(&name, touched, printer))
        }
    }
}

fn print_spec(spec: &DeploymentSpec, printer: &mut Printer<'_>) -> Result<(), CliError> {
    printer.answer(spec, || {
        card(&[
            ("name", spec.name.to_string()),
            ("upstreams", joined(&spec.upstreams)),
            ("hosts", joined(&spec.hosts)),
            ("access", access(spec).to_owned()),
        ])
    })
}

/// Where it is reached, and who is no longer, by the running gateway.
fn note_address(
    store: &OpenStore,
    spec: &DeploymentSpec,
    before: &Reach,
    printer: &mut Printer<'_>,
) -> Result<(), CliError> {
    let reach = store.addresses()?.reach;
    let name = &spec.name;
    match reach.deployment(spec, None) {
        Some(url) => printer.note(&format!("{name} is reached at {url}")),
        None => printer.note(&format!(
            "{name} has no address yet: a gateway with several Deployments needs one for each. Give it a host, \
             `bento-gateway deployment update {name} --host HOST`, or a listener of its own, with --listen IP:PORT in \
             place of --host."
        )),
    }
    if let Some(lost) = before.lost_default(reach.default_deployment.as_ref(), name) {
        printer.note(&format!(
            "{lost} was reached at {} as the only Deployment, and is no longer. Set proxy.default_deployment = \"{lost}\" \
             in the gateway's configuration to keep it there, or give it a host: `bento-gateway deployment update {lost} \
             --host HOST`.",
            before.listener(None)
        ));
    }
    Ok(())
}

#[derive(Serialize)]
struct Removed {
    name: String,
    /// Tokens that lost their scope for it.
    tokens: Vec<LostScope>,
}

#[derive(Serialize)]
struct LostScope {
    uid: String,
    name: String,
    /// The token had no other scope.
    revoked: bool,
}

fn print_removed(name: &DeploymentName, touched: &[TouchedToken], printer: &mut Printer<'_>) -> Result<(), CliError> {
    let lost = |token: &TouchedToken| LostScope {
        uid: token.uid.to_string(),
        name: token.name.clone(),
        revoked: token.revoked,
    };
    let removed = Removed { name: name.to_string(), tokens: touched.iter().map(lost).collect() };
    printer.answer(&removed, || {
        if removed.tokens.is_empty() {
            return format!("Removed {name}; no token had a scope that names it.");
        }
        let effect = |revoked: bool| if revoked { "revoked: it had no other scope than" } else { "lost the scope" };
        let rows = removed.tokens.iter().map(|token| {
            [token.uid.clone(), token.name.clone(), format!("{} deployment:{name}", effect(token.revoked))]
        });
        format!("Removed {name}; these tokens had a scope that names it:\n{}", table(["UID", "NAME", "EFFECT"], rows))
    })
}

fn spec(args: AddDeployment, defaults: &DeploymentSettings) -> DeploymentSpec {
    DeploymentSpec {
        name: args.name,
        hosts: args.hosts.into_iter().collect(),
        listen: args.listen,
        upstreams: args.upstreams,
        protected: !args.public,
        terminated: false,
        settings: DeploymentSettings {
            forward_authorization: args.forward_authorization || defaults.forward_authorization,
            allow_pickle: args.allow_pickle || defaults.allow_pickle,
            connect_timeout: args.connect_timeout.unwrap_or(defaults.connect_timeout),
            first_byte_timeout: args.first_byte_timeout.unwrap_or(defaults.first_byte_timeout),
            idle_timeout: args.idle_timeout.unwrap_or(defaults.idle_timeout),
            max_body_bytes: args.max_body.or(defaults.max_body_bytes),
            cors_origins: if args.cors_origins.is_empty() {
                defaults.cors_origins.clone()
            } else {
                args.cors_origins.into_iter().collect()
            },
            max_in_flight: args.max_in_flight.or(defaults.max_in_flight),
            max_queue: args.max_queue.unwrap_or(defaults.max_queue),
            queue_timeout: args.queue_timeout.unwrap_or(defaults.queue_timeout),
            rate_limit: args.rate_limit.or(defaults.rate_limit),
        },
    }
}

fn update(args: super::args::UpdateDeployment) -> UpdateDeployment {
    UpdateDeployment {
        hosts: (!args.hosts.is_empty()).then(|| args.hosts.into_iter().collect()),
        upstreams: (!args.upstreams.is_empty()).then_some(args.upstreams),
        listen: args.listen.map(Some),
        ..UpdateDeployment::default()
    }
}

fn row(listed: &Listed) -> [String; 6] {
    let shadowed = if listed.shadowed { " (not served: the configuration declares one of the same name)" } else { "" };
    [
        listed.spec.name.to_string(),
        access(&listed.spec).to_owned(),
        joined(&listed.spec.upstreams),
        joined(&listed.spec.hosts),
        listed.spec.listen.map_or_else(|| "-".to_owned(), |address| address.to_string()),
        format!("{}{shadowed}", listed.source.as_str()),
    ]
}

fn access(spec: &DeploymentSpec) -> &'static str {
    match spec {
        spec if spec.terminated => "terminated",
        spec if spec.protected => "protected",
        _ => "public",
    }
}

fn joined<T: ToString>(items: impl IntoIterator<Item = T>) -> String {
    let texts: Vec<String> = items.into_iter().map(|item| item.to_string()).collect();
    if texts.is_empty() { "-".to_owned() } else { texts.join(" ") }
}
