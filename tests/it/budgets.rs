//! What may be used in a day or month: over all gateways, and across restarts. What is approximate is bounded.

use std::{thread::sleep, time::Duration};

use bento_gateway::{domain::budget::Period, system};
use serde_json::{Value, json};

use crate::harness::{
    SOON, api,
    console::Browser,
    gateway::{Gateway, Setup, Token, deployment, free_address},
    http::{Client, Response, get},
    metrics::{scrape, scrape_until},
    postgres::Cluster,
    upstream::{Upstream, response},
    wait_for, wait_until,
};

/// How often gateways write what was used, and add up.
const INTERVAL: Duration = Duration::from_millis(200);
/// Between two requests of a test that measures by how much a budget is exceeded.
const PACE: Duration = Duration::from_millis(20);

/// What a test has used is gone with the month, which ends at midnight: a test that would run into it begins after it.
fn setup(config: &str) -> Setup {
    let now = system::now();
    let left = Period::Day.end(now).since(now);
    if left < Duration::from_secs(2 * 60) {
        sleep(left);
    }
    Setup::new(config).env("TOKENS__USAGE_INTERVAL", "200ms")
}

fn ask(gateway: &Gateway, token: &Token) -> Response {
    gateway.ask(&get("a.test", "/", &token.text))
}

fn exhausted(answer: &Response) -> bool {
    answer.status == 429 && answer.code() == "budget_exhausted"
}

fn standings(gateway: &Gateway) -> Vec<Value> {
    gateway.cli(&["deployment", "budgets", "a"]).as_array().unwrap().clone()
}

#[test]
fn gateways_add_up_and_what_exceeds_a_budget_is_bounded() {
    let (upstream, cluster) = (Upstream::answering(|_| response(200, &[], b"ok")), Cluster::start());
    let url = cluster.database_url();
    let config =
        deployment("a", upstream.address, "token_budget = \"40 requests/month\"\nbudget = \"1000 requests/month\"");
    let mut gateways = [(); 2].map(|()| setup(&config).env("STORE__URL", &url).start());
    let (busy, other) = (gateways[0].token(&["deployment:a"]), gateways[0].token(&["deployment:a"]));
    gateways[1].await_token(&busy);
    gateways[1].await_token(&other);
    // Each gateway lets through what all may use.
    let mut passed = 0;
    let refused = loop {
        let answers = [ask(&gateways[0], &busy), ask(&gateways[1], &busy)];
        passed += answers.iter().filter(|answer| answer.status == 200).count();
        if let [Some(refused), Some(_)] = answers.map(|answer| Some(answer).filter(exhausted)) {
            break refused;
        }
        assert!(passed < 1000, "the budget holds nobody up");
        sleep(PACE);
    };
    // What is used within one interval of writing and one of adding up, of both, and as much again since this machine is busy.
    let bound = 2 * 2 * 2 * usize::try_from(INTERVAL.as_millis() / PACE.as_millis()).unwrap();
    println!("{} of 40 requests beyond the budget", passed - 40);
    assert!((40..=40 + bound).contains(&passed), "{passed} requests, at most {bound} beyond 40");
    assert_eq!(upstream.requests().len(), passed);

    let seconds = |name: &str| refused.header(name).unwrap().parse::<u64>().unwrap();
    assert!((1..=31 * 24 * 60 * 60).contains(&seconds("retry-after")));
    assert!(refused.header("ratelimit-policy").unwrap().starts_with("\"token-budget\";q=40;w="), "{refused:?}");
    assert!(refused.header("ratelimit").unwrap().starts_with("\"token-budget\";r=0;t="), "{refused:?}");
    assert!(refused.json()["detail"].as_str().unwrap().contains("40 requests/month"));
    // Another token has its own.
    for gateway in &gateways {
        assert_eq!(ask(gateway, &other).status, 200);
    }
    wait_until("all is written", SOON, || standings(&gateways[0])[0]["used"] == json!(passed as f64 + 2.0));
    let all = standings(&gateways[0]);
    let standing = all.iter().find(|of| of["token"] == busy.uid.as_str()).unwrap();
    assert_eq!(
        (&standing["used"], &standing["budget"]),
        (&json!(passed as f64), &json!("40 requests/month")),
        "{standing}"
    );
    // A start finds what was used up.
    assert!(gateways[1].terminate().success());
    gateways[1].start_again();
    wait_until("it has added up", SOON, || exhausted(&ask(&gateways[1], &busy)));
    // While the store is away, it stays so.
    cluster.stop();
    sleep(2 * INTERVAL);
    assert!(exhausted(&ask(&gateways[0], &busy)) && ask(&gateways[0], &other).status == 200);
}

/// Another proxy forwards it, and nobody here sees what the service answers.
#[test]
fn what_forward_auth_permits_is_used() {
    let forward_auth = free_address();
    let config = deployment("a", free_address(), "token_budget = \"2 requests/month\"");
    let gateway = setup(&config).arguments(&["--forward-auth-listen", &forward_auth.to_string()]).start();
    let token = gateway.token(&["deployment:a"]);
    let question = format!(
        "GET /forward-auth/a HTTP/1.1\r\nhost: gateway\r\nx-forwarded-method: GET\r\nx-forwarded-host: a.test\r\n\
         x-forwarded-uri: /\r\nauthorization: Bearer {}\r\nconnection: close\r\n\r\n",
        token.text
    );
    let ask = || Client::connect(forward_auth).ask(&question);
    (0..2).for_each(|_| assert_eq!(ask().status, 200));
    wait_until("it is used up", SOON, || exhausted(&ask()));
    let all = gateway.cli(&["usage", "--deployment", "a"]);
    assert!(all[0]["requests"].as_u64() >= Some(2), "{all}");
}

#[test]
fn a_budget_warns_ends_with_429_and_is_raised() {
    const USAGE: &[u8] = br#"{"usage": {"prompt_tokens": 30, "completion_tokens": 12}}"#;
    let upstream = Upstream::answering(|_| response(200, &["content-type: application/json"], USAGE));
    let gateway = setup("").start();
    let full = gateway.token(&["api"]).text;
    let spec = json!({
        "name": "a", "hosts": ["a.test"], "upstreams": [format!("http://{}", upstream.address)],
        "settings": { "budget": "100 llm_tokens/month", "count_llm_tokens": true },
    });
    let (status, answer) = api::post(&gateway, &full, "/api/v2/deployments", spec);
    assert_eq!((status, &answer["settings"]["budget"]), (200, &json!("100 llm_tokens/month")), "{answer}");
    let token = gateway.token(&["deployment:a"]);
    let used = |scrape: &crate::harness::metrics::Scrape| {
        scrape.sum("bento_gateway_budget_used_ratio", &["deployment=\"a\"", "of=\"all\""])
    };
    (0..2).for_each(|_| assert_eq!(ask(&gateway, &token).status, 200));
    scrape_until(&gateway, "two requests are added up", |scrape| (used(scrape) - 0.84).abs() < 1e-9);
    gateway.await_said(&["80% of the Deployment's budget are used"]);
    let mut ada = Browser::signed_in(&gateway, "ada@example.com", true);
    let page = ada.get("/deployments/a").text();
    assert!(page.contains("All callers have used 84% of 100 llm_tokens/month"), "{page}");
    assert!(!Browser::signed_in(&gateway, "bob@example.com", false).get("/deployments/a").text().contains("have used"));
    assert_eq!(ask(&gateway, &token).status, 200);
    wait_until("it is used up", SOON, || exhausted(&ask(&gateway, &token)));
    let refused = ask(&gateway, &token);
    // There is no unit for it in the draft of the fields.
    assert!(refused.header("ratelimit").is_none() && refused.header("retry-after").is_some(), "{refused:?}");
    gateway.await_said(&["100% of the Deployment's budget are used"]);
    assert!(used(&scrape(&gateway)) > 1.0);
    let (_, listed) = api::get(&gateway, &full, "/api/v2/deployments/a/budgets");
    assert!(listed["items"][0]["token"].is_null() && listed["items"][0]["part"].as_f64().unwrap() >= 1.26, "{listed}");
    let find = || gateway.access_lines().into_iter().find(|line| line["reason"] == "budget_exhausted");
    let line = wait_for("the line of a refusal", SOON, find);
    assert_eq!((&line["token"], &line["status"]), (&json!(token.uid), &json!(429)));

    // Nobody would count it.
    let (status, refused) = api::ask(
        &gateway,
        &full,
        "PATCH",
        "/api/v2/deployments/a",
        Some(&json!({ "settings": { "count_llm_tokens": false } })),
    );
    assert!(status == 400 && refused["error"].as_str().unwrap().contains("set count_llm_tokens"), "{refused}");
    let raised = gateway.cli(&["deployment", "update", "a", "--budget", "1000 llm_tokens/month"]);
    assert_eq!(raised["settings"]["budget"], "1000 llm_tokens/month");
    assert_eq!(ask(&gateway, &token).status, 200, "what it was before counts no more");
    let change = json!({ "settings": { "budget": "ten a day" } });
    let (status, answer) = api::ask(&gateway, &full, "PATCH", "/api/v2/deployments/a", Some(&change));
    assert!(status == 400 && answer["error"].as_str().unwrap().contains("is not a budget"), "{answer}");
    let run = gateway.cli_command(&["deployment", "update", "a", "--budget", "1 requests/week"]).output().unwrap();
    assert_eq!(run.status.code(), Some(2));
    assert_eq!(gateway.cli(&["deployment", "update", "a", "--budget", ""])["settings"]["budget"], json!(null));
    assert_eq!(standings(&gateway), Vec::<Value>::new());
}

/// Strangers who ask whether the service is there use up nothing of its callers.
#[test]
fn probes_without_a_token_cost_nobody_anything() {
    let upstream = Upstream::named("a");
    let settings = "public_probes = true\nbudget = \"2 requests/day\"\nmax_in_flight = 1\nmax_queue = 1";
    let gateway = setup(&deployment("a", upstream.address, settings)).start();
    let token = gateway.token(&["deployment:a"]);
    let probe = || gateway.ask("GET /livez HTTP/1.1\r\nhost: a.test\r\nconnection: close\r\n\r\n").status;
    (0..5).for_each(|_| assert_eq!(probe(), 200));
    (0..2).for_each(|_| assert_eq!(ask(&gateway, &token).status, 200));
    wait_until("it is used up", SOON, || exhausted(&ask(&gateway, &token)));
    assert_eq!(probe(), 200);
    let used = gateway.cli(&["usage", "--deployment", "a"]);
    assert_eq!((used.as_array().unwrap().len(), &used[0]["token"]), (1, &json!(token.uid)), "{used}");
}
