//! Values that are fine each by itself, and not together.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
};

use super::deployments::Declared;
use crate::{
    config::{TokenConfig, reader::Report},
    domain::{deployment::DeploymentName, host::HostName, units::format_duration},
};

/// What could not be read has been noted by its own section, and takes no part here.
pub fn find(report: &Report<'_>, tokens: Option<&TokenConfig>, deployments: &[Declared]) {
    unknown_default(report, deployments);
    hosts_of_others(report, deployments);
    shared_hosts(report, deployments);
    shared_addresses(report, deployments);
    if let Some(tokens) = tokens {
        lifetimes(report, tokens);
    }
}

/// With no Deployment declared at all they are kept in the store, and so may the default one be.
fn unknown_default(report: &Report<'_>, deployments: &[Declared]) {
    let Some(default) = report.peek::<DeploymentName>("proxy.default_deployment") else { return };
    if !deployments.is_empty() && !deployments.iter().any(|declared| declared.key == default.as_str()) {
        let names: Vec<&str> = deployments.iter().map(|declared| declared.key.as_str()).collect();
        let fix = format!("name a declared Deployment ({}), or add [deployments.{default}]", names.join(", "));
        report.refuse("proxy.default_deployment", "is not a declared Deployment", fix);
    }
}

/// `b.<base_domain>` is the Deployment `b`, so it cannot be a custom host of `a`.
fn hosts_of_others(report: &Report<'_>, deployments: &[Declared]) {
    let Some(domain) = report.peek::<HostName>("proxy.base_domain") else { return };
    for declared in deployments {
        for host in &declared.hosts {
            let name = host.as_str().strip_suffix(domain.as_str()).and_then(|name| name.strip_suffix('.'));
            let is_other = |other: &&Declared| Some(other.key.as_str()) == name && other.key != declared.key;
            if let Some(other) = deployments.iter().find(is_other) {
                let what = format!("holds {host}, which already reaches the Deployment {} by base_domain", other.key);
                report.refuse(&format!("deployments.{}.hosts", declared.key), what, "choose another host");
            }
        }
    }
}

fn shared_hosts(report: &Report<'_>, deployments: &[Declared]) {
    let mut owners = BTreeMap::new();
    for declared in deployments {
        for host in &declared.hosts {
            match owners.insert(host, &declared.key) {
                Some(first) if *first != declared.key => {
                    let what = format!("holds {host}, which the Deployment {first} has too");
                    let key = format!("deployments.{}.hosts", declared.key);
                    report.refuse(&key, what, "give each host to one Deployment");
                }
                _ => {}
            }
        }
    }
}

fn shared_addresses(report: &Report<'_>, deployments: &[Declared]) {
    let mut taken: Vec<(String, SocketAddr)> = Vec::new();
    let own = ["proxy.listen", "management.listen"]
        .into_iter()
        .filter_map(|key| report.peek(key).map(|address| (key.to_owned(), address)));
    let further = deployments.iter().filter_map(|declared| {
        declared.listen.map(|address| (format!("deployments.{}.listen", declared.key), address))
    });
    for (key, address) in own.chain(further) {
        if let Some((first, _)) = taken.iter().find(|(_, other)| overlap(*other, address)) {
            report.refuse(&key, format!("is taken by {first} already"), "give each listener a port of its own");
        }
        taken.push((key, address));
    }
}

/// Port 0 is a different free port for each.
fn overlap(one: SocketAddr, other: SocketAddr) -> bool {
    let any = |address: IpAddr| address.is_unspecified();
    one.port() != 0 && one.port() == other.port() && (one.ip() == other.ip() || any(one.ip()) || any(other.ip()))
}

fn lifetimes(report: &Report<'_>, tokens: &TokenConfig) {
    let Some(max) = tokens.max_lifetime else { return };
    let fix = format!("write a lifetime of at most {}", format_duration(max));
    match tokens.default_lifetime {
        None => report.refuse("tokens.default_lifetime", "is none, while tokens.max_lifetime is set", fix),
        Some(default) if default > max => {
            report.refuse("tokens.default_lifetime", "is longer than tokens.max_lifetime", fix);
        }
        Some(_) => {}
    }
}
