//! The stock `bentoml` CLI and SDK against the management listener: the newest on both stores, the oldest on SQLite.
//!
//! `tests/sdk/cloud_contract.py` says what must hold; this module starts what it needs.

use std::{
    io::Write,
    path::Path,
    process::{Command, Stdio},
    thread::sleep,
    time::Duration,
};

use crate::harness::{
    bentoml::{Service, python},
    gateway::{Gateway, Setup, free_address},
    postgres::Cluster,
};

const EMAIL: &str = "ada@example.com";
const PASSWORD: &str = "correct horse battery staple";
/// Seconds: how long a browser's login may take. One of the promises waits for its end.
const CODE_LIFETIME: u32 = 12;

#[test]
fn the_newest_client_manages_a_gateway_on_sqlite() {
    contract(None, &[]);
}

#[test]
fn the_newest_client_manages_a_gateway_on_postgresql() {
    contract(Some(&Cluster::shared().database_url()), &[]);
}

#[test]
fn the_oldest_client_manages_a_gateway() {
    contract(None, &["--oldest"]);
}

/// `environment`: as `scripts/python-env` takes it.
fn contract(store: Option<&str>, environment: &[&str]) {
    let service = Service::start();
    let mut setup = Setup::new("").env("MANAGEMENT__LOGIN_CODE_LIFETIME", &format!("{CODE_LIFETIME}s"));
    if let Some(url) = store {
        setup = setup.env("STORE__URL", url);
    }
    let gateway = setup.start();
    add_deployment(&gateway, "summarization", &format!("http://{}", service.address));
    add_deployment(&gateway, "down", &format!("http://{}", free_address()));
    create_admin(&gateway);
    run_contract(&gateway, &python(environment));
}

fn add_deployment(gateway: &Gateway, name: &str, upstream: &str) {
    // An address of its own: host names below `localhost` do not resolve everywhere.
    let listen = free_address().to_string();
    gateway.cli(&["deployment", "add", name, "--upstream", upstream, "--listen", &listen]);
}

fn create_admin(gateway: &Gateway) {
    let mut command = gateway.cli_command(&["user", "create", "--email", EMAIL, "--name", "Ada", "--admin"]);
    let mut child = command.arg("--password-stdin").stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(PASSWORD.as_bytes()).unwrap();
    assert!(child.wait().unwrap().success());
}

fn run_contract(gateway: &Gateway, python: &str) {
    let admin = gateway.token(&["api"]);
    let endpoint_only = gateway.token(&["deployment:*"]);
    let expired = gateway.new_token(&["api"], &["--expires", "1s"]);
    let revoked = gateway.token(&["api"]);
    gateway.revoke(&revoked);
    sleep(Duration::from_millis(1100));

    let home = tempfile::tempdir().unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sdk/cloud_contract.py");
    let contract = Command::new(python)
        .arg("-B")
        .arg(script)
        .args(["--endpoint", &format!("http://{}", gateway.management)])
        .args(["--proxy", &format!("http://{}", gateway.proxy)])
        .args(["--admin-token", &admin.text, "--endpoint-only-token", &endpoint_only.text])
        .args(["--expired-token", &expired.text, "--revoked-token", &revoked.text])
        .args(["--email", EMAIL, "--password", PASSWORD])
        .args(["--deployment", "summarization", "--down", "down"])
        .args(["--code-lifetime", &CODE_LIFETIME.to_string()])
        .env("BENTOML_HOME", home.path())
        .output()
        .unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&contract.stdout), String::from_utf8_lossy(&contract.stderr));
    assert!(contract.status.success(), "the contract with the client is broken:\n{said}");
    // A contract of nothing would hold too.
    assert!(said.lines().filter(|line| line.starts_with("ok ")).count() >= 22, "{said}");
}
