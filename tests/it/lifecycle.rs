//! From the first start to a reload: what a new user sees, and what an operator may change while requests go on.

use std::{
    process::{Command, Stdio},
    sync::mpsc,
    time::Duration,
};

use bento_gateway::domain::timestamp::{DAY, Timestamp};
use serde_json::json;

use crate::harness::{
    SOON,
    api::{self, post},
    console::Browser,
    gateway::{Gateway, Setup, deployment, free_address},
    http::get,
    postgres::Cluster,
    upstream::Upstream,
    wait_for, wait_until,
};

fn first_tokens(gateway: &Gateway) -> usize {
    gateway.stdout().iter().filter(|line| line.trim().starts_with("bgw_")).count()
}

/// `serve --deployment` alone, as the README has it.
#[test]
fn the_first_start_prints_a_line_that_works_when_pasted_and_the_second_prints_none() {
    let upstream = Upstream::named("hello");
    let argument = format!("summarization=http://{}", upstream.address);
    let mut gateway = Setup::new("").env("TOKENS__FIRST_TOKEN", "true").arguments(&["--deployment", &argument]).start();
    let line = wait_for("the welcome", SOON, || gateway.stdout().into_iter().find(|line| line.contains("curl ")));
    let output =
        Command::new("sh").args(["-c", &format!("{} -sS -w ' %{{http_code}}'", line.trim())]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "hello 200", "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(first_tokens(&gateway), 1);

    assert!(gateway.terminate().success());
    gateway.start_again();
    wait_until("it says how to make a token", SOON, || {
        gateway.stdout().iter().any(|line| line.contains(" token create NAME"))
    });
    assert_eq!(first_tokens(&gateway), 1, "the first token is made once");
}

#[test]
fn several_deployments_get_a_listener_each() {
    let (one, two) = (Upstream::named("one"), Upstream::named("two"));
    let arguments = [format!("one=http://{}", one.address), format!("two=http://{}", two.address)];
    let arguments: Vec<&str> = arguments.iter().flat_map(|argument| ["--deployment", argument]).collect();
    let gateway = Setup::new("").arguments(&arguments).start();
    let token = gateway.token(&["deployment:one"]);
    let at = |port: u16| {
        let mut address = gateway.proxy;
        address.set_port(gateway.proxy.port() + port);
        let mut caller = wait_for("its listener", SOON, || crate::harness::http::Client::try_connect(address).ok());
        caller.ask(get("localhost", "/", &token.text))
    };
    assert_eq!((at(10).status, at(10).text().as_str()), (200, "one"));
    let refused = at(11);
    assert_eq!((refused.status, refused.code().as_str()), (403, "insufficient_scope"));
    assert!(refused.text().contains("deployment:two"), "{}", refused.text());
}

#[test]
fn gateways_that_start_together_set_a_new_store_up_once() {
    let url = Cluster::shared().database_url();
    let mut gateways: Vec<Gateway> =
        (0..3).map(|_| Setup::new("").env("STORE__URL", &url).env("TOKENS__FIRST_TOKEN", "true").spawn()).collect();
    gateways.iter_mut().for_each(Gateway::becomes_ready);
    wait_until("each welcomes", SOON, || {
        gateways.iter().all(|gateway| gateway.stdout().iter().any(|line| line.contains("is ready")))
    });
    std::thread::sleep(Duration::from_millis(100));
    assert_eq!(gateways.iter().map(first_tokens).sum::<usize>(), 1);
}

#[test]
fn an_address_in_use_is_said_and_ends_the_start() {
    let running = Gateway::start("");
    let mut second = Setup::new("").env("PROXY__LISTEN", &running.proxy.to_string()).spawn();
    assert_eq!(second.wait().code(), Some(1));
    let said = second.stderr().join("\n");
    assert!(said.contains("cannot listen on") && said.contains(&running.proxy.to_string()), "{said}");
}

#[test]
fn every_problem_of_a_configuration_is_said_at_once() {
    let config = "[proxy]\nlistn = \"x\"\ndrain_timeout = \"soon\"\n[deployments.a]\nupstreams = [\"ftp://x\"]\n";
    let mut gateway = Setup::new(config).spawn();
    assert_eq!(gateway.wait().code(), Some(78));
    let said = gateway.stderr().join("\n");
    for part in ["listn", "drain_timeout", "soon", "ftp://x"] {
        assert!(said.contains(part), "{part} is missing:\n{said}");
    }
}

/// A stream that goes on until the test says so.
fn held() -> (Upstream, mpsc::Sender<()>) {
    let (go_on, held) = mpsc::channel();
    let held = std::sync::Mutex::new(held);
    let upstream = Upstream::start(move |peer| {
        while let Some(request) = peer.request() {
            if request.head.starts_with("GET /held") {
                peer.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n");
                peer.send_chunk("first");
                let _ = held.lock().unwrap().recv_timeout(Duration::from_secs(20));
                peer.send_chunk("last");
                peer.send("0\r\n\r\n");
            } else {
                peer.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
            }
        }
    });
    (upstream, go_on)
}

/// Whoever makes secrets and whoever verifies them go on with one pepper and cost, until a restart.
#[test]
fn a_reload_takes_a_setting_over_everywhere_or_nowhere() {
    let upstream = Upstream::named("a");
    let config = deployment("a", upstream.address, "");
    let gateway = Gateway::start(&config);
    let admin = gateway.token(&["api", "deployment:*"]);
    let user = json!({ "email": "ada@example.com", "name": "Ada", "password": "correct horse battery" });
    assert_eq!(post(&gateway, &admin.text, "/api/v1/users", user).0, 200);

    gateway.write_config(&format!(
        "[tokens]\npepper = \"pepper-of-thirty-two-bytes-or-more\"\ndefault_lifetime = \"1d\"\n\
         argon2.iterations = 2\n[log]\naccess = false\n{config}"
    ));
    for key in ["tokens.pepper", "tokens.argon2", "\"log\""] {
        gateway.await_said(&["restart", key]);
    }
    let (status, made) = post(&gateway, &admin.text, "/api/v1/api_tokens", json!({ "name": "n", "scopes": ["api"] }));
    assert_eq!(status, 200, "{made}");
    let seconds = |key: &str| made[key].as_str().and_then(Timestamp::parse).unwrap();
    let lifetime = seconds("expired_at").since(seconds("created_at"));
    assert_eq!(lifetime, DAY, "{made}");
    // Its secret and the password are of the old pepper.
    let made = made["token"].as_str().unwrap();
    assert_eq!(api::get(&gateway, made, "/api/v1/api_tokens").0, 200);
    let signed_in = Browser::new(gateway.management).sign_in("ada@example.com", "correct horse battery");
    assert_eq!(signed_in.status, 303, "{}", signed_in.text());
}

#[test]
fn a_reload_changes_what_it_may_and_drops_nothing() {
    let (upstream, go_on) = held();
    let gateway = Gateway::start(&deployment("a", upstream.address, ""));
    let token = gateway.token(&["deployment:*"]);
    let mut stream = gateway.connect();
    stream.send(get("a.test", "/held", &token.text));
    stream.head();
    assert_eq!(stream.chunk().unwrap().unwrap(), b"first");

    let status = |host: &str, token: &str| gateway.ask(&get(host, "/", token)).status;
    let public = deployment("b", upstream.address, "protected = false");
    gateway.write_config(&format!(
        "[proxy]\nworkers = 3\n{}\n{public}",
        deployment("a", upstream.address, "max_body_bytes = 1")
    ));
    wait_until("the new Deployment is served", SOON, || {
        gateway.ask("GET / HTTP/1.1\r\nhost: b.test\r\n\r\n").status == 200
    });
    assert_eq!(status("a.test", &token.text), 200);

    gateway.write_config("nonsense = true\n[deployments.c]\n");
    gateway.await_said(&["not reloaded", "nonsense"]);
    assert_eq!(status("b.test", &token.text), 200, "the old one stays in force");

    // As somebody leaves it who has begun to write it.
    gateway.write_config(" \n");
    gateway.await_said(&["the configuration file is empty"]);
    assert_eq!((status("a.test", &token.text), status("b.test", &token.text)), (200, 200));

    gateway.write_config(&deployment("b", upstream.address, ""));
    gateway.signal("HUP");
    wait_until("a is gone", SOON, || status("a.test", &token.text) == 404);
    wait_until("b is protected", SOON, || gateway.ask("GET / HTTP/1.1\r\nhost: b.test\r\n\r\n").status == 401);

    go_on.send(()).unwrap();
    assert_eq!(stream.chunk(), Ok(Some(b"last".to_vec())), "a running stream outlives its Deployment");
    assert_eq!(stream.chunk(), Ok(None));
}

#[test]
fn a_listener_of_its_own_comes_and_goes_with_its_deployment() {
    let upstream = Upstream::named("b");
    let gateway = Gateway::start("");
    let address = free_address();
    let url = format!("http://{}", upstream.address);
    let listening = || crate::harness::http::Client::try_connect(address).is_ok();
    gateway.cli(&["deployment", "add", "b", "--upstream", &url, "--listen", &address.to_string()]);
    wait_until("it listens", SOON, listening);
    let token = gateway.token(&["deployment:b"]);
    let mut caller = crate::harness::http::Client::connect(address);
    assert_eq!(caller.ask(get("whatever", "/", &token.text)).text(), "b");
    gateway.cli(&["deployment", "remove", "b"]);
    wait_until("it does not listen any more", SOON, || !listening());
}

#[test]
fn sigterm_lets_a_running_stream_end() {
    let (upstream, go_on) = held();
    let mut gateway = Gateway::start(&deployment("a", upstream.address, ""));
    let token = gateway.token(&["deployment:a"]);
    let mut idle = gateway.connect();
    assert_eq!(idle.ask(get("a.test", "/", &token.text)).status, 200);
    let mut stream = gateway.connect();
    stream.send(get("a.test", "/held", &token.text));
    stream.head();
    assert_eq!(stream.chunk().unwrap().unwrap(), b"first");
    gateway.signal("TERM");
    wait_until("no connection is taken any more", SOON, || {
        crate::harness::http::Client::try_connect(gateway.proxy).is_err() && gateway.readyz() == Some(503)
    });
    assert_eq!(gateway.exit_status(), None, "it waits for the stream");
    go_on.send(()).unwrap();
    assert_eq!(stream.chunk(), Ok(Some(b"last".to_vec())));
    assert_eq!(stream.chunk(), Ok(None));
    assert_eq!(gateway.wait().code(), Some(0));
    assert_eq!(gateway.access_line("/held")["end"], "complete");
}

#[test]
fn the_drain_has_a_deadline() {
    let (upstream, _go_on) = held();
    let mut gateway = Setup::new(&deployment("a", upstream.address, "")).env("PROXY__DRAIN_TIMEOUT", "300ms").start();
    let token = gateway.token(&["deployment:a"]);
    let mut stream = gateway.connect();
    stream.send(get("a.test", "/held", &token.text));
    stream.head();
    assert_eq!(stream.chunk().unwrap().unwrap(), b"first");
    assert_eq!(gateway.terminate().code(), Some(0));
    assert!(stream.chunk().is_err(), "a cut is no clean end");
    assert_eq!(gateway.access_line("/held")["end"], "drained");
}

#[test]
fn the_health_check_follows_readiness() {
    let mut gateway = Gateway::start("");
    let healthy = |gateway: &Gateway| {
        let mut command = gateway.cli_command(&["healthcheck"]);
        command.stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap().code()
    };
    assert_eq!(healthy(&gateway), Some(0));
    assert!(gateway.terminate().success());
    assert_eq!(healthy(&gateway), Some(1));
}
