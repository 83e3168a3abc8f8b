//! Which Deployment a request is for.

use std::{collections::HashMap, net::SocketAddr, sync::Arc};

use http::Method;

pub use super::deployment::Deployment;
use crate::domain::{
    decision::Destination,
    deployment::{DeploymentName, DeploymentSpec},
    host::HostName,
    narrowing::Asked,
    preset::Preset,
    routing::{Declared, RouteRules, RoutedBy, TakenWay, Way, Ways},
};

/// What begins a path that names its Deployment.
const PATH_PREFIX: &str = "/deployments/";

/// Immutable: a change replaces it as a whole.
#[derive(Debug, Default)]
pub struct RoutingTable {
    by_name: HashMap<DeploymentName, Arc<Deployment>>,
    by_host: HashMap<HostName, Arc<Deployment>>,
    by_listener: HashMap<SocketAddr, Arc<Deployment>>,
    rules: RouteRules,
    /// What stored Deployments claim and others have: requests there do not lead to them.
    refused: Vec<(DeploymentName, TakenWay)>,
}

/// What a request says about where it leads, in canonical form.
#[derive(Clone, Copy, Debug)]
pub struct RouteKey<'a> {
    /// The Deployment's own listener that the connection came in by. `None`: the common one.
    pub listener: Option<SocketAddr>,
    /// The Deployment that another proxy forwards it to, whatever the request says. `None`: it came here by itself.
    pub forwarded_to: Option<&'a str>,
    pub host: &'a str,
    pub path: &'a str,
    /// `None`: it is for a page of the gateway's own, and so for no route of the Deployment.
    pub method: Option<&'a Method>,
    /// Whether it has nothing but these: no query, no body and no upgrade.
    pub plain: bool,
}

/// What the routing table says. It has authorised nobody.
#[derive(Clone, Debug)]
pub struct Route<'a> {
    pub key: RouteKey<'a>,
    pub by: RoutedBy,
    /// `None`: there is no Deployment.
    pub deployment: Option<Arc<Deployment>>,
    /// The Deployment that the request itself names, by host or path, whether it exists or not.
    pub named_deployment: Option<&'a str>,
    /// Bytes of the path that named the Deployment, to be taken off.
    pub prefix_len: usize,
}

impl RoutingTable {
    /// Builds a table in which Deployments that did not change keep their state. Declared ones win over stored ones, by
    /// name and by each of their ways (`domain/routing.rs`).
    pub fn build<'s>(
        declared: &'s Declared,
        stored: impl IntoIterator<Item = &'s DeploymentSpec, IntoIter: Clone>,
        earlier: &Self,
    ) -> Self {
        let stored = stored.into_iter();
        let ways = Ways::new(declared, stored.clone());
        let default_deployment = declared.default_deployment(stored.clone()).cloned();
        let rules = RouteRules { default_deployment, ..declared.rules.clone() };
        let mut table = Self { rules, ..Self::default() };
        for spec in declared.deployments.iter().chain(stored) {
            if table.by_name.contains_key(&spec.name) {
                continue;
            }
            let access = declared.access.get(&spec.name).cloned().unwrap_or_default();
            let deployment = match earlier.by_name.get(&spec.name) {
                Some(same) if same.spec == *spec && same.access == access => Arc::clone(same),
                earlier => Arc::new(Deployment::new(spec.clone(), access, earlier.map(Arc::as_ref))),
            };
            table.put(deployment, &ways);
        }
        table
    }

    fn put(&mut self, deployment: Arc<Deployment>, ways: &Ways<'_>) {
        let spec = &deployment.spec;
        let refused: Vec<TakenWay> = ways.taken(spec).collect();
        let leads_here = |way: Way| !refused.iter().any(|taken| taken.way == way);
        for host in spec.hosts.iter().filter(|host| leads_here(Way::Host((*host).clone()))) {
            self.by_host.insert(host.clone(), Arc::clone(&deployment));
        }
        if let Some(address) = spec.listen.filter(|address| leads_here(Way::Listener(*address))) {
            self.by_listener.insert(address, Arc::clone(&deployment));
        }
        self.refused.extend(refused.into_iter().map(|taken| (spec.name.clone(), taken)));
        self.by_name.insert(spec.name.clone(), deployment);
    }

    /// In this order: own listener, custom host, `NAME.<base_domain>`, path prefix, default Deployment.
    pub fn find<'a>(&self, key: RouteKey<'a>) -> Route<'a> {
        let to = |by, deployment: Option<&Arc<Deployment>>| Route {
            key,
            by,
            deployment: deployment.cloned(),
            named_deployment: None,
            prefix_len: 0,
        };
        if let Some(name) = key.forwarded_to {
            return Route { named_deployment: Some(name), ..to(RoutedBy::Question, self.by_name.get(name)) };
        }
        if let Some(address) = key.listener {
            return to(RoutedBy::Listener, self.by_listener.get(&address));
        }
        if let Some(deployment) = self.by_host.get(key.host) {
            return to(RoutedBy::Host, Some(deployment));
        }
        if let Some(name) = self.name_under_base_domain(key.host) {
            return Route { named_deployment: Some(name), ..to(RoutedBy::BaseDomain, self.by_name.get(name)) };
        }
        if let Some(name) = self.name_in_path(key.path) {
            let prefix_len = PATH_PREFIX.len() + name.len();
            return Route { named_deployment: Some(name), prefix_len, ..to(RoutedBy::Path, self.by_name.get(name)) };
        }
        let default = self.rules.default_deployment.as_ref().and_then(|name| self.by_name.get(name));
        to(RoutedBy::Default, default)
    }

    /// Where requests go that name no Deployment. `None`: nowhere.
    pub fn default_deployment(&self) -> Option<&DeploymentName> {
        self.rules.default_deployment.as_ref()
    }

    pub fn named(&self, name: &DeploymentName) -> Option<&Arc<Deployment>> {
        self.by_name.get(name)
    }

    /// All that are served, by name.
    pub fn deployments(&self) -> Vec<&DeploymentSpec> {
        self.served().into_iter().map(|deployment| &deployment.spec).collect()
    }

    /// The same, with what is remembered of them.
    pub fn served(&self) -> Vec<&Deployment> {
        let mut all: Vec<&Deployment> = self.by_name.values().map(Arc::as_ref).collect();
        all.sort_by(|one, other| one.spec.name.cmp(&other.spec.name));
        all
    }

    /// Ways that a Deployment claims and another one has.
    pub fn refused(&self) -> &[(DeploymentName, TakenWay)] {
        &self.refused
    }

    /// Addresses on which a Deployment has a listener of its own.
    pub fn listeners(&self) -> impl Iterator<Item = SocketAddr> {
        self.by_listener.keys().copied()
    }

    fn name_under_base_domain<'a>(&self, host: &'a str) -> Option<&'a str> {
        let base = self.rules.base_domain.as_ref()?;
        let name = host.strip_suffix(base.as_str())?.strip_suffix('.')?;
        (!name.is_empty()).then_some(name)
    }

    fn name_in_path<'a>(&self, path: &'a str) -> Option<&'a str> {
        if !self.rules.path_prefix {
            return None;
        }
        let rest = path.strip_prefix(PATH_PREFIX)?;
        Some(rest.split_once('/').map_or(rest, |(name, _)| name))
    }
}

impl RouteKey<'_> {
    /// Whether it is no more than a GET or HEAD of that path, as probes of platforms are.
    fn is_plain_read(&self) -> bool {
        self.plain && matches!(self.method, Some(&Method::GET | &Method::HEAD))
    }
}

impl Route<'_> {
    /// The same, as the decision asks it.
    pub fn destination(&self) -> Destination<'_> {
        let Some(deployment) = &self.deployment else { return Destination::Unknown(self.named_deployment) };
        let closed_by = self.key.method.and_then(|_| self.closed_by());
        Destination::route(deployment.spec.name.as_str(), closed_by)
    }

    /// The preset that closes what is asked for. `None`: it is open, or there is no Deployment.
    pub fn closed_by(&self) -> Option<Preset> {
        let spec = &self.deployment.as_ref()?.spec;
        spec.closes(self.path_below()).then_some(spec.settings.preset)
    }

    /// The Deployment, if no token is asked for.
    pub fn public_deployment(&self) -> Option<&Arc<Deployment>> {
        self.deployment.as_ref().filter(|deployment| {
            let DeploymentSpec { protected, settings, .. } = &deployment.spec;
            let is_probe = || self.key.is_plain_read() && settings.preset.probes().contains(&self.path_below());
            (!protected && self.closed_by().is_none()) || (settings.public_probes && is_probe())
        })
    }

    /// What is asked for of it.
    pub fn asked(&self) -> Asked<'_> {
        let Some(method) = self.key.method else { return Asked::Anything };
        // The service gets a slash.
        let path = if self.path_below().is_empty() { "/" } else { self.path_below() };
        Asked::Route { method: method.as_str(), path }
    }

    /// The path without what named the Deployment.
    pub fn path_below(&self) -> &str {
        &self.key.path[self.prefix_len..]
    }
}

impl std::borrow::Borrow<str> for DeploymentName {
    fn borrow(&self) -> &str {
        self.as_str()
    }
}

impl std::borrow::Borrow<str> for HostName {
    fn borrow(&self) -> &str {
        self.as_str()
    }
}

#[cfg(test)]
mod tests;
