//! Browsers at a protected Deployment: what counts, what ends it, and what never reaches the
//! service.

use crate::harness::{
    SOON,
    console::{Browser, PASSWORD, create_user, way_back},
    gateway::{Gateway, Setup, Token, deployment, free_address},
    http::Client,
    upstream::{Upstream, response},
    wait_until,
};

const HOST: &str = "a.test";
const COOKIE: &str = "bgw-session-a";

pub struct ProtectedSite {
    pub gateway: Gateway,
    pub upstream: Upstream,
    pub token: Token,
}

impl ProtectedSite {
    pub fn new() -> Self {
        let upstream = Upstream::named("a");
        let cors = "cors_origins = [\"https://app.test\"]";
        let config = format!(
            "{}{}{}",
            deployment("a", upstream.address, ""),
            deployment("b", upstream.address, cors),
            deployment("open", upstream.address, &format!("protected = false\n{cors}"))
        );
        let gateway = Gateway::start(&config);
        let token = gateway.token(&["deployment:a", "deployment:b"]);
        Self { gateway, upstream, token }
    }

    pub fn browser(&self, host: &str) -> Browser {
        let mut browser = Browser::new(self.gateway.proxy);
        browser.host = host.to_owned();
        browser
    }

    fn signed_in(&self) -> Browser {
        let mut browser = self.browser(HOST);
        let answer = browser.post("/-/sign-in", &[("token", &self.token.text), ("to", "/docs?x=1")]);
        assert_eq!((answer.status, answer.header("location")), (303, Some("/docs?x=1")), "{}", answer.text());
        assert!(answer.all("set-cookie")[0].contains("; Path=/; HttpOnly; SameSite=Lax"), "{:?}", answer.headers);
        browser
    }
}

#[test]
fn a_person_gets_a_page_to_sign_in_and_a_program_does_not() {
    let site = ProtectedSite::new();
    let mut browser = site.browser(HOST);
    for path in ["/", "/docs?x=1"] {
        let page = browser.get(path);
        assert_eq!((page.status, page.header("www-authenticate")), (401, Some("Bearer realm=\"default\"")));
        let to = path.replace('=', "%3D").replace('?', "%3F");
        assert!(page.text().contains(&format!("/-/console?to={to}")), "{}", page.text());
        assert!(page.header("content-security-policy").unwrap().contains("frame-ancestors 'none'"));
    }
    let plain = browser.ask("GET", "/", &["accept: */*"], "");
    assert_eq!((plain.status, plain.code().as_str()), (401, "credential_missing"));
    // Nothing tells an address that leads nowhere from one that leads somewhere.
    let mut nowhere = site.browser("nowhere.test");
    assert_eq!(nowhere.get("/").text(), browser.get("/").text());
    assert_eq!(nowhere.get("/-/").text().replace("nowhere.test", HOST), browser.get("/-/").text());
    let wrong = [("token", "bgw_nonsense"), ("to", "/")];
    for browser in [&mut browser, &mut nowhere] {
        let page = browser.post("/-/sign-in", &wrong);
        assert_eq!(page.status, 400);
        assert!(page.text().contains("not an API token") && !page.text().contains("nonsense"));
        assert_eq!(browser.get("/-/nothing").status, 404);
        assert_eq!(browser.ask("DELETE", "/-/sign-in", &[], "").status, 405);
    }
    let strange = site.gateway.token(&["api"]);
    assert_eq!(browser.post("/-/sign-in", &[("token", &strange.text)]).status, 403);
    assert_eq!(site.upstream.requests().len(), 0);
}

#[test]
fn the_service_sees_no_cookie_of_ours_and_sets_none() {
    let upstream = Upstream::answering(|_| {
        response(
            200,
            &["set-cookie: app=1", "set-cookie: bgw-session-a=planted", "set-cookie: __Host-bgw-console=x"],
            b"",
        )
    });
    let gateway = Gateway::start(&deployment("a", upstream.address, ""));
    let token = gateway.token(&["deployment:a"]);
    let mut browser = Browser::new(gateway.proxy);
    browser.host = HOST.to_owned();
    browser.cookies.insert("mine".to_owned(), "1".to_owned());
    browser.cookies.insert("bgw-console".to_owned(), "consolesession".to_owned());
    browser.post("/-/sign-in", &[("token", &token.text), ("to", "/")]);
    let answer = browser.get("/x");
    assert_eq!((answer.status, answer.all("set-cookie")), (200, vec!["app=1"]));
    let seen = upstream.only_request();
    assert_eq!(seen.all("cookie"), ["mine=1"]);
    assert!(!seen.head.contains("bgs_") && !seen.head.contains("consolesession"), "{}", seen.head);
    assert_eq!(seen.header("x-bento-gateway-token-uid"), Some(token.uid.as_str()));
    assert_eq!(answer.header("content-security-policy"), Some("frame-ancestors 'self'"));
    // No cache shows it to others, or after signing out.
    assert_eq!((answer.header("cache-control"), answer.header("vary")), (Some("private"), Some("cookie")));
    browser.cookies.retain(|name, _| name == COOKIE);
    browser.get("/y");
    assert_eq!(upstream.requests()[1].header("cookie"), None);
}

#[test]
fn a_session_is_good_for_its_deployment_and_as_a_cookie_only() {
    let site = ProtectedSite::new();
    let mut browser = site.signed_in();
    assert_eq!(browser.get("/x").status, 200);
    let session = browser.cookies[COOKIE].clone();
    let mut other = site.browser("b.test");
    for name in [COOKIE, "bgw-session-b"] {
        other.cookies.insert(name.to_owned(), session.clone());
    }
    assert_eq!(other.get("/x").status, 401);
    // Neither is a token a session, nor a session a token.
    let mut pretender = site.browser(HOST);
    pretender.cookies.insert(COOKIE.to_owned(), site.token.text.clone());
    assert_eq!(pretender.get("/x").status, 401);
    let as_token = |text: &str| pretender_asks(&site, text);
    assert_eq!(as_token(&session), "token_malformed");
    let disguised = session.replacen("bgs_", "bgw_", 1);
    assert_eq!(as_token(&disguised), "token_malformed", "the checksum covers the prefix");
    // Two of one name: one may be somebody else's.
    let twice = format!("cookie: {COOKIE}={session}; {COOKIE}={session}");
    assert_eq!(site.browser(HOST).ask("GET", "/x", &[&twice], "").status, 401);
    // A token beside it counts alone.
    let bearer = "authorization: Bearer bgw_wrong";
    assert_eq!(browser.ask("GET", "/x", &[bearer], "").code(), "token_malformed");
}

fn pretender_asks(site: &ProtectedSite, text: &str) -> String {
    site.browser(HOST).ask("GET", "/x", &[&format!("authorization: Bearer {text}")], "").code()
}

#[test]
fn pages_of_other_sites_do_not_act_through_a_session() {
    let site = ProtectedSite::new();
    let mut browser = site.signed_in();
    let own = format!("origin: http://{HOST}");
    assert_eq!(browser.ask("POST", "/x", &[&own], "").status, 200);
    assert_eq!(browser.ask("POST", "/x", &["sec-fetch-site: same-origin"], "").status, 200);
    let link = ["sec-fetch-site: cross-site", "sec-fetch-mode: navigate", "sec-fetch-dest: document"];
    assert_eq!(browser.ask("GET", "/x", &link, "").status, 200);
    let before = site.upstream.requests().len();
    let upgrade = ["upgrade: websocket", "connection: upgrade", "sec-websocket-version: 13", "sec-websocket-key: eA=="];
    for origin in ["origin: http://evil.test", "origin: http://b.test", "origin: null"] {
        assert_eq!(browser.ask("POST", "/x", &[origin], "").code(), "cross_site", "{origin}");
        assert_eq!(browser.ask("GET", "/x", &[origin], "").code(), "cross_site", "{origin}");
        let fields: Vec<&str> = upgrade[..1].iter().chain(&upgrade[2..]).copied().chain([origin]).collect();
        let request = format!(
            "GET /x HTTP/1.1\r\nhost: {HOST}\r\nconnection: upgrade\r\ncookie: {COOKIE}={}\r\n{}\r\n\r\n",
            browser.cookies[COOKIE],
            fields.join("\r\n")
        );
        let refused = Client::connect(site.gateway.proxy).ask(request);
        assert_eq!((refused.status, refused.code().as_str()), (403, "cross_site"), "{origin}");
    }
    for site in ["sec-fetch-site: same-site", "sec-fetch-site: cross-site"] {
        assert_eq!(browser.ask("POST", "/x", &[site, &own], "").code(), "cross_site", "{site}");
        assert_eq!(browser.ask("GET", "/x", &[site, "sec-fetch-mode: no-cors"], "").code(), "cross_site", "{site}");
    }
    assert_eq!(browser.ask("POST", "/x", &[], "").code(), "cross_site", "nobody says where it comes from");
    // Signing in and out neither.
    let fields = [("token", &*site.token.text), ("to", "/")];
    assert_eq!(browser.post_from(&["origin: http://evil.test"], "/-/sign-in", &fields).status, 403);
    assert_eq!(browser.post_from(&["origin: http://evil.test"], "/-/sign-out", &[]).status, 403);
    assert_eq!(site.upstream.requests().len(), before);
    // Who has a token of their own needs no permission of the browser's.
    let bearer = format!("authorization: Bearer {}", site.token.text);
    assert_eq!(site.browser(HOST).ask("POST", "/x", &[&bearer, "origin: http://evil.test"], "").status, 200);
}

#[test]
fn a_session_ends_with_signing_out() {
    let site = ProtectedSite::new();
    let (mut one, mut two) = (site.signed_in(), site.signed_in());
    assert_eq!((one.get("/x").status, two.get("/x").status), (200, 200));
    let session = one.cookies[COOKIE].clone();
    assert_eq!(one.post("/-/sign-out", &[]).status, 303);
    assert!(!one.cookies.contains_key(COOKIE));
    one.cookies.insert(COOKIE.to_owned(), session);
    let over = one.ask("GET", "/x", &[], "");
    assert_eq!((over.status, over.code().as_str()), (401, "session_over"));
    assert_eq!(two.get("/x").status, 200);
    assert_eq!(pretender_asks(&site, &site.token.text), "", "the token goes on");
}

#[test]
fn a_session_ends_with_its_token() {
    let site = ProtectedSite::new();
    let ends = |act: &dyn Fn(), code: &str| {
        let mut browser = site.signed_in();
        assert_eq!(browser.get("/x").status, 200);
        act();
        wait_until(code, SOON, || browser.ask("GET", "/x", &[], "").code() == code);
    };
    ends(
        &|| {
            site.gateway.cli(&["token", "rotate", &site.token.uid, "--overlap", "0s"]);
        },
        "session_over",
    );
    let site = ProtectedSite::new();
    let mut browser = site.signed_in();
    site.gateway.revoke(&site.token);
    wait_until("it is revoked", SOON, || browser.ask("GET", "/x", &[], "").code() == "token_revoked");
    let page = browser.get("/x");
    assert!(page.status == 401 && page.text().contains("was revoked"), "a person is told why: {}", page.text());

    let short = site.gateway.new_token(&["deployment:a"], &["--expires", "5s"]);
    site.gateway.await_token(&short);
    let mut browser = site.browser(HOST);
    let set = browser.post("/-/sign-in", &[("token", &short.text), ("to", "/")]);
    let max_age = set.all("set-cookie")[0].split("Max-Age=").nth(1).unwrap().split(';').next().unwrap().to_owned();
    assert!(max_age.parse::<u64>().unwrap() <= 5, "a session outlives its token: {max_age}");
    wait_until("it has expired", SOON, || browser.ask("GET", "/x", &[], "").status == 401);
}

#[test]
fn what_runs_in_a_session_ends_with_it() {
    let upstream = Upstream::start(|peer| {
        while let Some(request) = peer.request() {
            if request.target == "/stream" {
                peer.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n");
                peer.await_close();
                return;
            }
            peer.send(response(200, &[], b""));
        }
    });
    let gateway = Gateway::start(&deployment("a", upstream.address, ""));
    let token = gateway.token(&["deployment:a"]);
    let mut browser = Browser::new(gateway.proxy);
    browser.host = HOST.to_owned();
    browser.post("/-/sign-in", &[("token", &token.text), ("to", "/")]);
    let mut stream = gateway.connect();
    let cookie = format!("{COOKIE}={}", browser.cookies[COOKIE]);
    stream.send(format!("GET /stream HTTP/1.1\r\nhost: {HOST}\r\ncookie: {cookie}\r\n\r\n"));
    assert_eq!(stream.head().status, 200);
    assert_eq!(stream.chunk().unwrap().unwrap(), b"a");
    browser.post("/-/sign-out", &[]);
    assert!(stream.chunk().is_err(), "the stream goes on");
    upstream.await_closed(1, SOON);
}

#[test]
fn the_console_hands_a_session_over_to_the_browser_that_asked() {
    let site = ProtectedSite::new();
    let mut console = Browser::signed_in(&site.gateway, "ada@example.com", true);
    let mut browser = site.browser(HOST);
    let path = way_back(&site.gateway, &mut console, &mut browser, "/docs");

    let mut stranger = site.browser(HOST);
    assert_eq!(stranger.get(&path).status, 400, "another browser's link");
    stranger.get("/-/console?to=/");
    assert_eq!(stranger.get(&path).status, 400, "another browser's link");
    let mut elsewhere = site.browser("b.test");
    elsewhere.cookies.clone_from(&browser.cookies);
    assert_eq!(elsewhere.get(&path).status, 400, "another Deployment");
    let done = browser.get(&path);
    assert_eq!((done.status, done.header("location")), (303, Some("/docs")), "{}", done.text());
    assert_eq!(browser.get("/docs").status, 200);
    assert_eq!(browser.get(&path).status, 400, "it was used");

    // The session belongs to a token that its owner sees, and deletes.
    let tokens = console.get("/api_tokens").text();
    assert!(tokens.contains("Browser: a"), "{tokens}");
    let uid =
        site.gateway.cli(&["token", "list", "--search", "Browser: a"])["items"][0]["uid"].as_str().unwrap().to_owned();
    site.gateway.cli(&["token", "revoke", &uid]);
    wait_until("the session is over", SOON, || browser.ask("GET", "/docs", &[], "").status == 401);
    // The console's own cookie is no session here.
    browser.cookies.clone_from(&console.cookies);
    assert_eq!(browser.get("/docs").status, 401);
}

#[test]
fn our_prefix_is_ours_at_every_address() {
    let upstream = Upstream::named("a");
    let config = format!(
        "[proxy]\npath_prefix = true\npath_prefix_sessions = true\ntrusted_proxies = [\"127.0.0.1\"]\n{}{}",
        deployment("a", upstream.address, ""),
        deployment("open", upstream.address, "protected = false")
    );
    let gateway = Gateway::start(&config);
    let token = gateway.token(&["deployment:a"]);
    let mut browser = Browser::new(gateway.proxy);
    browser.host = "open.test".to_owned();
    assert!(browser.get("/-/").text().contains("Not signed in"));
    assert_eq!(upstream.requests().len(), 0, "a public Deployment's, too");
    assert_eq!(browser.get("/a/-/b").status, 200, "only at the beginning");

    // Behind a path prefix our pages are behind it, too.
    browser.host = "gateway.test".to_owned();
    let page = browser.get("/deployments/a/docs").text();
    assert!(page.contains("href=\"/deployments/a/-/console?to=/deployments/a/docs\""), "{page}");
    let fields = [("token", &*token.text), ("to", "/deployments/a/docs")];
    let signed_in = browser.post("/deployments/a/-/sign-in", &fields);
    assert_eq!(signed_in.header("location"), Some("/deployments/a/docs"));
    assert_eq!(browser.get("/deployments/a/docs").status, 200);
    assert!(browser.get("/deployments/a/-/").text().contains("Signed in"));

    // Where TLS ends in front of us, the cookie is for secure connections and this host alone.
    let mut secure = Browser::new(gateway.proxy);
    secure.host = HOST.to_owned();
    let kind = "content-type: application/x-www-form-urlencoded";
    let head = ["x-forwarded-proto: https", "origin: https://a.test", kind];
    let body = format!("token={}&to=/docs", token.text);
    let answer = secure.ask("POST", "/-/sign-in", &head, &body);
    let set = answer.all("set-cookie")[0].to_owned();
    assert!(
        set.starts_with("__Host-bgw-session-a=") && set.ends_with("; Secure") && set.contains("; Path=/;"),
        "{set}"
    );
    assert_eq!(secure.ask("GET", "/docs", &["x-forwarded-proto: https"], "").status, 200);
    assert_eq!(secure.ask("GET", "/docs", &["accept: */*"], "").status, 401, "not in clear text");
}

#[test]
fn what_listens_everywhere_is_reached_where_the_console_is() {
    let upstream = Upstream::named("a");
    let everywhere = || format!("0.0.0.0:{}", free_address().port());
    let config = format!(
        "[proxy]\ndefault_deployment = \"a\"\n{}",
        deployment("a", upstream.address, "").replace("hosts", "# ")
    );
    let gateway =
        Setup::new(&config).env("PROXY__LISTEN", &everywhere()).env("MANAGEMENT__LISTEN", &everywhere()).start();
    let (proxy, management) = (gateway.proxy.port(), gateway.management.port());
    create_user(&gateway, "ada@example.com", true);
    let mut console = Browser::new(gateway.management);
    console.host = format!("gpu-box:{management}");
    assert_eq!(console.sign_in("ada@example.com", PASSWORD).status, 303);
    assert!(console.get("/deployments/a").text().contains(&format!("http://gpu-box:{proxy}/-/console")));

    let mut browser = Browser::new(gateway.proxy);
    browser.host = format!("gpu-box:{proxy}");
    let asked = browser.get("/-/console?to=/docs");
    let location = asked.header("location").unwrap();
    let open = location.strip_prefix(&format!("http://gpu-box:{management}")).unwrap_or_else(|| panic!("{location}"));
    let handed = console.get(open);
    let back = handed.header("location").unwrap_or_else(|| panic!("{}", handed.text()));
    let path = back.strip_prefix(&format!("http://gpu-box:{proxy}")).unwrap_or_else(|| panic!("{back}")).to_owned();
    assert_eq!(browser.get(&path).header("location"), Some("/docs"));
    assert_eq!(browser.get("/docs").status, 200);
}
