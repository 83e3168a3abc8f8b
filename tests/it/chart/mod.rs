//! The Helm chart, rendered by Helm itself: Kubernetes takes it, the gateway reads the configuration in it, and what cannot work
//! is refused in words.

mod configuration;
mod resources;
mod schemas;

use std::process::Command;

use serde_json::Value;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
const CHART: &str = "charts/bento-gateway";
/// The smallest that one would run, and all that can be turned on.
const SMALL: &str = "charts/bento-gateway/ci/sqlite-values.yaml";
const LARGE: &str = "charts/bento-gateway/ci/postgres-values.yaml";

/// What Helm prints, or what it says is wrong.
fn helm(arguments: &[&str]) -> Result<String, String> {
    let output = Command::new(format!("{ROOT}/scripts/helm")).args(arguments).current_dir(ROOT).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    if output.status.success() { Ok(text(output.stdout)) } else { Err(text(output.stderr)) }
}

/// `arguments`: `--values FILE`, `--set NAME=VALUE` and the like.
fn template(arguments: &[&str]) -> Result<String, String> {
    helm(&[&["template", "release", CHART, "--namespace", "gateways"], arguments].concat())
}

#[track_caller]
fn rendered(arguments: &[&str]) -> Resources {
    let text = template(arguments).unwrap_or_else(|error| panic!("{arguments:?}: {error}"));
    let all: Vec<Value> = serde_saphyr::from_multiple(&text).unwrap();
    assert!(all.len() > 5, "{text}");
    Resources(all)
}

struct Resources(Vec<Value>);

impl Resources {
    fn of(&self, kind: &str) -> Vec<&Value> {
        self.0.iter().filter(|resource| resource["kind"] == kind).collect()
    }

    /// The only one of its kind.
    #[track_caller]
    fn the(&self, kind: &str) -> &Value {
        let all = self.of(kind);
        assert_eq!(all.len(), 1, "{kind}");
        all[0]
    }

    fn pod(&self) -> &Value {
        &self.the("Deployment")["spec"]["template"]
    }

    fn container(&self) -> &Value {
        &self.pod()["spec"]["containers"][0]
    }
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}
