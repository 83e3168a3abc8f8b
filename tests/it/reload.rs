//! A changed configuration takes effect while requests go on: all of it, or nothing.

use std::{
    fs,
    os::unix::fs::symlink,
    sync::mpsc::{Receiver, Sender, channel},
    sync::{Arc, Mutex},
    thread::sleep,
    time::{Duration, Instant},
};

use crate::harness::{
    SOON,
    gateway::{Gateway, Setup, Token, deployment},
    http::{Caller, get, request},
    postgres::Cluster,
    stores::new_database,
    upstream::{CHUNKED, Upstream, answer},
    wait_until,
};

/// The file is looked at every second.
const LOOK: Duration = Duration::from_millis(2500);

/// A service that sends a chunk whenever it is told to, and answers a POST at once.
struct Stream {
    upstream: Upstream,
    chunks: Sender<&'static str>,
}

impl Stream {
    fn start() -> Self {
        let (chunks, from): (_, Receiver<&'static str>) = channel();
        let from = Arc::new(Mutex::new(from));
        let upstream = Upstream::start(move |peer| {
            while let Some(request) = peer.request() {
                if request.method == "POST" {
                    peer.send(answer(200, &[], b""));
                    continue;
                }
                peer.send(CHUNKED);
                while let Ok(chunk) = from.lock().unwrap().recv() {
                    peer.send_chunk(chunk);
                    if chunk == "end" {
                        break;
                    }
                }
                let _ = peer.try_send("0\r\n\r\n");
            }
        });
        Self { upstream, chunks }
    }

    fn passes(&self, caller: &mut Caller, chunk: &'static str) {
        self.chunks.send(chunk).unwrap();
        assert_eq!(caller.chunk().unwrap().as_deref(), Some(chunk.as_bytes()), "the stream was disturbed");
    }
}

#[test]
fn deployments_come_and_go_beside_a_running_stream() {
    let stream = Stream::start();
    let (one, two) = (Upstream::named("one"), Upstream::named("two"));
    let streaming = deployment("stream", stream.upstream.address, "");
    let gateway = Gateway::start(&(streaming.clone() + &deployment("one", one.address, "")));
    let token = gateway.token(&["deployment:*"]);
    let mut caller = gateway.connect();
    caller.send(get("stream.test", "/", &token.text));
    assert_eq!(caller.head().status, 200);
    stream.passes(&mut caller, "first");

    let add = streaming.clone() + &deployment("one", one.address, "") + &deployment("two", two.address, "");
    write(&gateway, &add);
    becomes(&gateway, &token, "two.test", 200);
    stream.passes(&mut caller, "another was added");

    write(&gateway, &(streaming.clone() + &deployment("two", two.address, "")));
    becomes(&gateway, &token, "one.test", 404);
    stream.passes(&mut caller, "another was removed");

    let moved = deployment("two", two.address, "").replace("two.test", "moved.test");
    write(&gateway, &(streaming.clone() + &moved));
    becomes(&gateway, &token, "moved.test", 200);
    assert_eq!(status(&gateway, &token, "two.test"), 404, "the old host is gone");
    stream.passes(&mut caller, "another was moved");

    // Its own settings change: what runs goes on as it began.
    let changed = deployment("stream", stream.upstream.address, "max_body_bytes = 10\n");
    write(&gateway, &(changed + &moved));
    let long = || {
        gateway.connect().ask(request("POST", "/", "stream.test", &token.text, &["content-length: 20"], &[b'x'; 20]))
    };
    wait_until("the limit holds for new requests", LOOK, || long().status == 413);
    stream.passes(&mut caller, "its own settings");
    stream.passes(&mut caller, "end");
    assert_eq!(caller.chunk(), Ok(None));
    assert_eq!(caller.trailers(), Ok(Vec::new()));
    // The connection is still good.
    stream.chunks.send("end").unwrap();
    assert_eq!(caller.ask(get("stream.test", "/", &token.text)).status, 200);
}

#[test]
fn protection_and_limits_change() {
    let upstream = Upstream::named("model");
    let plain = deployment("model", upstream.address, "");
    let gateway = Gateway::start(&plain);
    let token = gateway.token(&["deployment:*"]);
    let open = || gateway.ask("GET / HTTP/1.1\r\nhost: model.test\r\n\r\n").status;
    assert_eq!(open(), 401);
    write(&gateway, &deployment("model", upstream.address, "protected = false\n"));
    wait_until("it is public", LOOK, || open() == 200);
    write(&gateway, &plain);
    wait_until("it is protected again", LOOK, || open() == 401);

    let long = get("model.test", &format!("/{}", "x".repeat(2000)), &token.text);
    assert_eq!(gateway.ask(&long).status, 200);
    write(&gateway, &(plain.clone() + "[proxy.limits]\nmax_uri_bytes = 1024\n"));
    wait_until("the limit holds", LOOK, || gateway.ask(&long).status == 414);
    write(&gateway, &("organization = \"acme\"\n".to_owned() + &plain));
    wait_until("the limit is gone", LOOK, || gateway.ask(&long).status == 200);
    let challenge = gateway.ask("GET / HTTP/1.1\r\nhost: model.test\r\n\r\n");
    assert_eq!(challenge.header("www-authenticate"), Some("Bearer realm=\"acme\""));
}

#[test]
fn sighup_does_not_wait_for_the_next_look() {
    let upstream = Upstream::named("model");
    let gateway = Gateway::start("");
    let token = gateway.token(&["deployment:*"]);
    let mut fastest = Duration::MAX;
    for round in 0..4 {
        let config = if round % 2 == 0 { deployment("model", upstream.address, "") } else { String::new() };
        write(&gateway, &config);
        let started = Instant::now();
        gateway.signal("HUP");
        becomes(&gateway, &token, "model.test", if round % 2 == 0 { 200 } else { 404 });
        fastest = fastest.min(started.elapsed());
    }
    // Looks are a second apart: four at these moments by chance are not to be expected.
    assert!(fastest < Duration::from_millis(300), "{fastest:?}");
    // Also without any change.
    let reloads = || gateway.stderr().iter().filter(|line| line.contains("the configuration was reloaded")).count();
    let before = reloads();
    gateway.signal("HUP");
    wait_until("it says so", SOON, || reloads() == before + 1);
}

#[test]
fn a_broken_file_changes_nothing() {
    let upstream = Upstream::named("model");
    let good = deployment("model", upstream.address, "");
    let gateway = Gateway::start(&good);
    let token = gateway.token(&["deployment:*"]);
    let broken = "[proxy]\nlissten = \"127.0.0.1:1\"\n[proxy.limits]\nmax_uri_bytes = \"many\"\n\
                  [deployments.model]\nupstream = \"ftp://nowhere\"\n[deployments.new]\nupstream = \"http://127.0.0.1:1\"\n\
                  hosts = [\"new.test\"]\n";
    write(&gateway, broken);
    let complaints = |expected: &'static str| {
        let lines = gateway.stderr();
        lines
            .into_iter()
            .filter(|line| line.contains("was not reloaded") && line.contains(expected))
            .collect::<Vec<_>>()
    };
    wait_until("it complains", LOOK, || !complaints("").is_empty());
    let text = complaints("").remove(0);
    for expected in
        ["3 problems", "proxy.lissten", "proxy.limits.max_uri_bytes", "deployments.model.upstream", "listen"]
    {
        assert!(text.contains(expected), "{expected:?} is not in {text}");
    }
    assert_eq!(status(&gateway, &token, "model.test"), 200, "the old state");
    assert_eq!(status(&gateway, &token, "new.test"), 404, "nothing of the new one");
    // Once for each state of the file, not once a second.
    sleep(Duration::from_millis(2200));
    assert_eq!(complaints("").len(), 1);

    write(&gateway, "this is [ not TOML");
    wait_until("it complains of the syntax", LOOK, || complaints("").len() == 2);
    fs::remove_file(gateway.path("gateway.toml")).unwrap();
    wait_until("it complains of the missing file", LOOK, || complaints("").len() == 3);
    assert_eq!(status(&gateway, &token, "model.test"), 200);
    assert_eq!(gateway.readyz(), Some(200));
    write(&gateway, &(good + &deployment("new", upstream.address, "")));
    becomes(&gateway, &token, "new.test", 200);
}

#[test]
fn files_are_replaced_in_the_ways_of_editors_and_kubernetes() {
    let (old, new) = (Upstream::named("old"), Upstream::named("new"));
    let configs = [deployment("old", old.address, ""), deployment("new", new.address, "")];
    let gateway = Gateway::start(&configs[0]);
    let token = gateway.token(&["deployment:*"]);
    let file = gateway.path("gateway.toml");

    // An editor: a new file takes the name.
    fs::write(gateway.path("next.toml"), &configs[1]).unwrap();
    fs::rename(gateway.path("next.toml"), &file).unwrap();
    becomes(&gateway, &token, "new.test", 200);
    assert_eq!(status(&gateway, &token, "old.test"), 404);

    // A ConfigMap: FILE -> ..data/FILE, ..data -> a directory, and ..data is swapped.
    for (number, config) in configs.iter().enumerate() {
        fs::create_dir(gateway.path(&format!("..{number}"))).unwrap();
        fs::write(gateway.path(&format!("..{number}/gateway.toml")), config).unwrap();
    }
    let swap = |number: usize| {
        symlink(format!("..{number}"), gateway.path("..data_tmp")).unwrap();
        fs::rename(gateway.path("..data_tmp"), gateway.path("..data")).unwrap();
    };
    swap(1);
    symlink("..data/gateway.toml", gateway.path("link.toml")).unwrap();
    fs::rename(gateway.path("link.toml"), &file).unwrap();
    for (number, there, gone) in [(0, "old.test", "new.test"), (1, "new.test", "old.test")] {
        swap(number);
        becomes(&gateway, &token, there, 200);
        assert_eq!(status(&gateway, &token, gone), 404);
    }
    // The same content and length, and an old time: an equal file is no change; another content of equal length is.
    let reloads = || gateway.stderr().iter().filter(|line| line.contains("was reloaded")).count();
    let before = reloads();
    fs::write(gateway.path("..1/gateway.toml"), &configs[1]).unwrap();
    sleep(Duration::from_millis(1500));
    assert_eq!(reloads(), before, "nothing changed");
    fs::write(gateway.path("..1/gateway.toml"), configs[1].replace("new.test", "few.test")).unwrap();
    becomes(&gateway, &token, "few.test", 200);
}

#[test]
fn what_needs_a_restart_is_named() {
    let upstream = Upstream::named("model");
    let gateway = Gateway::start(&deployment("model", upstream.address, ""));
    let token = gateway.token(&["deployment:*"]);
    let changed = "[proxy]\ndrain_timeout = \"7s\"\n[proxy.limits]\nmax_connections = 77\n\
                   [store]\nmax_staleness = \"7h\"\n[tokens]\nrotation_overlap = \"7h\"\n[log]\naccess = false\n";
    write(&gateway, &(changed.to_owned() + &deployment("new", upstream.address, "")));
    becomes(&gateway, &token, "new.test", 200);
    let lines = gateway.stderr();
    let named: Vec<String> = lines
        .iter()
        .filter(|line| line.contains("takes effect at the next start"))
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["key"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(named, ["proxy.drain_timeout", "proxy.limits.max_connections", "store", "tokens", "log"]);
    assert!(lines.iter().any(|line| line.contains("\"WARN\"") && line.contains("proxy.drain_timeout")));
}

/// Deployments of the file do not depend on the store, once it was reached.
#[test]
fn a_reload_while_the_store_is_away() {
    let cluster = Cluster::start();
    let upstream = Upstream::named("model");
    let setup = Setup::new(&deployment("model", upstream.address, ""));
    let gateway = setup.env("STORE__URL", &new_database(&cluster)).start();
    let token = gateway.token(&["deployment:*"]);
    for (fault, end, host) in [
        (Cluster::stop as fn(&Cluster), Cluster::start_again as fn(&Cluster), "one"),
        (Cluster::pause, Cluster::resume, "two"),
    ] {
        fault(&cluster);
        sleep(Duration::from_millis(600));
        let started = Instant::now();
        write(&gateway, &deployment(host, upstream.address, ""));
        gateway.signal("HUP");
        becomes(&gateway, &token, &format!("{host}.test"), 200);
        println!("reloaded within {:?} while the store was away", started.elapsed());
        end(&cluster);
    }
}

fn write(gateway: &Gateway, config: &str) {
    // At once, as editors do: a reader never sees a half.
    fs::write(gateway.path("gateway.toml.new"), config).unwrap();
    fs::rename(gateway.path("gateway.toml.new"), gateway.path("gateway.toml")).unwrap();
}

fn status(gateway: &Gateway, token: &Token, host: &str) -> u16 {
    gateway.ask(&get(host, "/", &token.text)).status
}

fn becomes(gateway: &Gateway, token: &Token, host: &str, expected: u16) {
    wait_until(&format!("{host} answers {expected}"), LOOK, || status(gateway, token, host) == expected);
}
