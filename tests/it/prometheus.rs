//! The files in `examples/prometheus` and `examples/grafana`, by the real programs: Prometheus scrapes a gateway that is in use, and every
//! query of the dashboard and every rule finds what it asks for.

use std::{
    collections::BTreeSet,
    fs,
    io::Write,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::Duration,
};

use serde_json::{Value, json};

use crate::harness::{
    api,
    gateway::{Gateway, Setup, Token, deployment, free_address},
    http::{Client, get, request},
    metrics::{Scrape, ask, scrape_until},
    upstream::{Upstream, response},
    wait_for,
};

/// Beside what the gateway names: Prometheus's own, and functions and words of its language.
const OTHERS: [&str; 1] = ["up"];
/// Starting, and two scrapes, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

fn examples(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples").join(path)
}

fn run(program: &str, arguments: &[&str], input: &str) -> Output {
    let mut command = Command::new(program);
    command.args(arguments).current_dir(examples("prometheus"));
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap_or_else(|error| {
        panic!(
            "{program} cannot be run ({error}); on Debian or Ubuntu install the package prometheus, or run scripts/test"
        )
    });
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

/// Must succeed, in the directory of the examples.
pub fn promtool(arguments: &[&str], input: &str) {
    let output = run("promtool", arguments, input);
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success(), "promtool {arguments:?}: {said}");
}

/// A gateway that has seen all kinds of requests and changes.
struct Used {
    gateway: Gateway,
    token: Token,
    _upstream: Upstream,
}

impl Used {
    fn new() -> Self {
        let upstream = Upstream::answering(|request| match request.target.as_str() {
            "/fails" => response(500, &[], b"oh"),
            _ => response(200, &[], b"0123456789"),
        });
        let both = format!(
            "{}{}",
            deployment("a", upstream.address, "max_in_flight = 50\n"),
            deployment("dead", free_address(), "")
        );
        let gateway = Setup::new(&both).env("PROXY__WORKERS", "2").start();
        let token = gateway.token(&["deployment:*"]);
        let admin = gateway.token(&["api"]).text;
        let (status, made) =
            api::post(&gateway, &admin, "/api/v1/api_tokens", json!({ "name": "x", "scopes": ["api"] }));
        assert_eq!(status, 200, "{made}");
        Self { gateway, token, _upstream: upstream }
    }

    /// Ten requests that are answered, and some that are not.
    fn use_it(&self) {
        let ask = |bytes: &[u8]| self.gateway.connect().ask(bytes).status;
        let length = ["content-length: 5", "connection: close"];
        (0..10)
            .for_each(|_| assert_eq!(ask(&request("POST", "/x", "a.test", &self.token.text, &length, b"12345")), 200));
        assert_eq!(ask(get("a.test", "/fails", &self.token.text).as_bytes()), 500);
        assert_eq!(ask(get("dead.test", "/", &self.token.text).as_bytes()), 502);
        assert_eq!(ask(get("a.test", "/", "nonsense").as_bytes()), 401);
    }

    /// What Prometheus would be told.
    fn told(&self) -> String {
        scrape_until(&self.gateway, "all requests were counted", |scrape| {
            scrape.sum("http_server_active_requests", &[]) == 0.0
                && scrape.sum("http_server_request_duration_seconds_count", &[r#"deployment="a""#]) >= 11.0
        });
        ask(self.gateway.telemetry, "GET", "/metrics", "").text()
    }
}

/// Every expression in a JSON document.
fn expressions(value: &Value, out: &mut Vec<String>) {
    match value {
        Value::Object(members) => members.iter().for_each(|(name, value)| match value {
            Value::String(text) if name == "expr" => out.push(text.clone()),
            Value::String(text) if name == "query" && text.starts_with("label_values(") => {
                out.push(text["label_values(".len()..].split(',').next().unwrap().to_owned());
            }
            value => expressions(value, out),
        }),
        Value::Array(items) => items.iter().for_each(|item| expressions(item, out)),
        _ => {}
    }
}

fn dashboard() -> Vec<String> {
    let text = fs::read_to_string(examples("grafana/bento-gateway.json")).unwrap();
    let mut all = Vec::new();
    expressions(&serde_json::from_str(&text).unwrap(), &mut all);
    assert!(all.len() > 30, "{all:?}");
    all
}

/// What an expression names that looks like a metric or a label of ours. A name with a colon is a recorded rule's.
fn names(expression: &str) -> BTreeSet<String> {
    let in_name = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    let words = expression.split(|c| !in_name(c));
    let ours = |word: &&str| {
        let begins = ["bento_gateway_", "http_", "process_", "up"].iter().any(|start| word.starts_with(start));
        begins && !word.contains(':')
    };
    words.filter(ours).map(str::to_owned).collect()
}

#[test]
fn the_files_are_sound_and_every_alert_fires_when_it_should() {
    promtool(&["check", "config", "prometheus.yml"], "");
    promtool(&["check", "rules", "alerts.yml"], "");
    promtool(&["test", "rules", "rules_test.yml"], "");
    let [alerts, tests] =
        ["alerts.yml", "rules_test.yml"].map(|file| fs::read_to_string(examples("prometheus").join(file)).unwrap());
    for alert in alerts.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")) {
        assert!(tests.contains(&format!("- alertname: {alert}\n")), "{alert} has no test in rules_test.yml");
    }
}

#[test]
fn a_scrape_is_as_prometheus_wants_it() {
    let used = Used::new();
    used.use_it();
    promtool(&["check", "metrics"], &used.told());
}

#[test]
fn every_name_in_dashboard_and_alerts_is_one_of_a_scrape() {
    let used = Used::new();
    used.use_it();
    let scrape = Scrape::parse(&used.told());
    let labels = scrape.0.values().flat_map(|series| series.keys()).flat_map(|labels| labels.split(','));
    let known: BTreeSet<&str> = labels
        .filter_map(|label| Some(label.split_once('=')?.0))
        .chain(scrape.0.keys().map(String::as_str))
        .chain(OTHERS)
        .collect();
    let alerts = fs::read_to_string(examples("prometheus/alerts.yml")).unwrap();
    // Without the texts for people, which name kinds of metrics.
    let rules =
        alerts.lines().filter(|line| !["summary:", "description:", "#"].iter().any(|it| line.trim().starts_with(it)));
    for expression in rules.map(str::to_owned).chain(dashboard()) {
        let unknown: Vec<String> = names(&expression).into_iter().filter(|name| !known.contains(&**name)).collect();
        assert!(unknown.is_empty(), "{unknown:?} in {expression}");
    }
}

/// A running Prometheus; killed when dropped.
struct Prometheus {
    address: SocketAddr,
    child: Child,
    _directory: tempfile::TempDir,
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Prometheus {
    /// With the configuration that people are given, but for who is scraped and how often.
    fn scraping(gateway: SocketAddr) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let config = fs::read_to_string(examples("prometheus/prometheus.yml")).unwrap();
        let config = config.replace("127.0.0.1:9464", &gateway.to_string()).replace("15s", "1s");
        fs::write(directory.path().join("prometheus.yml"), config).unwrap();
        fs::copy(examples("prometheus/alerts.yml"), directory.path().join("alerts.yml")).unwrap();
        let address = free_address();
        let child = Command::new("prometheus")
            .args(["--config.file=prometheus.yml", "--storage.tsdb.path=data", "--log.level=warn"])
            .arg(format!("--web.listen-address={address}"))
            .current_dir(directory.path())
            .stdin(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("prometheus cannot be run ({error}); install the package prometheus"));
        Self { address, child, _directory: directory }
    }

    /// `None`: it does not answer.
    fn get(&self, path: &str) -> Option<Value> {
        let mut client = Client::try_connect(self.address).ok()?;
        client
            .try_send(format!("GET {path} HTTP/1.1\r\nhost: prometheus\r\nconnection: close\r\n\r\n").as_bytes())
            .ok()?;
        serde_json::from_slice(&client.try_response(false).ok()?.body).ok()
    }

    /// The series that a query finds.
    fn query(&self, expression: &str) -> Vec<Value> {
        let encoded: String = form_urlencoded(expression);
        let answer = self.get(&format!("/api/v1/query?query={encoded}")).unwrap_or_default();
        assert_ne!(answer["status"], "error", "{expression}: {answer}");
        answer["data"]["result"].as_array().cloned().unwrap_or_default()
    }

    /// Once a query finds something that is `wanted`.
    fn query_until(&self, expression: &str, wanted: impl Fn(f64) -> bool) {
        wait_for(expression, PATIENCE, || {
            let value = self.query(expression).first()?["value"][1].as_str()?.parse().ok()?;
            wanted(value).then_some(())
        });
    }
}

fn form_urlencoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

#[test]
fn prometheus_scrapes_a_gateway_and_answers_every_query_of_the_dashboard() {
    let used = Used::new();
    let prometheus = Prometheus::scraping(used.gateway.telemetry);
    prometheus.query_until(r#"up{job="bento-gateway"}"#, |up| up == 1.0);
    // A rate needs two scrapes that have the series.
    let answered = r#"sum(http_server_request_duration_seconds_count{deployment="a",http_response_status_code="200"})"#;
    used.use_it();
    prometheus.query_until(answered, |count| count == 10.0);
    used.use_it();
    prometheus.query_until(answered, |count| count == 20.0);
    let missing: Vec<String> = dashboard()
        .into_iter()
        .map(|query| query.replace("$__rate_interval", "1m").replace("$instance", ".*").replace("$deployment", ".*"))
        .filter(|query| prometheus.query(query).is_empty())
        .collect();
    assert!(missing.is_empty(), "queries that find nothing: {missing:#?}");
    prometheus
        .query_until(r#"sum(increase(bento_gateway_rejections_total{reason="upstream_unreachable"}[1m]))"#, |count| {
            count > 0.0
        });
    let rules = prometheus.get("/api/v1/rules").unwrap();
    let rules = rules["data"]["groups"][0]["rules"].as_array().unwrap();
    assert!(rules.len() > 10 && rules.iter().all(|rule| rule["lastError"].is_null()), "{rules:#?}");
    let targets = prometheus.get("/api/v1/targets").unwrap();
    assert_eq!(targets["data"]["activeTargets"][0]["lastError"], "", "{targets}");
}
