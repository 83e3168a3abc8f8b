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
mod tests {
    use std::{sync::atomic::Ordering::Relaxed, time::Instant};

    use proptest::prelude::*;

    use super::*;
    use crate::domain::{deployment::DeploymentSettings, routing::overlap};

    fn spec(name: &str, hosts: &[&str]) -> DeploymentSpec {
        DeploymentSpec {
            name: name.parse().unwrap(),
            hosts: hosts.iter().map(|host| host.parse().unwrap()).collect(),
            listen: None,
            upstreams: vec!["http://127.0.0.1:3000".parse().unwrap()],
            protected: true,
            terminated: false,
            settings: DeploymentSettings::default(),
        }
    }

    fn rules() -> RouteRules {
        RouteRules {
            base_domain: Some("bento.test".parse().unwrap()),
            path_prefix: true,
            default_deployment: Some("fallback".parse().unwrap()),
            ..RouteRules::default()
        }
    }

    fn build(declared: Vec<DeploymentSpec>, stored: &[DeploymentSpec], earlier: &RoutingTable) -> RoutingTable {
        RoutingTable::build(&Declared { deployments: declared, rules: rules(), ..Declared::default() }, stored, earlier)
    }

    fn table(others: usize) -> RoutingTable {
        let mut own = spec("own", &[]);
        own.listen = Some("127.0.0.1:9000".parse().unwrap());
        let others = (0..others).map(|n| spec(&format!("other-{n}"), &[&format!("host-{n}.test")]));
        let specs = [spec("fallback", &[]), spec("a", &["custom.test"]), own].into_iter().chain(others);
        build(specs.collect(), &[], &RoutingTable::default())
    }

    fn found<'a>(
        table: &RoutingTable,
        listener: Option<&str>,
        host: &'a str,
        path: &'a str,
    ) -> (String, Option<&'a str>, usize) {
        let listener = listener.map(|address| address.parse().unwrap());
        let key = RouteKey { listener, forwarded_to: None, host, path, method: Some(&Method::POST), plain: false };
        let route = table.find(key);
        let name = route.deployment.as_ref().map_or("-".to_owned(), |deployment| deployment.spec.name.to_string());
        (name, route.named_deployment, route.prefix_len)
    }

    #[test]
    fn every_rule_in_its_order() {
        // Host look-ups of peers once changed with the number of hosts: the same table, small and large.
        for table in [table(0), table(10_000)] {
            let find = |host, path| found(&table, None, host, path);
            assert_eq!(find("custom.test", "/deployments/own/x"), ("a".into(), None, 0));
            assert_eq!(find("a.bento.test", "/deployments/own/x"), ("a".into(), Some("a"), 0));
            assert_eq!(find("nothing.bento.test", "/"), ("-".into(), Some("nothing"), 0));
            assert_eq!(find("x.a.bento.test", "/"), ("-".into(), Some("x.a"), 0));
            assert_eq!(find("localhost", "/deployments/a/x"), ("a".into(), Some("a"), 14));
            assert_eq!(find("localhost", "/deployments/a"), ("a".into(), Some("a"), 14));
            assert_eq!(find("localhost", "/deployments/ab/x"), ("-".into(), Some("ab"), 15));
            assert_eq!(find("localhost", "/deployments//x"), ("-".into(), Some(""), 13));
            assert_eq!(find("localhost", "/Deployments/a/x"), ("fallback".into(), None, 0));
            assert_eq!(find("bento.test", "/"), ("fallback".into(), None, 0));
            assert_eq!(find("evilbento.test", "/"), ("fallback".into(), None, 0));
            assert_eq!(found(&table, Some("127.0.0.1:9000"), "custom.test", "/"), ("own".into(), None, 0));
            assert_eq!(found(&table, Some("127.0.0.1:9001"), "custom.test", "/"), ("-".into(), None, 0));
        }
        assert_eq!(found(&table(10_000), None, "host-9999.test", "/").0, "other-9999");
    }

    #[test]
    fn declared_ones_win_and_unchanged_ones_keep_their_state() {
        let first = table(0);
        let mut changed = spec("a", &[]);
        changed.protected = false;
        let second = build(vec![spec("fallback", &[]), changed.clone()], &[spec("a", &["custom.test"])], &first);
        assert!(Arc::ptr_eq(&first.by_name["fallback"], &second.by_name["fallback"]));
        assert_eq!(second.by_name["a"].spec, changed);
        assert_eq!(found(&second, None, "custom.test", "/").0, "fallback");
    }

    #[test]
    fn what_is_known_of_an_upstream_outlives_a_change_of_its_deployment() {
        let first = build(vec![spec("a", &[])], &[], &RoutingTable::default());
        let standing = |table: &RoutingTable, at: usize| {
            let upstream = table.by_name["a"].upstreams.iter().nth(at).unwrap();
            (upstream.standing.in_flight.load(Relaxed), upstream.standing.reachability.is_reachable())
        };
        let upstream = Arc::clone(first.by_name["a"].upstreams.iter().next().unwrap());
        upstream.standing.in_flight.fetch_add(2, Relaxed);
        upstream.standing.reachability.failed(Instant::now());
        let mut changed = spec("a", &[]);
        changed.protected = false;
        changed.upstreams.insert(0, "http://127.0.0.1:3001".parse().unwrap());
        changed.upstreams[1].weight = 7;
        let second = build(vec![changed], &[], &first);
        assert_eq!((standing(&second, 0), standing(&second, 1)), ((0, true), (2, false)));
        // What began before the change ends after it.
        upstream.standing.in_flight.fetch_sub(1, Relaxed);
        upstream.standing.reachability.connected();
        assert_eq!(standing(&second, 1), (1, true));
    }

    const HOSTS: [&str; 10] = [
        "a.test",
        "b.test",
        "a.bento.test",
        "b.bento.test",
        "fallback.bento.test",
        "bento.test",
        "gateway.test",
        "localhost",
        "10.0.0.1",
        "[::1]",
    ];

    fn any_spec() -> impl Strategy<Value = DeploymentSpec> {
        let name = proptest::sample::select(vec!["a", "b", "c", "fallback"]);
        let hosts = proptest::sample::subsequence(HOSTS.to_vec(), 0..4);
        let listen = proptest::option::of(proptest::sample::select(vec!["10.0.0.1:1", "0.0.0.0:1", "10.0.0.1:2"]));
        (name, hosts, listen).prop_map(|(name, hosts, listen)| {
            let listen = listen.map(|address| address.parse().unwrap());
            DeploymentSpec { listen, ..spec(name, &hosts) }
        })
    }

    proptest! {
        /// Whatever the store holds: what leads to a declared Deployment without it leads there with it.
        #[test]
        fn no_stored_deployment_takes_a_way_to_a_declared_one(
            declared in proptest::collection::vec(any_spec(), 0..4),
            stored in proptest::collection::vec(any_spec(), 0..4),
            path_prefix: bool,
            default in proptest::option::of(Just("fallback")),
        ) {
            let rules = RouteRules {
                path_prefix,
                default_deployment: default.map(|name| name.parse().unwrap()),
                public_host: Some("gateway.test".parse().unwrap()),
                ..rules()
            };
            let declared = Declared { deployments: declared, rules, ..Declared::default() };
            let alone = RoutingTable::build(&declared, &[], &RoutingTable::default());
            let both = RoutingTable::build(&declared, &stored, &RoutingTable::default());
            // A free name leads to the default Deployment until somebody has it.
            let free = |host: &str| ["a.test", "b.test"].contains(&host) && !alone.by_host.contains_key(host);
            for host in HOSTS.into_iter().filter(|host| !free(host)) {
                for path in ["/", "/deployments/a/x", "/deployments/fallback"] {
                    let before = found(&alone, None, host, path);
                    if alone.by_name.contains_key(before.0.as_str()) {
                        prop_assert_eq!(found(&both, None, host, path), before, "{}{}", host, path);
                    }
                }
            }
            for declared in alone.listeners() {
                let address = declared.to_string();
                prop_assert_eq!(found(&both, Some(&address), "x", "/"), found(&alone, Some(&address), "x", "/"));
                let beside = |other: &SocketAddr| !alone.by_listener.contains_key(other) && overlap(*other, declared);
                prop_assert_eq!(both.listeners().find(beside), None);
            }
        }

        /// What is asked of the decision is what is reached: never another name than the one the request names.
        #[test]
        fn a_named_deployment_is_the_one_that_is_found(host in "\\PC{0,12}(\\.bento\\.test)?", path in "(/deployments/)?\\PC{0,12}") {
            let table = table(3);
            let (host, path) = (&*host, &*path);
            let key = RouteKey { listener: None, forwarded_to: None, host, path, method: Some(&Method::POST), plain: false };
            let route = table.find(key);
            if let (Some(named_deployment), Some(deployment)) = (route.named_deployment, &route.deployment) {
                prop_assert_eq!(named_deployment, deployment.spec.name.as_str());
            }
            prop_assert!(route.prefix_len <= path.len() && path.is_char_boundary(route.prefix_len));
        }
    }
}
