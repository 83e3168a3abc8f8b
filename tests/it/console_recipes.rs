//! What the console shows to paste works when it is pasted, and a service cannot put anything else into it.

use std::{
    path::Path,
    process::{Command, Output},
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::harness::{
    SOON,
    bentoml::{Service, both_streams, python},
    console::Browser,
    gateway::{Gateway, Setup, deployment},
    http::{Response, get},
    upstream::{Upstream, response},
    wait_until,
};

const ADA: &str = "ada@example.com";

/// What is copied by the button of that element.
fn snippet(page: &Response, id: &str) -> Option<String> {
    let text = page.text();
    let (_, code) = text.split_once(&format!("id=\"{id}\"><code>"))?;
    Some(unescaped(code.split_once("</code>").unwrap().0))
}

fn snippets(page: &Response, kind: &str) -> Vec<String> {
    (0..).map_while(|at| snippet(page, &format!("{kind}-{at}"))).collect()
}

fn unescaped(html: &str) -> String {
    let text = ["&#60;<", "&#62;>", "&#34;\"", "&#39;'", "&lt;<", "&gt;>", "&quot;\"", "&#x27;'"]
        .into_iter()
        .fold(html.to_owned(), |text, pair| text.replace(&pair[..pair.len() - 1], &pair[pair.len() - 1..]));
    text.replace("&#38;", "&").replace("&amp;", "&")
}

/// As somebody pastes it into a terminal.
fn pasted(code: &str, token: &str, directory: &Path) -> Output {
    let code = format!("curl() {{ command curl --silent --show-error --fail \"$@\"; }}\n{code}\n");
    Command::new("sh").args(["-c", &code]).env("TOKEN", token).current_dir(directory).output().unwrap()
}

fn run_python(code: &str, token: &str, directory: &Path) -> Output {
    let environment =
        [("TOKEN", token), ("BENTOML_HOME", directory.to_str().unwrap()), ("BENTOML_DO_NOT_TRACK", "True")];
    Command::new(python(&[])).args(["-B", "-c", code]).envs(environment).current_dir(directory).output().unwrap()
}

#[test]
fn what_is_pasted_calls_the_routes_of_a_bento() {
    let service = Service::start();
    let flag = format!("summarization=http://{}", service.address);
    let gateway = Setup::new("").arguments(&["--deployment", &flag]).start();
    let token = gateway.token(&["deployment:summarization"]).text;
    wait_until("the service is ready", SOON, || gateway.ask(&get("localhost", "/readyz", &token)).status == 200);
    let mut ada = Browser::signed_in(&gateway, ADA, false);
    let page = ada.get("/deployments/summarization");
    let directory = tempfile::tempdir().unwrap();

    let calls = snippets(&page, "curl");
    let start = format!("curl http://{}/summarize \\\n  -H \"Authorization: Bearer $TOKEN\"", gateway.proxy);
    assert!(calls[0].starts_with(&start), "{calls:?}");
    for path in ["/summarize", "/summarize_many", "/summarize_stream", "/records"] {
        let call = calls.iter().find(|call| call.contains(&format!("{path} "))).unwrap();
        let output = pasted(call, &token, directory.path());
        assert!(output.status.success() && !output.stdout.is_empty(), "{call}: {}", both_streams(&output));
    }
    let refused = pasted(&calls[0], "", directory.path());
    assert!(both_streams(&refused).contains("400") || both_streams(&refused).contains("401"), "the token counts");

    let code = snippet(&page, "python-0").unwrap();
    assert!(code.contains("client.summarize(text=\"The harbour"), "{code}");
    let output = run_python(&code, &token, directory.path());
    assert!(output.status.success() && output.stdout.len() > 100, "{code}\n{}", both_streams(&output));

    // The page that shows a new token has the same with the token in it.
    let form = ada.get("/api_tokens/new");
    let fields = [("name", "mine"), ("endpoint", "1"), ("reach", "all"), ("expires", "30")];
    let issued = ada.submit(&form, "/api_tokens", &fields);
    let call = &snippets(&issued, "curl")[0];
    let output = pasted(call, "", directory.path());
    assert!(output.status.success() && !output.stdout.is_empty(), "{call}: {}", both_streams(&output));
    let code = snippet(&issued, "python-0").unwrap();
    let output = run_python(&code, "", directory.path());
    assert!(output.status.success(), "{code}\n{}", both_streams(&output));
}

/// A service that says this of its routes.
fn describing(document: Vec<u8>) -> Upstream {
    Upstream::answering(move |request| match request.target.as_str() {
        "/docs.json" => response(200, &["content-type: application/json"], &document),
        _ => response(200, &[], b"done"),
    })
}

fn page_of(gateway: &Gateway) -> Response {
    let page = Browser::signed_in(gateway, ADA, false).get("/deployments/a");
    assert_eq!(page.status, 200, "{}", page.text());
    page
}

#[test]
fn a_service_cannot_have_anything_else_pasted() {
    let evil =
        "'; touch pwned; ' \"; touch pwned; \" $(touch pwned) `touch pwned` \n touch pwned # </code><script>x</script>";
    let schema = json!({ "type": "object", "properties": { "text": { "type": "string", "default": evil } } });
    let content = json!({ "application/json": { "schema": schema } });
    let operation = json!({ "post": { "x-bentoml-name": "f", "requestBody": { "content": content } } });
    let named = |name: &str| {
        let mut operation = operation.clone();
        operation["post"]["x-bentoml-name"] = json!(name);
        operation
    };
    let document = json!({ "paths": {
        "/good": operation,
        "/'; touch pwned; '": operation,
        "/$(touch pwned)": operation,
        "/x\ntouch pwned": operation,
        "/</code><script>": operation,
        "/../../x": operation,
        "/named": named("f(open('pwned','w'))"),
    } });
    let service = describing(document.to_string().into_bytes());
    let gateway = Gateway::start(&deployment("a", service.address, ""));
    let token = gateway.token(&["deployment:a"]).text;
    let page = page_of(&gateway);
    assert!(!page.text().contains("<script>x"), "{}", page.text());

    let directory = tempfile::tempdir().unwrap();
    let calls = snippets(&page, "curl");
    assert_eq!(calls.len(), 2, "{calls:?}");
    for call in calls {
        // The host is none of this machine's.
        let call = call.replacen(
            "http://a.test",
            &format!("--resolve a.test:{0}:127.0.0.1 http://a.test", gateway.proxy.port()),
            1,
        );
        let output = pasted(&call, &token, directory.path());
        assert_eq!(both_streams(&output), "done", "{call}");
    }
    let bodies = service.requests().into_iter().filter(|request| request.method == "POST");
    let bodies: Vec<Value> = bodies.map(|request| serde_json::from_slice(&request.body).unwrap()).collect();
    let expected = evil[..80].rsplit_once(' ').unwrap().0;
    assert_eq!(bodies, [json!({ "text": expected }), json!({ "text": expected })], "it arrives as data");

    let code = snippet(&page, "python-0").unwrap();
    assert!(code.contains("client.f(") && !code.contains("open("), "{code}");
    let parsed = run_python(&format!("import ast; ast.parse({code:?})"), &token, directory.path());
    assert!(parsed.status.success(), "{}", both_streams(&parsed));
    assert!(!directory.path().join("pwned").exists());
}

#[test]
fn a_service_that_says_nothing_of_use_has_the_common_recipe() {
    let deep = format!("{}{}", "[".repeat(200_000), "]".repeat(200_000)).into_bytes();
    let mut huge = br#"{"paths": {"/f": {"get": {}}}}"#.to_vec();
    huge.resize(4 << 20, b' ');
    for document in [b"<html>".to_vec(), b"{}".to_vec(), deep, huge] {
        let service = describing(document);
        let gateway = Gateway::start(&deployment("a", service.address, ""));
        let calls = snippets(&page_of(&gateway), "curl");
        assert!(calls.len() == 1 && calls[0].contains("/readyz"), "{calls:?}");
    }
    // One that never answers is not waited for.
    let silent = Upstream::start(|peer| while peer.request().is_some_and(|request| request.target != "/docs.json") {});
    let gateway = Gateway::start(&deployment("a", silent.address, ""));
    let begun = Instant::now();
    let calls = snippets(&page_of(&gateway), "curl");
    assert!(calls.len() == 1 && begun.elapsed() < Duration::from_secs(20), "{calls:?}");
}

#[test]
fn a_service_that_speaks_as_openai_does_has_its_clients_recipe() {
    let document = json!({ "paths": { "/v1/chat/completions": { "post": {} }, "/v1/models": { "get": {} } } });
    let service = describing(document.to_string().into_bytes());
    let flag = format!("a=http://{}", service.address);
    let gateway = Setup::new("").arguments(&["--deployment", &flag]).start();
    let token = gateway.token(&["deployment:a"]).text;
    let page = page_of(&gateway);
    let directory = tempfile::tempdir().unwrap();
    let calls = snippets(&page, "curl");
    assert_eq!(both_streams(&pasted(&calls[0], &token, directory.path())), "done", "{calls:?}");
    let asked = service.requests().into_iter().find(|request| request.target == "/v1/chat/completions").unwrap();
    let body: Value = serde_json::from_slice(&asked.body).unwrap();
    assert_eq!((&body["model"], &body["messages"][0]["role"]), (&json!("MODEL"), &json!("user")));
    let code = snippet(&page, "openai-0").unwrap();
    assert!(
        code.contains(&format!("base_url=\"http://{}/v1\", api_key=os.environ[\"TOKEN\"]", gateway.proxy)),
        "{code}"
    );
    let parsed = run_python(&format!("import ast; ast.parse({code:?})"), &token, directory.path());
    assert!(parsed.status.success(), "{}", both_streams(&parsed));
}
