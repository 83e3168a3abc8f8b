//! What the resources of the chart say of each other, and what the pod may do.

use std::{collections::BTreeSet, fs};

use serde_json::{Value, json};

use super::{CHART, LARGE, ROOT, SMALL, list, rendered};
use crate::prometheus::promtool;

fn text(file: &str) -> String {
    fs::read_to_string(format!("{ROOT}/{file}")).unwrap()
}

/// Whether every label of a selector is on it.
fn selects(selector: &Value, labels: &Value) -> bool {
    let selector = selector.as_object().unwrap();
    !selector.is_empty() && selector.iter().all(|(name, value)| &labels[name] == value)
}

#[test]
fn the_pod_may_do_nothing_that_it_need_not() {
    for values in [SMALL, LARGE] {
        let resources = rendered(&["--values", values]);
        let (spec, container) = (&resources.pod()["spec"], resources.container());
        assert_eq!(spec["automountServiceAccountToken"], false);
        assert_eq!(spec["securityContext"]["runAsNonRoot"], true);
        assert_eq!(spec["securityContext"]["seccompProfile"], json!({ "type": "RuntimeDefault" }));
        // Any number will do, and platforms choose it.
        assert_eq!(
            (&spec["securityContext"]["runAsUser"], &container["securityContext"]["runAsUser"]),
            (&Value::Null, &Value::Null)
        );
        assert_eq!(
            container["securityContext"],
            json!({ "allowPrivilegeEscalation": false, "capabilities": { "drop": ["ALL"] }, "readOnlyRootFilesystem": true })
        );
        assert!(container["resources"]["limits"]["memory"].is_string());
        let mounts = list(&container["volumeMounts"]).iter().filter(|mount| mount["readOnly"] != true);
        let writable: Vec<_> = mounts.map(|mount| mount["mountPath"].as_str().unwrap()).collect();
        assert_eq!(writable, if values == SMALL { vec!["/data"] } else { vec![] });
    }
}

#[test]
fn openshift_chooses_the_group_and_null_takes_away() {
    let group = |arguments: &[&str]| {
        let resources = rendered(&[&["--values", SMALL], arguments].concat());
        resources.pod()["spec"]["securityContext"]["fsGroup"].clone()
    };
    assert_eq!(group(&[]), 65532);
    assert_eq!(group(&["--api-versions", "security.openshift.io/v1"]), Value::Null);
    assert_eq!(group(&["--set", "podSecurityContext.fsGroup=null"]), Value::Null);
}

#[test]
fn selectors_select_and_ports_exist() {
    let resources = rendered(&["--values", LARGE]);
    let labels = &resources.pod()["metadata"]["labels"];
    let ports: BTreeSet<_> =
        list(&resources.container()["ports"]).iter().map(|port| port["name"].as_str().unwrap()).collect();
    assert_eq!(ports, BTreeSet::from(["management", "proxy", "telemetry"]));

    assert!(selects(&resources.the("Deployment")["spec"]["selector"]["matchLabels"], labels));
    assert!(selects(&resources.the("PodDisruptionBudget")["spec"]["selector"]["matchLabels"], labels));
    assert!(selects(&resources.the("NetworkPolicy")["spec"]["podSelector"]["matchLabels"], labels));
    for constraint in list(&resources.pod()["spec"]["topologySpreadConstraints"]) {
        assert!(selects(&constraint["labelSelector"]["matchLabels"], labels));
    }
    let services = resources.of("Service");
    let targets: BTreeSet<_> = services
        .iter()
        .map(|service| {
            assert!(selects(&service["spec"]["selector"], labels), "{service}");
            let [port] = list(&service["spec"]["ports"]) else {
                panic!("one port for each, so that none is published with another")
            };
            port["targetPort"].as_str().unwrap()
        })
        .collect();
    assert_eq!(targets, ports);

    // The test pod is let in, and no Service takes it for a gateway.
    let test = &resources.the("Pod")["metadata"]["labels"];
    assert!(services.iter().all(|service| !selects(&service["spec"]["selector"], test)));
    let rules = list(&resources.the("NetworkPolicy")["spec"]["ingress"]).iter();
    let management = rules.clone().find(|rule| rule["ports"][0]["port"] == "management").unwrap();
    assert!(selects(&management["from"][0]["podSelector"]["matchLabels"], test));
    let named: BTreeSet<_> = rules.map(|rule| rule["ports"][0]["port"].as_str().unwrap()).collect();
    assert_eq!(named, ports);

    let scaled = &resources.the("HorizontalPodAutoscaler")["spec"]["scaleTargetRef"]["name"];
    assert_eq!(scaled, &resources.the("Deployment")["metadata"]["name"]);
    assert!(resources.the("Deployment")["spec"]["replicas"].is_null(), "the autoscaler says how many");
    let callers = services.iter().find(|service| service["spec"]["ports"][0]["targetPort"] == "proxy").unwrap();
    let backends = [
        &resources.the("Ingress")["spec"]["rules"][0]["http"]["paths"][0]["backend"]["service"]["name"],
        &resources.the("HTTPRoute")["spec"]["rules"][0]["backendRefs"][0]["name"],
    ];
    assert_eq!(backends, [&callers["metadata"]["name"]; 2]);
}

#[test]
fn prometheus_finds_the_gateways_under_the_name_that_the_alerts_ask_for() {
    let resources = rendered(&["--values", LARGE, "--set", "nameOverride=other"]);
    let monitor = &resources.the("ServiceMonitor")["spec"];
    let scraped: Vec<_> = resources
        .of("Service")
        .into_iter()
        .filter(|service| selects(&monitor["selector"]["matchLabels"], &service["metadata"]["labels"]))
        .collect();
    let [service] = scraped[..] else { panic!("{scraped:?}") };
    assert_eq!(service["spec"]["ports"][0]["name"], monitor["endpoints"][0]["port"]);
    let job = &service["metadata"]["labels"][monitor["jobLabel"].as_str().unwrap()];
    let alerts = text("examples/prometheus/alerts.yml");
    assert!(alerts.contains(&format!("job={job}")), "the alerts ask for another job than {job}");
    assert_eq!(text("charts/bento-gateway/files/alerts.yml"), alerts, "copy it: a chart has only what is below it");
    let expected: Value = serde_saphyr::from_str(&alerts).unwrap();
    assert_eq!(resources.the("PrometheusRule")["spec"], expected);
}

#[test]
fn keda_asks_for_metrics_that_exist() {
    let resources = rendered(&["--values", LARGE]);
    let metrics = text("docs/metrics.md");
    let objects = resources.of("ScaledObject");
    let least: Vec<_> = objects.iter().map(|object| object["spec"]["minReplicaCount"].as_u64().unwrap()).collect();
    assert_eq!(least, [2, 0]);
    for query in objects.iter().map(|object| query(object)) {
        let names: Vec<_> = query.split("sum(").skip(1).map(|rest| rest.split('{').next().unwrap()).collect();
        assert_eq!(names.len(), 3, "{query}");
        assert!(names.iter().all(|name| metrics.contains(&format!("| `{name}` | gauge | `deployment` |"))), "{query}");
    }
    let service = json!([{ "deployment": "a", "target": { "name": "a" }, "maxReplicas": 2, "requestsPerReplica": 1 }]);
    let unset = rendered(&["--values", LARGE, "--set-json", &format!("keda.services={service}")]);
    assert_eq!(unset.of("ScaledObject")[0]["spec"]["minReplicaCount"], 1);
}

fn query(scaled_object: &Value) -> &str {
    scaled_object["spec"]["triggers"][0]["metadata"]["query"].as_str().unwrap()
}

/// By Prometheus itself: everything that is under way or waits at any gateway counts, and of a Deployment without `hold` the rest.
#[test]
fn what_keda_is_told_is_what_waits_and_what_runs() {
    let resources = rendered(&["--values", LARGE]);
    let [with_hold, without] = ["transcription", "summarization"].map(|name| {
        let objects = resources.of("ScaledObject");
        let of_it = |object: &&&Value| object["spec"]["scaleTargetRef"]["name"] == name;
        query(objects.iter().find(of_it).unwrap()).to_owned()
    });
    let series = |name: &str, deployment: &str, pod: &str, value: u32| {
        let labels = format!("namespace=\"gateways\",deployment=\"{deployment}\",pod=\"{pod}\"");
        json!({ "series": format!("bento_gateway_{name}{{{labels}}}"), "values": value.to_string() })
    };
    let mut input = Vec::new();
    for pod in ["one", "two"] {
        for name in ["slots_taken", "queue_depth"] {
            input.extend(["transcription", "summarization"].map(|deployment| series(name, deployment, pod, 1)));
        }
        input.push(series("held_requests", "transcription", pod, 10));
    }
    let answers = |query: &str, value: u32| json!({ "expr": query, "eval_time": "0m", "exp_samples": [{ "labels": "{}", "value": value }] });
    let test = json!({
        "evaluation_interval": "1m",
        "tests": [{ "interval": "1m", "input_series": input, "promql_expr_test": [answers(&with_hold, 24), answers(&without, 4)] }]
    });
    let file = tempfile::NamedTempFile::with_suffix(".yml").unwrap();
    fs::write(file.path(), test.to_string()).unwrap();
    promtool(&["test", "rules", file.path().to_str().unwrap()], "");
}

/// Two that read one file or two that share a name would be of two minds.
#[test]
fn there_is_one_gateway_on_a_file_and_never_less_than_one_on_a_database() {
    let strategy = |values| rendered(&["--values", values]).the("Deployment")["spec"]["strategy"].clone();
    assert_eq!(strategy(SMALL), json!({ "type": "Recreate" }));
    assert_eq!(
        strategy(LARGE),
        json!({ "type": "RollingUpdate", "rollingUpdate": { "maxSurge": 1, "maxUnavailable": 0 } })
    );
    let small = rendered(&["--values", SMALL]);
    assert!(small.of("PodDisruptionBudget").is_empty(), "it would keep the node from being drained");
    assert_eq!(small.the("PersistentVolumeClaim")["metadata"]["annotations"]["helm.sh/resource-policy"], "keep");
    let grace = &small.pod()["spec"]["terminationGracePeriodSeconds"];
    let pause = &small.container()["lifecycle"]["preStop"]["sleep"]["seconds"];
    // proxy.drain_timeout is 30 s.
    assert!(grace.as_u64().unwrap() > pause.as_u64().unwrap() + 30);
}

#[test]
fn the_chart_is_of_this_version_and_its_values_are_described() {
    let chart: Value = serde_saphyr::from_str(&text(&format!("{CHART}/Chart.yaml"))).unwrap();
    assert_eq!(chart["appVersion"], env!("CARGO_PKG_VERSION"));
    let values: Value = serde_saphyr::from_str(&text(&format!("{CHART}/values.yaml"))).unwrap();
    let schema: Value = serde_json::from_str(&text(&format!("{CHART}/values.schema.json"))).unwrap();
    let names = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<BTreeSet<_>>();
    let mut described = names(&schema["properties"]);
    // Helm's own, which charts may not refuse.
    assert!(described.remove("global"));
    assert_eq!(names(&values), described);
}
