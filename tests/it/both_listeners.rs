//! What the proxy and the management listener read of a request means the same at both: who asks and by what connection,
//! which page a form comes from, which credential is shown. What is doubtful is refused at both.

use std::net::{Ipv4Addr, SocketAddr};

use crate::harness::{
    console::{Browser, csrf},
    gateway::{Gateway, Setup, Token, deployment, free_address},
    http::{Client, Response},
    upstream::Upstream,
};

const HOST: &str = "a.test";

/// A gateway that listens on `[::]` and is reached by IPv4, so that the operating system calls the peer
/// `::ffff:127.0.0.1`.
struct Pair {
    gateway: Gateway,
    upstream: Upstream,
    proxy: SocketAddr,
    management: SocketAddr,
    token: Token,
}

impl Pair {
    fn new() -> Self {
        let upstream = Upstream::named("a");
        let config = format!(
            "[proxy]\ntrusted_proxies = [\"127.0.0.0/8\", \"10.0.0.0/8\"]\n{}",
            deployment("a", upstream.address, "")
        );
        let (proxy, management) = (free_address().port(), free_address().port());
        let setup = Setup::new(&config)
            .env("PROXY__LISTEN", &format!("[::]:{proxy}"))
            .env("MANAGEMENT__LISTEN", &format!("[::]:{management}"));
        let gateway = setup.start();
        let token = gateway.token(&["deployment:a"]);
        let by_ipv4 = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        Self { gateway, upstream, proxy: by_ipv4(proxy), management: by_ipv4(management), token }
    }

    fn call(&self, path: &str, fields: &[&str]) -> Response {
        let bearer = format!("authorization: Bearer {}", self.token.text);
        ask(self.proxy, "GET", path, &[&[bearer.as_str()], fields].concat())
    }

    fn at_proxy(&self) -> Browser {
        let mut browser = Browser::new(self.proxy);
        browser.host = HOST.to_owned();
        browser
    }

    fn at_console(&self) -> Browser {
        let mut browser = Browser::new(self.management);
        browser.host = HOST.to_owned();
        browser
    }
}

fn ask(address: SocketAddr, method: &str, path: &str, fields: &[&str]) -> Response {
    let fields: String = fields.iter().map(|field| format!("{field}\r\n")).collect();
    let request =
        format!("{method} {path} HTTP/1.1\r\nhost: {HOST}\r\n{fields}content-length: 0\r\nconnection: close\r\n\r\n");
    Client::connect(address).ask(request)
}

#[test]
fn who_asks() {
    let pair = Pair::new();
    let mut ada = Browser::signed_in(&pair.gateway, "ada@example.com", true);
    let mut row = 0;
    for (fields, client) in [
        (&[][..], "127.0.0.1"),
        (&["203.0.113.7"], "203.0.113.7"),
        (&["6.6.6.6, 203.0.113.7"], "203.0.113.7"),
        (&["6.6.6.6", "203.0.113.7"], "203.0.113.7"),
        (&["203.0.113.7, 10.0.0.1"], "203.0.113.7"),
        (&[" \t203.0.113.7\t , 10.0.0.1\t"], "203.0.113.7"),
        (&["10.0.0.2, 10.0.0.1"], "10.0.0.2"),
        // Some proxies write the port, too.
        (&["203.0.113.7:5555"], "203.0.113.7"),
        (&["6.6.6.6, 203.0.113.7:5555, 10.0.0.1:1"], "203.0.113.7"),
        (&["[2001:db8::1]:5555"], "2001:db8::1"),
        (&["[2001:db8::1], 10.0.0.1"], "2001:db8::1"),
        (&["2001:db8::1"], "2001:db8::1"),
        // One address in another form.
        (&["::ffff:203.0.113.7, ::ffff:10.0.0.1"], "203.0.113.7"),
        (&["[::ffff:203.0.113.7]:5555, [::ffff:10.0.0.1]:1"], "203.0.113.7"),
        // What is no address is nobody who vouches for another one.
        (&["6.6.6.6, unknown, 10.0.0.1"], "10.0.0.1"),
        (&["6.6.6.6, 10.0.0.999, 10.0.0.1"], "10.0.0.1"),
        (&["6.6.6.6, , 10.0.0.1"], "10.0.0.1"),
        (&["6.6.6.6", ""], "127.0.0.1"),
        (&["6.6.6.6,"], "127.0.0.1"),
        (&["6.6.6.6, 10.0.0.1:"], "127.0.0.1"),
        (&["6.6.6.6, [10.0.0.1]"], "127.0.0.1"),
        (&["6.6.6.6, for=10.0.0.1"], "127.0.0.1"),
    ] {
        row += 1;
        let fields: Vec<String> = fields.iter().map(|value| format!("x-forwarded-for: {value}")).collect();
        let fields: Vec<&str> = fields.iter().map(String::as_str).collect();
        let path = format!("/{row}");
        assert_eq!(pair.call(&path, &fields).status, 200, "{fields:?}");
        assert_eq!(pair.gateway.access_line(&path)["client"], client, "{fields:?}");

        let code = ask(pair.management, "GET", "/api/v1/auth/code", &fields).json();
        let page = ada.get(&format!("/api_tokens?code={}", code["code"].as_str().unwrap())).text();
        assert!(page.contains(&format!("<dt>Requested from</dt><dd>{client}")), "{fields:?} {client}: {page}");
    }
}

#[test]
fn by_what_connection() {
    let pair = Pair::new();
    for (fields, secure) in [
        (&[][..], false),
        (&["https"], true),
        (&["http"], false),
        (&["HTTPS"], true),
        (&["https, http"], true),
        (&["https", "http"], true),
        (&["\thttps ,http"], true),
        (&["http, https"], false),
        // What Traefik says of a WebSocket.
        (&["wss"], true),
        (&["ws"], false),
        (&[""], false),
        (&[", https"], false),
        (&["httpsx"], false),
    ] {
        let fields: Vec<String> = fields.iter().map(|value| format!("x-forwarded-proto: {value}")).collect();
        let fields: Vec<&str> = fields.iter().map(String::as_str).collect();
        pair.call("/x", &fields);
        let scheme = if secure { "https" } else { "http" };
        assert_eq!(pair.upstream.requests().last().unwrap().header("x-forwarded-proto"), Some(scheme), "{fields:?}");

        let page = ask(pair.management, "GET", "/sign-in", &fields);
        assert_eq!(page.header("set-cookie").unwrap().starts_with("__Host-"), secure, "{fields:?}");
    }
}

#[test]
fn by_what_host() {
    let pair = Pair::new();
    for (fields, host) in [
        (&[][..], HOST),
        (&["public.test"], "public.test"),
        (&["Public.test:8443"], "public.test:8443"),
        (&["public.test, inner.test"], "public.test"),
        (&["public.test", "inner.test"], "public.test"),
        (&[" public.test ,inner.test"], "public.test"),
        (&["[2001:db8::1]:8080"], "[2001:db8::1]:8080"),
        (&[""], HOST),
        (&[", public.test"], HOST),
        (&["pub lic.test"], HOST),
        (&["https://public.test"], HOST),
        (&["evil@public.test"], HOST),
    ] {
        let fields: Vec<String> = fields.iter().map(|value| format!("x-forwarded-host: {value}")).collect();
        let mut fields: Vec<&str> = fields.iter().map(String::as_str).collect();
        pair.call("/x", &fields);
        assert_eq!(pair.upstream.requests().last().unwrap().header("x-forwarded-host"), Some(host), "{fields:?}");

        // The host's own pages are ours there.
        let origin = format!("origin: http://{host}");
        fields.push(&origin);
        assert_eq!(pair.at_proxy().post_from(&fields, "/-/sign-out", &[]).status, 303, "{fields:?}");
        assert_ne!(pair.at_console().post_from(&fields, "/sign-out", &[]).status, 403, "{fields:?}");
        *fields.last_mut().unwrap() = "origin: http://evil.test";
        assert_eq!(pair.at_proxy().post_from(&fields, "/-/sign-out", &[]).status, 403, "{fields:?}");
        assert_eq!(form_status(&pair, &fields), 403, "{fields:?}");
    }
}

/// The console's answer to a whole form by somebody who cannot sign in: 401 if it is taken for our own page's.
fn form_status(pair: &Pair, fields: &[&str]) -> u16 {
    let mut browser = pair.at_console();
    let page = browser.get("/sign-in");
    browser.post_from(fields, "/sign-in", &[("csrf", &*csrf(&page)), ("email", "nobody")]).status
}

#[test]
fn from_which_page() {
    let pair = Pair::new();
    let own = "origin: http://a.test";
    for (fields, is_own) in [
        (&[own][..], true),
        (&["origin: https://a.test"], true),
        (&["sec-fetch-site: same-origin"], true),
        (&["sec-fetch-site: same-origin", "origin: null"], true),
        (&[], false),
        (&["origin: null"], false),
        (&["origin: http://A.test.evil"], false),
        (&["origin: http://a.test:8080"], false),
        (&["sec-fetch-site: none", own], false),
        (&["sec-fetch-site: same-site", own], false),
        (&["sec-fetch-site: ", own], false),
        // No browser sends a field twice.
        (&[own, own], false),
        (&[own, "origin: http://evil.test"], false),
        (&["origin: http://evil.test", own], false),
        (&["sec-fetch-site: same-origin", "sec-fetch-site: same-origin", own], false),
        (&["sec-fetch-site: same-origin", "sec-fetch-site: cross-site", own], false),
        (&["sec-fetch-site: cross-site", "sec-fetch-site: same-origin", own], false),
    ] {
        let expected = if is_own { (303, 401) } else { (403, 403) };
        let signed_out = pair.at_proxy().post_from(fields, "/-/sign-out", &[]).status;
        assert_eq!((signed_out, form_status(&pair, fields)), expected, "{fields:?}");
    }
}

/// nginx's `Host $host` leaves a port out that browsers know. The configured address says it.
#[test]
fn by_what_configured_address() {
    let upstream = Upstream::named("a");
    let listeners = "[proxy]\npublic_url = \"http://gateway.test:8088\"\n\
                     [management]\npublic_url = \"http://console.test:8089\"\n";
    let gateway = Gateway::start(&format!("{listeners}{}", deployment("a", upstream.address, "")));
    for (host, origin, status) in [
        ("a.test", "http://a.test:8088", 303),
        ("a.test", "https://a.test:8088", 403),
        ("a.test", "http://a.test:8089", 403),
        ("a.test", "http://b.test:8088", 403),
        ("a.test", "http://gateway.test:8088", 403),
        ("a.test:8090", "http://a.test:8088", 403),
    ] {
        let mut browser = Browser::new(gateway.proxy);
        browser.host = host.to_owned();
        let answer = browser.post_from(&[&format!("origin: {origin}")], "/-/sign-out", &[]);
        assert_eq!(answer.status, status, "{host} {origin}");
    }
    for (origin, status) in [("http://console.test:8089", 401), ("http://console.test", 403)] {
        let mut browser = Browser::new(gateway.management);
        browser.host = "inner".to_owned();
        let page = browser.get("/sign-in");
        let fields = [("csrf", &*csrf(&page)), ("email", "nobody")];
        assert_eq!(browser.post_from(&[&format!("origin: {origin}")], "/sign-in", &fields).status, status, "{origin}");
    }
    // Where no address is configured, the answer says what is missing.
    let gateway = Gateway::start("");
    let mut browser = Browser::new(gateway.management);
    browser.host = "inner".to_owned();
    let page = browser.get("/sign-in");
    let answer = browser.post_from(&["origin: http://outer.test"], "/sign-in", &[("csrf", &*csrf(&page))]);
    assert!(answer.status == 403 && answer.text().contains("management.public_url"), "{}", answer.text());
}

#[test]
fn which_bearer_credential() {
    let pair = Pair::new();
    let token = &pair.token.text;
    for (values, is_one) in [
        (vec![format!("Bearer {token}")], true),
        (vec![format!("bEARER {token}")], true),
        (vec![format!("Bearer   {token}")], true),
        (vec![format!("Bearer {token} ")], true),
        (vec![format!("Bearer\t{token}")], false),
        (vec![format!("Bearer \t{token}")], false),
        (vec![format!("Bearer{token}")], false),
        (vec![format!("Bearer {token} x")], false),
        (vec![format!("Bearer {token}, Bearer {token}")], false),
        (vec![format!("Token {token}")], false),
        (vec![token.clone()], false),
        (vec![String::new()], false),
        (vec!["Bearer".to_owned()], false),
        (vec![format!("Bearer {token}"), format!("Bearer {token}")], false),
        (vec![format!("Bearer {token}"), "Basic eDp5".to_owned()], false),
        (vec!["Basic eDp5".to_owned(), format!("Bearer {token}")], false),
    ] {
        let fields: Vec<String> = values.iter().map(|value| format!("authorization: {value}")).collect();
        let fields: Vec<&str> = fields.iter().map(String::as_str).collect();
        for (address, path) in [(pair.proxy, "/x"), (pair.management, "/api/v1/whoami")] {
            let status = ask(address, "GET", path, &fields).status;
            assert_eq!(status == 200, is_one, "{path} {fields:?}: {status}");
            assert!(is_one || [400, 401].contains(&status), "{path} {fields:?}: {status}");
        }
    }
}

#[test]
fn which_cookie() {
    let pair = Pair::new();
    let mut deployment = pair.at_proxy();
    assert_eq!(deployment.post("/-/sign-in", &[("token", &pair.token.text), ("to", "/")]).status, 303);
    let console = Browser::signed_in(&pair.gateway, "ada@example.com", true);
    for (address, path, name, cookies) in [
        (pair.proxy, "/x", "bgw-session-a", &deployment.cookies),
        (pair.management, "/account", "bgw-console", &console.cookies),
    ] {
        let own = format!("cookie: {name}={}", cookies[name]);
        let another = format!("cookie: {name}=x");
        for (fields, counts) in [
            (vec![own.as_str()], true),
            // HTTP/2 may bring each cookie in a field of its own.
            (vec!["cookie: a=b", &own, "cookie: c=d"], true),
            (vec![&own, &own], false),
            (vec![&own, &another], false),
            (vec![&another, &own], false),
        ] {
            let status = ask(address, "GET", path, &fields).status;
            assert_eq!(status == 200, counts, "{path} {fields:?}: {status}");
        }
    }
}

#[test]
fn what_every_page_says() {
    let pair = Pair::new();
    for page in [pair.at_proxy().get("/-/sign-in"), pair.at_proxy().get("/x"), pair.at_console().get("/sign-in")] {
        for (name, value) in [
            ("content-type", "text/html; charset=utf-8"),
            ("cache-control", "no-store"),
            ("referrer-policy", "same-origin"),
            ("x-content-type-options", "nosniff"),
            ("x-frame-options", "DENY"),
            ("cross-origin-opener-policy", "same-origin"),
        ] {
            assert_eq!(page.header(name), Some(value), "{name} of {}", page.text());
        }
        assert!(page.header("content-security-policy").unwrap().contains("frame-ancestors 'none'"));
    }
    // Where somebody is sent is nobody else's to keep or to learn.
    for redirect in [pair.at_proxy().get("/-/console"), pair.at_console().get("/account")] {
        assert_eq!(redirect.status, 303, "{}", redirect.text());
        assert_eq!(redirect.header("cache-control"), Some("no-store"));
        assert_eq!(redirect.header("referrer-policy"), Some("no-referrer"));
    }
}

#[test]
fn what_may_come_once() {
    let pair = Pair::new();
    let admin = pair.gateway.token(&["api"]).text;
    let create = |fields: &[&str]| {
        let body = "{\"name\":\"x\"}";
        let fields: String = fields.iter().map(|field| format!("{field}\r\n")).collect();
        Client::connect(pair.management).ask(format!(
            "POST /api/v1/api_tokens HTTP/1.1\r\nhost: {HOST}\r\nx-yatai-api-token: {admin}\r\n{fields}\
             content-length: {}\r\nconnection: close\r\n\r\n{body}",
            body.len()
        ))
    };
    let (json, key) = ("content-type: application/json", "idempotency-key: one");
    for (fields, status) in [
        (&[json, json][..], 415),
        (&[json, "content-type: text/plain"], 415),
        (&[json, key, key], 400),
        (&[json, key, "idempotency-key: two"], 400),
        (&[json, key], 200),
    ] {
        assert_eq!(create(fields).status, status, "{fields:?}");
    }
}
