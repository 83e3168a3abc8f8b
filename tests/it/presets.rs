//! What is for the operators of a service is closed by the Deployment's preset, in whatever spelling, and opened by a scope that
//! says so.

use serde_json::{Value, json};

use crate::harness::{
    SOON, api,
    console::Browser,
    gateway::{Gateway, Setup, Token, deployment, free_address},
    http::{Client, Response, get, request},
    metrics::scrape_until,
    upstream::Upstream,
    wait_until,
};

const CLOSED: &str = "route_closed";

fn ask(gateway: &Gateway, token: &Token, path: &str) -> Response {
    gateway.ask(&get("model.test", path, &token.text))
}

/// Without a credential.
fn anonymously(gateway: &Gateway, host: &str, path: &str) -> (u16, String) {
    let answer = gateway.ask(&format!("GET {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n"));
    (answer.status, answer.code())
}

fn code(answer: &Response) -> (u16, String) {
    (answer.status, answer.code())
}

fn refused(status: u16, code: &str) -> (u16, String) {
    (status, code.to_owned())
}

fn passed() -> (u16, String) {
    refused(200, "")
}

fn path(name: &str) -> String {
    format!("/api/v2/deployments/{name}")
}

#[test]
fn a_closed_route_takes_a_scope_of_its_own_and_says_so() {
    let upstream = Upstream::named("model");
    let config = format!(
        "[proxy]\nbase_domain = \"base.test\"\npath_prefix = true\n{}",
        deployment("model", upstream.address, "preset = \"vllm\"")
    );
    let gateway = Gateway::start(&config);
    let [caller, operator, other] = ["deployment:model", "deployment:model:operations", "deployment:x*:operations"]
        .map(|scope| gateway.token(&[scope]));
    let admin = gateway.token(&["api"]).text;

    assert_eq!(code(&ask(&gateway, &caller, "/v1/chat/completions?a=b")), passed());
    assert_eq!(code(&ask(&gateway, &operator, "/v1/models")), passed());
    assert_eq!(code(&ask(&gateway, &operator, "/pause")), passed());
    let reached = upstream.requests().len();
    let answer = ask(&gateway, &caller, "/collective_rpc?first");
    assert_eq!(code(&answer), refused(403, CLOSED));
    let sentence = answer.json()["detail"].as_str().unwrap().to_owned();
    assert!(sentence.contains("the preset vllm") && sentence.contains("deployment:NAME:operations"), "{sentence}");
    // Where the request names the Deployment, the challenge names the scope.
    let by_name = gateway.ask(&get("model.base.test", "/pause", &caller.text));
    let challenge = by_name.header("www-authenticate").unwrap().to_owned();
    assert!(challenge.contains("error=\"insufficient_scope\"") && by_name.code() == CLOSED, "{challenge}");
    assert!(challenge.ends_with("scope=\"deployment:model:operations\""), "{challenge}");
    // The prefix is no part of the path.
    for path in ["/deployments/model/pause", "/deployments/model", "/deployments/model/"] {
        assert_eq!(code(&gateway.ask(&get("elsewhere.test", path, &caller.text))), refused(403, CLOSED), "{path}");
    }
    assert_eq!(code(&gateway.ask(&get("elsewhere.test", "/deployments/model/v1/models", &caller.text))), passed());
    // Who may not call at all, or says nothing, gets what they get for any route.
    for path in ["/v1/models", "/pause"] {
        assert_eq!(code(&ask(&gateway, &other, path)), refused(403, "insufficient_scope"), "{path}");
        assert_eq!(anonymously(&gateway, "model.test", path), refused(401, "credential_missing"), "{path}");
    }
    // Methods make no difference.
    for method in ["POST", "HEAD", "OPTIONS", "DELETE"] {
        let answer =
            gateway.connect().ask(request(method, "/pause", "model.test", &caller.text, &["connection: close"], b""));
        assert_eq!(answer.status, 403, "{method}");
    }
    assert_eq!(upstream.requests().len(), reached + 1);

    // It is told to whoever looks for it.
    let line = gateway.access_line("/collective_rpc");
    assert_eq!((&line["reason"], &line["token"]), (&json!(CLOSED), &json!(caller.uid)), "{line}");
    assert_eq!(line["cause"], "the preset vllm closes this path");
    scrape_until(&gateway, "it is counted", |scrape| {
        scrape.sum("bento_gateway_rejections_total", &["reason=\"route_closed\""]) >= 1.0
    });
    let explained = |token: &Token, path: &str| {
        let question = json!({ "url": format!("http://model.test{path}"), "token": token.uid });
        api::post(&gateway, &admin, "/api/v1/explanations", question).1
    };
    let no = explained(&caller, "/pause");
    assert_eq!(
        (&no["allowed"], &no["code"], &no["reason"]),
        (&json!(false), &json!(CLOSED), &json!(sentence_for("model")))
    );
    let yes = explained(&operator, "/pause");
    assert_eq!((&yes["allowed"], &yes["scope"]), (&json!(true), &json!("deployment:model:operations")), "{yes}");
    assert_eq!(explained(&caller, "/v1/models")["scope"], "deployment:model");
}

fn sentence_for(name: &str) -> String {
    format!(
        "this path is for the operators of the service: the preset vllm of the Deployment {name} closes it; a token with the \
         scope deployment:{name}:operations opens it"
    )
}

/// Over HTTP, by what really reads it. All spellings are in `domain/preset.rs`.
#[test]
fn no_spelling_of_a_closed_route_reaches_the_service() {
    let upstream = Upstream::named("any");
    let address = free_address();
    let config = format!(
        "{}{}",
        deployment("bento", upstream.address, "preset = \"bentoml\""),
        deployment("model", upstream.address, "preset = \"openai\"")
    );
    let gateway = Setup::new(&config).arguments(&["--forward-auth-listen", &address.to_string()]).start();
    let token = gateway.token(&["deployment:*"]);
    let bento = [
        "/metrics",
        "//metrics",
        "/metrics/",
        "/Metrics",
        "/%6detrics",
        "/%2fmetrics",
        "/metrics;v=1",
        "/metrics%0a",
        "/%256detrics",
        "/x/docs.json",
    ];
    let model = [
        "/",
        "/pause",
        "//pause",
        "/v1/%66iles",
        "/v1//files",
        "/v1%2ffiles",
        "/v1;x/files",
        "/v1/chat%0a",
        "/health/x",
    ];
    let climbing =
        ["/v1/chat/../files", "/v1/chat/%2e%2e/files", "/v1/chat/..%2ffiles", "/v1/chat/..;/files", "/v1\\..\\pause"];
    for (host, target) in
        bento.map(|path| ("bento.test", path)).into_iter().chain(model.map(|path| ("model.test", path)))
    {
        for target in [target.to_owned(), format!("{target}?v1/chat"), format!("http://{host}{target}")] {
            assert_eq!(code(&gateway.ask(&get(host, &target, &token.text))), refused(403, CLOSED), "{target}");
        }
        let question = format!(
            "GET /forward-auth/{} HTTP/1.1\r\nhost: gateway\r\nx-forwarded-method: POST\r\nx-forwarded-host: {host}\r\n\
             x-forwarded-uri: {target}\r\nauthorization: Bearer {}\r\n\r\n",
            host.trim_end_matches(".test"),
            token.text
        );
        let answer = Client::connect(address).ask(&question);
        assert_eq!((answer.status, answer.header("x-bento-gateway-reason")), (403, Some(CLOSED)), "{target}");
    }
    for target in climbing {
        assert_eq!(gateway.ask(&get("model.test", target, &token.text)).status, 400, "{target}");
    }
    assert!(upstream.requests().is_empty());
    for path in ["/", "/schema.json", "/readyz", "/a%20b", "/metrics/x"] {
        assert_eq!(code(&gateway.ask(&get("bento.test", path, &token.text))), passed(), "{path}");
    }
}

#[test]
fn neither_being_public_nor_being_not_enforced_opens_it() {
    let upstream = Upstream::named("model");
    let config = format!(
        "{}{}",
        deployment("public", upstream.address, "preset = \"vllm\"\nprotected = false"),
        deployment("model", upstream.address, "preset = \"vllm\"\nenforce_from = \"2099-01-01\"")
    );
    let gateway = Gateway::start(&config);
    let [caller, operator] = [["deployment:*"], ["deployment:*:operations"]].map(|scopes| gateway.token(&scopes));
    for host in ["public.test", "model.test"] {
        assert_eq!(anonymously(&gateway, host, "/v1/models"), passed(), "{host}");
        assert_eq!(anonymously(&gateway, host, "/pause"), refused(401, "credential_missing"), "{host}");
        assert_eq!(code(&gateway.ask(&get(host, "/pause", "nonsense"))), refused(401, "token_malformed"), "{host}");
        assert_eq!(code(&gateway.ask(&get(host, "/pause", &caller.text))), refused(403, CLOSED), "{host}");
    }
    let reached = upstream.requests().len();
    assert_eq!(reached, 2);
    assert_eq!(code(&gateway.ask(&get("public.test", "/pause", &operator.text))), passed());
    let seen = upstream.requests().pop().unwrap();
    assert_eq!(seen.header("x-bento-gateway-token-uid"), Some(&*operator.uid), "{}", seen.head);
    // It is explained likewise.
    let admin = gateway.token(&["api"]).text;
    let explained = |url: &str| api::post(&gateway, &admin, "/api/v1/explanations", json!({ "url": url })).1;
    for host in ["public.test", "model.test"] {
        assert_eq!(explained(&format!("http://{host}/pause"))["allowed"], false, "{host}");
        assert_eq!(explained(&format!("http://{host}/v1/models"))["allowed"], true, "{host}");
    }
}

#[test]
fn what_runs_on_a_closed_route_ends_with_the_scope_for_it() {
    let upstream = Upstream::watching();
    let gateway = Gateway::start(&deployment("model", upstream.address, "preset = \"vllm\""));
    let (operator, admin) = (gateway.token(&["deployment:model:operations"]), gateway.token(&["api"]));
    let mut caller = gateway.connect();
    caller.send(get("model.test", "/stream", &operator.text));
    caller.head();
    let narrower = json!({ "scopes": ["deployment:model"] });
    let of_operator = format!("/api/v1/api_tokens/{}", operator.uid);
    assert_eq!(api::ask(&gateway, &admin.text, "PATCH", &of_operator, Some(&narrower)).0, 200);
    upstream.await_closed(1, SOON);
    assert_eq!(gateway.access_line("/stream")["end"], "token_ended");
}

#[test]
fn probes_of_platforms_need_no_token_where_they_are_opened_and_nothing_else_is() {
    let upstream = Upstream::named("up");
    let config = format!(
        "[proxy]\npath_prefix = true\n{}{}{}{}",
        deployment("plain", upstream.address, "public_probes = true"),
        deployment("bento", upstream.address, "public_probes = true\npreset = \"bentoml\""),
        deployment("model", upstream.address, "public_probes = true\npreset = \"vllm\""),
        deployment("shut", upstream.address, ""),
    );
    let gateway = Gateway::start(&config);
    let open = [
        ("plain.test", "/livez"),
        ("plain.test", "/readyz"),
        ("bento.test", "/healthz"),
        ("bento.test", "/readyz"),
        ("model.test", "/health"),
        ("model.test", "/ping"),
        ("elsewhere.test", "/deployments/plain/readyz"),
    ];
    for (host, path) in open {
        assert_eq!(anonymously(&gateway, host, path), passed(), "{host}{path}");
    }
    let head =
        "HEAD /livez HTTP/1.1\r\nhost: plain.test\r\nauthorization: Bearer nonsense\r\nconnection: close\r\n\r\n";
    let mut client = gateway.connect();
    client.send(head);
    assert_eq!(client.response(true).status, 200);
    let reached = upstream.requests();
    assert_eq!(reached.len(), open.len() + 1);
    assert!(reached.iter().all(|request| request.header("x-bento-gateway-token-uid").is_none()));
    for (host, path) in [
        ("shut.test", "/readyz"),
        ("plain.test", "/healthz"),
        ("plain.test", "/readyz/"),
        ("plain.test", "//readyz"),
        ("plain.test", "/READYZ"),
        ("plain.test", "/%72eadyz"),
        ("plain.test", "/readyz;x"),
        ("plain.test", "/readyz?x"),
        ("plain.test", "/readyz?"),
        ("plain.test", "/readyz/x"),
        ("model.test", "/readyz"),
        ("model.test", "/v1/models"),
        ("bento.test", "/metrics"),
    ] {
        assert_eq!(anonymously(&gateway, host, path), refused(401, "credential_missing"), "{host}{path}");
    }
    let upgrade = "connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: \
                   dGhlIHNhbXBsZSBub25jZQ==";
    for rest in [
        "POST /readyz HTTP/1.1\r\nhost: plain.test\r\ncontent-length: 0\r\nconnection: close",
        "GET /readyz HTTP/1.1\r\nhost: plain.test\r\ncontent-length: 1\r\nconnection: close",
        &format!("GET /readyz HTTP/1.1\r\nhost: plain.test\r\n{upgrade}"),
    ] {
        assert_eq!(gateway.ask(&format!("{rest}\r\n\r\n")).status, 401, "{rest}");
    }
    assert_eq!(upstream.requests().len(), reached.len());
    // Why it passes is said.
    let admin = gateway.token(&["api"]).text;
    let question = json!({ "url": "http://plain.test/readyz" });
    let answer = api::post(&gateway, &admin, "/api/v1/explanations", question).1;
    assert!(answer["reason"].as_str().unwrap().contains("public_probes"), "{answer}");
}

#[test]
fn who_may_open_it_is_no_matter_of_managing_deployments_or_tokens() {
    let upstream = Upstream::named("model");
    let gateway = Gateway::start("");
    let url = format!("http://{}", upstream.address);
    let (narrow, full) = (gateway.token(&["write_cluster", "write_organization"]), gateway.token(&["api"]));
    let spec = |name: &str, more: Value| {
        let mut spec = json!({ "name": name, "upstreams": [url], "hosts": [format!("{name}.test")] });
        spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        spec
    };
    let set = |token: &Token, change: Value| {
        let (status, answer) =
            api::ask(&gateway, &token.text, "PATCH", &path("model"), Some(&json!({ "settings": change })));
        (status, answer["error"].as_str().unwrap_or_default().to_owned())
    };
    assert_eq!(api::post(&gateway, &full.text, "/api/v2/deployments", spec("model", json!({}))).0, 200);
    let held = gateway.token(&["deployment:model"]);
    assert_eq!(code(&ask(&gateway, &held, "/pause")), passed());

    // Closing is managing; what comes after it is not.
    assert_eq!(set(&narrow, json!({ "preset": "vllm" })).0, 200);
    wait_until("it is closed", SOON, || ask(&gateway, &held, "/pause").code() == CLOSED);
    assert_eq!(set(&narrow, json!({ "preset": "vllm", "idle_timeout_ms": 1000 })).0, 200);
    for preset in ["raw", "bentoml", "openai"] {
        let (status, text) = set(&narrow, json!({ "preset": preset }));
        assert!(
            status == 403 && text.contains("the preset of a Deployment needs the scope api"),
            "{preset}: {status} {text}"
        );
    }
    let (status, text) = set(&narrow, json!({ "public_probes": true }));
    assert!(status == 403 && text.contains("probes to everybody needs the scope api"), "{status} {text}");
    // Which paths need no token depends on the preset.
    assert_eq!(set(&full, json!({ "preset": "raw", "public_probes": true })).0, 200);
    assert_eq!(set(&narrow, json!({ "preset": "vllm" })).0, 403);
    assert_eq!(set(&full, json!({ "preset": "vllm", "public_probes": false })).0, 200);
    let (status, text) = set(&full, json!({ "preset": "vLLM" }));
    assert!(status == 400 && text.contains("raw, bentoml, vllm or openai"), "{status} {text}");
    let settings = api::get(&gateway, &full.text, &path("model")).1["settings"].clone();
    assert_eq!((&settings["preset"], &settings["public_probes"]), (&json!("vllm"), &json!(false)));

    // A token that may write tokens may not make one that opens what is closed, nor get at one.
    let create = |token: &Token, name: &str, scope: &str| {
        api::post(&gateway, &token.text, "/api/v1/api_tokens", json!({ "name": name, "scopes": [scope] }))
    };
    assert_eq!(create(&narrow, "calls", "deployment:model").0, 200);
    for scope in ["deployment:model:operations", "deployment:*:operations"] {
        let (status, answer) = create(&narrow, "operates", scope);
        assert!(status == 403 && answer["error"].as_str().unwrap().contains(scope), "{answer}");
    }
    let (status, operator) = create(&full, "operates", "deployment:model:operations");
    assert_eq!(status, 200, "{operator}");
    let of_operator = format!("/api/v1/api_tokens/{}", operator["uid"].as_str().unwrap());
    assert_eq!(api::post(&gateway, &narrow.text, &format!("{of_operator}/rotate"), json!({})).0, 403);
    let text = operator["token"].as_str().unwrap();
    assert_eq!(code(&gateway.ask(&get("model.test", "/pause", text))), passed());
    // A name that does not exist can be given in neither.
    assert_eq!(create(&full, "nobody", "deployment:nobody:operations").0, 400);

    // Removing the Deployment ends it, too.
    let removed = gateway.cli(&["deployment", "remove", "model"]);
    let ended: Vec<_> = removed["tokens"].as_array().unwrap().iter().map(|token| token["name"].clone()).collect();
    assert!(ended.contains(&json!("operates")) && ended.contains(&json!("calls")), "{removed}");
    assert_eq!(gateway.ask(&get("model.test", "/pause", text)).code(), "token_revoked");
}

#[test]
fn file_command_line_and_console_say_it_too() {
    let upstream = Upstream::named("model");
    let gateway = Gateway::start(&deployment("model", upstream.address, ""));
    let token = gateway.token(&["deployment:model", "deployment:*"]);
    assert_eq!(code(&ask(&gateway, &token, "/metrics")), passed());
    gateway.write_config(&deployment("model", upstream.address, "preset = \"openai\""));
    wait_until("it is closed without a restart", SOON, || ask(&gateway, &token, "/metrics").code() == CLOSED);

    let url = format!("http://{}", upstream.address);
    let added =
        gateway.cli(&["deployment", "add", "stored", "--upstream", &url, "--preset", "bentoml", "--public-probes"]);
    assert_eq!((&added["settings"]["preset"], &added["settings"]["public_probes"]), (&json!("bentoml"), &json!(true)));
    let updated = gateway.cli(&["deployment", "update", "stored", "--preset", "vllm"]);
    assert_eq!(updated["settings"]["preset"], "vllm");

    let mut admin = Browser::signed_in(&gateway, "ada@example.com", true);
    let form = admin.get("/deployments/stored/edit");
    assert!(form.text().contains("<option value=\"vllm\" selected>vLLM</option>"), "{}", form.text());
    let page = admin.get("/deployments/stored").text();
    assert!(page.contains("operators&#39; paths need") && page.contains("/health, /ping"), "{page}");
    // A token for it is offered to admins, and to nobody else.
    let offered = "value=\"stored:operations\"";
    assert!(admin.get("/api_tokens/new").text().contains(offered));
    let mut bob = Browser::signed_in(&gateway, "bob@example.com", false);
    let form = bob.get("/api_tokens/new");
    assert!(!form.text().contains(offered));
    let fields = |name, reach| {
        [("name", name), ("endpoint", "1"), ("reach", reach), ("deployment", "stored:operations"), ("expires", "7")]
    };
    let answer = bob.submit(&form, "/api_tokens", &fields("operates", "some"));
    assert!(answer.status == 403 && answer.text().contains("nly an admin may do that"), "{}", answer.text());
    // Saving the form of such a token loses nothing of it, with all Deployments, too.
    for reach in ["some", "all"] {
        let form = admin.get("/api_tokens/new");
        assert_eq!(admin.submit(&form, "/api_tokens", &fields(reach, reach)).status, 200);
        let made = gateway.cli(&["token", "get", reach]);
        let form = admin.get(&format!("/api_tokens/{}/edit", made["uid"].as_str().unwrap())).text();
        let ticked = format!("{offered} checked");
        assert_eq!(form.matches(offered).count(), 1, "{form}");
        assert!(form.contains(&ticked), "{form}");
        let scopes = made["scopes"].as_array().unwrap();
        assert!(scopes.contains(&json!("deployment:stored:operations")), "{made}");
        assert_eq!(scopes.contains(&json!("deployment:*")), reach == "all", "{made}");
    }
    let page = admin.get("/deployments/stored").text();
    assert!(page.contains("stored:operations"), "it is among the tokens that open it: {page}");
}
