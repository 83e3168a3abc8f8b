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
