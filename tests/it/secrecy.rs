//! Nothing secret in anything that anybody can read: every output of a gateway that logs all it can, the command line,
//! the audit trail and the store.

use std::{
    fs,
    io::Write,
    process::{Command, Stdio},
    thread::sleep,
    time::Duration,
};

use crate::harness::{
    SOON,
    gateway::{Gateway, Setup, Token, deployment, free_address},
    http::{get, request},
    postgres::{Cluster, PASSWORD},
    stores::{Kind, lookup_id, new_database, over_both_stores, secret_part, texts, unknown_token, with_another_secret},
    upstream::{Upstream, answer},
    wait_for, wait_until,
};

over_both_stores!(nothing_leaks_in_json, nothing_leaks_in_readable_lines);

const PEPPER: &str = "pepper-MARK0";
const USER_PASSWORD: &str = "user password MARK1 long enough";
const SHORT_PASSWORD: &str = "pw-MARK2";
const QUERY: &str = "query-MARK3";
const COOKIE: &str = "cookie-MARK4";
const BODY: &str = "body-MARK5";
const ANSWER: &str = "answer-MARK6";
const BASIC: &str = "basicMARK7";
const FIELD: &str = "field-MARK8";
const FRAGMENT: &str = "bgw_malformedMARK9";
const USER_INFO: &str = "userinfo-MARK10";
const WEBSOCKET: &str = "bgw_websocketMARK11";
const CONFIGURED: &str = "configured-MARK12";
const UPSTREAM_COOKIE: &str = "set-cookie-MARK13";

fn nothing_leaks_in_json(kind: Kind) {
    nothing_leaks(kind, "json");
}

fn nothing_leaks_in_readable_lines(kind: Kind) {
    nothing_leaks(kind, "pretty");
}

/// Where secrets may turn up.
struct Sinks(Vec<(String, String)>);

/// What they are.
struct Secrets(Vec<(String, String)>);

impl Sinks {
    fn add(&mut self, name: impl Into<String>, text: impl AsRef<[u8]>) {
        self.0.push((name.into(), String::from_utf8_lossy(text.as_ref()).into_owned()));
    }

    /// Runs a command; what it says goes to the sinks, but for a token that it is there to show.
    fn run(&mut self, mut command: Command, what: &str, stdin: &str) -> String {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let _ = child.stdin.take().unwrap().write_all(stdin.as_bytes());
        let output = child.wait_with_output().unwrap();
        self.add(format!("standard error of {what}"), &output.stderr);
        let out = String::from_utf8(output.stdout).unwrap();
        // The one line with the token, as it is meant: `"token": "bgw_…"`.
        let rest: Vec<&str> = out.lines().filter(|line| !line.trim_start().starts_with("\"token\": \"bgw_")).collect();
        self.add(format!("standard output of {what}"), rest.join("\n"));
        out
    }
}

impl Secrets {
    fn add(&mut self, name: impl Into<String>, text: &str) {
        assert!(text.len() >= 6, "too short to be looked for: {text:?}");
        self.0.push((name.into(), text.to_owned()));
    }

    fn add_token(&mut self, name: &str, text: &str) {
        self.add(format!("the text of {name}"), text);
        self.add(format!("the lookup id of {name}"), lookup_id(text));
        self.add(format!("the secret of {name}"), secret_part(text));
    }

    /// Every leak at once: one that hides another costs a run.
    fn are_not_in(&self, sinks: &Sinks) {
        let mut leaks = Vec::new();
        for (name, secret) in &self.0 {
            for (sink, text) in &sinks.0 {
                // Also as the query of a URL would have it.
                for form in [secret.clone(), secret.replace(' ', "%20"), secret.replace(' ', "+")] {
                    if let Some(line) = text.lines().find(|line| line.contains(&form)) {
                        leaks.push(format!("{name} is in {sink}:\n    {line}"));
                        break;
                    }
                }
            }
        }
        assert!(leaks.is_empty(), "{} leaks:\n{}", leaks.len(), leaks.join("\n"));
    }
}

fn nothing_leaks(kind: Kind, format: &str) {
    let (mut sinks, mut secrets) = (Sinks(Vec::new()), Secrets(Vec::new()));
    for (name, text) in [
        ("the pepper", PEPPER),
        ("the user's password", USER_PASSWORD),
        ("a password that was refused", SHORT_PASSWORD),
        ("a value of the query", QUERY),
        ("a cookie", COOKIE),
        ("the request's body", BODY),
        ("the answer's body", ANSWER),
        ("a basic credential", BASIC),
        ("a header field", FIELD),
        ("a malformed token", FRAGMENT),
        ("the userinfo of a target", USER_INFO),
        ("a token in Sec-WebSocket-Protocol", WEBSOCKET),
        ("a secret in the configuration", CONFIGURED),
        ("the upstream's cookie", UPSTREAM_COOKIE),
        ("the database's password", PASSWORD),
    ] {
        secrets.add(name, text);
    }

    let cluster = Cluster::start();
    let upstream =
        Upstream::answering(|_| answer(200, &[&format!("set-cookie: s={UPSTREAM_COOKIE}")], ANSWER.as_bytes()));
    let nobody = free_address();
    let config = deployment("model", upstream.address, "")
        + &deployment("small", upstream.address, "max_body_bytes = 4\n")
        + &deployment("dead", nobody, "")
        + &deployment("open", upstream.address, "protected = false\n");
    let setup = Setup::new(&config)
        .env("LOG__FILTER", "trace")
        .env("LOG__FORMAT", format)
        .env("TOKENS__PEPPER", PEPPER)
        .env("TOKENS__FIRST_TOKEN", "true")
        .env("TOKENS__USAGE_INTERVAL", "100ms");
    let setup = match kind {
        Kind::Sqlite => setup,
        Kind::Postgres => setup.env("STORE__URL", &new_database(&cluster)).env("STORE__ACQUIRE_TIMEOUT", "300ms"),
    };
    let mut gateway = setup.start();
    let url = gateway.setting("STORE__URL").to_owned();
    let first = wait_for("the first token", SOON, || {
        gateway.stdout().iter().map(|line| line.trim().to_owned()).find(|line| line.starts_with("bgw_"))
    });
    secrets.add_token("the first token", &first);

    let tokens = use_the_command_line(&gateway, &mut sinks, &mut secrets);
    call(&gateway, &tokens, &mut sinks, &mut secrets);
    call_by_http2(&gateway, &tokens.good, &mut sinks);
    configure_badly(&gateway, &config, &mut sinks);
    if kind == Kind::Postgres {
        lose_the_store(&gateway, &cluster, &tokens, &mut sinks);
    }
    // Its hashes are secrets, too, outside the store.
    let hashes = [
        texts(&url, "SELECT hash FROM token_secrets"),
        texts(&url, "SELECT password_hash FROM users WHERE password_hash IS NOT NULL"),
    ];
    assert!(hashes[0].len() >= 6 && hashes[1].len() == 1, "{hashes:?}");
    hashes.iter().flatten().for_each(|hash| {
        secrets.add("a stored hash", hash);
        secrets.add("the end of a stored hash", hash.rsplit('$').next().unwrap());
    });
    let trail = "SELECT action || ' ' || target || ' ' || CAST(detail AS TEXT) FROM audit_events";
    let trail = texts(&url, trail).join("\n");
    for action in ["token.created", "token.revoked", "token.rotated", "user.created", "user.password_set"] {
        assert!(trail.contains(action), "{action} was to be tried: {trail}");
    }
    sinks.add("the audit trail", &trail);

    assert!(gateway.terminate().success());
    assert!(!gateway.stderr().iter().any(|line| line.contains("panicked")), "the scenario is not to panic");
    sinks.add("the gateway's standard error", gateway.stderr().join("\n"));
    // The token itself, and the line to paste.
    let stdout = gateway.stdout().join("\n");
    assert_eq!(stdout.matches(&first).count(), 2, "the token and the curl line, once each: {stdout}");
    sinks.add("the gateway's standard output", stdout.replace(&first, "…"));

    // What was to be logged was logged, so that its absence means something.
    let log = gateway.stderr().join("\n");
    for expected in ["TRACE", "/asked", "token_revoked", "token_expired", "token_malformed", "credential_repeated"] {
        assert!(log.contains(expected), "{expected:?} is not in the log: the scenario is not what it should be");
    }
    assert!(log.lines().count() > 500, "everything is logged");
    secrets.are_not_in(&sinks);
    the_store_holds_none(kind, &gateway, &url, &secrets);
}

struct Tokens {
    good: String,
    expired: String,
    revoked: String,
    rotated: String,
}

fn use_the_command_line(gateway: &Gateway, sinks: &mut Sinks, secrets: &mut Secrets) -> Tokens {
    let mut create = |sinks: &mut Sinks, name: &str, further: &[&str]| {
        let arguments = [&["token", "create", name, "--scope", "deployment:*", "-o", "json"], further].concat();
        let out = sinks.run(gateway.command(&arguments), "token create", "");
        let answer: serde_json::Value = serde_json::from_str(&out).unwrap();
        let field = |name: &str| answer[name].as_str().unwrap().to_owned();
        let token = Token { text: field("token"), uid: field("uid") };
        secrets.add_token(name, &token.text);
        token
    };
    let good = create(sinks, "a good token", &[]);
    let expired = create(sinks, "an expired token", &["--expires", "1s"]);
    let revoked = create(sinks, "a revoked token", &[]);
    let rotated = create(sinks, "a rotated token", &[]);
    let rotate = gateway.command(&["token", "rotate", &rotated.uid, "--overlap", "0s", "-o", "json"]);
    let out = sinks.run(rotate, "token rotate", "");
    let answer: serde_json::Value = serde_json::from_str(&out).unwrap();
    secrets.add_token("a token's new secret", answer["token"].as_str().unwrap());

    let user = ["user", "create", "--email", "u@example.com", "--name", "U"];
    sinks.run(gateway.command(&user), "user create", "");
    let set = ["user", "set-password", "u@example.com", "--stdin"];
    sinks.run(gateway.command(&set), "user set-password", &format!("{USER_PASSWORD}\n"));
    sinks.run(gateway.command(&set), "user set-password with a short one", &format!("{SHORT_PASSWORD}\n"));
    let long = SHORT_PASSWORD.repeat(600);
    sinks.run(gateway.command(&set), "user set-password with a long one", &format!("{long}\n"));
    for format in ["table", "json", "yaml"] {
        for verb in [&["token", "list"][..], &["user", "list"], &["deployment", "list"], &["token", "get", &good.uid]] {
            let name = format!("{} -o {format}", verb.join(" "));
            sinks.run(gateway.command(&[verb, &["-o", format]].concat()), &name, "");
        }
    }
    sinks.run(gateway.command(&["token", "revoke", &revoked.uid]), "token revoke", "");
    sinks.run(gateway.command(&["token", "create", "a good token"]), "a token create that is refused", "");
    sinks.run(gateway.command(&["config", "print"]), "config print", "");
    sinks.run(gateway.command(&["config", "check"]), "config check", "");
    sinks.run(gateway.command(&["healthcheck"]), "healthcheck", "");
    sleep(Duration::from_secs(1));
    Tokens { good: good.text, expired: expired.text, revoked: revoked.text, rotated: rotated.text }
}

/// Every row of the decision table, with secrets wherever a request can carry them.
fn call(gateway: &Gateway, tokens: &Tokens, sinks: &mut Sinks, secrets: &mut Secrets) {
    wait_until("the revocation is heard of", SOON, || gateway.code_of(&tokens.revoked) == "token_revoked");
    let (unknown, wrong) = (unknown_token(), with_another_secret(&tokens.good));
    secrets.add_token("an unknown token", &unknown);
    secrets.add("a wrong secret", secret_part(&wrong));
    let target = format!("/asked?api_key={QUERY}");
    let cookie = format!("cookie: session={COOKIE}");
    let field = format!("x-api-key: {FIELD}");
    let length = format!("content-length: {}", BODY.len());
    let fields = [cookie.as_str(), &field, &length];
    for host in ["model.test", "small.test", "dead.test", "open.test", "unknown.test"] {
        for token in [&tokens.good, &unknown, &wrong, &tokens.expired, &tokens.revoked, &tokens.rotated, FRAGMENT] {
            let answer = gateway.connect().ask(request("POST", &target, host, token, &fields, BODY.as_bytes()));
            // The gateway's own words only.
            if answer.status >= 400 {
                sinks.add(format!("the body of a {}", answer.status), &answer.body);
                sinks.add(format!("the head of a {}", answer.status), format!("{:?}", answer.headers));
            }
        }
    }
    let good = &tokens.good;
    let odd = [
        format!("GET {target} HTTP/1.1\r\nhost: model.test\r\nauthorization: Basic {BASIC}\r\n\r\n"),
        format!(
            "GET {target} HTTP/1.1\r\nhost: model.test\r\nauthorization: Bearer {good}\r\nauthorization: Bearer {good}\r\n\r\n"
        ),
        format!("GET {target} HTTP/1.1\r\nhost: model.test\r\nauthorization: Bearer {good} {good}\r\n\r\n"),
        format!("GET {target} HTTP/1.1\r\nhost: model.test\r\nx-yatai-api-token: {good}\r\n\r\n"),
        format!("GET http://u:{USER_INFO}@model.test/ HTTP/1.1\r\nhost: model.test\r\n\r\n"),
        format!("GET / HTTP/1.1\r\nhost: u:{USER_INFO}@model.test\r\n\r\n"),
        format!("GET {target}#{QUERY} HTTP/1.1\r\nhost: model.test\r\nauthorization: Bearer {good}\r\n\r\n"),
        format!("GET /../{QUERY}/.. HTTP/1.1 {good}\r\nhost: model.test\r\n\r\n"),
        // Not HTTP at all, with a token in every place.
        format!("{good} {good}\r\nauthorization {good}\r\n\r\n"),
        format!("GET / HTTP/1.1\r\nhost: model.test\r\nauthorization\u{0}: Bearer {good}\r\n\r\n"),
        format!(
            "GET / HTTP/1.1\r\nhost: model.test\r\nx-big: {}\r\nauthorization: Bearer {good}\r\n\r\n",
            FIELD.repeat(9000)
        ),
        format!(
            "POST / HTTP/1.1\r\nhost: model.test\r\nauthorization: Bearer {good}\r\ntransfer-encoding: chunked\r\n\r\n{BODY}\r\n"
        ),
        format!(
            "GET /ws HTTP/1.1\r\nhost: model.test\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
             sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
             sec-websocket-protocol: bearer, {WEBSOCKET}\r\n\r\n"
        ),
    ];
    for text in odd {
        let mut caller = gateway.connect();
        caller.send(&text);
        if let Ok(answer) = caller.try_answer(false)
            && answer.status >= 400
        {
            sinks.add(format!("the body of a {} to an odd request", answer.status), &answer.body);
            sinks.add(format!("the head of a {} to an odd request", answer.status), format!("{:?}", answer.headers));
        }
    }
    // One that leaves in the middle of its body.
    let mut caller = gateway.connect();
    let length = ["content-length: 100000"];
    caller.send(request("POST", &target, "model.test", good, &length, BODY.as_bytes()));
    caller.leave();
}

fn call_by_http2(gateway: &Gateway, good: &str, sinks: &mut Sinks) {
    for token in [good, FRAGMENT] {
        let mut curl = Command::new("curl");
        curl.args(["-s", "--http2-prior-knowledge", "-o", "/dev/null", "-w", "%{http_version}", "-d", BODY]);
        curl.args(["-H", &format!("authorization: Bearer {token}"), "-H", "host: model.test"]);
        curl.args(["-b", &format!("session={COOKIE}"), "-H", &format!("x-api-key: {FIELD}")]);
        curl.arg(format!("http://{}/asked?api_key={QUERY}", gateway.proxy));
        let version = sinks.run(curl, "curl", "");
        assert_eq!(version, "2", "these tests need a curl with HTTP/2");
    }
}

/// Mistakes that people make where secrets are near.
fn configure_badly(gateway: &Gateway, good: &str, sinks: &mut Sinks) {
    let files = [
        format!("[tokens]\npepper = \"{CONFIGURED}\n"),
        format!("[tokens]\npepper = [\"{CONFIGURED}\"]\n"),
        format!("[tokens]\npeper = \"{CONFIGURED}\"\n"),
        format!("[token]\npepper = \"{CONFIGURED}\"\n"),
        format!("pepper = \"{CONFIGURED}\"\n"),
        format!("[store]\nurl = \"mysql://u:{CONFIGURED}@h/d\"\n"),
        format!("[store]\nurl = \"postgres:/u:{CONFIGURED}@h/d\"\n"),
        format!("[store]\nurl = \"postgres://u:{CONFIGURED}@h:port/d\"\n"),
        format!("[store]\nurl = [\"postgres://u:{CONFIGURED}@h/d\"]\n"),
        format!("[store]\nuri = \"postgres://u:{CONFIGURED}@h/d\"\n"),
        format!("[store]\nurl = \"postgres://u:{CONFIGURED}@h/d\" oh\n"),
        format!("[deployments.x]\nupstream = \"http://u:{CONFIGURED}@h:1\"\n"),
        format!("[deployments.x]\nupstream = \"ftp://u:{CONFIGURED}@h:1\"\n"),
        format!("[deployments.x]\nupstream = \"u:{CONFIGURED}@h:1\"\n"),
        format!("[deployments.x]\nupstreams = [\"http://h:1\", \"http://u:{CONFIGURED}@h:1\"]\n"),
    ];
    for (number, text) in files.iter().enumerate() {
        let name = format!("bad-{number}.toml");
        fs::write(gateway.path(&name), text).unwrap();
        // Without the environment, which would win.
        for verb in ["check", "print"] {
            let mut plain = Command::new(gateway.command(&[]).get_program());
            plain.current_dir(gateway.path("")).env_clear().args(["--config", &name, "config", verb]);
            sinks.run(plain, &format!("config {verb} of {text:?} with its secret").replace(CONFIGURED, "…"), "");
        }
        // And to the running gateway.
        fs::write(gateway.path("gateway.toml"), good.to_owned() + text).unwrap();
        gateway.signal("HUP");
        let said = |line: &&String| line.contains("was not reloaded") || line.contains("configuration was reloaded");
        let reloads = || gateway.stderr().iter().filter(said).count();
        wait_until("the gateway has read it", SOON, || reloads() > number);
    }
    fs::write(gateway.path("gateway.toml"), good).unwrap();

    for (name, value) in [
        ("BENTO_GATEWAY__TOKENS__PEPER", CONFIGURED.to_owned()),
        ("BENTO_GATEWAY__STORE__URI", format!("postgres://u:{CONFIGURED}@h/d")),
        ("DATABASE_URL", format!("mysql://u:{CONFIGURED}@h/d")),
        ("BENTO_GATEWAY__STORE__URL", format!("mysql://u:{CONFIGURED}@h/d")),
        ("BENTO_GATEWAY__STORE__URL", format!("postgres://u:{CONFIGURED}@{}/d", free_address())),
        ("BENTO_GATEWAY__STORE__URL", format!("postgres://u:{CONFIGURED}@no such host/d")),
        ("BENTO_GATEWAY__DEPLOYMENTS__X__UPSTREAM", format!("http://u:{CONFIGURED}@h:1")),
    ] {
        for arguments in [&["config", "check"][..], &["config", "print"], &["token", "list"]] {
            let mut command = Command::new(gateway.command(&[]).get_program());
            command.env_clear().env("HOME", gateway.path("")).current_dir(gateway.path(""));
            command.env(name, &value).args(arguments);
            sinks.run(command, &format!("{} with a secret in {name}", arguments.join(" ")), "");
        }
    }
    let url = format!("postgres://u:{CONFIGURED}@{}/d", free_address());
    sinks.run(gateway.command(&["--store", &url, "token", "list"]), "token list --store", "");
    let flag = format!("x=http://u:{CONFIGURED}@h:1");
    sinks.run(gateway.command(&["serve", "--deployment", &flag]), "serve --deployment", "");
    // `deployment add --upstream` is not tried: clap repeats to people what they have just typed.
}

fn lose_the_store(gateway: &Gateway, cluster: &Cluster, tokens: &Tokens, sinks: &mut Sinks) {
    for (fault, end) in
        [(Cluster::kill as fn(&Cluster), Cluster::start_again as fn(&Cluster)), (Cluster::pause, Cluster::resume)]
    {
        fault(cluster);
        let ask = |token: &str| gateway.ask(&get("model.test", "/asked", token));
        wait_until("the gateway has noticed", SOON, || ask(&unknown_token()).status == 503);
        let refused = ask(&unknown_token());
        sinks.add("the body of a 503", &refused.body);
        ask(&tokens.good);
        sinks.run(gateway.command(&["token", "create", "x"]), "token create without a store", "");
        end(cluster);
        wait_until("the gateway has recovered", SOON, || ask(&unknown_token()).status == 401);
    }
}

/// A copy of it authenticates nobody.
fn the_store_holds_none(kind: Kind, gateway: &Gateway, url: &str, secrets: &Secrets) {
    let mut sinks = Sinks(Vec::new());
    match kind {
        Kind::Sqlite => {
            for name in ["gateway.db", "gateway.db-wal"] {
                if let Ok(bytes) = fs::read(gateway.path(name)) {
                    // A line for each run of text, for the message of a failure.
                    sinks.add(format!("the file {name}"), bytes);
                }
            }
        }
        Kind::Postgres => {
            let tables = "SELECT table_name::text FROM information_schema.tables WHERE table_schema = 'public'";
            for table in texts(url, tables) {
                let rows = texts(url, &format!("SELECT CAST(t AS TEXT) FROM \"{table}\" t"));
                sinks.add(format!("the table {table}"), rows.join("\n"));
            }
        }
    }
    assert!(sinks.0.iter().any(|(_, text)| text.contains("a good token")), "the dump is not empty");
    // Lookup ids and hashes are what the store is for.
    let clear = secrets.0.iter().filter(|(name, _)| !name.contains("lookup id") && !name.contains("hash"));
    Secrets(clear.cloned().collect()).are_not_in(&sinks);
}
