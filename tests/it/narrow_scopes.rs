//! Scopes that open methods and paths: what reaches the service by them, and what the others are answered.

use http::Request;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::{
    Message,
    protocol::{CloseFrame, frame::coding::CloseCode},
};

use crate::{
    harness::{
        SOON, api,
        console::Browser,
        gateway::{Gateway, Setup, Token, deployment, free_address},
        http::{Client, Response},
        http2::{clear_text, no_body, run, send, whole},
        metrics::scrape_until,
        upstream::Upstream,
        wait_until,
    },
    proxy_websocket::{authorized, echo},
};

const OTHER_ROUTE: &str = "route_out_of_scope";

fn ask(gateway: &Gateway, token: &Token, method: &str, host: &str, path: &str, fields: &str) -> Response {
    Client::connect(gateway.proxy).ask(format!(
        "{method} {path} HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer {}\r\n{fields}content-length: 0\r\n\
         connection: close\r\n\r\n",
        token.text
    ))
}

fn code(answer: &Response) -> (u16, String) {
    // The answer to a HEAD has none.
    (answer.status, if answer.body.is_empty() { String::new() } else { answer.code() })
}

fn refused(code: &str) -> (u16, String) {
    (403, code.to_owned())
}

fn passed() -> (u16, String) {
    (200, String::new())
}

const SETTINGS: &str = "[proxy]\nbase_domain = \"base.test\"\npath_prefix = true\n";

/// A Deployment whose base path belongs to its upstream.
fn with_a(settings: &str) -> (Gateway, Upstream) {
    let upstream = Upstream::named("a");
    let gateway = Gateway::start(&format!("{SETTINGS}{}", deployment("a", upstream.address, settings)));
    (gateway, upstream)
}

#[test]
fn a_scope_opens_its_methods_and_paths_and_nothing_else() {
    let (gateway, upstream) = with_a("");
    let reads = gateway.token(&["deployment:a:GET:/v1/models"]);
    let posts = gateway.token(&["deployment:a:POST"]);
    let below = gateway.token(&["deployment:a*:/v1"]);
    let both = gateway.token(&["deployment:a:GET:/v1/models", "deployment:a:POST:/v1/chat"]);
    let wide = gateway.token(&["deployment:a:GET:/v1/models", "deployment:*"]);
    for (token, method, path, passes) in [
        (&reads, "GET", "/v1/models", true),
        (&reads, "GET", "/v1/models?all=1", true),
        (&reads, "GET", "/v1/models/meta-llama%2FLlama", true),
        (&reads, "HEAD", "/v1/models/x", true),
        (&reads, "POST", "/v1/models", false),
        (&reads, "OPTIONS", "/v1/models", false),
        (&reads, "get", "/v1/models", false),
        (&reads, "GET", "/v1/models2", false),
        (&reads, "GET", "/v1", false),
        (&reads, "GET", "/", false),
        (&posts, "POST", "/anything", true),
        (&posts, "GET", "/anything", false),
        (&below, "DELETE", "/v1/x", true),
        (&below, "DELETE", "/v2/x", false),
        (&both, "GET", "/v1/models", true),
        (&both, "POST", "/v1/chat/completions", true),
        (&both, "POST", "/v1/models", false),
        (&wide, "DELETE", "/x", true),
    ] {
        let before = upstream.requests().len();
        for (host, path) in [("a.test", path.to_owned()), ("else.test", format!("/deployments/a{path}"))] {
            let answer = ask(&gateway, token, method, host, &path, "");
            assert_eq!(answer.status, if passes { 200 } else { 403 }, "{method} {host}{path}: {}", answer.text());
            assert!(passes || answer.code() == OTHER_ROUTE, "{method} {path}");
        }
        let reached: Vec<String> =
            upstream.requests()[before..].iter().map(|seen| format!("{} {}", seen.method, seen.target)).collect();
        assert_eq!(reached, vec![format!("{method} {path}"); if passes { 2 } else { 0 }]);
    }

    // Of its scopes it learns those for this Deployment.
    let several = gateway.token(&["deployment:a:GET:/v1/models", "deployment:a:POST", "deployment:b*:PUT:/secret"]);
    let answer = ask(&gateway, &several, "DELETE", "a.base.test", "/v1/models/own?y", "");
    let detail =
        "the token does not open DELETE /v1/models/own; of this Deployment it opens GET below /v1/models and POST only";
    assert_eq!(answer.json()["detail"], detail);
    let challenge = answer.header("www-authenticate").unwrap();
    assert!(challenge.contains("error=\"insufficient_scope\""), "{challenge}");
    assert!(challenge.ends_with("scope=\"deployment:a\""), "{challenge}");
    let line = gateway.access_line("/v1/models/own");
    assert_eq!((&line["reason"], &line["token"]), (&json!(OTHER_ROUTE), &json!(several.uid)), "{line}");
    scrape_until(&gateway, "it is counted", |scrape| {
        scrape.sum("bento_gateway_rejections_total", &["reason=\"route_out_of_scope\""]) >= 1.0
    });
    // What would break the words out of their quotes is not repeated.
    for path in ["/\"x\"".to_owned(), format!("/{}", "x".repeat(300))] {
        let answer = ask(&gateway, &reads, "GET", "a.test", &path, "");
        let said = answer.json()["detail"].as_str().unwrap().to_owned();
        assert!(said.starts_with("the token does not open this method and path;"), "{said}");
    }
}

#[test]
fn no_spelling_and_no_field_leads_to_another_route() {
    let upstream = Upstream::named("a");
    let address = free_address();
    let config = format!("{SETTINGS}{}", deployment("a", upstream.address, ""))
        + "[proxy.identity_fields]\nallow = [\"X-Original-URL\"]\n";
    let gateway = Setup::new(&config).arguments(&["--forward-auth-listen", &address.to_string()]).start();
    let token = gateway.token(&["deployment:a:GET:/v1/models"]);
    let whole_token = gateway.token(&["deployment:a"]);
    for path in [
        "//v1/models",
        "/V1/models",
        "/v1//models",
        "/v1%2fmodels",
        "/v1/%6dodels",
        "/v1/models%2f",
        "/v1/models;x",
        "/v1/models%3f",
        "/v1/models/%252e%252e/pause",
        "/v1/models/x%23",
        "/v1/models/%0a",
        "/v1/models/..%20/pause",
        "/v1/models/...",
        "/v1/models/%c0%ae%c0%ae/pause",
    ] {
        assert_eq!(code(&ask(&gateway, &token, "GET", "a.test", path, "")), refused(OTHER_ROUTE), "{path}");
        assert_eq!(code(&ask(&gateway, &whole_token, "GET", "a.test", path, "")), passed(), "{path}");
    }
    for path in ["/v1/models/../pause", "/v1/models/%2e%2e/pause", "/v1/models/..;/pause", "/v1/models\\..\\pause"] {
        assert_eq!(ask(&gateway, &token, "GET", "a.test", path, "").status, 400, "{path}");
    }
    let reached = upstream.requests().len();
    // What would reach the service is refused, and what does not reach it does no harm.
    let overrides =
        ["X-HTTP-Method-Override: DELETE", "x-http-method: DELETE", "X-Method-Override: GET", "X-Original-URL: /pause"];
    let dropped = ["X-Rewrite-URL: /pause", "X_HTTP_Method_Override: DELETE", "X-Original-Method: DELETE"];
    let question = |fields: &str| {
        Client::connect(address).ask(format!(
            "GET /forward-auth/a HTTP/1.1\r\nhost: gateway\r\nx-forwarded-method: GET\r\nx-forwarded-host: a.test\r\n\
             x-forwarded-uri: /v1/models\r\nauthorization: Bearer {}\r\n{fields}\r\n",
            token.text
        ))
    };
    for field in overrides {
        let fields = format!("{field}\r\n");
        let answer = ask(&gateway, &token, "GET", "a.test", "/v1/models", &fields);
        assert_eq!(code(&answer), refused(OTHER_ROUTE), "{field}");
        assert!(answer.text().contains("leave it out"), "{}", answer.text());
        assert_eq!(code(&ask(&gateway, &whole_token, "GET", "a.test", "/v1/models", &fields)), passed(), "{field}");
    }
    assert_eq!(upstream.requests().len(), reached + overrides.len());
    for field in dropped {
        let fields = format!("{field}\r\n");
        assert_eq!(code(&ask(&gateway, &token, "GET", "a.test", "/v1/models", &fields)), passed(), "{field}");
        let head = upstream.requests().pop().unwrap().head.to_ascii_lowercase();
        assert!(!head.contains("override") && !head.contains("rewrite") && !head.contains("original"), "{head}");
    }
    // Another proxy that asks cannot be made to drop it. What its way of asking has is its own.
    for field in overrides.iter().chain(&dropped) {
        let answer = question(&format!("{field}\r\n"));
        assert_eq!((answer.status, answer.header("x-bento-gateway-reason")), (403, Some(OTHER_ROUTE)), "{field}");
    }
    assert_eq!(question("").status, 200);
    let causes =
        |lines: Vec<Value>| lines.iter().filter(|line| line["cause"].to_string().contains("X-HTTP-Method")).count();
    wait_until("each has its cause in the log", SOON, || causes(gateway.access_lines()) == 11);
}

#[test]
fn http_2_and_other_proxies_get_the_same_answers() {
    let upstream = Upstream::named("a");
    let address = free_address();
    let config = format!("{SETTINGS}{}", deployment("a", upstream.address, ""));
    let gateway = Setup::new(&config).arguments(&["--forward-auth-listen", &address.to_string()]).start();
    let token = gateway.token(&["deployment:a:GET,POST:/v1"]);
    let cases = [
        ("GET", "/v1/x", 200),
        ("POST", "/v1", 200),
        ("PUT", "/v1/x", 403),
        ("GET", "/v11", 403),
        ("GET", "/v1/%25", 403),
    ];
    run(async {
        let mut connection = clear_text(&gateway).await;
        for (method, path, status) in cases {
            let request = Request::builder().method(method).uri(format!("http://a.test{path}"));
            let request = request.header("authorization", format!("Bearer {}", token.text)).body(no_body());
            let answer = send(&mut connection, request).await;
            assert_eq!(answer.status(), status, "{method} {path}");
            let body = whole(answer).await;
            assert!(status == 200 || String::from_utf8_lossy(&body).contains(OTHER_ROUTE), "{method} {path}");
        }
    });
    let seen: Vec<_> = upstream.requests().iter().map(|seen| (seen.method.clone(), seen.target.clone())).collect();
    assert_eq!(seen, [("GET".to_owned(), "/v1/x".to_owned()), ("POST".to_owned(), "/v1".to_owned())]);
    for (method, path, status) in cases {
        let fields = format!("authorization: Bearer {}\r\n", token.text);
        for question in [
            format!(
                "GET /forward-auth/a HTTP/1.1\r\nhost: gateway\r\nx-forwarded-method: {method}\r\nx-forwarded-host: a.test\r\n\
                 x-forwarded-uri: {path}\r\n{fields}\r\n"
            ),
            format!("{method} /ext-authz/a{path} HTTP/1.1\r\nhost: a.test\r\ncontent-length: 0\r\n{fields}\r\n"),
        ] {
            let answer = Client::connect(address).ask(&question);
            assert_eq!(answer.status, status, "{question}");
            assert_eq!(answer.header("x-bento-gateway-reason"), (status == 403).then_some(OTHER_ROUTE), "{question}");
            assert!(status == 200 || answer.text().contains("it opens GET,POST below /v1 only"), "{}", answer.text());
        }
    }
}

/// Whether there is a Deployment learns only who may call the route that they ask for.
#[test]
fn the_answer_does_not_say_whether_there_is_a_deployment() {
    let (with, _upstream) = with_a("preset = \"vllm\"");
    let without = Gateway::start(SETTINGS);
    // What each of these opens of the requests below.
    let scopes: [(&[&str], &[&str]); 3] = [
        (&["deployment:a*:POST:/v1"], &["POST /v1/x"]),
        (&["deployment:*:GET:/v2"], &[]),
        (&["deployment:a*:GET", "deployment:a*:/v3"], &["POST /v3", "DELETE /v3"]),
    ];
    for (scopes, opened) in scopes {
        let tokens = [&with, &without].map(|gateway| gateway.token(scopes));
        for (host, prefix) in [("a.base.test", ""), ("else.test", "/deployments/a")] {
            for (method, below) in ["POST", "DELETE"]
                .iter()
                .flat_map(|method| ["", "/", "/x", "/v1/x", "/v2", "/v3"].map(|path| (method, path)))
            {
                let path = format!("{prefix}{below}");
                let path = if path.is_empty() { "/" } else { &path };
                let same = "x-request-id: the-same\r\n";
                let [of_one, of_none] = [(&with, &tokens[0]), (&without, &tokens[1])]
                    .map(|(gateway, token)| ask(gateway, token, method, host, path, same));
                if opened.contains(&&*format!("{method} {below}")) {
                    assert_eq!(code(&of_none), (404, "deployment_not_found".to_owned()), "{scopes:?} {method} {path}");
                    continue;
                }
                assert_eq!(code(&of_none), refused(OTHER_ROUTE), "{scopes:?} {method} {path}");
                assert_eq!((of_one.status, of_one.text()), (of_none.status, of_none.text()), "{method} {path}");
                assert_eq!(of_one.header("www-authenticate"), of_none.header("www-authenticate"));
            }
        }
    }
    let token = without.token(&["deployment:a*:POST:/v1"]);
    assert_eq!(code(&ask(&without, &token, "POST", "nobody.test", "/v1/x", "")), refused("insufficient_scope"));
}

#[test]
fn a_monitor_reads_closed_metrics_and_nothing_else() {
    let (gateway, upstream) = with_a("preset = \"vllm\"");
    let monitor = gateway.token(&["deployment:a:operations:GET:/metrics"]);
    let caller = gateway.token(&["deployment:a:GET"]);
    assert_eq!(code(&ask(&gateway, &monitor, "GET", "a.test", "/metrics", "")), passed());
    for (method, path) in
        [("POST", "/metrics"), ("GET", "/pause"), ("POST", "/pause"), ("GET", "/v1/models"), ("GET", "/METRICS")]
    {
        assert_eq!(code(&ask(&gateway, &monitor, method, "a.test", path, "")), refused(OTHER_ROUTE), "{method} {path}");
    }
    assert_eq!(code(&ask(&gateway, &caller, "GET", "a.test", "/metrics", "")), refused("route_closed"));
    assert_eq!(code(&ask(&gateway, &caller, "POST", "a.test", "/pause", "")), refused(OTHER_ROUTE));
    assert_eq!(upstream.requests().len(), 1);
}

#[test]
fn a_browser_session_opens_what_its_token_opens() {
    let (gateway, upstream) = with_a("preset = \"vllm\"");
    let token = gateway.token(&["deployment:a:GET:/v1/models"]);
    let mut browser = Browser::new(gateway.proxy);
    browser.host = "a.test".to_owned();
    // Signing in is no route of the service: neither its preset nor the scope closes that.
    let answer = browser.post("/-/sign-in", &[("token", &token.text), ("to", "/v1/models")]);
    assert_eq!(answer.status, 303, "{}", answer.text());
    assert!(browser.get("/-/").text().contains("/-/sign-out"));
    assert_eq!(browser.get("/v1/models").status, 200);
    for (method, path) in [("GET", "/v1/chat"), ("POST", "/v1/models")] {
        let answer = browser.ask(method, path, &["sec-fetch-site: same-origin"], "");
        assert_eq!(code(&answer), refused(OTHER_ROUTE), "{method} {path}");
    }
    assert_eq!(upstream.only_request().header("x-bento-gateway-token-uid"), Some(&*token.uid));
    // Who may not call at all gets no session.
    let other = gateway.token(&["deployment:b*:GET"]);
    assert_eq!(browser.post("/-/sign-in", &[("token", &other.text), ("to", "/")]).status, 403);
}

#[test]
fn before_it_is_enforced_other_routes_pass_too() {
    let (gateway, upstream) = with_a("enforce_from = \"2099-01-01\"");
    let token = gateway.token(&["deployment:a:GET"]);
    assert_eq!(code(&ask(&gateway, &token, "POST", "a.test", "/x", "")), passed());
    assert_eq!(gateway.access_line("/x")["let_through"], OTHER_ROUTE);
    assert_eq!(upstream.only_request().header("x-bento-gateway-token-uid"), None);
    assert_eq!(code(&ask(&gateway, &token, "GET", "a.test", "/y", "x-http-method-override: PUT\r\n")), passed());
}

#[test]
fn what_runs_ends_with_the_scope_for_its_route() {
    let upstream = Upstream::watching();
    let gateway = Gateway::start(&deployment("a", upstream.address, ""));
    let admin = gateway.token(&["api"]).text;
    let [narrow, wide] = [["deployment:a:GET:/stream"], ["deployment:a"]].map(|scopes| gateway.token(&scopes));
    let begin = |token: &Token| {
        let mut caller = gateway.connect();
        caller.send(format!("GET /stream HTTP/1.1\r\nhost: a.test\r\nauthorization: Bearer {}\r\n\r\n", token.text));
        assert_eq!(caller.head().status, 200);
        caller
    };
    let set = |token: &Token, scopes: &[&str]| {
        let path = format!("/api/v1/api_tokens/{}", token.uid);
        let (status, answer) = api::ask(&gateway, &admin, "PATCH", &path, Some(&json!({ "scopes": scopes })));
        assert_eq!(status, 200, "{answer}");
    };
    let _running = begin(&narrow);
    // It goes on while a new request like it would pass.
    for scopes in [["deployment:a:/stream"], ["deployment:a"], ["deployment:a*:GET"]] {
        set(&narrow, &scopes);
    }
    let _of_wide = begin(&wide);
    assert_eq!(upstream.closed(), 0);
    set(&narrow, &["deployment:a:GET:/streams"]);
    upstream.await_closed(1, SOON);
    // Of a token that opened all no route is kept: what runs ends with that.
    set(&wide, &["deployment:a:GET:/stream"]);
    upstream.await_closed(2, SOON);
    let ended = |lines: Vec<Value>| lines.iter().filter(|line| line["end"] == "token_ended").count();
    wait_until("both have ended so", SOON, || ended(gateway.access_lines()) == 2);
}

#[test]
fn a_websocket_ends_with_the_scope_for_its_route() {
    let upstream = echo();
    let gateway = Gateway::start(&deployment("a", upstream.address, ""));
    let (admin, token) = (gateway.token(&["api"]).text, gateway.token(&["deployment:a:GET:/live"]));
    let mut socket = authorized(&gateway, &token);
    let set = |scopes: &[&str]| {
        let path = format!("/api/v1/api_tokens/{}", token.uid);
        assert_eq!(api::ask(&gateway, &admin, "PATCH", &path, Some(&json!({ "scopes": scopes }))).0, 200);
    };
    set(&["deployment:a:GET:/live/echo"]);
    socket.send(Message::text("still here")).unwrap();
    assert_eq!(socket.read().unwrap(), Message::text("still here"));
    set(&["deployment:a:GET:/live/other", "deployment:a:POST"]);
    let close = CloseFrame { code: CloseCode::Policy, reason: OTHER_ROUTE.into() };
    assert_eq!(socket.read().unwrap(), Message::Close(Some(close)));
    assert_eq!(gateway.access_line("/live/echo")["end"], "token_ended");
}
