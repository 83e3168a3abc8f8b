//! Sessions of browsers over several gateways, a kill, and an outage of the store.

use crate::harness::{
    console::Browser,
    gateway::{Gateway, Setup, deployment},
    postgres::Cluster,
    upstream::Upstream,
};

const HOST: &str = "a.test";

#[test]
fn a_session_is_known_to_every_gateway_at_once_and_survives_a_kill() {
    let upstream = Upstream::named("a");
    let config = deployment("a", upstream.address, "");
    let url = Cluster::shared().database_url();
    // Nobody finds out by looking: the answer must have waited.
    let start = || Setup::new(&config).env("STORE__URL", &url).start();
    let (mut one, two) = (start(), start());
    let token = one.token(&["deployment:a"]);
    two.await_token(&token);
    let at = |gateway: &Gateway, cookies: &Browser| {
        let mut browser = Browser::new(gateway.proxy);
        browser.host = HOST.to_owned();
        browser.cookies.clone_from(&cookies.cookies);
        browser
    };
    for _ in 0..10 {
        let mut first = at(&one, &Browser::new(one.proxy));
        assert_eq!(first.post("/-/sign-in", &[("token", &token.text), ("to", "/")]).status, 303);
        let mut second = at(&two, &first);
        assert_eq!(second.get("/x").status, 200, "signed in at the other");
        let kept = at(&one, &first);
        assert_eq!(second.post("/-/sign-out", &[]).status, 303);
        assert_eq!(at(&one, &kept).get("/x").status, 401, "signed out at the other");
    }
    let mut browser = at(&one, &Browser::new(one.proxy));
    browser.post("/-/sign-in", &[("token", &token.text), ("to", "/")]);
    one.kill();
    one.start_again();
    assert_eq!(browser.get("/x").status, 200);
}

#[test]
fn while_the_store_is_away_sessions_go_on_and_nobody_is_blamed() {
    let upstream = Upstream::named("a");
    let cluster = Cluster::start();
    let url = cluster.database_url();
    let gateway = Setup::new(&deployment("a", upstream.address, "")).env("STORE__URL", &url).start();
    let token = gateway.token(&["deployment:a"]);
    let mut console = Browser::signed_in(&gateway, "ada@example.com", true);
    let mut browser = Browser::new(gateway.proxy);
    browser.host = HOST.to_owned();
    browser.post("/-/sign-in", &[("token", &token.text), ("to", "/")]);
    assert_eq!(browser.get("/x").status, 200);

    cluster.stop();
    gateway.await_said(&["cannot be followed"]);
    assert_eq!(browser.get("/x").status, 200, "a known session");
    let mut other = Browser::new(gateway.proxy);
    other.host = HOST.to_owned();
    let refused = other.post("/-/sign-in", &[("token", &token.text), ("to", "/")]);
    assert_eq!(refused.status, 503, "{}", refused.text());
    assert!(refused.text().contains("not available"), "{}", refused.text());
    let page = console.get("/api_tokens");
    assert_eq!(page.status, 503, "{}", page.text());
    assert!(page.text().contains("Something went wrong"), "{}", page.text());
    let signing_in = Browser::new(gateway.management).get("/sign-in");
    assert!([200, 503].contains(&signing_in.status), "{}", signing_in.status);
    let stolen = [("bgw-session-a", format!("bgs_{}", &token.text[4..]))];
    other.cookies.extend(stolen.map(|(name, value)| (name.to_owned(), value)));
    assert_eq!(other.ask("GET", "/x", &[], "").status, 401, "what is no session of ours");
}
