//! The console and protected Deployments in a real Chromium, on SQLite; what changes the store, on PostgreSQL too.
//! `tests/browser/*.mjs` say what must hold, each for one part; this module starts what they need.

use std::{path::Path, process::Command};

use serde_json::{Value, json};

use crate::harness::{
    SOON,
    bentoml::{Service, python},
    gateway::{Gateway, Setup, free_address},
    postgres::Cluster,
    wait_for,
};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// A test per scenario: its name, how many promises it makes at least.
macro_rules! scenarios {
    ($module:ident on $cluster:expr; $($name:ident: $promises:literal),+ $(,)?) => {
        mod $module {
            $(#[test]
            fn $name() {
                super::run(stringify!($name), $cluster, $promises);
            })+
        }
    };
}

scenarios!(
    sqlite on None;
    tokens: 22,
    login: 3,
    deployments: 8,
    users: 10,
    browser: 13,
    cors: 3,
    extension: 2,
    oidc: 8,
    axe: 20,
    cross_site: 5,
    siblings: 5,
    foreign: 9,
);

// What a page makes of the store. Both stores answer alike by the tests of the store; the pages are the same.
scenarios!(
    postgres on Some(crate::harness::postgres::Cluster::shared());
    tokens: 22,
    login: 3,
    deployments: 8,
    users: 10,
);

fn run(scenario: &str, cluster: Option<&Cluster>, promises: usize) {
    let service = Service::start();
    let (other, listen, app, issuer) = (free_address(), free_address(), free_address(), free_address());
    let issuer = format!("http://{issuer}");
    let (management, siblings) = (free_address(), scenario == "siblings");
    let public_console = format!("http://console.bento.test:{}", management.port());
    let mut config = format!(
        "[proxy]\ndefault_deployment = \"summarization\"\n\
         [deployments.summarization]\nupstream = \"http://{0}\"\ncors_origins = [\"http://{app}\"]\n\
         [deployments.other]\nupstream = \"http://{0}\"\nlisten = \"{other}\"\n",
        service.address
    );
    if scenario == "oidc" {
        config += &format!(
            "[management.oidc]\nissuer = \"{issuer}\"\nclient_id = \"bento-gateway\"\nlabel = \"Company account\"\n\
             client_secret = \"a secret of the provider and the gateway\"\n\
             role_claim = \"groups\"\nadmin_values = [\"ops\"]\nallowed_values = [\"ml\"]\n"
        );
    }
    if siblings {
        config = format!(
            "[proxy]\nbase_domain = \"bento.test\"\n[management]\npublic_url = \"{public_console}\"\n\
             [deployments.summarization]\nupstream = \"http://{}\"\n\
             [deployments.evil]\nupstream = \"http://{app}\"\nprotected = false\n",
            service.address
        );
    }
    let mut setup =
        Setup::new(&config).env("TOKENS__USAGE_INTERVAL", "200ms").env("MANAGEMENT__LISTEN", &management.to_string());
    if let Some(cluster) = cluster {
        setup = setup.env("STORE__URL", &cluster.database_url());
    }
    let gateway = setup.start();
    let given = json!({
        "console": format!("http://{}", gateway.management),
        "proxy": format!("http://{}", gateway.proxy),
        "other": format!("http://{other}"),
        "upstream": format!("http://{}", service.address),
        "listen": listen.to_string(),
        "app": format!("http://{app}"),
        "issuer": issuer,
        "publicConsole": public_console,
        "welcome": set_up_link(&gateway),
        "adminToken": gateway.token(&["api"]).text,
        "endpointToken": gateway.token(&["deployment:*"]).text,
        "python": python(&[]),
    });
    in_chromium(scenario, &given, promises);
}

fn set_up_link(gateway: &Gateway) -> String {
    let lines = || gateway.stdout().into_iter().find(|line| line.contains("/welcome?code="));
    wait_for("the set-up link", SOON, lines).trim().to_owned()
}

fn in_chromium(scenario: &str, given: &Value, promises: usize) {
    let ran = Command::new("node")
        .arg(Path::new(ROOT).join(format!("tests/browser/{scenario}.mjs")))
        .arg(given.to_string())
        .env("NODE_PACKAGES", packages())
        .output()
        .unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    assert!(ran.status.success(), "{scenario} is broken:\n{said}");
    // A scenario that promises nothing would hold too.
    let held = said.lines().filter(|line| line.starts_with("ok ")).count();
    assert!(held >= promises, "{held} promises only:\n{said}");
}

/// The npm packages of `scripts/node-env`. Their absence is a failure: nothing else here tests a real browser.
fn packages() -> String {
    let output = Command::new(Path::new(ROOT).join("scripts/node-env")).output().unwrap();
    assert!(
        output.status.success(),
        "this test needs Node.js with npm, and scripts/node-env could not provide the packages:\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}
