//! The first minute: one command, one token, and clear words where it cannot be.

use std::{
    collections::BTreeSet,
    net::{SocketAddr, TcpListener},
    process::Command,
    thread::{scope, sleep},
    time::{Duration, Instant},
};

use crate::harness::{
    SOON,
    gateway::{Gateway, Setup, deployment, free_address},
    http::{Caller, get},
    postgres::Cluster,
    stores::{Kind, new_database, over_both_stores, texts},
    upstream::Upstream,
    wait_for, wait_until,
};

over_both_stores!(gateways_that_start_together_print_one_token, nothing_is_lost_by_an_early_end);

#[test]
fn one_command_is_enough() {
    let upstream = Upstream::named("a real answer");
    let flag = format!("summarization=http://{}", upstream.address);
    let mut gateway = Setup::bare().arguments(&["--deployment", &flag]).start();
    let text = welcome(&gateway);
    assert!(text.starts_with("bento-gateway is ready.\n"), "{text}");
    assert!(text.contains(&format!("summarization  http://{}  protected", gateway.proxy)), "{text}");
    let token = tokens_in(&text).pop().expect("a first token");

    // Pasted as it stands.
    let line = text.lines().map(str::trim).find(|line| line.starts_with("curl ")).expect("a line to try");
    let pasted = Command::new("sh").args(["-c", line]).output().expect("these tests need curl");
    assert!(pasted.status.success(), "{line}: {pasted:?}");
    assert_eq!(String::from_utf8_lossy(&pasted.stdout), "a real answer", "{line}");
    assert_eq!(upstream.only_request().target, "/readyz");
    let without = line.split(" -H").next().unwrap().to_owned() + " " + line.rsplit(' ').next().unwrap();
    let refused = Command::new("sh").args(["-c", &without]).output().unwrap();
    assert!(String::from_utf8_lossy(&refused.stdout).contains("credential_missing"), "{without}: {refused:?}");

    // It works for everything that is promised: any Deployment, and the command it names for the next token.
    assert_eq!(gateway.ask(&get("anything.example", "/", &token)).status, 200, "the one Deployment is the default one");
    let database = gateway.path(".local/share/bento-gateway/bento-gateway.db");
    assert!(database.exists(), "the store is below HOME");
    let next = gateway.cli(&["token", "create", "next", "--scope", "deployment:summarization"]);
    let next = next["token"].as_str().unwrap().to_owned();
    wait_until("the next token works", SOON, || gateway.ask(&get("x", "/", &next)).status == 200);

    assert!(gateway.terminate().success());
    gateway.launch_again();
    gateway.becomes_ready();
    wait_until("its second welcome", SOON, || welcome(&gateway).matches("is ready").count() == 2);
    let text = welcome(&gateway);
    assert_eq!(tokens_in(&text).len(), 1, "only the first start prints a token: {text}");
    assert!(text.contains("bento-gateway token create NAME"), "the second says how to make one: {text}");
    for token in [&token, &next] {
        assert_eq!(gateway.ask(&get("x", "/", token)).status, 200, "the store was kept");
    }
    let url = format!("sqlite:{}", database.display());
    assert_eq!(texts(&url, "SELECT action FROM audit_events ORDER BY id"), ["gateway.bootstrapped", "token.created"]);
}

fn gateways_that_start_together_print_one_token(kind: Kind) {
    let upstream = Upstream::named("model");
    let config = deployment("model", upstream.address, "");
    for _ in 0..2 {
        let setup = kind.setup(&config).env("TOKENS__FIRST_TOKEN", "true");
        let url = match kind {
            Kind::Postgres => new_database(Cluster::shared()),
            Kind::Sqlite => format!("sqlite:{}/shared/gateway.db", setup.directory().display()),
        };
        let others = (0..2).map(|_| Setup::new(&config).env("TOKENS__FIRST_TOKEN", "true"));
        let mut gateways: Vec<Gateway> =
            [setup].into_iter().chain(others).map(|setup| setup.env("STORE__URL", &url).launch()).collect();
        gateways.iter_mut().for_each(Gateway::becomes_ready);
        let all = || gateways.iter().map(welcome).collect::<String>();
        wait_until("all say that they are ready", SOON, || all().matches("is ready").count() == 3);
        let printed = tokens_in(&all());
        assert_eq!(printed.len(), 1, "{}", all());
        for gateway in &gateways {
            wait_until("all know it", SOON, || gateway.ask(&get("model.test", "/", &printed[0])).status == 200);
        }
        assert_eq!(texts(&url, "SELECT name FROM api_tokens"), ["first"]);
        assert_eq!(texts(&url, "SELECT email FROM users"), ["admin@localhost"]);
    }
}

#[test]
fn no_first_token_is_printed_where_none_is_wanted() {
    let upstream = Upstream::named("model");
    let flag = format!("model=http://{}", upstream.address);
    let setup = Setup::bare().arguments(&["--deployment", &flag]).env("TOKENS__FIRST_TOKEN", "false");
    let mut gateway = setup.start();
    wait_until("its welcome", SOON, || welcome(&gateway).contains("is ready"));
    assert!(!welcome(&gateway).contains("bgw_"), "{}", welcome(&gateway));
    let listed = gateway.cli(&["token", "list"]);
    let items = listed["items"].as_array().unwrap();
    assert!(items.iter().all(|item| item["status"] == "revoked"), "nothing that opens anything: {listed}");
    // Nor at a later start that would want one.
    assert!(gateway.terminate().success());
    gateway.set("TOKENS__FIRST_TOKEN", "true");
    gateway.launch_again();
    gateway.becomes_ready();
    wait_until("its second welcome", SOON, || welcome(&gateway).matches("is ready").count() == 2);
    assert!(!welcome(&gateway).contains("bgw_"), "{}", welcome(&gateway));
}

#[test]
fn an_address_in_use() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for (key, what, flag) in [
        ("PROXY__LISTEN", "the proxy", "--listen"),
        ("MANAGEMENT__LISTEN", "the management listener", "--management-listen"),
    ] {
        let mut gateway = Setup::new("").env("TOKENS__FIRST_TOKEN", "true").env(key, &address).launch();
        let status = gateway.wait();
        let text = gateway.stderr().join("\n");
        assert_eq!(status.code(), Some(1), "{text}");
        assert!(text.contains(&format!("error: {what} cannot listen on {address}: Address")), "{text}");
        assert!(text.lines().any(|line| line.starts_with("hint: ") && line.contains(flag)), "{text}");
        assert!(!text.contains("panicked"), "{text}");
        assert!(
            !gateway.path("gateway.db").exists(),
            "a start that fails bootstraps nothing, so its token is not lost"
        );
    }
}

/// With SO_REUSEPORT, half of the connections would go to each.
#[test]
fn a_second_gateway_does_not_share_the_port_of_the_first() {
    let first = Gateway::start("");
    let mut second = Setup::new("").env("PROXY__LISTEN", &first.proxy.to_string()).launch();
    assert_eq!(second.wait().code(), Some(1));
    assert!(second.stderr().join("\n").contains("cannot listen on"), "{:?}", second.stderr());
}

#[test]
fn several_deployments_get_a_listener_each() {
    let (one, two) = (Upstream::named("one"), Upstream::named("two"));
    // Room for the ports above.
    let base = wait_for("neighbouring ports", SOON, || {
        let base = free_address();
        (10..12).all(|step| TcpListener::bind(("127.0.0.1", base.port() + step)).is_ok()).then_some(base)
    });
    let flags = [format!("one=http://{}", one.address), format!("two=http://{}", two.address)];
    let arguments = ["--deployment", &flags[0], "--deployment", &flags[1]];
    let gateway = Setup::bare().env("PROXY__LISTEN", &base.to_string()).arguments(&arguments).start();
    let text = wait_for("its welcome", SOON, || Some(welcome(&gateway)).filter(|text| text.contains("curl")));
    let token = tokens_in(&text).pop().unwrap();
    for (step, name) in [(10, "one"), (11, "two")] {
        let address = SocketAddr::new(base.ip(), base.port() + step);
        assert!(text.contains(&format!("{name}  http://{address}  protected")), "{text}");
        wait_until("its listener is open", SOON, || Caller::try_connect(address).is_ok());
        let answer = Caller::connect(address).ask(get("whatever.example", "/", &token));
        assert_eq!((answer.status, answer.text().as_str()), (200, name));
    }
    assert_eq!(gateway.ask(&get("whatever.example", "/", &token)).status, 404, "the common one leads to none of them");
    // One of these addresses is taken: the rest works, and the log names it.
    drop(gateway);
    let taken = TcpListener::bind(("127.0.0.1", base.port() + 10)).unwrap();
    let gateway = Setup::bare().env("PROXY__LISTEN", &base.to_string()).arguments(&arguments).start();
    let complaint = format!("{}", taken.local_addr().unwrap());
    wait_until("it says which one", SOON, || {
        gateway.stderr().iter().any(|line| line.contains("could not be opened") && line.contains(&complaint))
    });
    let other = SocketAddr::new(base.ip(), base.port() + 11);
    wait_until("the other is open", SOON, || Caller::try_connect(other).is_ok());
}

#[test]
fn a_sigterm_while_the_store_is_waited_for() {
    // Nobody listens there.
    let url = format!("postgres://gateway@{}/x", free_address());
    for signal in ["TERM", "INT"] {
        let mut gateway = Setup::new("").env("STORE__URL", &url).launch();
        wait_until("it waits", SOON, || gateway.readyz() == Some(503));
        let started = Instant::now();
        gateway.signal(signal);
        let status = gateway.wait();
        assert!(status.success(), "{status:?}: {:?}", gateway.stderr());
        assert!(started.elapsed() < Duration::from_secs(3), "{:?}", started.elapsed());
    }
}

/// SIGTERM at any moment of the first start: either the start that made the first token has printed it, or the next one
/// makes and prints it.
fn nothing_is_lost_by_an_early_end(kind: Kind) {
    let started = Instant::now();
    drop(kind.setup("").env("TOKENS__FIRST_TOKEN", "true").start());
    let whole_start = started.elapsed();
    let run = |round: u32| {
        let mut gateway = kind.setup("").env("TOKENS__FIRST_TOKEN", "true").launch();
        sleep(whole_start * round / 20);
        gateway.signal("TERM");
        let status = gateway.wait();
        // Before the handler stands, which is about the first thing, the signal itself ends it.
        let by_signal = std::os::unix::process::ExitStatusExt::signal(&status);
        assert!(status.success() || by_signal == Some(15), "{status:?}: {:?}", gateway.stderr());
        gateway.launch_again();
        gateway.becomes_ready();
        wait_until("its welcome", SOON, || welcome(&gateway).ends_with("\n\n") || welcome(&gateway).contains("curl"));
        let tokens = tokens_in(&welcome(&gateway));
        assert_eq!(tokens.len(), 1, "round {round}: the first token of two starts: {}", welcome(&gateway));
        assert_eq!(gateway.code_of(&tokens[0]), "deployment_not_found");
    };
    for group in (0..24).collect::<Vec<u32>>().chunks(4) {
        scope(|scope| group.iter().for_each(|&round| drop(scope.spawn(move || run(round)))));
    }
}

fn welcome(gateway: &Gateway) -> String {
    gateway.stdout().iter().map(|line| line.clone() + "\n").collect()
}

/// Each once, wherever it stands.
fn tokens_in(text: &str) -> Vec<String> {
    let all: BTreeSet<_> = text.match_indices("bgw_").filter_map(|(at, _)| text.get(at..at + 66)).collect();
    all.into_iter().map(str::to_owned).collect()
}
