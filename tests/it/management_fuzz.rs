//! The management API, asked for everything that its document allows, and much that it does not.

use std::{path::Path, process::Command};

use crate::harness::{
    bentoml::python,
    gateway::{Gateway, deployment, free_address},
};

/// Operations by which a token could end or weaken itself.
const DANGEROUS: [&str; 6] =
    ["deleteApiToken", "revokeApiToken", "rotateApiToken", "updateApiToken", "disableUser", "revokeOwn"];

/// Whatever the document allows, and much that it does not.
#[test]
fn nothing_that_is_asked_breaks_it() {
    let gateway = Gateway::start(&deployment("a", free_address(), ""));
    let run = |token: Option<&str>, which: &str| {
        let program = Path::new(&python(&["--fuzz"])).with_file_name("schemathesis");
        let mut command = Command::new(program);
        command
            .args(["run", &format!("http://{}/openapi.json", gateway.management)])
            .args(["--checks", "not_a_server_error,status_code_conformance,response_schema_conformance"])
            .args(["--max-examples", "15", "--seed", "1", "--phases", "examples,coverage,fuzzing"])
            .args(["--generation-with-security-parameters", "false", "--suppress-health-check", "all"])
            .current_dir(gateway.path(""))
            .env("PYTHONDONTWRITEBYTECODE", "1");
        DANGEROUS.iter().for_each(|id| {
            command.args([which, id]);
        });
        if let Some(token) = token {
            command.args(["--header", &format!("X-YATAI-API-TOKEN: {token}")]);
        }
        let output = command.output().unwrap();
        let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success() && said.contains("passed"), "{said}");
        said
    };
    let said = run(Some(&gateway.token(&["api"]).text), "--exclude-operation-id");
    assert!(!said.contains("Authentication failed"), "nothing but 401 was tested\n{said}");
    run(None, "--exclude-operation-id");
    run(Some(&gateway.token(&["api"]).text), "--include-operation-id");
}
