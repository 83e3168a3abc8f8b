//! What the gateway asks of the provider, how often and by which way; and what asks for nothing.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use serde_json::{Value, json};

use crate::harness::{
    console::Browser,
    gateway::{Gateway, Setup},
    provider::{Provider, ada, config},
};

const DISCOVERY: &str = "/.well-known/openid-configuration";
const COOKIE: &str = "bgw-sign-on";

fn ada_at(provider: &Provider) -> Gateway {
    provider.says(ada(json!({})), Value::Null, Value::Null);
    provider.gateway("allowed_values = [\"*\"]")
}

#[test]
fn a_cookie_that_is_not_ours_asks_the_provider_for_nothing() {
    let provider = Provider::start();
    let gateway = ada_at(&provider);
    let mut browser = Browser::new(gateway.management);
    let left = browser.get("/sign-in/oidc");
    let back = provider.way_back(left.header("location").unwrap());
    let ours = browser.cookies[COOKIE].clone();
    provider.now().asked.clear();
    let (tag, body) = ours.split_once('.').unwrap();
    let invented = "state=x&nonce=n&verifier=v&next=%2F";
    let other_state = body.replace("state=", "state=x");
    for (cookie, path) in [
        (invented.to_owned(), "/sign-in/oidc/callback?state=x&code=c"),
        (format!("{}.9999999999999.{invented}", "0".repeat(64)), "/sign-in/oidc/callback?state=x&code=c"),
        (format!("{tag}.{other_state}"), &back.replace("state=", "state=x")),
        (format!("{tag}.{}", body.replacen('1', "2", 1)), &back),
        (ours.clone(), "/sign-in/oidc/callback?state=x&code=c"),
    ] {
        browser.cookies.insert(COOKIE.to_owned(), cookie.clone());
        assert_eq!(browser.get(path).status, 400, "{cookie}");
    }
    assert_eq!(provider.now().asked, Vec::<String>::new());
    browser.cookies.insert(COOKIE.to_owned(), ours);
    assert_eq!(browser.get(&back).status, 303);
    assert!(!browser.cookies.contains_key(COOKIE), "it is of no more use");
}

#[test]
fn the_provider_is_asked_once_what_it_is() {
    let provider = Provider::start();
    let gateway = ada_at(&provider);
    provider.now().pause = Duration::from_millis(300);
    let begun: Vec<_> = (0..4)
        .map(|_| {
            let management = gateway.management;
            thread::spawn(move || Browser::new(management).get("/sign-in/oidc").status)
        })
        .collect();
    for thread in begun {
        assert_eq!(thread.join().unwrap(), 303);
    }
    provider.now().pause = Duration::ZERO;
    for _ in 0..3 {
        assert_eq!(provider.sign_on(&mut Browser::new(gateway.management)).status, 303);
    }
    assert_eq!((provider.asked_for(DISCOVERY), provider.asked_for("/keys"), provider.asked_for("/token")), (1, 1, 3));
}

#[test]
fn a_new_key_is_found_and_an_unknown_one_searched_once() {
    let provider = Provider::start();
    let gateway = ada_at(&provider);
    let sign_on = || provider.sign_on(&mut Browser::new(gateway.management)).status;
    assert_eq!(sign_on(), 303);
    provider.now().key = "2".to_owned();
    assert_eq!(sign_on(), 303);
    assert_eq!(provider.asked_for("/keys"), 2);
    // Its keys do not have the one that it signs with.
    provider.now().signs_with = Some("3".to_owned());
    for _ in 0..3 {
        assert_eq!(sign_on(), 502);
    }
    assert_eq!(provider.asked_for("/keys"), 2, "there was a search less than a minute ago");
    gateway.await_said(&["single sign-on failed", "No matching key found"]);
}

#[test]
fn the_log_says_what_was_asked_and_what_came() {
    let provider = Provider::start();
    for (path, status, said) in [(DISCOVERY, 404, "404"), ("/keys", 500, "500"), ("/token", 400, "is no JSON")] {
        let gateway = ada_at(&provider);
        provider.now().fails = Some((path, status));
        let mut browser = Browser::new(gateway.management);
        let left = browser.get("/sign-in/oidc");
        if path == "/token" {
            let back = provider.way_back(left.header("location").unwrap());
            assert_eq!(browser.get(&back).status, 502);
        } else {
            assert_eq!(left.status, 502);
        }
        gateway.await_said(&[&format!("http://{}{path}: ", provider.address), said]);
        provider.now().fails = None;
        assert_eq!(provider.sign_on(&mut Browser::new(gateway.management)).status, 303, "a failure is not kept");
    }
}

/// A proxy that makes tunnels to one address, whatever it is asked for.
struct Proxy {
    address: SocketAddr,
    /// Heads of what it was asked for.
    asked: Arc<Mutex<Vec<String>>>,
}

impl Proxy {
    fn to(destination: SocketAddr, status: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Arc::<Mutex<Vec<String>>>::default();
        let heads = Arc::clone(&asked);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let heads = Arc::clone(&heads);
                thread::spawn(move || tunnel(stream, destination, status, &heads));
            }
        });
        Self { address, asked }
    }
}

fn tunnel(mut client: TcpStream, destination: SocketAddr, status: &str, heads: &Mutex<Vec<String>>) {
    let mut reader = BufReader::new(client.try_clone().unwrap());
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head).unwrap() == 0 {
            return;
        }
    }
    heads.lock().unwrap().push(head);
    client.write_all(format!("HTTP/1.1 {status}\r\n\r\n").as_bytes()).unwrap();
    if !status.starts_with("200") {
        return;
    }
    let mut server = TcpStream::connect(destination).unwrap();
    let (mut to, mut from) = (server.try_clone().unwrap(), client.try_clone().unwrap());
    thread::spawn(move || copy(&mut from, &mut to));
    copy(&mut server, &mut client);
}

fn copy(from: &mut TcpStream, to: &mut TcpStream) {
    let mut bytes = [0; 4096];
    while let Ok(read @ 1..) = from.read(&mut bytes) {
        if to.write_all(&bytes[..read]).is_err() {
            return;
        }
    }
}

/// A gateway whose provider is `https://provider.test`, which only the proxy can find.
fn behind(proxy: &Proxy, provider: &Provider, credentials: &str, without_proxy: &str) -> Gateway {
    let issuer = format!("https://provider.test:{}", provider.address.port());
    let setup = Setup::new(&config(&issuer, "allowed_values = [\"*\"]"));
    let roots = setup.directory().join("roots.pem");
    fs::write(&roots, provider.certificate.as_ref().unwrap()).unwrap();
    setup
        .variable("SSL_CERT_FILE", roots.to_str().unwrap())
        .variable("HTTPS_PROXY", &format!("http://{credentials}{}", proxy.address))
        .variable("NO_PROXY", without_proxy)
        .env("LOG__FILTER", "trace")
        .start()
}

#[test]
fn the_provider_is_reached_by_the_proxy_of_the_environment() {
    let provider = Provider::start_secure("provider.test");
    provider.says(ada(json!({})), Value::Null, Value::Null);
    let proxy = Proxy::to(provider.address, "200 OK");
    let gateway = behind(&proxy, &provider, "robot:s3cret%21@", "localhost");
    assert_eq!(provider.sign_on(&mut Browser::new(gateway.management)).status, 303);
    let heads = proxy.asked.lock().unwrap().clone();
    let port = provider.address.port();
    assert!(heads[0].starts_with(&format!("CONNECT provider.test:{port} HTTP/1.1\r\n")), "{heads:?}");
    // robot:s3cret!
    assert!(heads[0].contains("Authorization: Basic cm9ib3Q6czNjcmV0IQ==\r\n"), "{heads:?}");
    for line in gateway.stderr() {
        assert!(!line.contains("s3cret") && !line.contains("cm9ib3Q6czNjcmV0IQ"), "{line}");
    }
}

#[test]
fn a_proxy_that_refuses_is_named_and_one_that_is_not_wanted_is_not_asked() {
    let provider = Provider::start_secure("provider.test");
    let proxy = Proxy::to(provider.address, "407 Who are you");
    let gateway = behind(&proxy, &provider, "robot:s3cret%21@", "");
    assert_eq!(Browser::new(gateway.management).get("/sign-in/oidc").status, 502);
    gateway.await_said(&["single sign-on failed", &proxy.address.to_string(), "proxy authorization required"]);
    for line in gateway.stderr() {
        assert!(!line.contains("s3cret") && !line.contains("cm9ib3Q6czNjcmV0IQ"), "{line}");
    }

    let proxy = Proxy::to(provider.address, "200 OK");
    let gateway = behind(&proxy, &provider, "", "other.test,provider.test");
    assert_eq!(Browser::new(gateway.management).get("/sign-in/oidc").status, 502);
    assert!(proxy.asked.lock().unwrap().is_empty(), "NO_PROXY names the provider");

    let gateway = behind(&proxy, &provider, "ftp:x@/", "");
    assert_eq!(Browser::new(gateway.management).get("/sign-in/oidc").status, 502);
    gateway.await_said(&["HTTPS_PROXY is not the URL of a proxy"]);
}
