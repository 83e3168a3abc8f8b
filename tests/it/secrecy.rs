//! No token, password, pepper, cookie, query string or body reaches anything that is written down: everything that the
//! gateway and the command line say is collected at trace level and searched.

use std::{
    io::Write,
    process::{Output, Stdio},
};

use bento_gateway::system;

use crate::harness::{
    SOON,
    console::Browser,
    gateway::{Gateway, Setup, Token, deployment, free_address},
    http::{Client, request},
    metrics,
    postgres::{Cluster, PASSWORD},
    token_text::misspelt,
    upstream::Upstream,
    wait_until,
};

const HOST: &str = "a.test";
const PEPPER: &str = "PepperThatNobodyMaySee";
const CLIENT_SECRET: &str = "ClientSecretThatNobodyMaySee";
const USER_PASSWORD: &str = "PasswordThatNobodyMaySee";
const MARKERS: [&str; 6] = [
    "QueryThatNobodyMaySee",
    "CookieThatNobodyMaySee",
    "BodyThatNobodyMaySee",
    "UserinfoThatNobodyMaySee",
    "BasicThatNobodyMaySee",
    "HeaderThatNobodyMaySee",
];

struct Scene {
    gateway: Gateway,
    _upstream: Upstream,
    /// What was said, by whom.
    said: Vec<(String, String)>,
    secrets: Vec<String>,
}

impl Scene {
    fn new(format: &str, store: Option<&str>) -> Self {
        let upstream = Upstream::named("a");
        let both = format!("{}\n{}", deployment("a", upstream.address, ""), deployment("dead", free_address(), ""));
        let mut setup = Setup::new(&both)
            .env("LOG__FILTER", "trace")
            .env("LOG__FORMAT", format)
            .env("TOKENS__PEPPER", PEPPER)
            .env("MANAGEMENT__OIDC__CLIENT_SECRET", CLIENT_SECRET);
        if let Some(url) = store {
            setup = setup.env("STORE__URL", url);
        }
        let secrets = MARKERS
            .iter()
            .chain(&[PEPPER, CLIENT_SECRET, USER_PASSWORD, PASSWORD])
            .map(|text| (*text).to_owned())
            .collect();
        Self { gateway: setup.start(), _upstream: upstream, said: Vec::new(), secrets }
    }

    /// Both halves of a token are secrets of their own.
    fn keep_secret(&mut self, token: &str) {
        self.secrets.extend([token[4..16].to_owned(), token[17..60].to_owned()]);
    }

    fn token(&mut self, scopes: &[&str], arguments: &[&str]) -> Token {
        let token = self.gateway.new_token(scopes, arguments);
        self.keep_secret(&token.text);
        self.gateway.await_token(&token);
        token
    }

    /// Runs the CLI and keeps all that it says.
    fn cli(&mut self, arguments: &[&str]) -> Output {
        let output = self.gateway.cli_command(arguments).env("RUST_LOG", "trace").output().unwrap();
        for (stream, bytes) in [("stdout", &output.stdout), ("stderr", &output.stderr)] {
            self.said.push((format!("{stream} of {arguments:?}"), String::from_utf8_lossy(bytes).into_owned()));
        }
        output
    }

    fn ask(&self, token: &str, fields: &[&str]) -> (u16, String) {
        self.ask_at(HOST, token, fields)
    }

    fn ask_at(&self, host: &str, token: &str, fields: &[&str]) -> (u16, String) {
        let path = format!("/x?token={}", MARKERS[0]);
        let cookie = format!("cookie: session={}", MARKERS[1]);
        let secret = format!("x-secret: {}", MARKERS[5]);
        let all: Vec<&str> =
            [cookie.as_str(), secret.as_str(), "content-length: 20"].iter().chain(fields).copied().collect();
        let answer = self.gateway.connect().ask(request("POST", &path, host, token, &all, MARKERS[2].as_bytes()));
        (answer.status, answer.text())
    }

    fn act(&mut self) {
        let good = self.token(&["deployment:a", "deployment:dead"], &[]);
        let other = self.token(&["api"], &[]);
        let gone = self.token(&["deployment:a"], &[]);
        let strange = system::new_token_text().unwrap();
        let malformed = misspelt(&good.text);
        self.keep_secret(strange.expose());

        assert_eq!(self.ask(&good.text, &[]).0, 200);
        self.gateway.revoke(&gone);
        wait_until("it is revoked", SOON, || self.ask(&gone.text, &[]).0 == 401);
        let basic = format!("authorization: Basic {}", MARKERS[4]);
        let userinfo = format!("GET http://user:{}@{HOST}/ HTTP/1.1\r\nhost: {HOST}\r\n\r\n", MARKERS[3]);
        let mut answers = vec![
            self.ask(&other.text, &[]),
            self.ask(&gone.text, &[]),
            self.ask(strange.expose(), &[]),
            self.ask(&malformed, &[]),
            self.ask(&good.text, &[&format!("authorization: Bearer {}", good.text)]),
            self.ask(&good.text, &["content-type: application/pickle"]),
            self.ask(&good.text, &[&basic]),
        ];
        let answer = self.gateway.ask(&userinfo);
        answers.push((answer.status, answer.text()));
        for (status, text) in answers {
            assert!((400..500).contains(&status), "{status}");
            self.said.push(("an answer".to_owned(), text));
        }
        // An upstream that is not there makes the gateway talk of the connection.
        let (status, text) = self.ask_at("dead.test", &good.text, &[]);
        assert_eq!(status, 502);
        self.said.push(("an answer".to_owned(), text));

        let ada = ["user", "create", "--email", "ada@example.com", "--name", "Ada", "--password-stdin"];
        let mut command = self.gateway.cli_command(&ada);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(format!("{USER_PASSWORD}\n").as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        self.said.push((
            "user create".to_owned(),
            String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned(),
        ));

        for verb in [
            &["token", "list"][..],
            &["token", "get", &good.uid],
            &["user", "list"],
            &["deployment", "list"],
            &["config", "print"],
            &["config", "check"],
        ] {
            assert!(self.cli(verb).status.success(), "{verb:?}");
        }
        assert!(!self.cli(&["token", "get", strange.expose()]).status.success());
        assert!(
            !self
                .cli(&["token", "create", "x", "--store", &format!("postgres://gateway:{PASSWORD}@127.0.0.1:1/x")])
                .status
                .success()
        );
    }

    /// What people and the stock client send to the management listener.
    fn manage(&mut self) {
        let admin = self.token(&["api"], &[]).text;
        let leaked = self.token(&["deployment:a"], &[]).text;
        let strange = system::new_token_text().unwrap();
        self.keep_secret(strange.expose());
        let json = |body: &serde_json::Value| (body.to_string(), "application/json");
        let code = self.ask_management("GET", "/api/v1/auth/code", "", &json(&serde_json::Value::Null)).1;
        let code = serde_json::from_str::<serde_json::Value>(&code).unwrap()["code"].as_str().unwrap().to_owned();
        self.secrets.push(code.clone());
        let user = serde_json::json!({ "email": "eve@example.com", "name": "Eve", "password": USER_PASSWORD });
        let unreadable = serde_json::json!({ "email": 7, "name": "x", "password": USER_PASSWORD });
        let query = format!("/api/v1/api_tokens?search={}", MARKERS[0]);
        let explanations = "/api/v1/explanations";
        let explained = |key: &str, text: &str| {
            let mut question = serde_json::json!({ "url": format!("http://{HOST}/") });
            question[key] = text.into();
            question
        };
        let in_url = format!("http://{HOST}/?token={}", strange.expose());
        let asked = [
            ("GET", query.clone(), admin.as_str(), json(&serde_json::Value::Null), 200),
            ("GET", query, strange.expose(), json(&serde_json::Value::Null), 401),
            ("GET", format!("/api/v1/api_tokens/{}", strange.expose()), &admin, json(&serde_json::Value::Null), 404),
            ("GET", format!("/api/v1/{}", strange.expose()), &admin, json(&serde_json::Value::Null), 404),
            ("POST", "/api/v1/users".to_owned(), &admin, json(&user), 200),
            ("POST", "/api/v1/users".to_owned(), &admin, json(&unreadable), 400),
            ("POST", explanations.to_owned(), &admin, json(&explained("token_text", &leaked)), 200),
            ("POST", explanations.to_owned(), &admin, json(&explained("token_text", strange.expose())), 200),
            // Where a name belongs, and where a URL does.
            ("POST", explanations.to_owned(), &admin, json(&explained("token", &leaked)), 400),
            ("POST", explanations.to_owned(), &admin, json(&explained("url", &in_url)), 200),
            ("POST", "/api/v1/leaked_tokens".to_owned(), "", json(&serde_json::json!({ "tokens": [leaked] })), 200),
        ];
        for (method, path, token, body, expected) in asked {
            let (status, text) = self.ask_management(method, &path, token, &body);
            assert_eq!(status, expected, "{method} {path}: {text}");
            // The page shows its own code, to whoever has it.
            self.said.push((format!("an answer to {method} {path}"), text.replace(&code, "")));
        }
        self.browse(&code);
        let (status, claimed) =
            self.ask_management("GET", &format!("/api/v1/auth/token?code={code}"), "", &json(&serde_json::Value::Null));
        let token = serde_json::from_str::<serde_json::Value>(&claimed).unwrap()["token"].as_str().unwrap().to_owned();
        assert_eq!(status, 200);
        self.keep_secret(&token);
        self.said.push((
            "audit".to_owned(),
            self.ask_management("GET", "/api/v1/api_tokens", &token, &json(&serde_json::Value::Null)).1,
        ));
    }

    /// What people do at the console, and at a Deployment in a browser.
    fn browse(&mut self, code: &str) {
        let good = self.token(&["deployment:a"], &[]);
        let mut ada = Browser::new(self.gateway.management);
        ada.cookies.insert("session".to_owned(), MARKERS[1].to_owned());
        let page = ada.get("/sign-in");
        let fields = [("email", "ada@example.com"), ("password", "WrongPasswordThatNobodyMaySee")];
        self.said.push(("a refused sign-in".to_owned(), ada.submit(&page, "/sign-in", &fields).text()));
        assert_eq!(ada.sign_in("ada@example.com", USER_PASSWORD).status, 303);
        let approving = ada.get(&format!("/api_tokens?code={code}"));
        let approved = ada.submit(&approving, "/api_tokens/approve", &[("code", code), ("decision", "approve")]);
        assert_eq!(approved.status, 200, "{}", approved.text());

        let mut visitor = Browser::new(self.gateway.proxy);
        visitor.host = HOST.to_owned();
        let signed_in = visitor.post("/-/sign-in", &[("token", &good.text), ("to", "/docs")]);
        assert_eq!(signed_in.status, 303, "{}", signed_in.text());
        let session = visitor.cookies["bgw-session-a"].clone();
        assert_eq!(visitor.get("/docs").status, 200);
        let path = format!("/{session}");
        assert_eq!(visitor.get(&path).status, 400);
        let gone = visitor.ask("GET", "/-/console?to=/", &[], "");
        assert_eq!(gone.status, 303, "{}", gone.text());
        let handed = visitor.get(&format!("/-/hand-over?code={code}&to=/"));
        self.said.push(("a refused hand-over".to_owned(), handed.text()));
        self.keep_secret(&session);
        let invitation = self.gateway.cli(&["user", "invite", "ada@example.com"]);
        let invitation = invitation["link"].as_str().unwrap().split("code=").nth(1).unwrap().to_owned();
        self.secrets.push("WrongPasswordThatNobodyMaySee".to_owned());
        self.secrets.extend(ada.cookies.into_values().chain(visitor.cookies.into_values()).chain([invitation]));
        for page in ["/", "/activity", "/api_tokens"] {
            let mut root = Browser::new(self.gateway.management);
            assert_eq!(root.sign_in("ada@example.com", USER_PASSWORD).status, 303);
            let text = root.get(page).text();
            // A form holds what ties it to its browser.
            self.said.push((format!("the page {page}"), text));
        }
    }

    fn ask_management(&self, method: &str, path: &str, token: &str, (body, kind): &(String, &str)) -> (u16, String) {
        let token = if token.is_empty() { String::new() } else { format!("x-yatai-api-token: {token}\r\n") };
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: gateway\r\ncontent-type: {kind}\r\ncontent-length: {}\r\n{token}\
             cookie: session={}\r\nconnection: close\r\n\r\n{body}",
            body.len(),
            MARKERS[1]
        );
        let answer = Client::connect(self.gateway.management).ask(request);
        (answer.status, answer.text())
    }

    fn search(mut self) -> Vec<String> {
        let scrape = metrics::ask(self.gateway.telemetry, "GET", "/metrics", "").text();
        assert!(scrape.contains("token_invalid") && scrape.contains("dead"), "{scrape}");
        self.said.push(("a scrape".to_owned(), scrape));
        assert!(self.gateway.terminate().success());
        self.said.push(("the gateway's stdout".to_owned(), self.gateway.stdout().join("\n")));
        let log = self.gateway.stderr().join("\n");
        assert!(log.contains("DEBUG"), "the search is worth something only if everything is said");
        self.said.push(("the gateway's stderr".to_owned(), log));
        let mut leaks = Vec::new();
        for secret in &self.secrets {
            // What the caller types wrong at the command line is repeated to the caller alone.
            let said = self.said.iter().filter(|(who, text)| text.contains(secret) && !who.contains(secret.as_str()));
            leaks.extend(said.map(|(who, _)| format!("{secret} in {who}")));
        }
        leaks.extend(
            self.said.iter().filter(|(_, text)| text.contains("$argon2")).map(|(who, _)| format!("a hash in {who}")),
        );
        leaks
    }
}

#[test]
fn nothing_that_is_said_holds_a_secret_on_sqlite() {
    for format in ["json", "pretty"] {
        let mut scene = Scene::new(format, None);
        scene.act();
        scene.manage();
        let store =
            ["gateway.db", "gateway.db-wal"].map(|name| std::fs::read(scene.gateway.path(name)).unwrap_or_default());
        for secret in scene.secrets.iter().filter(|secret| secret.len() != 12) {
            let stored = store.iter().any(|bytes| bytes.windows(secret.len()).any(|part| part == secret.as_bytes()));
            assert!(!stored, "{secret} stands in the store in clear");
        }
        assert_eq!(scene.search(), Vec::<String>::new(), "{format}");
    }
}

#[test]
fn nothing_that_is_said_holds_a_secret_on_postgres() {
    let cluster = Cluster::start();
    let url = cluster.database_url();
    let mut scene = Scene::new("json", Some(&url));
    scene.act();
    scene.manage();
    // What is said about a store that goes away.
    cluster.stop();
    scene.gateway.await_said(&["cannot be followed"]);
    assert_eq!(scene.search(), Vec::<String>::new());
}
