//! Rules between settings that are each valid by themselves.

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use super::deployments::Declared;
use crate::{
    config::{TokenConfig, UsageConfig, reader::Validation},
    domain::{deployment::DeploymentName, host::HostName, routing::overlap, units::format_duration},
};

/// A setting that its own section has reported already takes no part.
pub fn check(
    validation: &Validation<'_>,
    tokens: Option<&TokenConfig>,
    usage: Option<&UsageConfig>,
    deployments: &[Declared],
) {
    unknown_default(validation, deployments);
    hosts_of_others(validation, deployments);
    shared_hosts(validation, deployments);
    shared_addresses(validation, deployments);
    uncounted_budgets(validation, deployments);
    if let Some(tokens) = tokens {
        lifetimes(validation, tokens);
    }
    if let Some(retention) = usage.and_then(|usage| usage.retention) {
        forgotten_use(validation, retention, deployments);
    }
}

fn uncounted_budgets(validation: &Validation<'_>, deployments: &[Declared]) {
    for declared in deployments {
        if let Some(name) = declared.spec.as_ref().and_then(|spec| spec.settings.uncounted_budget()) {
            let fix = "set count_llm_tokens = true there, or choose a budget of requests or upstream_seconds";
            let key = format!("deployments.{}.{name}", declared.key);
            validation.report(&key, "counts LLM tokens, and nobody counts these", fix);
        }
    }
}

/// What is forgotten within its period counts for no budget, which then never ends.
fn forgotten_use(validation: &Validation<'_>, retention: Duration, deployments: &[Declared]) {
    for declared in deployments {
        let Some(settings) = declared.spec.as_ref().map(|spec| &spec.settings) else { continue };
        for (name, budget) in [("budget", settings.budget), ("token_budget", settings.token_budget)] {
            let Some(needed) = budget.map(|budget| budget.per.longest()).filter(|needed| retention < *needed) else {
                continue;
            };
            let (kept, needed) = (format_duration(retention), format_duration(needed));
            let message = format!("counts what usage.retention forgets: it keeps {kept} of up to {needed}");
            let fix = format!("set usage.retention to {needed} or more, or choose a shorter period");
            validation.report(&format!("deployments.{}.{name}", declared.key), message, fix);
        }
    }
}

/// If no Deployment is declared at all, they are in the store, and the default one may be there, too.
fn unknown_default(validation: &Validation<'_>, deployments: &[Declared]) {
    let Some(default) = validation.peek::<DeploymentName>("proxy.default_deployment") else { return };
    if !deployments.is_empty() && !deployments.iter().any(|declared| declared.key == default.as_str()) {
        let names: Vec<&str> = deployments.iter().map(|declared| declared.key.as_str()).collect();
        let fix = format!("name a declared Deployment ({}), or add [deployments.{default}]", names.join(", "));
        validation.report("proxy.default_deployment", "is not a declared Deployment", fix);
    }
}

/// `b.<base_domain>` reaches the Deployment `b`, so it cannot be a custom host of `a`.
fn hosts_of_others(validation: &Validation<'_>, deployments: &[Declared]) {
    let Some(domain) = validation.peek::<HostName>("proxy.base_domain") else { return };
    for declared in deployments {
        for host in &declared.hosts {
            let name = host.as_str().strip_suffix(domain.as_str()).and_then(|name| name.strip_suffix('.'));
            let is_other = |other: &&Declared| Some(other.key.as_str()) == name && other.key != declared.key;
            if let Some(other) = deployments.iter().find(is_other) {
                let message =
                    format!("holds {host}, which already reaches the Deployment {} by base_domain", other.key);
                validation.report(&format!("deployments.{}.hosts", declared.key), message, "choose another host");
            }
        }
    }
}

fn shared_hosts(validation: &Validation<'_>, deployments: &[Declared]) {
    let mut owners = BTreeMap::new();
    for declared in deployments {
        for host in &declared.hosts {
            match owners.insert(host, &declared.key) {
                Some(first) if *first != declared.key => {
                    let message = format!("holds {host}, which the Deployment {first} has too");
                    let key = format!("deployments.{}.hosts", declared.key);
                    validation.report(&key, message, "give each host to one Deployment");
                }
                _ => {}
            }
        }
    }
}

fn shared_addresses(validation: &Validation<'_>, deployments: &[Declared]) {
    let mut taken: Vec<(String, SocketAddr)> = Vec::new();
    let own = ["proxy.listen", "management.listen", "forward_auth.listen", "telemetry.listen"]
        .into_iter()
        .filter_map(|key| validation.peek(key).map(|address| (key.to_owned(), address)));
    let further = deployments.iter().filter_map(|declared| {
        declared.listen.map(|address| (format!("deployments.{}.listen", declared.key), address))
    });
    for (key, address) in own.chain(further) {
        if let Some((first, _)) = taken.iter().find(|(_, other)| overlap(*other, address)) {
            validation.report(&key, format!("is taken by {first} already"), "give each listener a port of its own");
        }
        taken.push((key, address));
    }
}

fn lifetimes(validation: &Validation<'_>, tokens: &TokenConfig) {
    let Some(max) = tokens.max_lifetime else { return };
    let fix = format!("write a lifetime of at most {}", format_duration(max));
    match tokens.default_lifetime {
        None => validation.report("tokens.default_lifetime", "is empty, but tokens.max_lifetime is set", fix),
        Some(default) if default > max => {
            validation.report("tokens.default_lifetime", "is longer than tokens.max_lifetime", fix);
        }
        Some(_) => {}
    }
}
