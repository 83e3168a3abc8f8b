//! `bento-gateway deployment …`.

use serde::Serialize;

use super::{
    args::{AddDeployment, DeploymentCommand, Maybe},
    environment::{Environment, OpenStore},
    error::CliError,
    output::{Printer, card, table},
    settle::Effect,
};
use crate::{
    domain::deployment::{DeploymentName, DeploymentSettings, DeploymentSpec},
    service::{
        budgets::{self, StandingView},
        deployments::{self, Listed, Placed, Predecessor, UpdateDeployment, UpdateSettings, address::Reach},
        let_through::{self, LetThroughView},
    },
    store::TouchedToken,
};

pub fn run(command: DeploymentCommand, environment: &Environment, printer: &mut Printer<'_>) -> Result<(), CliError> {
    let store = environment.open()?;
    let context = store.context();
    match command {
        DeploymentCommand::Add(args) => {
            let predecessor = if args.was_declared { Predecessor::Declared } else { Predecessor::None };
            let spec = spec(*args, &store.config.proxy.deployment_defaults);
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
            note_elsewhere(&store, &listed, printer)?;
            printer.answer(&listed, || {
                let rows = listed.iter().map(row);
                table(["NAME", "ACCESS", "UPSTREAMS", "HOSTS", "LISTEN", "SOURCE"], rows)
            })
        }
        DeploymentCommand::LetThrough { name, limit } => {
            let report = store.block_on(let_through::report(&context, &name, limit))?;
            printer.answer(&report.items, || {
                table(["REASON", "TOKEN", "NETWORK", "REQUESTS", "FIRST", "LAST"], report.items.iter().map(caller))
            })
        }
        DeploymentCommand::Budgets { name } => {
            let all = store.block_on(budgets::all(&context, name.as_ref()))?;
            printer.answer(&all, || {
                table(["DEPLOYMENT", "OF", "BUDGET", "USED", "PART", "RESETS"], all.iter().map(budget))
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

/// What this command cannot know, since it is in the file or flags of a running gateway.
pub fn note_elsewhere(store: &OpenStore, listed: &[Listed], printer: &mut Printer<'_>) -> Result<(), CliError> {
    let elsewhere = store.block_on(deployments::declared_elsewhere(&store.context(), listed))?;
    if !elsewhere.is_empty() {
        printer.note(&format!("Declared by a running gateway's own file or flags: {}", joined(&elsewhere)));
    }
    Ok(())
}

fn print_spec(spec: &DeploymentSpec, printer: &mut Printer<'_>) -> Result<(), CliError> {
    printer.answer(spec, || {
        card(&[
            ("name", spec.name.to_string()),
            ("upstreams", joined(&spec.upstreams)),
            ("hosts", joined(&spec.hosts)),
            ("access", access(spec)),
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
            preset: args.preset.unwrap_or(defaults.preset),
            public_probes: args.public_probes || defaults.public_probes,
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
            budget: args.budget.or(defaults.budget),
            token_budget: args.token_budget.or(defaults.token_budget),
            count_llm_tokens: args.count_llm_tokens || defaults.count_llm_tokens,
            enforce_from: args.enforce_from.or(defaults.enforce_from),
            probe_interval: args.probe_interval.or(defaults.probe_interval),
            probe_path: args.probe_path.unwrap_or_else(|| defaults.probe_path.clone()),
            probe_timeout: args.probe_timeout.unwrap_or(defaults.probe_timeout),
            probe_rise: args.probe_rise.unwrap_or(defaults.probe_rise),
            probe_fall: args.probe_fall.unwrap_or(defaults.probe_fall),
            slow_start: args.slow_start.unwrap_or(defaults.slow_start),
            hold: args.hold.unwrap_or(defaults.hold),
            hold_timeout: args.hold_timeout.unwrap_or(defaults.hold_timeout),
            wake_url: args.wake_url.or_else(|| defaults.wake_url.clone()),
        },
    }
}

fn update(args: super::args::UpdateDeployment) -> UpdateDeployment {
    UpdateDeployment {
        hosts: (!args.hosts.is_empty()).then(|| args.hosts.into_iter().collect()),
        upstreams: (!args.upstreams.is_empty()).then_some(args.upstreams),
        listen: args.listen.map(Some),
        settings: UpdateSettings {
            enforce_from: args.enforce_from.map(|Maybe(at)| at),
            preset: args.preset,
            budget: args.budget.map(|Maybe(budget)| budget),
            token_budget: args.token_budget.map(|Maybe(budget)| budget),
            ..UpdateSettings::default()
        },
        ..UpdateDeployment::default()
    }
}

fn row(listed: &Listed) -> [String; 6] {
    let shadowed = if listed.shadowed { " (not served: the configuration declares one of the same name)" } else { "" };
    [
        listed.spec.name.to_string(),
        access(&listed.spec),
        joined(&listed.spec.upstreams),
        joined(&listed.spec.hosts),
        listed.spec.listen.map_or_else(|| "-".to_owned(), |address| address.to_string()),
        format!("{}{shadowed}", listed.source.as_str()),
    ]
}

fn caller(of: &LetThroughView) -> [String; 6] {
    let none = || "-".to_owned();
    let token = of.token_name.clone().or(of.token.map(|uid| uid.to_string()));
    let network = of.network.clone().or(of.token.is_none().then(|| "(others)".to_owned()));
    [
        of.reason.clone(),
        token.unwrap_or_else(none),
        network.unwrap_or_else(none),
        of.requests.to_string(),
        of.first_at.clone(),
        of.last_at.clone(),
    ]
}

fn budget(of: &StandingView) -> [String; 6] {
    let token = of.token_name.clone().or(of.token.map(|uid| uid.to_string()));
    [
        of.deployment.clone(),
        token.unwrap_or_else(|| "all".to_owned()),
        of.budget.clone(),
        of.used.to_string(),
        format!("{:.0}%", of.part * 100.0),
        of.resets_at.clone(),
    ]
}

/// Who may call it.
fn access(spec: &DeploymentSpec) -> String {
    if spec.terminated || !spec.protected {
        return if spec.terminated { "terminated" } else { "public" }.to_owned();
    }
    // Until then everybody passes.
    let from = spec.settings.enforce_from.map(|from| format!(" from {from}")).unwrap_or_default();
    let probes = if spec.settings.public_probes { ", but for probes" } else { "" };
    format!("protected{from}{probes}")
}

fn joined<T: ToString>(items: impl IntoIterator<Item = T>) -> String {
    let texts: Vec<String> = items.into_iter().map(|item| item.to_string()).collect();
    if texts.is_empty() { "-".to_owned() } else { texts.join(" ") }
}
