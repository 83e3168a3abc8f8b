//! What tokens use of Deployments: counted exactly, whatever becomes of the store, and shown to whom it concerns.

use std::{thread::sleep, time::Duration};

use bento_gateway::{domain::usage::Hour, system};
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection, Executor, SqliteConnection, sqlite::SqliteConnectOptions};
use uuid::Uuid;

use crate::harness::{
    SOON, api,
    console::Browser,
    gateway::{Gateway, Setup, Token, deployment, free_address},
    http::{get, request},
    postgres::Cluster,
    upstream::{Upstream, response},
    wait_until,
};

/// How long `/slow` takes.
const SLOW: Duration = Duration::from_millis(300);

fn upstream() -> Upstream {
    Upstream::answering(|request| {
        if request.target == "/slow" {
            sleep(SLOW);
        }
        response(200, &[], b"0123456789")
    })
}

fn setup(config: &str) -> Setup {
    Setup::new(config).env("TOKENS__USAGE_INTERVAL", "100ms")
}

fn sums(gateway: &Gateway, arguments: &[&str]) -> Vec<Value> {
    let all: Vec<&str> = ["usage"].into_iter().chain(arguments.iter().copied()).collect();
    gateway.cli(&all).as_array().unwrap().clone()
}

/// The sum of that token at that Deployment.
fn sum(gateway: &Gateway, token: Option<&Token>, deployment: Option<&str>) -> Option<Value> {
    let (token, deployment) = (json!(token.map(|token| &token.uid)), json!(deployment));
    let all = sums(gateway, &[]);
    let [found] =
        &all.into_iter().filter(|sum| sum["token"] == token && sum["deployment"] == deployment).collect::<Vec<_>>()[..]
    else {
        return None;
    };
    Some(found.clone())
}

fn requests(gateway: &Gateway, token: &Token) -> u64 {
    sums(gateway, &["--by", "token", "--token", &token.uid]).first().map_or(0, |sum| sum["requests"].as_u64().unwrap())
}

fn ask(gateway: &Gateway, host: &str, path: &str, token: &Token) -> u16 {
    gateway.ask(&get(host, path, &token.text)).status
}

#[test]
fn every_request_is_counted_once_for_its_token_and_deployment() {
    let upstream = upstream();
    let config = format!(
        "{}{}{}",
        deployment("a", upstream.address, "max_body_bytes = \"1 KiB\"\n"),
        deployment("dead", free_address(), ""),
        deployment("public", upstream.address, "protected = false\n")
    );
    let gateway = setup(&config).env("PROXY__WORKERS", "3").start();
    let (one, other) = (gateway.token(&["deployment:a", "deployment:dead"]), gateway.token(&["deployment:a"]));
    let post = |host: &str, token: &Token, body: &[u8]| {
        let length = format!("content-length: {}", body.len());
        gateway.connect().ask(request("POST", "/", host, &token.text, &["connection: close", &length], body)).status
    };
    (0..20).for_each(|_| assert_eq!(post("a.test", &one, b"12345"), 200));
    (0..7).for_each(|_| assert_eq!(ask(&gateway, "a.test", "/", &other), 200));
    (0..3).for_each(|_| assert_eq!(ask(&gateway, "a.test", "/slow", &other), 200));
    (0..4).for_each(|_| assert_eq!(post("a.test", &one, &[b'x'; 2000]), 413));
    (0..2).for_each(|_| assert_eq!(ask(&gateway, "dead.test", "/", &one), 502));
    (0..5).for_each(|_| assert_eq!(ask(&gateway, "public.test", "/", &one), 200));
    (0..6).for_each(|_| assert_eq!(ask(&gateway, "dead.test", "/", &other), 403));
    // Nobody's: the token is unknown.
    let unknown = Token { text: system::new_token_text().unwrap().expose().to_owned(), ..one.clone() };
    assert_eq!(ask(&gateway, "a.test", "/", &unknown), 401);

    let expected = [
        (Some(&one), Some("a"), 20, 4, 100, 200),
        (Some(&other), Some("a"), 10, 0, 0, 100),
        (Some(&one), Some("dead"), 2, 0, 0, 0),
        (None, Some("public"), 5, 0, 0, 50),
        (Some(&other), None, 0, 6, 0, 0),
    ];
    for (token, deployment, requests, refused, bytes_in, bytes_out) in expected {
        let counted = || sum(&gateway, token, deployment).unwrap_or_default();
        let number = |sum: &Value, key: &str| sum[key].as_u64().unwrap_or_default();
        wait_until("it is written", SOON, || {
            let sum = counted();
            number(&sum, "requests") + number(&sum, "refused") >= requests + refused
        });
        let sum = counted();
        // To see whether the gateway knows a token, the harness has asked where it may not.
        let is_exact = deployment.is_some();
        assert!(number(&sum, "requests") == requests && (number(&sum, "refused") == refused || !is_exact), "{sum}");
        assert!(number(&sum, "bytes_in") >= bytes_in && number(&sum, "bytes_out") >= bytes_out, "{sum}");
    }
    assert_eq!(sum(&gateway, None, Some("public")).unwrap()["bytes_out"], 50);
    let busy = sum(&gateway, Some(&other), Some("a")).unwrap()["upstream_seconds"].as_f64().unwrap();
    assert!((0.9..5.0).contains(&busy), "{busy}");
    let total = sums(&gateway, &["--by", "day"]);
    assert_eq!(total.iter().map(|sum| sum["requests"].as_u64().unwrap()).sum::<u64>(), 37);
}

#[test]
fn what_was_counted_last_is_written_at_the_end() {
    let upstream = upstream();
    let mut gateway = Setup::new(&deployment("a", upstream.address, "")).env("TOKENS__USAGE_INTERVAL", "1h").start();
    let token = gateway.token(&["deployment:a"]);
    (0..50).for_each(|_| assert_eq!(ask(&gateway, "a.test", "/", &token), 200));
    let slow = std::thread::spawn({
        let (mut caller, text) = (gateway.connect(), token.text.clone());
        move || caller.ask(get("a.test", "/slow", &text)).status
    });
    upstream.await_requests(51);
    assert_eq!(requests(&gateway, &token), 0);
    assert!(gateway.terminate().success());
    assert_eq!(slow.join().unwrap(), 200);
    assert_eq!(requests(&gateway, &token), 51);
}

#[test]
fn gateways_add_up_and_an_outage_of_the_store_loses_and_doubles_nothing() {
    let (upstream, cluster) = (upstream(), Cluster::start());
    let url = cluster.database_url();
    let config = deployment("a", upstream.address, "");
    let start = || setup(&config).env("STORE__URL", &url).env("STORE__ACQUIRE_TIMEOUT", "300ms").start();
    let gateways = [start(), start()];
    let token = gateways[0].token(&["deployment:a"]);
    gateways[1].await_token(&token);
    let ask_all = |count: usize| {
        for gateway in &gateways {
            (0..count).for_each(|_| assert_eq!(ask(gateway, "a.test", "/", &token), 200));
        }
    };
    ask_all(10);
    wait_until("both have written", SOON, || requests(&gateways[0], &token) == 20);
    // A write that is under way may or may not reach a database that freezes: it counts once either way.
    for round in 1..=3 {
        ask_all(5);
        cluster.pause();
        ask_all(5);
        sleep(Duration::from_millis(700));
        cluster.resume();
        wait_until("they have written again", SOON, || requests(&gateways[0], &token) == 20 + round * 20);
    }
    cluster.stop();
    ask_all(5);
    sleep(Duration::from_millis(500));
    cluster.start_again();
    wait_until("they have written again", SOON * 3, || requests(&gateways[1], &token) == 90);
    sleep(Duration::from_millis(500));
    assert_eq!(requests(&gateways[1], &token), 90);
}

#[test]
fn everybody_sees_what_is_theirs() {
    let upstream = upstream();
    let gateway = setup(&deployment("a", upstream.address, "")).start();
    gateway.cli(&["user", "create", "--email", "bob@example.com", "--name", "Bob"]);
    let admin = gateway.token(&["api"]);
    let of_admin = gateway.token(&["deployment:a"]);
    let owner = ["--owner", "bob@example.com"];
    let (reader, of_bob) =
        (gateway.new_token(&["read_organization"], &owner), gateway.new_token(&["deployment:a"], &owner));
    gateway.await_token(&of_bob);
    (0..3).for_each(|_| assert_eq!(ask(&gateway, "a.test", "/", &of_admin), 200));
    (0..2).for_each(|_| assert_eq!(ask(&gateway, "a.test", "/", &of_bob), 200));
    let usage = |token: &Token, query: &str| api::get(&gateway, &token.text, &format!("/api/v1/usage?{query}"));
    wait_until("all is written", SOON, || {
        usage(&admin, "group_by=deployment&deployment=a").1["items"][0]["requests"] == 5
    });
    let seen = |token: &Token, query: &str| {
        let (status, answer) = usage(token, query);
        assert_eq!(status, 200, "{answer}");
        let items = answer["items"].as_array().unwrap().iter();
        let requests: Vec<_> = items.map(|sum| (sum["token"].clone(), sum["requests"].as_u64().unwrap())).collect();
        assert_eq!(answer["total"], requests.len());
        requests
    };
    let both = [(json!(of_admin.uid), 3), (json!(of_bob.uid), 2)];
    assert_eq!(seen(&admin, "deployment=a"), both);
    assert_eq!(seen(&reader, "deployment=a"), both[1..]);
    assert_eq!(seen(&reader, "deployment=a&group_by=day"), [(json!(null), 2)]);
    assert_eq!(seen(&admin, &format!("token={}", of_bob.uid)).first(), Some(&both[1]));
    assert_eq!(usage(&reader, &format!("token={}", of_admin.uid)).0, 404);
    assert_eq!(usage(&of_bob, "").0, 403);
    let named = usage(&admin, "deployment=a").1["items"][0].clone();
    assert_eq!(named["token_name"], gateway.cli(&["token", "get", &of_admin.uid])["name"]);
    for query in ["group_by=week", "since=tomorrow", "since=1h&until=2h", "deployment=A%20B"] {
        let (status, answer) = usage(&admin, query);
        assert_eq!((status, &answer["code"]), (400, &json!("invalid")), "{query}: {answer}");
    }
}

#[test]
fn it_is_a_table_for_people_and_csv_for_programs() {
    let upstream = upstream();
    let gateway = setup(&deployment("a", upstream.address, "")).start();
    let named = gateway.cli(&["token", "create", "=cmd,\"x\"", "--scope", "deployment:a"]);
    let token = Token { text: named["token"].as_str().unwrap().into(), uid: named["uid"].as_str().unwrap().into() };
    gateway.await_token(&token);
    assert_eq!(ask(&gateway, "a.test", "/", &token), 200);
    wait_until("it is written", SOON, || requests(&gateway, &token) == 1);
    let run = |arguments: &[&str]| {
        let output = gateway.cli_command(arguments).output().unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    let (code, csv, _) = run(&["usage", "--csv", "--deployment", "a"]);
    let lines: Vec<&str> = csv.split("\r\n").collect();
    assert_eq!((code, lines.len()), (Some(0), 3));
    assert_eq!(
        lines[0],
        "start,token,token_name,deployment,requests,refused,bytes_in,bytes_out,upstream_seconds,events,prompt_tokens,\
         completion_tokens"
    );
    assert!(lines[1].starts_with(&format!(",{},\"'=cmd,\"\"x\"\"\",a,1,0,0,10,", token.uid)), "{}", lines[1]);
    let (_, table, note) = run(&["usage", "--by", "hour,token", "--deployment", "a"]);
    assert!(table.starts_with("START") && table.contains("=cmd,\"x\"") && !table.contains("DEPLOYMENT"), "{table}");
    assert!(note.contains("UPSTREAM is in seconds"), "{note}");
    assert_eq!(run(&["usage", "--csv", "-o", "json"]).0, Some(2));
    assert_eq!(run(&["usage", "--by", "week"]).0, Some(2));
    assert_eq!(run(&["usage", "--since", "1d", "--until", "2d"]).0, Some(4));
    assert_eq!(run(&["usage", "--token", "nobody"]).0, Some(3));
}

/// A service with an OpenAI-style interface.
fn model() -> Upstream {
    Upstream::start(|peer| {
        while let Some(request) = peer.request() {
            if request.target != "/stream" {
                let answer = json!({ "choices": [{ "text": "x".repeat(100_000) }], "usage": { "prompt_tokens": 11, "completion_tokens": 5 } });
                peer.send(response(200, &["content-type: application/json"], answer.to_string().as_bytes()));
                continue;
            }
            peer.send("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n");
            for word in ["one", "two"] {
                // Cut where it hurts.
                peer.send_chunk(format!("data: {{\"choices\":[{{\"delta\":\"{word}\"}}],\"us"));
                peer.send_chunk("age\":null}\n\n");
                sleep(Duration::from_millis(50));
            }
            peer.send_chunk("data: {\"choices\":[],\"usage\":{\"prompt_tokens\":7,\"completion_");
            peer.send_chunk("tokens\":2}}\n\ndata: [DONE]\n\n");
            peer.send("0\r\n\r\n");
        }
    })
}

#[test]
fn what_a_model_says_of_its_tokens_is_counted_where_a_deployment_asks_for_it() {
    let model = model();
    let config = format!(
        "{}{}",
        deployment("counted", model.address, "count_llm_tokens = true\n"),
        deployment("other", model.address, "")
    );
    let gateway = setup(&config).start();
    let token = gateway.token(&["deployment:*"]);
    for host in ["counted.test", "other.test"] {
        let answer = gateway.ask(&get(host, "/", &token.text));
        assert_eq!((answer.status, answer.body.len() > 100_000), (200, true));
        let mut caller = gateway.connect();
        caller.send(get(host, "/stream", &token.text));
        assert_eq!(caller.head().status, 200);
        // Nothing is held back: not even the beginning of an event.
        assert!(caller.chunk().unwrap().unwrap().ends_with(b"\"us"));
        while caller.chunk().unwrap().is_some() {}
    }
    let numbers = |deployment: &str| {
        let sum = sum(&gateway, Some(&token), Some(deployment)).unwrap_or_default();
        ["requests", "events", "prompt_tokens", "completion_tokens"].map(|key| sum[key].as_u64().unwrap_or_default())
    };
    wait_until("all is written", SOON, || numbers("counted")[0] == 2 && numbers("other")[0] == 2);
    assert_eq!(numbers("counted"), [2, 4, 18, 7]);
    assert_eq!(numbers("other"), [2, 4, 0, 0]);
}

#[test]
fn counting_tokens_is_set_by_the_api_and_the_command_line() {
    let model = model();
    let gateway = setup("").start();
    let url = format!("http://{}", model.address);
    gateway.cli(&["deployment", "add", "a", "--upstream", &url, "--host", "a.test", "--count-llm-tokens"]);
    let (admin, token) = (gateway.token(&["api"]).text, gateway.token(&["deployment:a"]));
    let counted = || sum(&gateway, Some(&token), Some("a")).map_or(0, |sum| sum["prompt_tokens"].as_u64().unwrap());
    assert_eq!(ask(&gateway, "a.test", "/", &token), 200);
    wait_until("it is counted", SOON, || counted() == 11);
    let body = json!({ "settings": { "count_llm_tokens": false } });
    let (status, changed) = api::ask(&gateway, &admin, "PATCH", "/api/v2/deployments/a", Some(&body));
    assert_eq!((status, &changed["settings"]["count_llm_tokens"]), (200, &json!(false)));
    assert_eq!(ask(&gateway, "a.test", "/", &token), 200);
    wait_until("it is written", SOON, || requests(&gateway, &token) == 2);
    assert_eq!(counted(), 11);
}

#[test]
fn the_console_shows_it_to_whom_it_concerns() {
    let upstream = upstream();
    let gateway = setup(&deployment("a", upstream.address, "")).start();
    let mut admin = Browser::signed_in(&gateway, "ada@example.com", true);
    let mut member = Browser::signed_in(&gateway, "bob@example.com", false);
    let make = |name: &str, owner: &str| {
        let made = gateway.cli(&["token", "create", name, "--scope", "deployment:a", "--owner", owner]);
        let text = |key: &str| made[key].as_str().unwrap().to_owned();
        let token = Token { text: text("token"), uid: text("uid") };
        gateway.await_token(&token);
        token
    };
    let (of_ada, of_bob) = (make("nightly", "ada@example.com"), make("notebook", "bob@example.com"));
    (0..1234).for_each(|_| assert_eq!(ask(&gateway, "a.test", "/", &of_ada), 200));
    assert_eq!(ask(&gateway, "a.test", "/", &of_bob), 200);
    wait_until("all is written", SOON, || requests(&gateway, &of_ada) == 1234 && requests(&gateway, &of_bob) == 1);
    let page = admin.get("/usage?deployment=a").text();
    assert!(page.contains("nightly") && page.contains("notebook") && page.contains("1\u{202f}234"), "{page}");
    assert!(page.contains("Requests, maximum 1235"), "{page}");
    let page = member.get("/usage?deployment=a").text();
    assert!(page.contains("notebook") && !page.contains("nightly") && page.contains("Requests, maximum 1\""), "{page}");
    assert!(member.get("/usage?by=day").text().contains("Of your own tokens."));
    let other = member.get(&format!("/usage?token={}", of_ada.uid));
    assert!(other.status == 200 && other.text().contains("There is no API token"), "{}", other.text());
    assert!(admin.get("/usage?period=day&by=token&deployment=gone").text().contains("No usage in this period."));
}

#[test]
fn what_is_older_than_the_retention_is_forgotten() {
    let mut gateway = setup("[usage]\nretention = \"48h\"\n").start();
    // It forgets when it starts, too.
    assert!(gateway.terminate().success());
    let now = Hour::from(system::now()).0;
    let insert = |hour: i32| {
        let sql = format!("INSERT INTO usage_hours VALUES ({hour}, '{}', 'a', 1, 0, 0, 0, 0, 0, 0, 0)", Uuid::nil());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let options = SqliteConnectOptions::new().filename(gateway.path("gateway.db"));
            let mut connection = SqliteConnection::connect_with(&options).await.unwrap();
            connection.execute(AssertSqlSafe(sql)).await.unwrap();
        });
    };
    let kept = |gateway: &Gateway| sums(gateway, &["--since", "30d", "--by", "hour"]).len();
    [now - 500, now - 100, now - 49, now - 47].into_iter().for_each(insert);
    assert_eq!(kept(&gateway), 4);
    gateway.start_again();
    wait_until("what is old is forgotten", SOON, || kept(&gateway) == 1);
}
