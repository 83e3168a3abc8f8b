//! Upstreams by name: a system whose resolver hangs holds neither callers nor threads.

use std::{fs, thread};

use crate::harness::{
    gateway::{Gateway, Setup},
    http::get,
};

const CALLERS: usize = 40;

/// Of two Deployments with two names. One is probed as well, without end.
const CONFIG: &str = "[proxy.deployment_defaults]\nconnect_timeout = \"200ms\"\n\
    [deployments.one]\nupstream = \"http://one.test:3000\"\nhosts = [\"one.test\"]\nprotected = false\n\
    probe_interval = \"100ms\"\nprobe_timeout = \"100ms\"\n\
    [deployments.two]\nupstream = \"http://two.test:3000\"\nhosts = [\"two.test\"]\nprotected = false\n";

fn threads(gateway: &Gateway) -> usize {
    thread_names(gateway).len()
}

fn thread_names(gateway: &Gateway) -> Vec<String> {
    let tasks = fs::read_dir(format!("/proc/{}/task", gateway.pid())).unwrap();
    // One that has ended meanwhile has none.
    tasks.filter_map(|task| fs::read_to_string(task.unwrap().path().join("comm")).ok()).collect()
}

#[test]
fn a_resolver_that_hangs_holds_no_caller_and_one_thread_for_each_name() {
    let gateway = Setup::new(CONFIG).where_names_hang().start();
    let before = threads(&gateway);
    for _ in 0..2 {
        thread::scope(|scope| {
            let callers = ["one.test", "two.test"].iter().cycle().take(CALLERS);
            let asking: Vec<_> =
                callers.map(|host| scope.spawn(|| gateway.ask(&get(host, "/", "")).json()["code"].clone())).collect();
            for answer in asking {
                assert_eq!(answer.join().unwrap(), "connect_timeout");
            }
        });
    }
    // Threads of other work come and go.
    let after = threads(&gateway);
    assert!(after < before + 10, "{before} -> {after}");
    assert_eq!(thread_names(&gateway).iter().filter(|name| *name == "names\n").count(), 2);
}
