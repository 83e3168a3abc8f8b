//! What a member sees in the console is what the API tells the same member: nothing of other people, and of Deployments nothing
//! that is the admins'.

use bento_gateway::management::{Audience, console_pages};
use http::Method;
use serde_json::json;

use crate::harness::{
    SOON,
    api::{ask, get as ask_api, post},
    console::{Browser, create_user},
    gateway::{Gateway, Setup, Token, deployment, free_address},
    http::get,
    upstream::{Upstream, response},
    wait_until,
};

const ADA: &str = "ada.hopper@example.com";
const BOB: &str = "bob@example.com";
const DORA: &str = "dora.lovelace@example.com";

/// What the service says of itself to whoever may call it.
const DOCS: &str = r#"{"paths": {"/told-by-the-service": {"post": {"requestBody": {"content": {"application/json":
    {"schema": {"type": "object", "properties": {"word": {"type": "string"}}}}}}}}}}"#;

/// Two Deployments, what others have made and done, and a member who was an admin before.
struct Scene {
    gateway: Gateway,
    _upstream: Upstream,
    own: Token,
    others: Token,
    /// What people other than the member would recognise: each must come from the API, or not at all.
    secrets: Vec<String>,
}

impl Scene {
    fn new() -> Self {
        let upstream = Upstream::answering(|request| match request.target.as_str() {
            "/private-base/docs.json" => response(200, &["content-type: application/json"], DOCS.as_bytes()),
            _ => response(200, &[], b"ok"),
        });
        let elsewhere = deployment("held-by-another-gateway", free_address(), "");
        let gateway = Setup::new(&elsewhere).env("TOKENS__USAGE_INTERVAL", "100ms").start();
        create_user(&gateway, ADA, true);
        let mut bob = Browser::signed_in(&gateway, BOB, true);
        let admin = gateway.new_token(&["api"], &["--owner", ADA]);
        gateway.await_token(&admin);
        let listen = free_address();
        let upstreams = json!([format!("http://{}/private-base", upstream.address)]);
        for name in ["deployment-a", "deployment-b"] {
            let hosts = json!([format!("{name}.test")]);
            let settings = json!({ "first_byte_timeout_ms": 123_456, "cors_origins": ["https://private-origin.test"] });
            let mut spec = json!({ "name": name, "upstreams": upstreams, "hosts": hosts, "settings": settings });
            if name == "deployment-b" {
                spec["listen"] = json!(listen);
            }
            let (status, answer) = post(&gateway, &admin.text, "/api/v2/deployments", spec);
            assert_eq!(status, 200, "{answer}");
        }
        // The configuration declares one that the store hides from then on, and no longer the one of before.
        let (status, answer) = post(
            &gateway,
            &admin.text,
            "/api/v2/deployments",
            json!({ "name": "hidden", "upstreams": upstreams, "hosts": ["hidden-host.test"] }),
        );
        assert_eq!(status, 200, "{answer}");
        let declared = deployment("hidden", free_address(), "");
        gateway.write_config(&declared);
        let source = || ask_api(&gateway, &admin.text, "/api/v2/deployments/hidden").1["source"].clone();
        wait_until("it is declared", SOON, || source() == "configuration");

        // As long as he is an admin, Bob makes what is others'.
        let arguments = ["--owner", ADA, "--description", "described-by-ada"];
        let others = gateway.new_token(&["deployment:deployment-b"], &arguments);
        let bobs = gateway.new_token(&["api"], &["--owner", BOB]);
        gateway.await_token(&bobs);
        let path = format!("/api/v1/api_tokens/{}", others.uid);
        assert_eq!(ask(&gateway, &bobs.text, "PATCH", &path, Some(&json!({ "name": "named-by-bob" }))).0, 200);
        let body = json!({ "email": DORA, "name": "Dora Lovelace", "role": "member" });
        assert_eq!(post(&gateway, &bobs.text, "/api/v1/users", body).0, 200);
        let moved = json!({ "upstreams": [format!("http://{}/private-base#weight=7", upstream.address)] });
        let path_of_b = "/api/v2/deployments/deployment-b";
        assert_eq!(ask(&gateway, &bobs.text, "PATCH", path_of_b, Some(&moved)).0, 200);
        let role = json!({ "role": "member" });
        assert_eq!(ask(&gateway, &admin.text, "PATCH", &format!("/api/v1/users/{BOB}"), Some(&role)).0, 200);
        assert_eq!(ask(&gateway, &admin.text, "PATCH", &path, Some(&json!({ "name": "renamed-by-ada" }))).0, 200);
        assert_eq!(bob.get("/users").status, 403);

        for _ in 0..7 {
            gateway.ask(&get("deployment-b.test", "/", &others.text));
        }
        gateway.ask(&get("deployment-b.test", "/", "bgw_nonsense"));
        let own = gateway.new_token(&["api", "deployment:deployment-a"], &["--owner", BOB]);
        gateway.await_token(&own);
        gateway.ask(&get("deployment-a.test", "/", &own.text));
        let told = |token: &Token| {
            let usage = ask_api(&gateway, &admin.text, "/api/v1/usage").1;
            usage["items"].as_array().is_some_and(|rows| rows.iter().any(|row| row["token"] == token.uid.as_str()))
        };
        wait_until("what was used is written", SOON, || told(&others) && told(&own));

        let users = gateway.cli(&["user", "list"]);
        let id_of = |email: &str| {
            let found = users.as_array().unwrap().iter().find(|user| user["email"] == email).unwrap();
            found["id"].as_str().unwrap().to_owned()
        };
        let secrets = [
            upstream.address.to_string(),
            listen.to_string(),
            others.uid.clone(),
            admin.uid.clone(),
            id_of(ADA),
            id_of(DORA),
        ];
        let words = [
            "deployment-b",
            "deployment-b.test",
            "hidden-host.test",
            "held-by-another-gateway",
            "private-base",
            "weight=7",
            "private-origin",
            "described-by-ada",
            "named-by-bob",
            "renamed-by-ada",
            "ada.hopper",
            "dora.lovelace",
            "Dora",
            "told-by-the-service",
            // Of the figures: what others have asked for, and how they fared.
            "Upstream errors",
            "Denied requests by reason",
            "Median",
            ">7<",
            ">8<",
        ];
        let secrets = words.iter().map(|word| (*word).to_owned()).chain(secrets).collect();
        Self { gateway, _upstream: upstream, own, others, secrets }
    }

    /// Whatever the member's own token is told: by each operation of the API that reads, and by the service that it may call.
    fn told(&self) -> String {
        let document = ask_api(&self.gateway, &self.own.text, "/openapi.json").1;
        let paths = document["paths"].as_object().unwrap();
        let reading = paths.iter().filter(|(_, item)| item.get("get").is_some()).map(|(path, _)| path.as_str());
        let mut told = String::new();
        for path in reading.filter(|path| !path.contains("/auth/")) {
            for value in [&*self.own.uid, &*self.others.uid, "deployment-a", "deployment-b", "hidden", ADA, BOB] {
                let path =
                    ["{uid}", "{name}", "{user}"].iter().fold(path.to_owned(), |path, key| path.replace(key, value));
                let (status, answer) = ask_api(&self.gateway, &self.own.text, &path);
                if status == 200 {
                    told.push_str(&answer.to_string());
                }
            }
        }
        // Members make tokens for whichever Deployment they like.
        let body = json!({ "name": "any", "scopes": ["deployment:*"] });
        let (status, made) = post(&self.gateway, &self.own.text, "/api/v1/api_tokens", body);
        assert_eq!(status, 200, "{made}");
        let text = made["token"].as_str().unwrap();
        let docs = get("deployment-b.test", "/docs.json", text);
        told + &self.gateway.ask(&docs).text()
    }
}

#[test]
fn a_member_sees_no_more_in_the_console_than_the_api_tells_them() {
    let scene = Scene::new();
    let told = scene.told();
    assert!(told.contains("deployment-b.test") && told.contains("told-by-the-service"), "{told}");
    assert!(!told.contains("private-base") && !told.contains("renamed-by-ada"), "{told}");
    let mut bob = Browser::new(scene.gateway.management);
    assert_eq!(bob.sign_in(BOB, crate::harness::console::PASSWORD).status, 303);

    let mut paths: Vec<String> = Vec::new();
    let pages = console_pages().into_iter().filter(|page| page.method == Method::GET);
    for page in pages.filter(|page| page.audience != Audience::Anonymous) {
        for value in [&scene.own.uid, &scene.others.uid] {
            for name in ["deployment-a", "deployment-b", "hidden", "held-by-another-gateway"] {
                paths.push(page.path.replace("{uid}", value).replace("{name}", name));
            }
        }
    }
    for query in
        ["/?range=day", "/usage?by=token", "/usage?by=deployment", "/usage?period=quarter&by=day,token,deployment"]
    {
        paths.push(query.to_owned());
    }
    for target in [&*scene.others.uid, "deployment-b", "renamed-by-ada", ADA] {
        paths.push(format!("/activity?target={target}"));
        paths.push(format!("/usage?token={target}"));
    }
    paths.sort();
    paths.dedup();
    let mut seen: Vec<(String, String)> = Vec::new();
    for path in paths {
        // What was asked for comes back in a filter or an error: it says nothing.
        let text = bob.get(&path).text();
        let shown = |secret: &&String| text.contains(secret.as_str()) && !told.contains(secret.as_str());
        let of_the_path = |secret: &&String| !path.contains(secret.as_str());
        seen.extend(
            scene.secrets.iter().filter(shown).filter(of_the_path).map(|secret| (path.clone(), secret.clone())),
        );
    }
    assert!(seen.is_empty(), "a member sees {seen:#?}");

    // What is theirs is shown: their own token's requests on the overview, and what they did.
    let overview = bob.get("/").text();
    assert!(overview.contains(&format!("/api_tokens/{}", scene.own.uid)), "{overview}");
    assert!(bob.get("/activity").text().contains("signed in"));
}
