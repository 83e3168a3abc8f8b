//! The wake hook: what is called so that something starts a service for which requests wait.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    thread::sleep,
    time::Duration,
};

use serde_json::{Value, json};

use crate::{
    cold_start::Cold,
    harness::{
        api,
        gateway::Gateway,
        metrics::{scrape, scrape_until},
        upstream::{Upstream, response},
    },
    proxy_queue::A_WHILE,
};

const CALLS: &str = "bento_gateway_wake_calls_total";
const PATIENT: &str = "hold_timeout = \"1h\"";

fn calls(gateway: &Gateway, outcome: &str) -> f64 {
    scrape(gateway).sum(CALLS, &["deployment=\"a\"", &format!("outcome=\"{outcome}\"")])
}

#[test]
fn it_is_called_once_for_each_outage() {
    let hook = Upstream::named("woken");
    let url = format!("http://{}/wake?zone=b", hook.address);
    let cold = Cold::new(&format!("hold = 5\nwake_url = \"{url}\"\n{PATIENT}"));
    for outage in 1..=2 {
        let waiting = cold.hold(3);
        hook.await_requests(outage);
        // Long enough for another look at the service.
        sleep(Duration::from_millis(600));
        assert_eq!(hook.requests().len(), outage);
        let service = cold.start();
        for mut client in waiting {
            assert_eq!(client.response(false).status, 200);
        }
        assert_eq!(service.requests().len(), 3);
    }
    let call = hook.requests().swap_remove(0);
    assert_eq!((call.method.as_str(), call.target.as_str()), ("POST", "/wake?zone=b"));
    assert_eq!(call.header("content-type"), Some("application/json"));
    let body: Value = serde_json::from_slice(&call.body).unwrap();
    assert_eq!(body, json!({ "deployment": "a", "gateway_version": env!("CARGO_PKG_VERSION") }));
    scrape_until(&cold.gateway, "both calls are counted", |_| calls(&cold.gateway, "answered") == 2.0);
    assert_eq!(calls(&cold.gateway, "failed"), 0.0);
    cold.gateway.await_said(&["the wake hook was called"]);
}

/// Nothing of the request waits for the hook, and a hook that fails is called again, and spoken of once.
#[test]
fn a_call_that_fails_is_made_again_and_reported_once() {
    let asked = AtomicUsize::new(0);
    let hook = Upstream::answering(move |_| {
        let failures = [500, 302];
        response(
            failures.get(asked.fetch_add(1, SeqCst)).copied().unwrap_or(204),
            &["location: http://127.0.0.1:1/"],
            b"",
        )
    });
    let cold = Cold::new(&format!("hold = 5\nwake_url = \"http://{}\"\n{PATIENT}", hook.address));
    let mut waits = cold.hold(1).pop().unwrap();
    scrape_until(&cold.gateway, "it was called until it answered", |_| calls(&cold.gateway, "answered") == 1.0);
    assert_eq!((calls(&cold.gateway, "failed"), hook.requests().len()), (2.0, 3));
    let reported =
        |line: &&String| line.contains("the wake hook could not be called") && line.contains("it answered 500");
    cold.gateway.await_said(&["the wake hook could not be called"]);
    assert_eq!(cold.gateway.stderr().iter().filter(reported).count(), 1);
    let _service = cold.start();
    assert_eq!(waits.response(false).status, 200);
}

#[test]
fn a_hook_that_hangs_holds_up_nobody() {
    let hanging = Upstream::start(|peer| {
        peer.head();
        peer.await_close();
    });
    let cold = Cold::new(&format!("hold = 5\nwake_url = \"http://{}\"\n{PATIENT}", hanging.address));
    let mut waits = cold.hold(1).pop().unwrap();
    let _service = cold.start();
    assert_eq!(waits.response(false).status, 200);
}

/// If the service is not there after the time that a request waits, it is asked for once more.
#[test]
fn a_call_without_effect_is_made_again() {
    let hook = Upstream::named("woken");
    let cold = Cold::new(&format!("hold = 5\nwake_url = \"http://{}\"\nhold_timeout = \"500ms\"", hook.address));
    let done = Arc::new(AtomicUsize::new(0));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while done.load(SeqCst) == 0 {
                assert_eq!(cold.get("/").response(false).code(), "upstream_starting");
            }
        });
        hook.await_requests(2);
        done.store(1, SeqCst);
    });
}

/// It has started when nobody waited any more: whoever comes next finds that out, and not the hook.
#[test]
fn a_service_that_is_there_by_now_is_not_asked_for() {
    let hook = Upstream::named("woken");
    let cold = Cold::new(&format!("hold = 5\nwake_url = \"http://{}\"\nhold_timeout = \"1s\"", hook.address));
    assert_eq!(cold.get("/").response(false).code(), "upstream_starting");
    cold.await_held(0);
    let calls = hook.requests().len();
    assert!(calls > 0);
    let _service = cold.start();
    // Another call would be due.
    sleep(Duration::from_millis(1_500));
    assert_eq!(cold.get("/").response(false).status, 200);
    sleep(A_WHILE);
    assert_eq!(hook.requests().len(), calls);
}

#[test]
fn a_url_with_a_password_or_none_at_all_is_refused_everywhere() {
    let gateway = Gateway::start("");
    let admin = gateway.token(&["api"]).text;
    for wrong in ["http://user:pw1234@hook.test/", "ftp://hook.test", "hook.test", "http://hook.test/#pw1234"] {
        let new = json!({ "name": "a", "upstreams": ["http://127.0.0.1:1"], "settings": { "wake_url": wrong } });
        let (status, answer) = api::post(&gateway, &admin, "/api/v2/deployments", new);
        let text = answer["error"].as_str().unwrap().to_owned();
        assert!(status == 400 && text.contains("wake_url: ") && text.contains("is not a URL to call"), "{text}");
        assert!(!text.contains("user:pw1234"), "{text}");
        let arguments = ["deployment", "add", "a", "--upstream", "http://127.0.0.1:1", "--wake-url", wrong];
        let output = gateway.cli_command(&arguments).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(2) && said.contains("is not a URL to call"), "{said}");
        assert!(!said.contains("user:pw1234"), "{said}");
    }
    let added = ["deployment", "add", "a", "--upstream", "http://127.0.0.1:1", "--hold", "7", "--hold-timeout", "5m"];
    let hook = "https://hook.test/wake";
    gateway.cli(&[&added[..], &["--wake-url", hook]].concat());
    let (_, shown) = api::get(&gateway, &admin, "/api/v2/deployments/a");
    let settings = &shown["settings"];
    assert_eq!(
        (&settings["hold"], &settings["hold_timeout_ms"], &settings["wake_url"]),
        (&json!(7), &json!(300_000), &json!(hook))
    );
}
