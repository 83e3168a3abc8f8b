//! The stock `bentoml` SDK, driven through the gateway against the real service of `examples/summarization`.
//!
//! `tests/sdk/contract.py` says what must hold; this module starts what it needs.

use std::{path::Path, process::Command};

use crate::harness::{
    SOON,
    bentoml::{Service, both_streams, python},
    gateway::Setup,
    http::get,
    wait_until,
};

#[test]
fn the_stock_sdk_works_through_the_gateway() {
    let python = python(&[]);
    let service = Service::start();
    // As a person would start it: the Deployment is named by a flag, and is the default.
    let deployment = format!("summarization=http://{}", service.address);
    let gateway = Setup::new("").arguments(&["--deployment", &deployment]).start();
    let good = gateway.token(&["deployment:summarization"]).text;
    let refused = gateway.token(&["api"]).text;
    wait_until("the service is ready", SOON, || gateway.ask(&get("localhost", "/readyz", &good)).status == 200);

    let contract = Command::new(&python)
        .arg("-B")
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sdk/contract.py"))
        .args(["--url", &format!("http://{}", gateway.proxy)])
        .args(["--direct-url", &format!("http://{}", service.address)])
        .args(["--token", &good, "--refused-token", &refused])
        .env("BENTOML_HOME", gateway.path("bentoml-client"))
        .output()
        .unwrap();
    let said = both_streams(&contract);
    assert!(contract.status.success(), "the contract with the SDK is broken:\n{said}");
    // A contract of nothing would hold too.
    assert!(said.lines().filter(|line| line.starts_with("ok ")).count() >= 22, "{said}");
}
