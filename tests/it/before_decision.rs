//! What the gateway answers before it has decided depends on the request alone: the same bytes get the same answer from a
//! gateway that has a protected Deployment and from one that has none.

use std::net::SocketAddr;

use http::Request;

use crate::harness::{
    console::Browser,
    gateway::{Gateway, deployment, free_address},
    http::{Client, Response},
    http2::{clear_text, no_body, run, send, whole},
    token_text,
    upstream::Upstream,
};

const SETTINGS: &str = "[proxy]\nbase_domain = \"bento.test\"\n";

/// As a caller sees it, but for the time of day.
fn seen(answer: &Response) -> String {
    let mut fields: Vec<String> = answer.headers.iter().map(|(name, value)| format!("{name}: {value}")).collect();
    fields.retain(|field| !field.starts_with("date:"));
    without_random(&format!("{}\n{}\n\n{}", answer.status, fields.join("\n"), answer.text()))
}

/// Nonces are other ones each time.
fn without_random(text: &str) -> String {
    let is_hex = |c: char| c.is_ascii_hexdigit();
    let mut words: Vec<&str> = text.split_inclusive(|c| !is_hex(c)).collect();
    for word in &mut words {
        if word.trim_end_matches(|c| !is_hex(c)).len() >= 40 {
            *word = "[random]";
        }
    }
    words.concat()
}

fn ask(gateway: &Gateway, method: &str, path: &str, host: &str, fields: &[&str]) -> String {
    ask_at(gateway.proxy, gateway, method, path, host, fields)
}

/// `at` is one of its listeners.
fn ask_at(at: SocketAddr, gateway: &Gateway, method: &str, path: &str, host: &str, fields: &[&str]) -> String {
    let fields: String = fields.iter().map(|field| format!("{field}\r\n")).collect();
    // The gateway takes over a request id that is harmless.
    let request = format!(
        "{method} {path} HTTP/1.1\r\nhost: {host}\r\nx-request-id: the-same\r\n{fields}content-length: 0\r\nconnection: \
         close\r\n\r\n"
    );
    without_addresses(at, gateway, &seen(&Client::connect(at).ask(request)))
}

/// Each console listens at another address, to which links lead, and so does each listener of the proxy.
fn without_addresses(at: SocketAddr, gateway: &Gateway, answer: &str) -> String {
    answer.replace(&gateway.management.port().to_string(), "[console]").replace(&at.port().to_string(), "[port]")
}

/// Credentials that open nothing, alone or with what a browser says.
fn credentials() -> Vec<String> {
    let token = token_text::unknown_token();
    let session = |text: &str| format!("cookie: bgw-session-secret={text}");
    let one = session(&token_text::session(1));
    vec![
        "x-nothing: 1".to_owned(),
        "access-control-request-method: POST".to_owned(),
        format!("cookie: bgw-session-x={}", token_text::session(2)),
        format!("{one}; bgw-session-x={}", token_text::session(2)),
        one,
        format!("cookie: bgw-nonce={}", "1".repeat(40)),
        format!("authorization: Bearer {token}"),
        "authorization: Basic x".to_owned(),
        "service-worker: script".to_owned(),
        format!("x-api-key: {token}"),
        format!("cookie: a=b; token={token}"),
    ]
}

const ORIGINS: [&str; 3] = ["origin: https://app.test", "origin: https://evil.test", "sec-fetch-site: same-origin"];

#[test]
fn nobody_learns_by_asking_whether_there_is_a_deployment() {
    let upstream = Upstream::named("secret");
    let without = Gateway::start(SETTINGS);
    let kinds = ["preset = \"vllm\"", "cors_origins = [\"https://app.test\"]", "terminated"];
    let methods = ["GET", "POST", "OPTIONS"];
    let token = token_text::unknown_token();
    let with_token = format!("/x?token={token}");
    let paths = [
        "/",
        "/x",
        &with_token,
        "/-/",
        "/-/sign-in",
        "/-/sign-out",
        "/-/hand-over?code=00",
        "/-/hand-over",
        "/-/console",
        "/-/x",
        "/api/v1/auth/code",
        "/api/v1/auth/token?code=login_elsewhere",
        "/api/v1/auth/token?code=0",
        "/api_tokens?code=login_elsewhere",
    ];
    let page = "accept: text/html";
    let credentials = credentials();
    let asks_before = "access-control-request-method: POST";
    let mut asked = 0;
    for kind in kinds {
        let with = if kind == "terminated" {
            let with = Gateway::start(SETTINGS);
            let url = format!("http://{}", upstream.address);
            with.cli(&["deployment", "add", "secret", "--upstream", &url, "--host", "secret.test"]);
            with.cli(&["deployment", "terminate", "secret"]);
            with
        } else {
            Gateway::start(&format!("{SETTINGS}{}", deployment("secret", upstream.address, kind)))
        };
        for host in ["secret.test", "secret.bento.test"] {
            for (method, path) in methods.iter().flat_map(|method| paths.map(|path| (method, path))) {
                for fields in credentials.iter().flat_map(|one| ORIGINS.map(|two| [one, two])) {
                    let accept = if path == "/" { page } else { "accept: */*" };
                    let fields = [fields[0], fields[1], accept];
                    let answers = [&with, &without].map(|gateway| ask(gateway, method, path, host, &fields));
                    // A preflight is answered where its origin may call: it could not be granted otherwise.
                    if kind == kinds[1] && *method == "OPTIONS" && fields[1] == ORIGINS[0] && fields[0] == asks_before {
                        continue;
                    }
                    assert_eq!(answers[0], answers[1], "{kind:?}: {method} {path} at {host} with {fields:?}");
                    asked += 1;
                }
            }
        }
    }
    assert!(asked > 1500 && upstream.requests().is_empty());
}

/// The other ways to a Deployment. A listener of its own shows that there is one, and not which.
#[test]
fn no_way_to_a_deployment_tells_of_it() {
    let upstream = Upstream::named("secret");
    let settings = format!("{SETTINGS}path_prefix = true\n");
    let own = [free_address(), free_address()];
    let listens = |name: &str, at: SocketAddr, more: &str| {
        deployment(name, upstream.address, &format!("listen = \"{at}\"\n{more}"))
    };
    let secret = deployment("secret", upstream.address, "");
    let gateways = [
        [format!("{settings}{secret}"), settings.clone()],
        [format!("{settings}default_deployment = \"secret\"\n{secret}"), settings.clone()],
        [
            format!("{settings}{}", listens("secret", own[0], "max_body_bytes = \"1 KiB\"")),
            format!("{settings}{}", listens("other", own[1], "allow_pickle = true")),
        ],
    ];
    let gateways = gateways.map(|pair| pair.map(|config| Gateway::start(&config)));
    let common = |pair: &[Gateway; 2]| [pair[0].proxy, pair[1].proxy];
    let mut asked = 0;
    for (pair, at, paths) in [
        (
            &gateways[0],
            common(&gateways[0]),
            ["/deployments/secret/x", "/deployments/secret/-/sign-in", "/deployments"],
        ),
        (&gateways[1], common(&gateways[1]), ["/x", "/-/sign-in", "/-/hand-over?code=00"]),
        (&gateways[2], own, ["/x", "/-/sign-in", "/-/hand-over?code=00"]),
    ] {
        for (method, path) in ["GET", "POST", "OPTIONS"].into_iter().flat_map(|method| paths.map(|path| (method, path)))
        {
            for fields in credentials().iter().flat_map(|one| ORIGINS.map(|two| [one, two, "accept: text/html"])) {
                let answers = [0, 1].map(|which| ask_at(at[which], &pair[which], method, path, "nobody.test", &fields));
                assert_eq!(answers[0], answers[1], "{method} {path} with {fields:?}");
                asked += 1;
            }
        }
    }
    assert!(asked > 800 && upstream.requests().is_empty());
}

#[test]
fn nor_does_it_in_http_2() {
    let upstream = Upstream::named("secret");
    let with = Gateway::start(&format!("{SETTINGS}{}", deployment("secret", upstream.address, "")));
    let without = Gateway::start(SETTINGS);
    run(async {
        let mut connections = [clear_text(&with).await, clear_text(&without).await];
        for (host, path) in ["secret.test", "secret.bento.test"]
            .into_iter()
            .flat_map(|host| ["/x", "/-/sign-in", "/-/hand-over?code=00"].map(|path| (host, path)))
        {
            for (method, field) in ["GET", "POST", "OPTIONS"]
                .into_iter()
                .flat_map(|method| credentials().into_iter().map(move |one| (method, one)))
            {
                let (name, value) = field.split_once(": ").unwrap();
                let mut answers = Vec::new();
                for (connection, gateway) in connections.iter_mut().zip([&with, &without]) {
                    let request = Request::builder().method(method).uri(format!("http://{host}{path}"));
                    let request = request.header("x-request-id", "the-same").header(name, value);
                    let mut answer =
                        send(connection, request.header("origin", "https://app.test").body(no_body())).await;
                    answer.headers_mut().remove("date");
                    let head = format!("{} {:?}", answer.status(), answer.headers());
                    let body = String::from_utf8(whole(answer).await.to_vec()).unwrap();
                    answers.push(without_addresses(
                        gateway.proxy,
                        gateway,
                        &without_random(&format!("{head}\n{body}")),
                    ));
                }
                assert_eq!(answers[0], answers[1], "{method} {path} at {host} with {field}");
            }
        }
    });
    assert!(upstream.requests().is_empty());
}

#[test]
fn signing_out_takes_away_the_cookies_that_were_sent_and_no_other() {
    let gateway = Gateway::start(&deployment("a", Upstream::named("a").address, ""));
    for host in ["a.test", "nowhere.test"] {
        let mut browser = Browser::new(gateway.proxy);
        browser.host = host.to_owned();
        assert!(browser.post("/-/sign-out", &[]).all("set-cookie").is_empty(), "{host}");
        browser.cookies.insert("bgw-session-x".to_owned(), "anything".to_owned());
        let answer = browser.post("/-/sign-out", &[]);
        assert_eq!(answer.status, 303);
        assert!(answer.all("set-cookie")[0].starts_with("bgw-session-x=;"), "{host}: {:?}", answer.headers);
        assert!(browser.cookies.is_empty());
    }
}
