//! Whole sessions of the command line, the API and the console, compared to the letter with those in `tests/answers`.
//! The clock stands still and the randomness repeats itself, so whatever a change does to an answer shows in its diff.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    net::{SocketAddr, TcpListener},
    sync::Arc,
};

use bento_gateway::{
    app,
    cli::{self, ExitStatus},
    config::{self, Config, Overrides, Sources},
    domain::{
        audit::Actor,
        rights::Grantor,
        routing::Declared,
        token_text::{PREFIX, TOKEN_LEN},
    },
    http::listener::{Listener, Parts, Times},
    index::follow::Follower,
    management::{self, Management},
    service::{Context, bootstrap},
    store,
    system::System,
};
use tokio::{runtime::Runtime, sync::watch};

use crate::harness::{
    SOON,
    console::{Browser, PASSWORD},
    http::{Client, Response, request},
    snapshot::assert_reference,
    system::FixedSystem,
};

const START: &str = "2026-12-24T18:00:00Z";

// === the command line ===

struct Terminal {
    directory: tempfile::TempDir,
    system: Arc<FixedSystem>,
    transcript: String,
}

impl Terminal {
    fn new() -> Self {
        let system = Arc::new(FixedSystem::at(START));
        Self { directory: tempfile::tempdir().unwrap(), system, transcript: String::new() }
    }

    /// Runs a command and notes it, what it printed and its exit code. Returns its standard output.
    fn run(&mut self, args: &[&str]) -> String {
        let database = format!("sqlite:{}", self.directory.path().join("gateway.db").display());
        let env = BTreeMap::from([("DATABASE_URL".to_owned(), database)]);
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let all = ["bento-gateway"].iter().chain(args).map(Into::into);
        let system: Arc<dyn System> = Arc::<FixedSystem>::clone(&self.system);
        let status: ExitStatus = cli::run(all, env, system, &mut out, &mut err);
        let (out, err) = (String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap());
        let _ = writeln!(self.transcript, "$ bento-gateway {}", args.join(" "));
        self.transcript.push_str(&out);
        for line in err.lines() {
            let _ = writeln!(self.transcript, "stderr: {line}");
        }
        let _ = writeln!(self.transcript, "exit code {}\n", status as u8);
        out
    }
}

#[test]
fn the_command_line() {
    let mut terminal = Terminal::new();
    terminal.run(&["token", "create", "ci"]);
    terminal.run(&["user", "create", "--email", "ada@example.com", "--name", "Ada", "--admin"]);
    terminal.run(&["user", "invite", "ada@example.com"]);
    terminal.run(&["deployment", "add", "summary", "--upstream", "http://127.0.0.1:1", "--host", "summary.test"]);
    terminal.run(&["token", "create", "ci", "--scope", "deployment:summary", "--expires", "30d"]);
    terminal.run(&["token", "create", "ci"]);
    terminal.run(&["token", "create", "ci2", "--scope", "deployment:nowhere"]);
    let listed = terminal.run(&["token", "list", "-o", "json"]);
    let listed: serde_json::Value = serde_json::from_str(&listed).unwrap();
    let uid = listed["items"][0]["uid"].as_str().unwrap().to_owned();
    terminal.run(&["token", "rotate", &uid, "--overlap", "1h"]);
    terminal.system.set("2026-12-25T18:00:00Z");
    terminal.run(&["token", "create", "laptop", "--expires", "never", "-o", "yaml"]);
    terminal.run(&["token", "list"]);
    terminal.run(&["deployment", "list"]);
    terminal.run(&["deployment", "terminate", "summary"]);
    terminal.run(&["deployment", "remove", "summary"]);
    terminal.run(&["token", "get", &uid]);
    terminal.run(&["token", "rotate", &uid]);
    terminal.run(&["user", "disable", "ada@example.com"]);
    terminal.run(&["user", "list"]);
    assert_reference("tests/answers/cli.txt", &without_secrets(&terminal.transcript));
}

// === the management listener ===

/// A management listener on a store that was just set up, and its first token and link.
struct Served {
    runtime: Runtime,
    address: SocketAddr,
    system: Arc<FixedSystem>,
    token: String,
    invitation: String,
    _directory: tempfile::TempDir,
}

impl Served {
    fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", directory.path().join("gateway.db").display());
        let overrides = Overrides { store: Some(url), ..Overrides::default() };
        let config = config::load(&Sources { overrides, ..Sources::default() }).unwrap();
        let runtime = Runtime::new().unwrap();
        let system = Arc::new(FixedSystem::at(START));
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (token, invitation) = runtime.block_on(Self::serve(config, listener, Arc::<FixedSystem>::clone(&system)));
        Self { runtime, address, system, token, invitation, _directory: directory }
    }

    async fn serve(config: Config, listener: TcpListener, system: Arc<dyn System>) -> (String, String) {
        let store = store::open(&config.store).await.unwrap();
        let context = Context {
            store: &store,
            tokens: &config.tokens,
            declared: &Declared::default(),
            sign_on: config.management.single_sign_on(),
            actor: Actor::System,
            grantor: Grantor::Operator,
            request: None,
            system: &*system,
            now: system.now(),
        };
        let lifetime = config.management.invitation_lifetime;
        let first = bootstrap::bootstrap(&context, "default", lifetime).await.unwrap().unwrap();
        let gateway = app::gateway(&config).unwrap();
        assert!(gateway.opened.set(Arc::clone(&store)).is_ok());
        let (declared, follow_declared) = watch::channel(Declared::default());
        let follower = Follower::new(Arc::clone(&gateway.index), store, config.store.clone(), follow_declared);
        tokio::spawn(async move {
            let _declared = declared;
            follower.run().await;
        });
        gateway.index.loaded().await;
        let management = Arc::new(Management::new(gateway, config, system));
        listener.set_nonblocking(true).unwrap();
        let listener = tokio::net::TcpListener::from_std(listener).unwrap();
        let parts = Parts {
            name: "the management listener",
            socket: listener,
            router: management::router(management),
            tls: Arc::default(),
            max_connections: 100,
            times: Box::new(|| Times { header: SOON, keep_alive: SOON }),
        };
        let _running = Listener::start(parts);
        (first.token.unwrap().text.expose().to_owned(), first.invitation.expose())
    }
}

/// The answer as a reader of a review wants it: no time of day, and no length that follows from the body.
fn head(answer: &Response) -> String {
    let mut text = format!("{}\n", answer.status);
    for (name, value) in &answer.headers {
        if !["date", "content-length", "connection"].contains(&name.as_str()) {
            let _ = writeln!(text, "{name}: {value}");
        }
    }
    text
}

#[test]
fn the_management_api() {
    let served = Served::start();
    let mut transcript = String::new();
    let mut ask = |method: &str, path: &str, body: &str| {
        let length = format!("content-length: {}", body.len());
        let fields = ["content-type: application/json", &length, "connection: close"];
        let answer = Client::connect(served.address).ask(request(
            method,
            path,
            "gateway.test",
            &served.token,
            &fields,
            body.as_bytes(),
        ));
        let mut json = answer.json();
        // How long the running gateways took; there are none here, and how long it took to find that out differs.
        if let Some(took) = json.pointer_mut("/receipt/took_ms") {
            *took = 0.into();
        }
        let _ = writeln!(transcript, "{method} {path}");
        if !body.is_empty() {
            let _ = writeln!(transcript, "{body}");
        }
        let _ = writeln!(transcript, "\n{}\n{}\n", head(&answer), serde_json::to_string_pretty(&json).unwrap());
        json
    };
    ask("GET", "/api/v1/auth/current", "");
    ask("GET", "/api/v1/whoami", "");
    ask("POST", "/api/v2/deployments", r#"{"name":"summary","upstreams":["http://127.0.0.1:1"]}"#);
    let made = ask("POST", "/api/v1/api_tokens", r#"{"name":"ci","scopes":["deployment:summary"]}"#);
    let uid = made["uid"].as_str().unwrap().to_owned();
    ask("POST", "/api/v1/api_tokens", r#"{"name":"ci","scopes":["deployment:summary"]}"#);
    ask("POST", "/api/v1/api_tokens", r#"{"name":"cd","scopes":["deployment:nowhere"]}"#);
    ask("GET", "/api/v1/api_tokens", "");
    served.system.set("2026-12-25T18:00:00Z");
    ask("POST", &format!("/api/v1/api_tokens/{uid}/rotate"), "{}");
    ask("DELETE", &format!("/api/v1/api_tokens/{uid}"), "");
    ask("GET", &format!("/api/v1/api_tokens/{uid}"), "");
    ask("POST", "/api/v1/users", r#"{"email":"bob@example.com","name":"Bob"}"#);
    ask("GET", "/api/v1/users", "");
    ask("POST", "/api/v2/deployments/summary/terminate", "{}");
    ask("GET", "/api/v2/deployments", "");
    assert_reference("tests/answers/api.txt", &without_secrets(&transcript));
    drop(served.runtime);
}

#[test]
fn the_console() {
    let served = Served::start();
    let mut browser = Browser::new(served.address);
    browser.host = "console.test".to_owned();
    let mut transcript = String::new();
    let mut note = |what: &str, answer: Response| {
        let page = visible(&answer.text());
        // As for the API: how long it took to learn that no gateway runs.
        let page: Vec<&str> = page.lines().filter(|line| !line.starts_with("Applied on")).collect();
        let _ = writeln!(transcript, "{what}\n\n{}\n{}\n", head(&answer), page.join("\n"));
        answer
    };
    note("GET /", browser.get("/"));
    let welcome = browser.get(&format!("/welcome?code={}", served.invitation));
    let welcome = note("GET /welcome", welcome);
    let code = [("code", &*served.invitation), ("name", "Ada"), ("email", "ada@example.com")];
    let passwords = [("password", PASSWORD), ("password_again", PASSWORD)];
    let fields: Vec<(&str, &str)> = code.into_iter().chain(passwords).collect();
    note("POST /welcome", browser.submit(&welcome, "/welcome", &fields));
    let form = note("GET /api_tokens/new", browser.get("/api_tokens/new"));
    let fields = [("name", "ci"), ("developer", "1"), ("expires", "30")];
    note("POST /api_tokens", browser.submit(&form, "/api_tokens", &fields));
    note("GET /api_tokens", browser.get("/api_tokens"));
    note("GET /activity", browser.get("/activity"));
    note("GET /nowhere", browser.get("/nowhere"));
    assert_reference("tests/answers/console.txt", &without_secrets(&transcript));
    drop(served.runtime);
}

/// The texts of a page, a line each, without its head, styles and scripts.
fn visible(html: &str) -> String {
    let body = html.split_once("<body").map_or("", |(_, body)| body);
    let mut lines = Vec::new();
    for part in body.split('<').map(|part| part.split_once('>')) {
        let Some((tag, text)) = part else { continue };
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        if !text.is_empty() && !tag.starts_with("script") && !tag.starts_with("style") {
            lines.push(text);
        }
    }
    lines.join("\n")
}

/// Tokens without their secrets: whoever searches the project for tokens must not find one.
fn without_secrets(transcript: &str) -> String {
    let mut parts = transcript.split(PREFIX);
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let rest = part.trim_start_matches(|character: char| character.is_ascii_alphanumeric() || character == '_');
        let secret = part.len() - rest.len() == TOKEN_LEN - PREFIX.len();
        let _ = write!(out, "{PREFIX}{}", if secret { format!("[secret]{rest}") } else { part.to_owned() });
    }
    without_durations(&without_codes(&out))
}

/// Codes end with a tag, and a known browser's number is followed by one. The key of tags is each store's own.
fn without_codes(transcript: &str) -> String {
    const NAMES: [(usize, &str); 2] = [(40, "[code]"), (64, "[tag]")];
    let is_hex = |character: char| character.is_ascii_hexdigit();
    let named = |part: &str| {
        let len = part.trim_end_matches(|character| !is_hex(character)).len();
        let (_, name) = NAMES.iter().find(|(secret, _)| *secret == len)?;
        Some(format!("{name}{}", &part[len..]))
    };
    let parts = transcript.split_inclusive(|character| !is_hex(character));
    parts.map(|part| named(part).unwrap_or_else(|| part.to_owned())).collect()
}

/// How long a receipt took is the machine's to say.
fn without_durations(transcript: &str) -> String {
    const TOOK: &str = "\"took_ms\": ";
    let mut parts = transcript.split(TOOK);
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let _ = write!(out, "{TOOK}[ms]{}", part.trim_start_matches(|character: char| character.is_ascii_digit()));
    }
    out
}
