//! All ways by which requests come to a Deployment, known in this one place: the routing table is built by it, and a change
//! that would take another Deployment's way is refused by it.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    net::{IpAddr, SocketAddr},
};

use super::{
    deployment::{DeploymentName, DeploymentSpec},
    host::HostName,
    upstream_access::UpstreamAccess,
};

/// What the configuration says about routing; read again at each reload.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Declared {
    /// From the configuration file and flags; read-only at run time.
    pub deployments: Vec<DeploymentSpec>,
    /// How their upstreams are reached, where there is more to say than a URL does.
    pub access: BTreeMap<DeploymentName, UpstreamAccess>,
    pub rules: RouteRules,
}

/// How names become reachable beside their hosts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RouteRules {
    /// For `NAME.<base_domain>`. `None`: no Deployment has such a host.
    pub base_domain: Option<HostName>,
    /// `/deployments/NAME/…`, taken off before the request is forwarded.
    pub path_prefix: bool,
    /// Where the rest goes, unless its host lies under `base_domain`. `None`: as [`Declared::default_deployment`] says.
    pub default_deployment: Option<DeploymentName>,
    /// The host of `proxy.public_url`. `None`: nobody has said by which name the common listener is reached.
    pub public_host: Option<HostName>,
    /// What the gateway itself listens on, for the proxy and for management.
    pub listeners: Vec<SocketAddr>,
}

/// By what a request leads where it leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RoutedBy {
    /// The Deployment's own listener.
    Listener,
    /// A host that the Deployment has.
    Host,
    /// `NAME.<base_domain>`.
    BaseDomain,
    /// `/deployments/NAME/`.
    Path,
    /// It names no Deployment, and leads to the default one if there is any.
    Default,
    /// The proxy that asks about it forwards to that Deployment.
    Question,
}

/// A way that leads to one Deployment only. Paths need none: they hold the name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Way {
    Host(HostName),
    /// The address of a Deployment's own listener.
    Listener(SocketAddr),
}

/// Whose a way is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Owner {
    Deployment(DeploymentName),
    /// The gateway listens there itself, or the default Deployment and path prefixes are reached by that host.
    Gateway,
}

/// A way that a Deployment says it has, and which leads elsewhere.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{way} already leads to {owner}")]
pub struct TakenWay {
    pub way: Way,
    pub owner: Owner,
}

/// Which way is whose.
pub struct Ways<'a> {
    rules: &'a RouteRules,
    /// As [`Declared::default_deployment`].
    default: Option<DeploymentName>,
    hosts: HashMap<HostName, DeploymentName>,
    /// By port, since two addresses of one port may be one listener.
    listeners: HashMap<u16, Vec<(SocketAddr, DeploymentName)>>,
}

impl RouteRules {
    pub fn ways_of(&self, spec: &DeploymentSpec) -> Vec<Way> {
        let hosts = hosts(spec, self.base_domain.as_ref()).into_iter().map(Way::Host);
        hosts.chain(spec.listen.map(Way::Listener)).collect()
    }
}

impl<'a> Ways<'a> {
    /// The declared ones have whatever they say, the first of them first. Then come names under the base domain, then what
    /// stored ones say beside. A stored one with a declared one's name has nothing.
    pub fn new<'s>(
        declared: &'a Declared,
        stored: impl IntoIterator<Item = &'s DeploymentSpec, IntoIter: Clone>,
    ) -> Self {
        let rules = &declared.rules;
        let stored = stored.into_iter();
        let default = declared.default_deployment(stored.clone()).cloned();
        let mut ways = Self { rules, default, hosts: HashMap::new(), listeners: HashMap::new() };
        for spec in &declared.deployments {
            rules.ways_of(spec).into_iter().for_each(|way| ways.take(way, &spec.name));
        }
        let stored = stored.filter(|spec| !declared.declares(&spec.name));
        for spec in stored.clone() {
            own_host(&spec.name, rules.base_domain.as_ref())
                .into_iter()
                .for_each(|host| ways.take(Way::Host(host), &spec.name));
        }
        for spec in stored {
            for way in rules.ways_of(spec) {
                if ways.owner(&way, &spec.name).is_none() {
                    ways.take(way, &spec.name);
                }
            }
        }
        ways
    }

    /// Who else has the way. `None`: nobody, or `name` itself.
    pub fn owner(&self, way: &Way, name: &DeploymentName) -> Option<Owner> {
        let other = |owner: &DeploymentName| (owner != name).then(|| Owner::Deployment(owner.clone()));
        match way {
            Way::Host(host) => match self.hosts.get(host) {
                Some(owner) => other(owner),
                None => self.is_common(host, name).then_some(Owner::Gateway),
            },
            Way::Listener(address) => {
                let of_port = self.listeners.get(&address.port()).into_iter().flatten();
                match of_port.filter(|(taken, _)| overlap(*taken, *address)).map(|(_, owner)| owner).next() {
                    Some(owner) => other(owner),
                    None => self.rules.listeners.iter().any(|own| overlap(*own, *address)).then_some(Owner::Gateway),
                }
            }
        }
    }

    /// What of the ways of `spec` leads elsewhere.
    pub fn taken(&self, spec: &DeploymentSpec) -> impl Iterator<Item = TakenWay> {
        let owned = |way: Way| self.owner(&way, &spec.name).map(|owner| TakenWay { way, owner });
        self.rules.ways_of(spec).into_iter().filter_map(owned)
    }

    /// Whether the default Deployment, or path prefixes, are reached by `host`. One who has the host would have them, too.
    /// Any other name of the machine may lead there as well, but only `proxy.public_url` could say so.
    fn is_common(&self, host: &HostName, name: &DeploymentName) -> bool {
        let rules = self.rules;
        let shared = rules.path_prefix || self.default.as_ref().is_some_and(|default| default != name);
        shared && (host.is_of_machine() || [&rules.public_host, &rules.base_domain].contains(&&Some(host.clone())))
    }

    fn take(&mut self, way: Way, name: &DeploymentName) {
        match way {
            Way::Host(host) => {
                self.hosts.entry(host).or_insert_with(|| name.clone());
            }
            Way::Listener(address) => {
                let of_port = self.listeners.entry(address.port()).or_default();
                if !of_port.iter().any(|(taken, _)| overlap(*taken, address)) {
                    of_port.push((address, name.clone()));
                }
            }
        }
    }
}

impl Declared {
    pub fn declares(&self, name: &DeploymentName) -> bool {
        self.deployments.iter().any(|spec| spec.name == *name)
    }

    /// Where requests go that name no Deployment. If the configuration does not say it: to the only one there is, provided
    /// that nothing else leads to it. Stored ones count only where none is declared, so that they take no request from a
    /// declared one. `None`: nowhere.
    pub fn default_deployment<'d, 's: 'd>(
        &'d self,
        stored: impl IntoIterator<Item = &'s DeploymentSpec>,
    ) -> Option<&'d DeploymentName> {
        let rules = &self.rules;
        if rules.default_deployment.is_some() {
            return rules.default_deployment.as_ref();
        }
        let (mut declared, mut stored) = (self.deployments.iter(), stored.into_iter());
        let first = declared.next();
        let (only, next) = if first.is_some() { (first, declared.next()) } else { (stored.next(), stored.next()) };
        let only = only.filter(|_| next.is_none())?;
        let unreached = !rules.path_prefix && rules.ways_of(only).is_empty();
        unreached.then_some(&only.name)
    }

    /// The Deployment that gets what names none: [`Self::default_deployment`], if there is one of that name. `None`: such
    /// requests are refused.
    pub fn serves_the_rest<'d, 's: 'd>(
        &'d self,
        stored: impl IntoIterator<Item = &'s DeploymentSpec, IntoIter: Clone>,
    ) -> Option<&'d DeploymentName> {
        let mut stored = stored.into_iter();
        let default = self.default_deployment(stored.clone())?;
        (self.declares(default) || stored.any(|spec| spec.name == *default)).then_some(default)
    }
}

/// The hosts by which a Deployment is found: its own names, then the one under the base domain.
pub fn hosts(spec: &DeploymentSpec, base_domain: Option<&HostName>) -> Vec<HostName> {
    let own = own_host(&spec.name, base_domain).filter(|own| !spec.hosts.contains(own));
    spec.hosts.iter().cloned().chain(own).collect()
}

/// `NAME.<base_domain>`. `None`: there is no base domain.
pub fn own_host(name: &DeploymentName, base_domain: Option<&HostName>) -> Option<HostName> {
    format!("{name}.{}", base_domain?).parse().ok()
}

/// Whether two listeners are in each other's way. Two with port 0 are not: each gets a free port of its own.
pub fn overlap(one: SocketAddr, other: SocketAddr) -> bool {
    let (mine, theirs) = (one.ip().to_canonical(), other.ip().to_canonical());
    let any = |address: IpAddr| address.is_unspecified();
    one.port() != 0 && one.port() == other.port() && (mine == theirs || any(mine) || any(theirs))
}

// === text ===

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host(host) => write!(f, "the host {host}"),
            Self::Listener(address) => write!(f, "the address {address}"),
        }
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Deployment(name) => write!(f, "the Deployment {name}"),
            Self::Gateway => f.write_str("the gateway's own listeners"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(name: &str, hosts: &[&str], listen: Option<&str>) -> DeploymentSpec {
        DeploymentSpec {
            name: name.parse().unwrap(),
            hosts: hosts.iter().map(|host| host.parse().unwrap()).collect(),
            listen: listen.map(|address| address.parse().unwrap()),
            upstreams: Vec::new(),
            protected: true,
            terminated: false,
            settings: Default::default(),
        }
    }

    fn declared() -> Declared {
        Declared {
            deployments: vec![spec("a", &["a.test"], Some("10.0.0.1:9000")), spec("main", &[], None)],
            rules: RouteRules {
                base_domain: Some("base.test".parse().unwrap()),
                default_deployment: Some("main".parse().unwrap()),
                public_host: Some("gateway.test".parse().unwrap()),
                listeners: vec!["0.0.0.0:8080".parse().unwrap(), "127.0.0.1:8081".parse().unwrap()],
                ..RouteRules::default()
            },
            ..Declared::default()
        }
    }

    /// Whose the ways of a stored Deployment are that are not its own.
    fn taken(declared: &Declared, mine: &DeploymentSpec) -> Vec<String> {
        let others = [spec("b", &["b.test"], Some("[::]:9500"))];
        Ways::new(declared, &others).taken(mine).map(|taken| taken.to_string()).collect()
    }

    #[test]
    fn a_way_is_one_deployments_only() {
        let declared = declared();
        for (host, owner) in [
            ("a.test", Some("the Deployment a")),
            ("A.Test.", Some("the Deployment a")),
            ("a.base.test", Some("the Deployment a")),
            ("main.base.test", Some("the Deployment main")),
            ("b.test", Some("the Deployment b")),
            ("b.base.test", Some("the Deployment b")),
            ("gateway.test", Some("the gateway's own listeners")),
            ("base.test", Some("the gateway's own listeners")),
            ("localhost", Some("the gateway's own listeners")),
            ("10.1.2.3", Some("the gateway's own listeners")),
            ("[::1]", Some("the gateway's own listeners")),
            ("x.base.test", None),
            ("other.base.test", None),
            ("x.test", None),
        ] {
            let text = taken(&declared, &spec("x", &[host], None));
            let expected =
                owner.map(|owner| format!("the host {} already leads to {owner}", host.parse::<HostName>().unwrap()));
            assert_eq!(text, Vec::from_iter(expected), "{host}");
        }
        for (listen, is_taken) in [
            ("10.0.0.1:9000", true),
            ("0.0.0.0:9000", true),
            ("[::ffff:10.0.0.1]:9000", true),
            ("10.0.0.2:9000", false),
            ("10.0.0.1:9500", true),
            ("127.0.0.1:8080", true),
            ("[::]:8081", true),
            ("10.0.0.1:8081", false),
            ("127.0.0.1:0", false),
        ] {
            assert_eq!(taken(&declared, &spec("x", &[], Some(listen))).len(), usize::from(is_taken), "{listen}");
        }
    }

    #[test]
    fn the_only_deployment_is_the_default_one_if_nothing_else_leads_to_it() {
        let (plain, other) = (spec("a", &[], None), spec("b", &[], None));
        let default = |declared: &[DeploymentSpec], rules: &RouteRules, stored: &[DeploymentSpec]| {
            let declared = Declared { deployments: declared.to_vec(), rules: rules.clone(), ..Declared::default() };
            declared.default_deployment(stored).map(ToString::to_string)
        };
        let a = || Some("a".to_owned());
        let none = RouteRules::default();
        assert_eq!(default(&[], &none, &[]), None);
        assert_eq!(default(&[], &none, std::slice::from_ref(&plain)), a());
        assert_eq!(default(std::slice::from_ref(&plain), &none, &[]), a());
        // A stored one takes nothing from a declared one.
        assert_eq!(default(std::slice::from_ref(&plain), &none, std::slice::from_ref(&other)), a());
        assert_eq!(default(&[plain.clone(), other.clone()], &none, &[]), None);
        assert_eq!(default(&[], &none, &[plain.clone(), other]), None);
        assert_eq!(default(&[], &none, &[spec("a", &["a.test"], None)]), None);
        assert_eq!(default(&[], &none, &[spec("a", &[], Some("127.0.0.1:9000"))]), None);
        let by_path = RouteRules { path_prefix: true, ..RouteRules::default() };
        assert_eq!(default(&[], &by_path, std::slice::from_ref(&plain)), None);
        let by_domain = RouteRules { base_domain: Some("base.test".parse().unwrap()), ..RouteRules::default() };
        assert_eq!(default(&[], &by_domain, std::slice::from_ref(&plain)), None);
        assert_eq!(default(&[], &declared().rules, &[plain]), Some("main".to_owned()));
    }

    #[test]
    fn a_default_deployment_that_is_nowhere_serves_nothing() {
        let (declared, main, other) = (declared(), spec("main", &[], None), spec("other", &[], None));
        assert_eq!(declared.default_deployment(&[]).unwrap(), &main.name);
        let without = Declared { deployments: Vec::new(), ..declared.clone() };
        assert_eq!(without.serves_the_rest(&[]), None);
        assert_eq!(without.serves_the_rest(std::slice::from_ref(&other)), None);
        assert_eq!(without.serves_the_rest(&[other, main.clone()]), Some(&main.name));
        let with = Declared { deployments: vec![main.clone()], ..declared };
        assert_eq!(with.serves_the_rest(&[]), Some(&main.name));
    }

    #[test]
    fn the_common_address_is_the_default_deployments_or_the_paths() {
        let mut declared = declared();
        declared.deployments.clear();
        let main = spec("main", &["gateway.test"], None);
        assert!(taken(&declared, &main).is_empty());
        declared.rules.path_prefix = true;
        assert_eq!(taken(&declared, &main).len(), 1);
        declared.rules = RouteRules { path_prefix: false, default_deployment: None, ..declared.rules };
        assert!(taken(&declared, &spec("x", &["gateway.test"], None)).is_empty());
    }
}
