//! The telemetry listener: what it answers, in which format, and that it holds nobody up.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use crate::harness::{
    SOON,
    gateway::{Gateway, Setup, deployment, free_address},
    http::{Client, ReadEnd, get},
    metrics::{Scrape, ask, scrape, scrape_until},
    upstream::{Upstream, response},
    wait_until,
};

#[test]
fn only_metrics_are_served_and_only_there() {
    let gateway = Gateway::start("");
    let words = "The metrics of this gateway are at GET /metrics.\n";
    for (method, path, status) in [
        ("GET", "/", 404),
        ("GET", "/metrics/", 404),
        ("GET", "/livez", 404),
        ("GET", "/api/v1/api_tokens", 404),
        ("POST", "/metrics", 405),
        ("DELETE", "/metrics", 405),
        ("PRI", "/metrics", 405),
    ] {
        let response = ask(gateway.telemetry, method, path, "content-length: 0\r\n");
        assert_eq!((response.status, response.text().as_str()), (status, words), "{method} {path}");
        assert_eq!(response.header("allow"), (status == 405).then_some("GET,HEAD"), "{method} {path}");
    }
    let whole = ask(gateway.telemetry, "GET", "/metrics", "");
    let head = ask(gateway.telemetry, "HEAD", "/metrics", "");
    assert_eq!((head.status, head.header("content-type")), (200, whole.header("content-type")));
    for elsewhere in [gateway.management, gateway.proxy] {
        let response = ask(elsewhere, "GET", "/metrics", "");
        assert!(response.status == 404 || response.status == 401, "{}", response.status);
        assert!(!response.text().contains("http_server"), "{}", response.text());
    }
}

#[test]
fn without_an_address_there_is_no_such_listener() {
    let gateway = Setup::new("").arguments(&["--telemetry-listen", ""]).start();
    assert!(Client::try_connect(gateway.telemetry).is_err());
}

#[test]
fn both_formats_say_the_same() {
    let upstream = Upstream::named("a");
    let gateway = Gateway::start(&deployment("a", upstream.address, ""));
    let token = gateway.token(&["deployment:a"]);
    assert_eq!(gateway.ask(&get("a.test", "/", &token.text)).status, 200);
    scrape_until(&gateway, "the request was counted", |scrape| {
        scrape.sum("http_server_request_duration_seconds_count", &[r#"deployment="a""#]) == 1.0
    });
    let as_format = |accept: &str| ask(gateway.telemetry, "GET", "/metrics", accept);
    let text = as_format("");
    let open = as_format("accept: application/openmetrics-text;version=1.0.0,text/plain;q=0.5\r\n");
    assert_eq!(text.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    assert_eq!(open.header("content-type"), Some("application/openmetrics-text; version=1.0.0; charset=utf-8"));
    assert!(open.text().ends_with("# EOF\n") && !text.text().contains("# EOF"), "{}", text.text());
    let samples = |text: String| Scrape::parse(&text).0.into_keys().collect::<BTreeSet<_>>();
    assert_eq!(samples(text.text()), samples(open.text()));
}

/// What `docs/metrics.md` has in its tables: names, types and labels.
fn documented() -> BTreeMap<String, (String, BTreeSet<String>)> {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/metrics.md")).unwrap();
    let rows = text.lines().filter(|line| line.starts_with("| `"));
    let row = |line: &str| {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let name = cells[1].trim_matches('`').to_owned();
        let labels = cells[3].split('`').skip(1).step_by(2).map(str::to_owned).collect();
        (name, (cells[2].to_owned(), labels))
    };
    rows.map(row).collect()
}

#[test]
fn every_metric_is_explained_and_every_explained_one_is_there() {
    let upstream = Upstream::named("a");
    let settings = "max_in_flight = 5\nprobe_interval = \"1m\"\nenforce_from = \"2099-01-01\"\nbudget = \"9 requests/day\"\n\
                    token_budget = \"9 requests/day\"\nhold = 5\nwake_url = \"http://127.0.0.1:1/\"\n";
    let gateway = Gateway::start(&deployment("a", upstream.address, settings));
    let token = gateway.token(&["deployment:a"]);
    for text in [&token.text, "let-through"] {
        assert_eq!(gateway.ask(&get("a.test", "/", text)).status, 200);
    }
    scrape_until(&gateway, "the requests were counted", |scrape| {
        scrape.sum("http_server_request_duration_seconds_count", &[r#"deployment="a""#]) == 2.0
    });
    let text = ask(gateway.telemetry, "GET", "/metrics", "").text();
    let typed = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
    let samples = Scrape::parse(&text);
    let said: BTreeMap<String, (String, BTreeSet<String>)> = typed
        .map(|(name, kind)| {
            let of_it = ["", "_count"].iter().find_map(|end| samples.0.get(&format!("{name}{end}")));
            let series = of_it.unwrap_or_else(|| panic!("{name} has no sample")).keys().next().unwrap();
            let labels = series.split(',').filter_map(|label| Some(label.split_once('=')?.0.to_owned())).collect();
            (name.to_owned(), (kind.to_owned(), labels))
        })
        .collect();
    assert!(said.len() > 10, "{said:?}");
    assert_eq!(said, documented(), "docs/metrics.md");
}

#[test]
fn who_reads_slowly_or_nothing_holds_nobody_up() {
    let upstream = Upstream::named("a");
    let gateway = Gateway::start(&deployment("a", upstream.address, ""));
    let token = gateway.token(&["deployment:a"]);
    // More than may be open at once. Half of them have asked, and read nothing of what they get.
    let mut silent: Vec<Client> = (0..40)
        .map(|number| {
            let mut client = Client::connect(gateway.telemetry);
            if number % 2 == 0 {
                let _ = client.try_send(b"GET /metrics HTTP/1.1\r\nhost: gateway\r\n\r\n");
            }
            client
        })
        .collect();
    assert_eq!(gateway.ask(&get("a.test", "/", &token.text)).status, 200);
    assert_eq!(gateway.readyz(), Some(200));
    scrape(&gateway);
    assert_ne!(silent[1].rest().1, ReadEnd::TimedOut, "the longest silent one has its place still");
}

#[test]
fn what_was_done_until_the_end_can_be_scraped() {
    let upstream = Upstream::start(|peer| {
        let Some(request) = peer.head() else { return };
        peer.note(&request);
        // Until the drain has begun, which the test sees.
        std::thread::sleep(std::time::Duration::from_millis(1500));
        let _ = peer.try_send(response(200, &[], b"late"));
    });
    let mut gateway = Gateway::start(&deployment("a", upstream.address, ""));
    let token = gateway.token(&["deployment:a"]);
    let mut caller = gateway.connect();
    caller.send(get("a.test", "/", &token.text));
    wait_until("the request is under way", SOON, || !upstream.requests().is_empty());
    gateway.signal("TERM");
    wait_until("the drain has begun", SOON, || gateway.readyz() == Some(503));
    let during = scrape(&gateway);
    assert_eq!(during.sum("http_server_active_requests", &[]), 1.0);
    assert_eq!(caller.response(false).text(), "late");
    assert!(gateway.wait().success());
}

#[test]
fn a_reload_that_changes_a_deployment_keeps_what_was_counted() {
    let upstream = Upstream::named("a");
    let config = |settings: &str, others: &str| format!("{}{others}", deployment("a", upstream.address, settings));
    let gone = deployment("gone", free_address(), "");
    let gateway = Gateway::start(&config("", &gone));
    let token = gateway.token(&["deployment:*"]);
    let ask = || assert_eq!(gateway.ask(&get("a.test", "/", &token.text)).status, 200);
    let answered = |scrape: &Scrape| {
        let upstream = format!(r#"upstream="http://{}""#, upstream.address);
        (
            scrape.sum("http_server_request_duration_seconds_count", &[r#"deployment="a""#]),
            scrape.sum("http_client_request_duration_seconds_count", &[&upstream]),
        )
    };
    ask();
    let before = scrape_until(&gateway, "it is counted", |scrape| answered(scrape) == (1.0, 1.0));
    assert_eq!(before.0["bento_gateway_upstream_reachable"].len(), 2);
    gateway.write_config(&config("max_body_bytes = \"1 MiB\"\n", ""));
    scrape_until(&gateway, "the other Deployment's series are gone", |scrape| {
        scrape.0["bento_gateway_upstream_reachable"].len() == 1
    });
    ask();
    scrape_until(&gateway, "the counting goes on", |scrape| answered(scrape) == (2.0, 2.0));
}
