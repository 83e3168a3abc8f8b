//! What the gateway is told by the chart: the file in the ConfigMap, the variables and the Secrets of the pod.

use std::fs;

use rcgen::CertifiedKey;
use serde_json::{Value, json};

use super::{LARGE, ROOT, Resources, SMALL, list, rendered, template};
use crate::harness::commands::{CommandLine, Run};

/// The gateway's own command in a pod: its file, variables and Secrets as the chart has them, below a directory of ours.
fn in_pod(resources: &Resources, command: &[&str]) -> Run {
    let gateway = CommandLine::new();
    let root = gateway.path().to_str().unwrap();
    let here = |text: &str| text.replace("/run/secrets/bento-gateway", &format!("{root}/secrets"));
    let file = resources.the("ConfigMap")["data"]["config.toml"].as_str().unwrap();
    gateway.write("config.toml", &here(file));
    for volume in list(&resources.pod()["spec"]["volumes"]).iter().filter(|volume| volume["secret"].is_object()) {
        let directory = gateway.path().join("secrets").join(volume["name"].as_str().unwrap());
        fs::create_dir_all(&directory).unwrap();
        for (key, content) in content(&volume["secret"]) {
            fs::write(directory.join(key), content).unwrap();
        }
    }
    let variables = list(&resources.container()["env"]).iter();
    let variables = variables.map(|one| (one["name"].as_str().unwrap(), here(one["value"].as_str().unwrap())));
    let mut variables: Vec<_> = variables.collect();
    let config = variables.iter_mut().find(|(name, _)| *name == "BENTO_GATEWAY_CONFIG").unwrap();
    assert_eq!(config.1, "/etc/bento-gateway/config.toml");
    config.1 = format!("{root}/config.toml");
    let variables: Vec<_> = variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
    gateway.run_with(command, &variables, "")
}

/// Of a Secret: the one that is asked for, or certificate and key.
fn content(secret: &Value) -> Vec<(String, String)> {
    match list(&secret["items"]) {
        [] => {
            let CertifiedKey { cert, signing_key } =
                rcgen::generate_simple_self_signed(["gateway".to_owned()]).unwrap();
            vec![("tls.crt".to_owned(), cert.pem()), ("tls.key".to_owned(), signing_key.serialize_pem())]
        }
        [item] => {
            let key = item["path"].as_str().unwrap().to_owned();
            let content = if key == "store-url" { "postgres://gateway:s3cret@db/gateway\n" } else { "s3cret\n" };
            vec![(key, content.to_owned())]
        }
        more => panic!("{more:?}"),
    }
}

#[track_caller]
fn assert_read(arguments: &[&str]) -> String {
    let resources = rendered(arguments);
    let run = in_pod(&resources, &["config", "check"]);
    assert_eq!((run.code, run.out.as_str()), (0, "OK\n"), "{arguments:?}: {}", run.err);
    in_pod(&resources, &["config", "print"]).out
}

#[test]
fn the_gateway_reads_what_the_chart_tells_it() {
    let small = assert_read(&["--values", SMALL]);
    for line in [
        "url = \"sqlite:/data/bento-gateway.db\"",
        "upstream = \"http://summarization.models.svc:3000\"",
        "listen = \"0.0.0.0:8080\"",
        "first_token = \"false\"",
    ] {
        assert!(small.contains(line), "{line:?} is not in\n{small}");
    }
    let large = assert_read(&["--values", LARGE]);
    for line in [
        "url = \"postgres://gateway:[redacted]@db/gateway\"",
        "pepper = \"[redacted]\"",
        "client_secret = \"[redacted]\"",
        "trusted_proxies = [\"10.0.0.0/8\", \"fd00::/8\"]",
        "max_connections = 20000",
        "listen = \"[::]:9464\"",
        "max_in_flight = 8",
        "tls-management/tls.crt",
    ] {
        assert!(large.contains(line), "{line:?} is not in\n{large}");
    }
    assert!(!large.contains("s3cret"));
}

#[test]
fn what_the_document_shows_works() {
    let document = fs::read_to_string(format!("{ROOT}/docs/kubernetes.md")).unwrap();
    let shown = document.split("```yaml\n# values.yaml\n").nth(1).unwrap().split("```").next().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let values = directory.path().join("values.yaml");
    fs::write(&values, shown).unwrap();
    let printed = assert_read(&["--values", values.to_str().unwrap()]);
    assert!(
        printed.contains("base_domain = \"bento.example.com\"") && printed.contains("max_in_flight = 8"),
        "{printed}"
    );
    let set = document.lines().find_map(|line| line.trim().strip_prefix("--set ")).unwrap();
    let printed = assert_read(&["--set", set]);
    assert!(printed.contains("upstream = \"http://summarization.models.svc:3000\""), "{printed}");
}

/// From a value of any kind to the gateway: texts with what TOML and YAML read in their own ways, numbers, lists, tables.
#[test]
fn values_arrive_as_they_were_written() {
    let organization = "a \"b\" <c> & \\d #e = 'f' {{ g }} ${h} é 世";
    let config = json!({
        "organization": organization,
        "proxy": { "workers": 3, "http2": false, "identity_fields": { "drop": ["X-Corp-*", "X-B"] } },
        "store": { "max_connections": 20 },
        "deployments": { "a": { "upstreams": ["http://a:1", "http://a:2"] }, "b": { "upstream": "http://b:1" } },
    });
    let printed = assert_read(&["--set-json", &format!("config={config}")]);
    for line in [
        "workers = 3",
        "http2 = false",
        "[\"X-Corp-*\", \"X-B\"]",
        "max_connections = 20",
        "[\"http://a:1\", \"http://a:2\"]",
    ] {
        assert!(printed.contains(line), "{line:?} is not in\n{printed}");
    }
    let said = printed.lines().find_map(|line| line.strip_prefix("organization = ")).unwrap();
    let said = said.split(" # file").next().unwrap();
    assert_eq!(serde_json::from_str::<String>(said).unwrap(), organization);
}

#[test]
fn what_cannot_work_is_refused_in_words() {
    let postgres = ["--set", "store.kind=postgres,store.postgres.existingSecret=x"];
    let cases: [(&[&str], &str); 15] = [
        (&["--set", "replicas=2"], "SQLite is for one gateway"),
        (&["--set", "autoscaling.enabled=true"], "SQLite is for one gateway"),
        (&["--set", "store.kind=postgres"], "kubectl create secret generic"),
        (&["--set", "store.kind=mysql"], "store/kind"),
        (&["--set", "replica=2"], "'replica' not allowed"),
        (&["--set", "config.proxy.listen=0.0.0.0:80"], "config.proxy.listen is set by the chart. Use listenAddress"),
        (&["--set", "config.store.url=postgres://x"], "config.store.url is set by the chart"),
        (&["--set", "config.tokens.pepper=x"], "a ConfigMap is no place for a secret"),
        (&["--set", "config.management.oidc.client_secret=x"], "secrets.oidcClientSecret.existingSecret"),
        (&["--set", "config.forward_auth.listen=0.0.0.0:8082"], "a listener that no Service of the chart leads to"),
        (&["--set", "config.deployments.a.listen=0.0.0.0:9000"], "config.deployments.a.listen is a listener"),
        (&["--set", "ingress.enabled=true"], "ingress.hosts is empty"),
        (&["--set", "httpRoute.enabled=true"], "httpRoute.parentRefs is empty"),
        (&["--set", "keda.enabled=true"], "keda.services is empty"),
        (&["--set", "autoscaling.enabled=true,autoscaling.minReplicas=9"], "minReplicas is above"),
    ];
    for (arguments, said) in cases {
        let arguments = if said.contains("minReplicas") { [&postgres, arguments].concat() } else { arguments.to_vec() };
        let error = template(&arguments).err().unwrap_or_else(|| panic!("{arguments:?} was rendered"));
        assert!(error.contains(said), "{arguments:?}: {error}");
    }
}
