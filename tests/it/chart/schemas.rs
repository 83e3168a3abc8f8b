//! Kubernetes' own resources by its OpenAPI schemas, others by the types that are made of theirs.

use std::{
    fmt::Write,
    fs,
    path::Path,
    process::{Command, Output},
};

use super::{LARGE, ROOT, SMALL, helm, rendered, template};
use crate::harness::bentoml::python;

/// The oldest that the chart says it is for, and the newest that the schemas are of.
const VERSIONS: [&str; 2] = ["1.30", "1.37"];

/// Kind, and where the npm package has its type.
const OTHERS: [(&str, &str); 4] = [
    ("HTTPRoute", "@kubernetes-models/gateway-api/gateway.networking.k8s.io/v1"),
    ("ScaledObject", "@kubernetes-models/keda/keda.sh/v1alpha1"),
    ("ServiceMonitor", "@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1"),
    ("PrometheusRule", "@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1"),
];

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[&*output.stdout, &*output.stderr].concat()).into_owned()
}

#[test]
fn helm_finds_nothing_wrong() {
    for values in [SMALL, LARGE] {
        helm(&["lint", "--strict", super::CHART, "--values", values])
            .unwrap_or_else(|error| panic!("{values}: {error}"));
    }
}

#[test]
fn kubernetes_takes_what_is_rendered() {
    let directory = tempfile::tempdir().unwrap();
    for (name, values) in [("small.yaml", SMALL), ("large.yaml", LARGE)] {
        fs::write(directory.path().join(name), template(&["--values", values]).unwrap()).unwrap();
    }
    let python = python(&["--schemas"]);
    let validate = |version: &str, files: &[&str]| {
        let mut command = Command::new(&python);
        command.args(["-m", "kubernetes_validate", "--strict", "-k", version]).args(files);
        command.current_dir(directory.path()).output().unwrap()
    };
    for version in VERSIONS {
        let output = validate(version, &["small.yaml", "large.yaml"]);
        let said = said(&output);
        assert!(output.status.success(), "{version}: {said}");
        let unknown = said.lines().filter(|line| line.contains("Couldn't find schema for kind "));
        let unknown = unknown.map(|line| line.split("kind ").nth(1).unwrap().split(' ').next().unwrap());
        for kind in unknown {
            assert!(OTHERS.iter().any(|(other, _)| *other == kind), "nothing has looked at a {kind}: {said}");
        }
        assert!(said.matches(" passed for resource ").count() >= 15, "{said}");
    }
    // And a mistake is seen.
    let wrong = template(&["--values", SMALL]).unwrap().replace("readOnlyRootFilesystem", "readOnlyRootFileSystem");
    fs::write(directory.path().join("wrong.yaml"), wrong).unwrap();
    assert!(!validate(VERSIONS[0], &["wrong.yaml"]).status.success());
}

/// TypeScript refuses a literal with a member that its type lacks, as `kubectl apply` does.
#[test]
fn others_take_what_is_rendered() {
    let resources = rendered(&["--values", LARGE]);
    let mut program = String::new();
    for (kind, package) in OTHERS {
        let _ = writeln!(program, "import type {{ I{kind} }} from \"{package}\";");
        let all = resources.of(kind);
        assert!(!all.is_empty(), "{kind}");
        for (number, resource) in all.iter().enumerate() {
            let _ = writeln!(program, "export const a{kind}{number}: I{kind} = {resource};");
        }
    }
    let right = compile(&program);
    assert!(right.status.success(), "{}", said(&right));
    let misspelled =
        [("\"jobLabel\"", "\"jobLabels\""), ("\"parentRefs\"", "\"parents\""), ("\"expr\"", "\"expression\"")];
    let wrong = misspelled.iter().fold(program, |program, (member, misspelled)| {
        assert!(program.contains(member), "{program}");
        program.replace(member, misspelled)
    });
    let refused = said(&compile(&wrong));
    for (_, misspelled) in misspelled {
        assert!(refused.contains(misspelled.trim_matches('"')), "{misspelled} was let through: {refused}");
    }
}

fn compile(program: &str) -> Output {
    let environment = Command::new(format!("{ROOT}/scripts/node-env")).arg("--chart").output().unwrap();
    assert!(environment.status.success(), "{}", said(&environment));
    let packages = String::from_utf8(environment.stdout).unwrap();
    let packages = Path::new(packages.trim());
    // Where the packages are found by walking up.
    let directory = tempfile::tempdir_in(packages).unwrap();
    fs::write(directory.path().join("resources.mts"), program).unwrap();
    let mut compiler = Command::new("node");
    compiler.arg(packages.join("node_modules/typescript/bin/tsc"));
    compiler.args(["--noEmit", "--strict", "--module", "nodenext", "--skipLibCheck", "resources.mts"]);
    compiler.current_dir(directory.path()).output().unwrap()
}
