//! What the commands do and say, and how they end.

use std::{
    collections::BTreeSet,
    fs,
    io::{Read, Write},
    net::TcpListener,
    process::{Command, Stdio},
};

use crate::harness::{commands::CommandLine, snapshot::assert_reference};

#[test]
fn the_reference_of_commands_is_true() {
    assert_reference("docs/cli.md", &bento_gateway::cli::reference());
}

#[test]
fn a_token_from_birth_to_end() {
    let gateway = CommandLine::with_admin();
    let created =
        gateway.json(&["token", "create", " ci ", "--scope", "deployment:*", "--expires", "30d", "--description", "x"]);
    let text = created["token"].as_str().unwrap();
    assert!(text.starts_with("bgw_") && text.len() == 66);
    assert_eq!((&created["name"], &created["status"]), (&"ci".into(), &"active".into()));
    assert_eq!(created["owner_email"], "ada@example.com");
    assert_eq!(created["scopes"], serde_json::json!(["deployment:*"]));
    let uid = created["uid"].as_str().unwrap();

    let listed = gateway.json(&["token", "list"]);
    assert_eq!((&listed["total"], &listed["items"][0]["uid"]), (&1.into(), &uid.into()));
    assert!(!listed.to_string().contains("bgw_"));

    let rotated = gateway.json(&["token", "rotate", uid, "--overlap", "1h"]);
    assert_eq!(rotated["uid"], uid);
    assert_ne!(rotated["token"], created["token"]);

    assert_eq!(gateway.json(&["token", "revoke", uid])["status"], "revoked");
    assert_eq!(gateway.json(&["token", "revoke", uid])["status"], "revoked");
    assert_eq!(gateway.json(&["token", "get", uid])["status"], "revoked");
    gateway.refused(&["token", "rotate", uid], 4, &["is revoked", "hint: create a new one"]);
}

#[test]
fn the_text_is_shown_once_with_a_sentence() {
    let gateway = CommandLine::with_admin();
    let run = gateway.run(&["token", "create", "ci"]);
    assert_eq!(run.code, 0);
    assert!(run.out.contains("token        bgw_") && run.out.contains("scopes       api"), "{}", run.out);
    assert!(run.err.contains("not shown again"), "{}", run.err);
    let uid = run.out.lines().next().unwrap().split_whitespace().nth(1).unwrap().to_owned();
    let shown = gateway.run(&["token", "get", &uid]).out;
    assert!(!shown.contains("bgw_") && shown.contains("ada@example.com"), "{shown}");
    let yaml = gateway.run(&["token", "get", &uid, "-o", "yaml"]).out;
    assert!(yaml.contains("name: ci"), "{yaml}");
}

#[test]
fn what_a_token_cannot_be() {
    let gateway = CommandLine::with_admin();
    gateway.write("short.toml", "[tokens]\nmax_lifetime = \"10d\"\ndefault_lifetime = \"1d\"\n");
    let unknown = "0198f1d2-0000-7000-8000-000000000000";
    let long = "a".repeat(101);
    let table: &[(&[&str], i32, &[&str])] = &[
        (&["token", "create", "  "], 4, &["1 to 100 characters"]),
        (&["token", "create", &long], 4, &["1 to 100 characters"]),
        (&["token", "create", "a\u{1b}b"], 4, &["\"a\\u{1b}b\" is not a token name"]),
        (&["token", "create", "x", "--scope", "admin"], 4, &["\"admin\" is not a scope; expected api"]),
        (&["token", "create", "x", "--scope", ""], 4, &["is not a scope"]),
        (&["token", "create", "x", "--scope", "deployment:nope"], 4, &["no Deployment nope", "hint: "]),
        (&["token", "create", "x", "--expires", "2020-01-01"], 4, &["2020-01-01T00:00:00.000Z", "not after now, 2"]),
        (&["token", "create", "x", "--expires", "soon"], 2, &["expected a lifetime (30d, 12h, 2w), a date"]),
        (&["token", "create", "x", "--expires", "300000000000y"], 2, &["\"300000000000y\" is too long", "write never"]),
        (&["token", "rotate", "x", "--overlap", "101y"], 2, &["is too long; the longest is 36525d"]),
        (&["token", "create", "x", "--owner", "bob@example.com"], 3, &["no user bob@example.com", "user list"]),
        (&["token", "create", "x", "--owner", "bob"], 2, &["not an e-mail address"]),
        (&["token", "create", "x", "--expires", "never", "-c", "short.toml"], 4, &["tokens.max_lifetime is 10d"]),
        (&["token", "create", "x", "--expires", "11d", "-c", "short.toml"], 4, &["tokens.max_lifetime (10d)"]),
        (&["token", "get", unknown], 3, &["there is no API token", "token list"]),
        (&["token", "revoke", unknown], 3, &["there is no API token"]),
        (&["token", "rotate", unknown], 3, &["there is no API token"]),
        (&["token", "get", "bgw_x"], 3, &["there is no API token \"[redacted]\""]),
        (&["token"], 2, &["Usage"]),
        (&["token", "list", "--limit", "0"], 2, &["0 is not in 1..=10000"]),
    ];
    for (args, code, texts) in table {
        gateway.refused(args, *code, texts);
    }
    assert_eq!(gateway.json(&["token", "list"])["total"], 0);
    gateway.json(&["token", "create", "twice"]);
    gateway.refused(&["token", "create", "twice"], 4, &["a live token of that name already exists", "hint: choose"]);
}

#[test]
fn without_an_admin_the_error_says_what_to_run() {
    CommandLine::new().refused(
        &["token", "create", "ci"],
        3,
        &["no admin yet", "bento-gateway serve", "user create --admin"],
    );
}

#[test]
fn a_long_list_says_how_much_more_there_is() {
    let gateway = CommandLine::with_admin();
    for name in ["one", "two", "three"] {
        gateway.json(&["token", "create", name]);
    }
    let run = gateway.run(&["token", "list", "--limit", "1"]);
    assert!(run.out.contains("three") && !run.out.contains("two"), "{}", run.out);
    assert!(run.err.starts_with("2 more;"), "{}", run.err);
    let found = gateway.json(&["token", "list", "--search", "TW", "--owner", "ada@example.com"]);
    assert_eq!((&found["total"], &found["items"][0]["name"]), (&1.into(), &"two".into()));
}

#[test]
fn deployments_of_file_and_store() {
    let gateway = CommandLine::with_admin();
    gateway.write("gateway.toml", "[deployments.filed]\nupstream = \"http://127.0.0.1:3001\"\n");
    let added = gateway.json(&[
        "deployment",
        "add",
        "stored",
        "--upstream",
        "http://127.0.0.1:3000",
        "--upstream",
        "http://127.0.0.1:3002",
        "--host",
        "Models.example.com",
        "--public",
        "--first-byte-timeout",
        "30m",
        "--max-body",
        "10MiB",
    ]);
    assert_eq!(added["settings"]["first_byte_timeout_ms"], 1_800_000);
    assert_eq!(added["settings"]["max_body_bytes"], 10_485_760);
    let listed = gateway.json(&["deployment", "list", "-c", "gateway.toml"]);
    let sources: Vec<_> = listed.as_array().unwrap().iter().map(|item| (&item["name"], &item["source"])).collect();
    assert_eq!(sources, [(&"filed".into(), &"configuration".into()), (&"stored".into(), &"store".into())]);
    let table = gateway.run(&["deployment", "list"]).out;
    assert!(table.contains("public") && table.contains("models.example.com"), "{table}");

    gateway.refused(&["deployment", "add", "stored", "--upstream", "http://a"], 4, &["already exists", "hint: "]);
    let again = ["deployment", "add", "filed", "--upstream", "http://a", "-c", "gateway.toml"];
    gateway.refused(&again, 4, &["declared in the configuration"]);
    gateway.refused(&["deployment", "add", "x", "--upstream", "ftp://a"], 2, &["http:// or https://"]);
    let drained = ["deployment", "add", "x", "--upstream", "http://a#weight=0"];
    gateway.refused(&drained, 4, &["at least one upstream that gets requests"]);
    gateway.refused(&["deployment", "add", "x", "--upstream", "http://a#weight=x"], 2, &["from 0 to 1000"]);
    gateway.refused(&["deployment", "add", "X", "--upstream", "http://a"], 2, &["is not a Deployment name"]);
    gateway.refused(&["deployment", "add", "x"], 2, &["--upstream"]);
    gateway.refused(&["deployment", "remove", "nope"], 3, &["no Deployment nope"]);
    gateway.refused(&["deployment", "remove", "filed", "-c", "gateway.toml"], 4, &["declared in the configuration"]);

    gateway.json(&["token", "create", "narrow", "--scope", "deployment:stored"]);
    gateway.json(&["token", "create", "both", "--scope", "deployment:stored", "--scope", "api"]);
    gateway.json(&["token", "create", "filed", "--scope", "deployment:filed", "-c", "gateway.toml"]);
    let removed = gateway.json(&["deployment", "remove", "stored"]);
    let mut touched: Vec<_> = removed["tokens"]
        .as_array()
        .unwrap()
        .iter()
        .map(|token| (token["name"].to_string(), &token["revoked"]))
        .collect();
    touched.sort_by(|one, other| one.0.cmp(&other.0));
    assert_eq!(touched, [("\"both\"".to_owned(), &false.into()), ("\"narrow\"".to_owned(), &true.into())]);
}

#[test]
fn users_and_their_passwords() {
    let gateway = CommandLine::with_admin();
    let bob = ["user", "create", "--email", "Bob@example.com", "--name", "Bob", "--password-stdin"];
    let short = gateway.run_with(&bob, &[], "short\n");
    assert_eq!(short.code, 4);
    assert!(short.err.contains("has 5 characters; expected at least 12"), "{}", short.err);
    let long_enough = gateway.run_with(&bob, &[], "correct horse battery\n");
    assert_eq!(long_enough.code, 0, "{}", long_enough.err);
    gateway.refused(&["user", "create", "--email", "bob@example.com", "--name", "B"], 4, &["already exists"]);
    gateway.refused(&["user", "disable", "ada@example.com"], 4, &["the last admin", "hint: create another"]);
    let set = gateway.run_with(&["user", "set-password", "bob@example.com", "--stdin"], &[], "another long one");
    assert_eq!(set.code, 0, "{}", set.err);
    assert_eq!(gateway.run(&["user", "disable", "bob@example.com"]).code, 0);
    gateway.refused(&["user", "disable", "bob@example.com"], 4, &["is already disabled"]);
    gateway.refused(&["user", "disable", "eve@example.com"], 3, &["no user eve@example.com"]);
    gateway.refused(&["token", "create", "x", "--owner", "bob@example.com"], 4, &["bob@example.com is disabled"]);
    let users = gateway.json(&["user", "list"]);
    assert_eq!((&users[0]["email"], &users[1]["role"]), (&"ada@example.com".into(), &"member".into()));
    assert!(!users.to_string().contains("argon2"));
    assert!(gateway.run(&["user", "list"]).out.contains("disabled"));
}

#[test]
fn names_do_not_drive_the_terminal() {
    let gateway = CommandLine::with_admin();
    let created = gateway.json(&["token", "create", "x", "--description", "\u{202e}gone"]);
    let uid = created["uid"].as_str().unwrap();
    assert_eq!(created["description"], "\u{202e}gone");
    let shown = gateway.run(&["token", "get", uid]).out;
    assert!(!shown.contains('\u{202e}') && shown.contains("\\u{202e}gone"), "{shown}");
}

#[test]
fn a_store_that_cannot_be_used_has_an_exit_code_of_its_own() {
    let gateway = CommandLine::new();
    gateway.write("not-a-database", &"x".repeat(4096));
    gateway.refused(&["token", "list", "--store", "sqlite:not-a-database"], 5, &["error: the database", "hint: "]);
    let url = "postgres://ada:s3cret@127.0.0.1:1/x";
    let run = gateway.run(&["token", "list", "--store", url]);
    assert_eq!(run.code, 5, "{}", run.err);
    assert!(!run.err.contains("s3cret"), "{}", run.err);
    gateway.refused(&["token", "list", "--store", "mysql://x"], 78, &["store.url", "(flag --store)"]);
}

#[test]
fn a_reader_who_left_is_no_error() {
    let gateway = CommandLine::new();
    let mut child = Command::new(env!("CARGO_BIN_EXE_bento-gateway"))
        .args(["completions", "bash"])
        .current_dir(gateway.path())
        .env_clear()
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let mut err = String::new();
    child.stderr.take().unwrap().read_to_string(&mut err).unwrap();
    assert_eq!((child.wait().unwrap().code(), err.as_str()), (Some(0), ""));
}

#[test]
fn the_healthcheck_says_why() {
    let gateway = CommandLine::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let server = std::thread::spawn(move || {
        for (answer, line) in [("HTTP/1.1 200 OK\r\n\r\n", "/readyz"), ("HTTP/1.1 503 No\r\n\r\nstore", "/livez")] {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 1024];
            let length = stream.read(&mut request).unwrap();
            assert!(String::from_utf8_lossy(&request[..length]).starts_with(&format!("GET {line} HTTP/1.1\r\n")));
            stream.write_all(answer.as_bytes()).unwrap();
        }
    });
    let healthy = gateway.run_with(&["healthcheck"], &[("BENTO_GATEWAY__MANAGEMENT__LISTEN", &address)], "");
    assert_eq!((healthy.code, healthy.out.as_str()), (0, "ready\n"), "{}", healthy.err);
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let other_url = format!("http://{}", other.local_addr().unwrap());
    std::thread::spawn(move || other.accept().unwrap().0.write_all(b"SSH-2.0-OpenSSH_9.2\r\n"));
    let url = format!("http://{address}");
    gateway.refused(&["healthcheck", "--url", &format!("{url}/livez")], 1, &["answered 503: \"store\"", "hint: "]);
    server.join().unwrap();
    gateway.refused(&["healthcheck", "--url", &url], 1, &["did not answer", "Connection refused", "hint: "]);
    gateway.refused(&["healthcheck", "--url", &other_url], 1, &["did not answer in HTTP", "--url"]);
}

#[test]
fn version_help_and_completions() {
    let gateway = CommandLine::new();
    let version = gateway.run(&["--version"]);
    assert_eq!((version.code, version.out.trim()), (0, concat!("bento-gateway ", env!("CARGO_PKG_VERSION"))));
    assert!(gateway.run(&["--help"]).out.contains("Exit codes:"));
    for shell in ["bash", "zsh", "fish"] {
        assert!(gateway.run(&["completions", shell]).out.contains("bento-gateway"));
    }
}

#[test]
fn every_command_has_a_page_of_the_manual() {
    let gateway = CommandLine::new();
    let run = gateway.run(&["man", "share/man1"]);
    assert_eq!((run.code, run.out.as_str()), (0, ""), "{}", run.err);
    assert!(run.err.contains("share/man1/bento-gateway.1"), "{}", run.err);
    let reference = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/cli.md")).unwrap();
    let commands = reference.lines().filter_map(|line| line.strip_prefix("## ")).map(|name| name.replace(' ', "-"));
    let written = fs::read_dir(gateway.path().join("share/man1")).unwrap();
    let written: BTreeSet<_> = written.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    assert_eq!(written, commands.map(|name| format!("{name}.1")).collect());
    let page = fs::read_to_string(gateway.path().join("share/man1/bento-gateway-token-create.1")).unwrap();
    assert!(page.starts_with(".ie") && page.contains(".TH") && page.contains("When the token expires"), "{page}");

    gateway.write("file", "");
    gateway.refused(&["man", "file/man1"], 1, &["could not be written into file/man1", "hint: "]);
}
