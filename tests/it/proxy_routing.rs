//! Which Deployment a request reaches, whatever its host and path are made of.

use std::{
    cell::Cell,
    net::{SocketAddr, TcpListener},
};

use proptest::{
    prelude::*,
    test_runner::{Config, TestRunner},
};

use crate::harness::{
    SOON,
    gateway::{Gateway, Setup, deployment, free_address},
    http::{Client, Response, get},
    upstream::{Upstream, response},
    wait_until,
};

fn send(address: SocketAddr, request: &str, fields: &[&str], token: &str) -> Response {
    let fields: String = fields.iter().map(|field| format!("{field}\r\n")).collect();
    let text = format!("{request}\r\n{fields}authorization: Bearer {token}\r\nconnection: close\r\n\r\n");
    Client::connect(address).ask(text)
}

#[test]
fn hosts_paths_and_the_default() {
    let (a, b, rest) = (Upstream::named("a"), Upstream::named("b"), Upstream::named("rest"));
    let config = format!(
        "[proxy]\nbase_domain = \"base.test\"\npath_prefix = true\ndefault_deployment = \"rest\"\n{}{}{}",
        deployment("a", a.address, ""),
        deployment("b", b.address, ""),
        deployment("rest", rest.address, ""),
    );
    let gateway = Gateway::start(&config);
    let token = gateway.token(&["deployment:*"]).text;

    // Request line, Host, who answers, the target that it sees.
    let reached = [
        ("GET /x HTTP/1.1", "a.test", "a", "/x"),
        ("GET /x HTTP/1.1", "A.TesT", "a", "/x"),
        ("GET /x HTTP/1.1", "a.test.", "a", "/x"),
        ("GET /x HTTP/1.1", "a.test:80", "a", "/x"),
        ("GET /x HTTP/1.1", "A.TEST.:65535", "a", "/x"),
        ("GET /x HTTP/1.1", "b.base.test", "b", "/x"),
        ("GET /x HTTP/1.1", "B.Base.Test:8080", "b", "/x"),
        ("GET /x HTTP/1.1", "elsewhere.test", "rest", "/x"),
        ("GET /x HTTP/1.1", "base.test", "rest", "/x"),
        ("GET /x HTTP/1.1", "xbase.test", "rest", "/x"),
        ("GET /deployments/b/x?y=%2F HTTP/1.1", "elsewhere.test", "b", "/x?y=%2F"),
        ("GET /deployments/b HTTP/1.1", "elsewhere.test", "b", "/"),
        ("GET /deployments/b?q HTTP/1.1", "elsewhere.test", "b", "/?q"),
        ("GET /deployments/b/ HTTP/1.1", "elsewhere.test", "b", "/"),
        ("GET /deployments/b//x%2Fy HTTP/1.1", "elsewhere.test", "b", "//x%2Fy"),
        // The host comes first, and then the path is the service's own.
        ("GET /deployments/b/x HTTP/1.1", "a.test", "a", "/deployments/b/x"),
        ("GET /Deployments/b/x HTTP/1.1", "elsewhere.test", "rest", "/Deployments/b/x"),
        ("GET http://a.test/x HTTP/1.1", "a.test", "a", "/x"),
        ("GET http://A.test:81/x HTTP/1.1", "a.TEST.:81", "a", "/x"),
        ("GET http://a.test HTTP/1.1", "a.test", "a", "/"),
    ];
    for (line, host, name, target) in reached {
        let upstream = [("a", &a), ("b", &b), ("rest", &rest)].into_iter().find(|(key, _)| *key == name).unwrap().1;
        let before = upstream.requests().len();
        let answer = send(gateway.proxy, line, &[&format!("host: {host}")], &token);
        assert_eq!((answer.status, answer.text().as_str()), (200, name), "{line} {host}");
        let requests = upstream.requests();
        assert_eq!(requests.len(), before + 1, "{line} {host}");
        let request = requests.last().unwrap();
        assert_eq!(request.target, target, "{line} {host}");
        assert_eq!(request.header("x-bento-gateway-deployment"), Some(name));
        let stripped = target.len() < line.split(' ').nth(1).unwrap().len() && line.contains(" /deployments/b");
        assert_eq!(request.header("x-forwarded-prefix"), stripped.then_some("/deployments/b"), "{line}");
    }

    let before = [&a, &b, &rest].map(|upstream| upstream.requests().len());
    let refused = [
        ("GET /x HTTP/1.1", vec!["host: nobody.base.test"], 404, "deployment_not_found"),
        ("GET /x HTTP/1.1", vec!["host: x.b.base.test"], 404, "deployment_not_found"),
        ("GET /deployments/nobody/x HTTP/1.1", vec!["host: elsewhere.test"], 404, "deployment_not_found"),
        ("GET /deployments/B/x HTTP/1.1", vec!["host: elsewhere.test"], 404, "deployment_not_found"),
        ("GET /deployments/%62/x HTTP/1.1", vec!["host: elsewhere.test"], 404, "deployment_not_found"),
        ("GET /deployments//x HTTP/1.1", vec!["host: elsewhere.test"], 404, "deployment_not_found"),
        ("GET /deployments/b/../a HTTP/1.1", vec!["host: elsewhere.test"], 400, "bad_path"),
        ("GET /deployments/b/%2e%2E/a HTTP/1.1", vec!["host: elsewhere.test"], 400, "bad_path"),
        ("GET /deployments/b/..%2fa HTTP/1.1", vec!["host: elsewhere.test"], 400, "bad_path"),
        // Said by nobody that is trusted: it does not route.
        ("GET /x HTTP/1.1", vec!["host: nobody.base.test", "x-forwarded-host: a.test"], 404, "deployment_not_found"),
    ];
    for (line, fields, status, code) in refused {
        let answer = send(gateway.proxy, line, &fields, &token);
        assert_eq!((answer.status, answer.code().as_str()), (status, code), "{line} {fields:?}: {}", answer.text());
    }
    assert_eq!([&a, &b, &rest].map(|upstream| upstream.requests().len()), before);
}

/// Without a default Deployment an unknown host is nobody's, also if there is just one Deployment.
#[test]
fn an_unknown_host_is_nobodys() {
    let a = Upstream::named("a");
    let gateway = Gateway::start(&deployment("a", a.address, "protected = false"));
    let all = gateway.token(&["deployment:*"]).text;
    assert_eq!(gateway.ask(&get("a.test", "/", &all)).status, 200);
    assert_eq!(gateway.ask(&get("b.test", "/", &all)).code(), "deployment_not_found");
    assert_eq!(gateway.ask("GET /deployments/a/ HTTP/1.1\r\nhost: b.test\r\n\r\n").code(), "credential_missing");
    assert_eq!(a.requests().len(), 1);
}

#[test]
fn a_base_path_of_the_upstream_comes_before_the_callers() {
    let a = Upstream::named("a");
    let config = format!(
        "[proxy]\npath_prefix = true\n[deployments.a]\nupstream = \"http://{}/base/\"\nhosts = [\"a.test\"]\n",
        a.address
    );
    let gateway = Gateway::start(&config);
    let token = gateway.token(&["deployment:a"]).text;
    for (path, target) in [("/", "/base/"), ("/x/y?z", "/base/x/y?z"), ("//", "/base//")] {
        assert_eq!(gateway.ask(&get("a.test", path, &token)).status, 200);
        assert_eq!(a.requests().last().unwrap().target, target);
    }
    assert_eq!(gateway.ask(&get("b.test", "/deployments/a", &token)).status, 200);
    assert_eq!(a.requests().last().unwrap().target, "/base/");
}

/// A listener of its own serves its Deployment and nothing else, whatever the host says.
#[test]
fn a_listener_of_its_own() {
    let (a, b) = (Upstream::named("a"), Upstream::named("b"));
    let own = free_address();
    let config = format!(
        "[proxy]\npath_prefix = true\n{}{}",
        deployment("a", a.address, ""),
        deployment("b", b.address, &format!("listen = \"{own}\"")),
    );
    let gateway = Gateway::start(&config);
    let token = gateway.token(&["deployment:b"]).text;
    wait_until("the listener is open", SOON, || Client::try_connect(own).is_ok());
    for (host, path) in [("b.test", "/x"), ("a.test", "/x"), ("127.0.0.1", "/x"), ("x", "/deployments/a/x")] {
        let answer = Client::connect(own).ask(get(host, path, &token));
        assert_eq!((answer.status, answer.text().as_str()), (200, "b"), "{host}");
        assert_eq!(b.requests().last().unwrap().target, path);
    }
    assert_eq!(gateway.ask(&get("a.test", "/x", &token)).code(), "insufficient_scope");
    assert_eq!(a.requests().len(), 0);
}

/// `--deployment` once: it is the default. Several times: each has a port.
#[test]
fn deployments_of_the_command_line() {
    let (a, b) = (Upstream::named("a"), Upstream::named("b"));
    let (first, second) = (format!("a=http://{}", a.address), format!("b=http://{}", b.address));
    let gateway = Setup::new("").arguments(&["--deployment", &first]).start();
    let token = gateway.token(&["deployment:*"]).text;
    assert_eq!(gateway.ask(&get("127.0.0.1:9", "/", &token)).text(), "a");
    drop(gateway);

    // The ports are the proxy's plus 10 and upwards: away from those of the other tests.
    let is_free = |port| TcpListener::bind(("127.0.0.1", port)).is_ok();
    let port =
        (12_000..20_000).step_by(20).find(|&port| [port, port + 10, port + 11].into_iter().all(is_free)).unwrap();
    let proxy = format!("127.0.0.1:{port}");
    let setup = Setup::new("").env("PROXY__LISTEN", &proxy);
    let gateway = setup.arguments(&["--deployment", &first, "--deployment", &second]).start();
    let token = gateway.token(&["deployment:*"]).text;
    for (port, name) in [(port + 10, "a"), (port + 11, "b")] {
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        wait_until("the listener is open", SOON, || Client::try_connect(address).is_ok());
        assert_eq!(Client::connect(address).ask(get("127.0.0.1", "/", &token)).text(), name);
    }
    assert_eq!(gateway.ask(&get("127.0.0.1", "/", &token)).code(), "deployment_not_found");
}

/// What was authorised is what is reached: two Deployments, a token for one, and whatever bytes come.
#[test]
fn no_request_reaches_what_its_token_does_not_open() {
    let answering = |name: &'static str| Upstream::answering(move |_| response(200, &[], name.as_bytes()));
    let (mine, other) = (answering("mine"), answering("other"));
    let config = format!(
        "[proxy]\nbase_domain = \"base.test\"\npath_prefix = true\ndefault_deployment = \"mine\"\n{}{}",
        deployment("mine", mine.address, ""),
        deployment("other", other.address, ""),
    );
    let gateway = Gateway::start(&config);
    let token = gateway.token(&["deployment:mine"]).text;

    let pieces = prop_oneof![
        8 => prop::sample::select(vec![
            "/", "//", "..", ".", "%2e", "%2f", "%5c", "\\", ";", "?", "#", "deployments", "mine", "other", "base", "test",
            ":80", "@", "a.test", "http:", " ", "\t", "\r\n", "\r", "\n", "\0", "Host: other.test", "HTTP/1.1", ",",
            "mine.test", "other.test", "other.base.test", "mine.base.test", "OTHER.test.", "/deployments/other/", "/deployments/mine/",
        ]).prop_map(|text| text.as_bytes().to_vec()),
        1 => prop::collection::vec(any::<u8>(), 1..4),
    ];
    let text = |most| prop::collection::vec(pieces.clone(), 0..most).prop_map(|pieces| pieces.concat());
    let host = prop_oneof![
        2 => prop::sample::select(vec!["mine.test", "other.test", "other.base.test", "mine.base.test", "x.test"])
            .prop_map(|text| text.as_bytes().to_vec()),
        2 => text(4),
    ];
    let target = prop_oneof![
        1 => text(7),
        2 => text(7).prop_map(|rest| [b"/".as_slice(), &rest].concat()),
        1 => (host.clone(), text(5)).prop_map(|(host, rest)| [b"http://".as_slice(), &host, b"/", &rest].concat()),
        1 => text(3).prop_map(|rest| [b"/deployments/mine/".as_slice(), &rest].concat()),
    ];

    let config = Config { cases: 400, failure_persistence: None, ..Config::default() };
    let reached = Cell::new(0);
    TestRunner::new(config)
        .run(&(target, host), |(target, host)| {
            let (mine_before, other_before) = (mine.requests().len(), other.requests().len());
            let mut caller = gateway.connect();
            let fields = format!("\r\nauthorization: Bearer {token}\r\nconnection: close\r\n\r\n");
            caller.send([b"GET ", target.as_slice(), b" HTTP/1.1\r\nhost: ", &host, fields.as_bytes()].concat());
            let answer = caller.try_response(false);
            prop_assert_eq!(other.requests().len(), other_before, "{:?}", answer);
            // Each request that was sent counts: a line end within the target may have made two of one.
            for request in &mine.requests()[mine_before..] {
                prop_assert_eq!(request.header("x-bento-gateway-deployment"), Some("mine"));
            }
            if answer.is_ok_and(|answer| answer.status == 200 && answer.body == b"mine") {
                reached.set(reached.get() + 1);
            }
            Ok(())
        })
        .unwrap();
    let reached = reached.get();
    assert!((20..380).contains(&reached), "{reached} of 400 were allowed: the property says little");
}
