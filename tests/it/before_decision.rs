//! What the gateway answers before it has decided depends on the request alone: the same bytes get the same answer from a
//! gateway that has a protected Deployment and from one that has none.

use crate::harness::{
    console::Browser,
    gateway::{Gateway, deployment},
    http::{Client, Response},
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
    let fields: String = fields.iter().map(|field| format!("{field}\r\n")).collect();
    // The gateway takes over a request id that is harmless.
    let request = format!(
        "{method} {path} HTTP/1.1\r\nhost: {host}\r\nx-request-id: the-same\r\n{fields}content-length: 0\r\nconnection: \
         close\r\n\r\n"
    );
    // Each console listens at another address, to which links lead.
    seen(&Client::connect(gateway.proxy).ask(request)).replace(&gateway.management.port().to_string(), "[console]")
}

#[test]
fn nobody_learns_by_asking_whether_there_is_a_deployment() {
    let upstream = Upstream::named("secret");
    let without = Gateway::start(SETTINGS);
    let kinds = ["", "cors_origins = [\"https://app.test\"]", "terminated"];
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
    let session = |text: &str| format!("cookie: bgw-session-secret={text}");
    let (one, other) = (session(&token_text::session(1)), format!("cookie: bgw-session-x={}", token_text::session(2)));
    let both = format!("{one}; bgw-session-x={}", token_text::session(2));
    let nonce = format!("cookie: bgw-nonce={}", "1".repeat(40));
    let bearer = format!("authorization: Bearer {}", token_text::unknown_token());
    let (misplaced, in_cookie) = (format!("x-api-key: {token}"), format!("cookie: a=b; token={token}"));
    let page = "accept: text/html";
    let origins = ["origin: https://app.test", "origin: https://evil.test", "sec-fetch-site: same-origin"];
    let credentials = [
        "x-nothing: 1",
        "access-control-request-method: POST",
        &one,
        &other,
        &both,
        &nonce,
        &bearer,
        "authorization: Basic x",
        "service-worker: script",
        &misplaced,
        &in_cookie,
    ];
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
                for fields in credentials.iter().flat_map(|one| origins.map(|two| [*one, two])) {
                    let accept = if path == "/" { page } else { "accept: */*" };
                    let fields = [fields[0], fields[1], accept];
                    let answers = [&with, &without].map(|gateway| ask(gateway, method, path, host, &fields));
                    // A preflight is answered where its origin may call: it could not be granted otherwise.
                    if kind == kinds[1] && *method == "OPTIONS" && fields[1] == origins[0] && fields[0] == asks_before {
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
