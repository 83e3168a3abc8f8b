//! What a scrape says of the gateway itself: what it decides by, the store, changes, connections and the process.

use std::{collections::BTreeMap, time::Duration};

use serde_json::json;

use crate::harness::{
    SOON, api,
    gateway::{Gateway, Setup, deployment, free_address},
    http::Client,
    metrics::{Scrape, scrape, scrape_until},
    postgres::Cluster,
    wait_until,
};

fn value(scrape: &Scrape, name: &str) -> f64 {
    scrape.sum(name, &[])
}

#[test]
fn tokens_are_counted_once_by_when_they_end() {
    let gateway = Gateway::start(&deployment("a", free_address(), ""));
    let made = |expires: &str| gateway.new_token(&["deployment:a"], &["--expires", expires]);
    let [soon, ..] = ["12h", "5d", "20d", "20d", "90d"].map(made);
    gateway.new_token(&["deployment:a"], &["--expires", "never"]);
    let gone = made("1h");
    gateway.revoke(&gone);
    gateway.cli(&["token", "rotate", &soon.uid, "--overlap", "1h"]);
    // Six that work, one of which has two secrets, and one that was revoked.
    let scrape = scrape_until(&gateway, "all are in the index", |scrape| {
        (value(scrape, "bento_gateway_index_secrets"), value(scrape, "bento_gateway_tokens")) == (8.0, 6.0)
    });
    let within = |period: &str| scrape.sum("bento_gateway_tokens_expiring", &[&format!(r#"within="{period}""#)]);
    assert_eq!([within("1d"), within("7d"), within("30d")], [1.0, 2.0, 4.0]);
    assert_eq!(
        (value(&scrape, "bento_gateway_deployments"), value(&scrape, "bento_gateway_browser_sessions")),
        (1.0, 0.0)
    );
}

#[test]
fn a_change_is_timed_until_it_is_decided_by() {
    for url in [None, Some(Cluster::shared().database_url())] {
        let setup = Setup::new("");
        let setup = if let Some(url) = &url { setup.env("STORE__URL", url) } else { setup };
        let gateway = setup.start();
        let admin = gateway.token(&["api"]).text;
        let (status, made) =
            api::post(&gateway, &admin, "/api/v1/api_tokens", json!({ "name": "x", "scopes": ["api"] }));
        assert_eq!(status, 200, "{made}");
        let revoke = format!("/api/v1/api_tokens/{}/revoke", made["uid"].as_str().unwrap());
        assert_eq!(api::ask(&gateway, &admin, "POST", &revoke, None).0, 200);
        let scrape = scrape(&gateway);
        assert_eq!(value(&scrape, "bento_gateway_change_applied_seconds_count"), 2.0);
        let receipts = |outcome: &str| {
            let outcome = format!(r#"outcome="{outcome}""#);
            ["count", "sum"].map(|end| scrape.sum(&format!("bento_gateway_change_receipt_seconds_{end}"), &[&outcome]))
        };
        assert_eq!(receipts("complete")[0], 2.0);
        // No gateway decides by a change before this one has, which is among them.
        assert!(receipts("complete")[1] >= value(&scrape, "bento_gateway_change_applied_seconds_sum"));
        assert_eq!((receipts("incomplete")[0], receipts("unknown")[0]), (0.0, 0.0));
    }
}

#[test]
fn a_store_that_is_away_is_said_and_does_not_hold_a_scrape_up() {
    let cluster = Cluster::start();
    let gateway = Setup::new("").env("STORE__URL", &cluster.database_url()).env("STORE__MAX_STALENESS", "1h").start();
    let up = |scrape: &Scrape| value(scrape, "bento_gateway_store_up") == 1.0;
    let before = scrape(&gateway);
    assert!(up(&before), "{before:?}");
    assert_eq!(value(&before, "bento_gateway_index_max_age_seconds"), 3600.0);
    let pools = |scrape: &Scrape| -> BTreeMap<String, f64> { scrape.0["bento_gateway_store_connections_max"].clone() };
    let names = ["feed", "ordinary", "urgent"].map(|name| format!(r#"pool="{name}""#));
    assert_eq!(pools(&before).into_keys().collect::<Vec<_>>(), names);
    assert!(value(&before, "bento_gateway_store_connections") >= 1.0);
    // It hangs: who wants a connection waits.
    cluster.pause();
    let away = scrape_until(&gateway, "the outage is seen", |scrape| !up(scrape));
    let age = |scrape: &Scrape| value(scrape, "bento_gateway_index_age_seconds");
    scrape_until(&gateway, "the index gets older", |scrape| age(scrape) > age(&away) + 0.5);
    cluster.resume();
    scrape_until(&gateway, "it is over", |scrape| up(scrape) && age(scrape) < 2.0);
}

#[test]
fn a_configuration_that_was_refused_is_seen() {
    let gateway = Gateway::start("");
    let sound = |scrape: &Scrape| value(scrape, "bento_gateway_config_last_reload_successful") == 1.0;
    assert!(sound(&scrape(&gateway)));
    gateway.write_config("nonsense = 1\n");
    scrape_until(&gateway, "it was refused", |scrape| !sound(scrape));
    gateway.write_config("organization = \"other\"\n");
    scrape_until(&gateway, "it was taken over", sound);
}

#[test]
fn connections_are_counted_while_they_are_open() {
    let gateway = Setup::new("[proxy.limits]\nmax_connections = 50\n").env("PROXY__WORKERS", "2").start();
    let of = |scrape: &Scrape, name: &str, listener: &str| scrape.sum(name, &[&format!(r#"listener="{listener}""#)]);
    let open = |scrape: &Scrape| {
        ["proxy", "management"].map(|listener| of(scrape, "bento_gateway_open_connections", listener))
    };
    let idle = scrape_until(&gateway, "those of the start have ended", |scrape| open(scrape) == [0.0, 0.0]);
    assert_eq!(of(&idle, "bento_gateway_max_connections", "proxy"), 50.0);
    let clients: Vec<Client> =
        [gateway.proxy, gateway.proxy, gateway.proxy, gateway.management].map(Client::connect).into();
    scrape_until(&gateway, "all are open", |scrape| open(scrape) == [3.0, 1.0]);
    drop(clients);
    scrape_until(&gateway, "none is", |scrape| open(scrape) == [0.0, 0.0]);
}

#[test]
fn the_process_is_as_the_system_says() {
    let gateway = Gateway::start("");
    let before = gateway.processor_ticks();
    let scrape = scrape(&gateway);
    // The ticks are hundredths of a second, and go on meanwhile.
    let (cpu, after) = (value(&scrape, "process_cpu_seconds_total") * 100.0, gateway.processor_ticks());
    assert!(cpu >= before as f64 - 2.0 && cpu <= after as f64 + 2.0, "{before} {cpu} {after}");
    let now = bento_gateway::system::now().as_millis() as f64 / 1000.0;
    let started = value(&scrape, "process_start_time_seconds");
    assert!(started <= now && started > now - Duration::from_secs(120).as_secs_f64(), "{started} {now}");
    let resident = value(&scrape, "process_resident_memory_bytes");
    assert!(resident > 1e6 && resident < value(&scrape, "process_virtual_memory_bytes"), "{resident}");
    let descriptors = || std::fs::read_dir(format!("/proc/{}/fd", gateway.pid())).unwrap().count() as f64;
    wait_until("no connection comes or goes", SOON, || {
        let before = descriptors();
        let said = value(&self::scrape(&gateway), "process_open_fds");
        // The scrape's own connection is there while it is answered.
        before == descriptors() && (said - before).abs() <= 1.0
    });
    assert!(value(&scrape, "process_max_fds") >= 256.0);
    assert_eq!(scrape.sum("bento_gateway_build_info", &[&format!(r#"version="{}""#, env!("CARGO_PKG_VERSION"))]), 1.0);
}
