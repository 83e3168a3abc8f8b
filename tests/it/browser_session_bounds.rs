//! What callers of the proxy can make the store do by signing browsers in: little, and nothing without a right.

use std::time::Duration;

use sqlx::{Connection, Executor, SqliteConnection, sqlite::SqliteConnectOptions};
use tokio::runtime::Runtime;

use crate::harness::{
    SOON,
    console::{Browser, csrf, way_back, way_to_console},
    gateway::{Gateway, Setup, Token, deployment},
    http::ReadEnd,
    postgres::Cluster,
    token_text::misspelt,
    upstream::Upstream,
    wait_until,
};

const INVENTED: &str = "0000000000000000000000000000000000000000";

fn at_a(gateway: &Gateway) -> Browser {
    let mut browser = Browser::new(gateway.proxy);
    browser.host = "a.test".to_owned();
    browser
}

fn with_a() -> (Gateway, Upstream) {
    let upstream = Upstream::named("a");
    (Gateway::start(&deployment("a", upstream.address, "")), upstream)
}

/// Another writer holds the store while `act` runs, so that whoever needs to write to it waits, and fails.
fn with_locked_store<T>(gateway: &Gateway, act: impl FnOnce() -> T) -> T {
    let runtime = Runtime::new().unwrap();
    let options = SqliteConnectOptions::new().filename(gateway.path("gateway.db"));
    let mut writer = runtime.block_on(SqliteConnection::connect_with(&options)).unwrap();
    runtime.block_on(writer.execute("BEGIN IMMEDIATE")).unwrap();
    let done = act();
    runtime.block_on(writer.execute("ROLLBACK")).unwrap();
    done
}

#[test]
fn an_invented_hand_over_never_reaches_the_store() {
    let (gateway, _upstream) = with_a();
    let mut browser = at_a(&gateway);
    browser.cookies.insert("bgw-nonce".to_owned(), "1".repeat(40));
    let statuses = with_locked_store(&gateway, || {
        [INVENTED, &INVENTED.replace('0', "f"), "x"]
            .map(|code| browser.get(&format!("/-/hand-over?code={code}")).status)
    });
    assert_eq!(statuses, [400; 3], "503 would be the store's word");
}

/// Nor does one that was good once, at any other address or later: so that the store's troubles do not show where there is a
/// Deployment.
#[test]
fn a_hand_over_that_is_good_no_more_never_reaches_the_store() {
    let upstream = Upstream::named("a");
    let gateway = Gateway::start(&(deployment("a", upstream.address, "") + &deployment("b", upstream.address, "")));
    let mut console = Browser::signed_in(&gateway, "ada@example.com", true);
    let mut browser = at_a(&gateway);
    let path = way_back(&gateway, &mut console, &mut browser, "/");
    let until = path.split("until=").nth(1).unwrap().split('&').next().unwrap();
    let (later, over) = (path.replace(until, "9999999999999"), path.replace(until, "1000000000000"));
    let ask = |host: &str, path: &str| {
        let mut there = Browser::new(gateway.proxy);
        there.host = host.to_owned();
        there.cookies.clone_from(&browser.cookies);
        let answer = there.get(path);
        (answer.status, answer.text())
    };
    with_locked_store(&gateway, || {
        let nowhere = ask("nowhere.test", &path);
        assert_eq!(nowhere.0, 400);
        for (host, path) in [("b.test", &path), ("a.test", &later), ("a.test", &over)] {
            assert_eq!(ask(host, path), nowhere, "{host} {path}");
        }
        assert_eq!(ask("a.test", &path).0, 503, "the store's word, for whom it was made");
    });
}

/// By an account, too.
#[test]
fn somebody_who_is_signed_in_at_the_console_opens_deployments_so_many_times() {
    let (gateway, _upstream) = with_a();
    let mut console = Browser::signed_in(&gateway, "ada@example.com", true);
    let open = way_to_console(&gateway, &mut at_a(&gateway), "/");
    let opened = (0..200).take_while(|_| console.get(&open).status == 303).count();
    assert!((30..40).contains(&opened), "{opened}");
    assert_eq!(console.get(&open).status, 429);
}

/// Where there is a Deployment, its callers may know; somebody without a token for it may not.
#[test]
fn at_the_console_only_a_token_that_opens_it_learns_of_a_deployment() {
    let url = Cluster::shared().database_url();
    let upstream = Upstream::named("a");
    let deployments = deployment("a", upstream.address, "") + &deployment("other", upstream.address, "");
    let config = format!("[proxy]\ntrusted_proxies = [\"127.0.0.1\"]\n{deployments}");
    let gateway = Setup::new(&config).env("STORE__URL", &url).start();
    let (narrow, all) = (gateway.token(&["deployment:other"]), gateway.token(&["deployment:*"]));
    let there = way_to_console(&gateway, &mut at_a(&gateway), "/");
    let nowhere = there.replace("a.test", "nowhere.test");
    let garbage = misspelt(&all.text);
    let mut number = 0;
    let mut pasted = |open: &str, text: &str| {
        number += 1;
        let mut console = Browser::new(gateway.management);
        console.client = format!("192.0.2.{number}");
        let page = console.get(&format!("/sign-in?{}", serde_urlencoded::to_string([("next", open)]).unwrap()));
        let answer = console.submit(&page, "/open/token", &[("next", open), ("token", text)]);
        let text = answer.text().replace(open, "").replace(&csrf(&page), "");
        (answer.status, text.replace("a.test", "").replace("nowhere.test", ""))
    };
    for (token, status) in [(&*narrow.text, 403), (&*garbage, 400), ("x", 400)] {
        let (known, unknown) = (pasted(&there, token), pasted(&nowhere, token));
        assert_eq!(known.0, status, "{}", known.1);
        assert_eq!(known, unknown);
    }
    assert_eq!((pasted(&there, &all.text).0, pasted(&nowhere, &all.text).0), (200, 404));
    // Nor is anything looked up for a word that is no token.
    let _lock = Cluster::lock(&url, "deployments");
    assert_eq!(pasted(&there, &garbage).0, 400);
}

/// Signing in waits for the store; so many from one network leave room for others.
#[test]
fn one_network_does_not_keep_others_from_signing_in() {
    let url = Cluster::shared().database_url();
    let upstream = Upstream::named("a");
    let config = format!("[proxy]\ntrusted_proxies = [\"127.0.0.1\"]\n{}", deployment("a", upstream.address, ""));
    let gateway = Setup::new(&config).env("STORE__URL", &url).env("STORE__ACQUIRE_TIMEOUT", "10s").start();
    let tokens: Vec<_> = (0..6).map(|_| gateway.token(&["deployment:a"])).collect();
    let _lock = Cluster::lock(&url, "change_seq");
    let begin = |client: &str, token: &Token| {
        let body = serde_urlencoded::to_string([("token", &*token.text), ("to", "/")]).unwrap();
        let mut caller = gateway.connect();
        caller.read_timeout(Duration::from_millis(500));
        caller.send(format!(
            "POST /-/sign-in HTTP/1.1\r\nhost: a.test\r\norigin: http://a.test\r\nx-forwarded-for: {client}\r\n\
             content-type: application/x-www-form-urlencoded\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        ));
        let answered = caller.try_head().map(|answer| answer.status);
        (caller, answered)
    };
    let waiting: Vec<_> = tokens[..4].iter().map(|token| begin("192.0.2.1", token)).collect();
    assert!(waiting.iter().all(|(_, answered)| *answered == Err(ReadEnd::TimedOut)));
    assert_eq!(begin("192.0.2.1", &tokens[4]).1, Ok(503), "its share is used up");
    assert_eq!(begin("192.0.2.2", &tokens[5]).1, Err(ReadEnd::TimedOut), "somebody else has room");
    // Nobody works for who has left.
    waiting.into_iter().for_each(|(caller, _)| caller.leave());
    wait_until("their places are free", SOON, || begin("192.0.2.1", &tokens[4]).1 == Err(ReadEnd::TimedOut));
}

#[test]
fn a_token_is_good_for_so_many_sessions_and_so_many_sign_ins() {
    let (gateway, _upstream) = with_a();
    let token = gateway.token(&["deployment:a"]);
    let fields = [("token", &*token.text), ("to", "/")];
    let mut signed_in = Vec::new();
    let limited = loop {
        let mut browser = at_a(&gateway);
        let answer = browser.post("/-/sign-in", &fields);
        if answer.status != 303 {
            break answer;
        }
        signed_in.push(browser);
        assert!(signed_in.len() < 200, "one token signs in without end");
    };
    assert_eq!(limited.status, 429, "{}", limited.text());
    assert!(limited.text().contains("too many sign-ins"), "{}", limited.text());
    // Another token of the same Deployment signs in.
    let other = gateway.token(&["deployment:a"]);
    let mut browser = at_a(&gateway);
    assert_eq!(browser.post("/-/sign-in", &[("token", &other.text), ("to", "/")]).status, 303);
    assert_eq!(browser.get("/x").status, 200);
    // And the token itself goes on.
    let bearer = format!("authorization: Bearer {}", token.text);
    assert_eq!(at_a(&gateway).ask("GET", "/x", &[&bearer], "").status, 200);
}

#[test]
fn a_token_that_is_pasted_at_the_console_opens_the_deployment_one_came_from() {
    let (gateway, upstream) = with_a();
    let token = gateway.token(&["deployment:a"]);
    let narrow = gateway.token(&["api"]);
    let mut browser = at_a(&gateway);
    let page = browser.get("/-/sign-in");
    assert!(!page.text().contains("<input"), "nothing is typed where the service's scripts run: {}", page.text());
    let open = way_to_console(&gateway, &mut browser, "/docs");
    let port = gateway.proxy.port();

    let mut console = Browser::new(gateway.management);
    let sent = console.get(&open);
    let sign_in = console.get(sent.header("location").unwrap());
    assert!(sign_in.text().contains("action=\"/open/token\""), "{}", sign_in.text());
    let pasted = |console: &mut Browser, text: &str| {
        console.submit(&sign_in, "/open/token", &[("next", &*open), ("token", text)])
    };
    let nonsense = pasted(&mut console, "bgw_nonsense");
    assert!(nonsense.status == 400 && nonsense.text().contains("not an API token"), "{}", nonsense.text());
    assert!(!nonsense.text().contains("nonsense"), "what was typed does not come back");
    assert_eq!(pasted(&mut console, &narrow.text).status, 403);
    let handed = pasted(&mut console, &token.text);
    assert_eq!(handed.status, 200, "{}", handed.text());
    let text = handed.text().replace("&amp;", "&").replace("&#38;", "&");
    let start = text.find(&format!("http://a.test:{port}")).unwrap() + format!("http://a.test:{port}").len();
    let back = text[start..].split('"').next().unwrap().to_owned();

    assert_eq!(at_a(&gateway).get(&back).status, 400, "another browser");
    let done = browser.get(&back);
    assert_eq!((done.status, done.header("location")), (303, Some("/docs")), "{}", done.text());
    assert_eq!(browser.get("/docs").status, 200);
    assert_eq!(upstream.only_request().header("x-bento-gateway-token-uid"), Some(token.uid.as_str()));
}

#[test]
fn deployments_of_one_origin_have_no_sessions_unless_they_trust_each_other() {
    let upstream = Upstream::named("a");
    let gateway = Gateway::start(&format!("[proxy]\npath_prefix = true\n{}", deployment("a", upstream.address, "")));
    let token = gateway.token(&["deployment:a"]);
    let mut browser = Browser::new(gateway.proxy);
    browser.host = "gateway.test".to_owned();
    let fields = [("token", &*token.text), ("to", "/deployments/a/")];
    let refused = browser.post("/deployments/a/-/sign-in", &fields);
    assert_eq!((refused.status, refused.all("set-cookie")), (403, vec![]));
    assert!(refused.text().contains("several services share it"), "{}", refused.text());
    let page = browser.get("/deployments/a/");
    assert!(page.status == 401 && page.text().contains("several services share it"), "{}", page.text());
    // A session of its own host is none here.
    let mut at_host = at_a(&gateway);
    assert_eq!(at_host.post("/-/sign-in", &[("token", &token.text), ("to", "/")]).status, 303);
    browser.cookies.clone_from(&at_host.cookies);
    assert_eq!(at_host.get("/x").status, 200);
    assert_eq!(browser.ask("GET", "/deployments/a/x", &[], "").code(), "credential_missing");
}

#[test]
fn no_script_can_put_itself_between_our_pages_and_us() {
    let upstream = Upstream::answering(|_| {
        crate::harness::upstream::response(200, &["service-worker-allowed: /", "content-type: text/javascript"], b"")
    });
    let gateway = Gateway::start(&deployment("a", upstream.address, "protected = false"));
    let mut browser = at_a(&gateway);
    for path in ["/sw.js", "/-/sw.js"] {
        let refused = browser.ask("GET", path, &["service-worker: script"], "");
        assert_eq!((refused.status, refused.code().as_str()), (403, "service_worker_refused"), "{path}");
    }
    assert_eq!(browser.get("/app.js").header("service-worker-allowed"), None);
}
