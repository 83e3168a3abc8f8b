//! What callers of the proxy can make the store do by signing browsers in: little, and nothing without a right.

use sqlx::{Connection, Executor, SqliteConnection, sqlite::SqliteConnectOptions};
use tokio::runtime::Runtime;

use crate::harness::{
    console::Browser,
    gateway::{Gateway, deployment},
    upstream::Upstream,
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
    let asked = browser.get("/-/console?to=/docs");
    let location = asked.header("location").unwrap().to_owned();
    let port = gateway.proxy.port();
    let open = location.strip_prefix(&format!("http://{}", gateway.management)).unwrap();
    let open = open.replace("at=http%3A%2F%2Fa.test", &format!("at=http%3A%2F%2Fa.test%3A{port}"));

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
