//! Single sign-on with what real providers send: each row is an oddity of one of them, and what the gateway makes of it.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex},
};

use data_encoding::BASE64URL_NOPAD;
use openidconnect::{
    JsonWebKeyId, PrivateSigningKey,
    core::{CoreJwsSigningAlgorithm, CoreRsaPrivateSigningKey},
};
use serde_json::{Value, json};

use crate::harness::{console::Browser, gateway::Gateway};

/// Of the tests, and of nobody else.
const KEY: &str = include_str!("../fixtures/provider-key.pem");

/// A provider that says what a test has it say.
struct Provider {
    address: SocketAddr,
    says: Arc<Mutex<Says>>,
}

#[derive(Clone, Default)]
struct Says {
    discovery: Value,
    id_token: Value,
    userinfo: Value,
    nonce: String,
    /// Heads and bodies of the requests for tokens.
    asked: Vec<String>,
}

impl Provider {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let says = Arc::<Mutex<Says>>::default();
        let told = Arc::clone(&says);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let told = Arc::clone(&told);
                std::thread::spawn(move || serve(stream, address, &told));
            }
        });
        Self { address, says }
    }

    fn says(&self, id_token: Value, userinfo: Value, discovery: Value) {
        *self.says.lock().unwrap() = Says { discovery, id_token, userinfo, ..Says::default() };
    }
}

fn serve(mut stream: TcpStream, address: SocketAddr, says: &Mutex<Says>) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    loop {
        let (mut head, mut length) = (String::new(), 0);
        loop {
            let before = head.len();
            if reader.read_line(&mut head).unwrap_or(0) == 0 {
                return;
            }
            let line = head[before..].trim().to_ascii_lowercase();
            if let Some(value) = line.strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
            if line.is_empty() {
                break;
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).unwrap();
        let answer = answer(&head, &String::from_utf8(body).unwrap(), address, &mut says.lock().unwrap()).to_string();
        let length = answer.len();
        let head = format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n");
        if stream.write_all(format!("{head}{answer}").as_bytes()).is_err() {
            return;
        }
    }
}

fn answer(head: &str, body: &str, address: SocketAddr, says: &mut Says) -> Value {
    let key = CoreRsaPrivateSigningKey::from_pem(KEY, Some(JsonWebKeyId::new("1".to_owned()))).unwrap();
    let issuer = format!("http://{address}");
    match head.split(' ').nth(1).unwrap() {
        "/.well-known/openid-configuration" => merged(
            json!({
                "issuer": issuer, "authorization_endpoint": format!("{issuer}/authorize"),
                "token_endpoint": format!("{issuer}/token"), "userinfo_endpoint": format!("{issuer}/userinfo"),
                "jwks_uri": format!("{issuer}/keys"), "response_types_supported": ["code"],
                "subject_types_supported": ["public"], "id_token_signing_alg_values_supported": ["RS256"],
            }),
            &says.discovery,
        ),
        "/keys" => json!({ "keys": [key.as_verification_key()] }),
        "/userinfo" => says.userinfo.clone(),
        "/token" => {
            says.asked.push(format!("{head}{body}"));
            let issuer = says.discovery["issuer"].as_str().unwrap_or(&issuer);
            let whole = merged(
                json!({ "iss": issuer, "aud": "gw", "iat": 1, "exp": 9_999_999_999_u64, "nonce": says.nonce }),
                &says.id_token,
            );
            let part = |value: Value| BASE64URL_NOPAD.encode(value.to_string().as_bytes());
            let signed = format!("{}.{}", part(json!({ "alg": "RS256", "kid": "1" })), part(whole));
            let mac = key.sign(&CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha256, signed.as_bytes()).unwrap();
            let id_token = format!("{signed}.{}", BASE64URL_NOPAD.encode(&mac));
            json!({ "access_token": "a", "token_type": "Bearer", "id_token": id_token })
        }
        other => panic!("nobody asks a provider for {other}"),
    }
}

fn merged(mut base: Value, over: &Value) -> Value {
    for (key, value) in over.as_object().into_iter().flatten() {
        base[key] = value.clone();
    }
    base
}

fn gateway(provider: &Provider, settings: &str) -> Gateway {
    Gateway::start(&format!(
        "[management.oidc]\nissuer = \"http://{}\"\nclient_id = \"gw\"\nclient_secret = \"a secret: /+\"\n{settings}\n",
        provider.address
    ))
}

/// Goes to the provider and comes back: the status of the end, and what the account's page says of the role.
fn sign_on(gateway: &Gateway, provider: &Provider) -> (u16, &'static str) {
    let mut browser = Browser::new(gateway.management);
    let left = browser.get("/sign-in/oidc");
    assert_eq!(left.status, 303, "{}", left.text());
    let query = left.header("location").unwrap().split_once('?').unwrap().1.to_owned();
    let pairs: Vec<(String, String)> = serde_urlencoded::from_str(&query).unwrap();
    let value = |name: &str| pairs.iter().find(|(key, _)| key == name).unwrap().1.clone();
    provider.says.lock().unwrap().nonce = value("nonce");
    let back = serde_urlencoded::to_string([("code", "c"), ("state", &value("state"))]).unwrap();
    let status = browser.get(&format!("/sign-in/oidc/callback?{back}")).status;
    let account = browser.get("/account").text();
    let role = ["admin", "member"].into_iter().find(|role| account.contains(&format!("<dd>{role}</dd>")));
    (status, role.unwrap_or("nobody"))
}

fn person(extra: Value) -> Value {
    merged(json!({ "sub": "ada", "email": "ada@example.com", "email_verified": true, "name": "Ada" }), &extra)
}

#[test]
fn what_providers_send_is_read_as_they_mean_it() {
    let provider = Provider::start();
    let slash = json!({ "issuer": format!("http://{}/", provider.address) });
    let post_only = json!({ "token_endpoint_auth_methods_supported": ["client_secret_post"] });
    let unsaid = json!({ "sub": "ada", "email": "root@example.com", "name": "Ada" });
    let told = |verified: Value, email: &str| json!({ "sub": "ada", "email": email, "email_verified": verified });
    let none = Value::Null;
    // What the ID token, userinfo and discovery say, whether an account with the address exists, and how it ends.
    for (what, id_token, userinfo, discovery, exists, status) in [
        ("plain", person(json!({})), none.clone(), none.clone(), false, 303),
        (
            "Auth0: a date as text",
            person(json!({ "updated_at": "2025-12-23T10:59:07.841Z" })),
            none.clone(),
            none.clone(),
            false,
            303,
        ),
        ("Cognito: true as text", person(json!({ "email_verified": "true" })), none.clone(), none.clone(), false, 303),
        (
            "Cognito: false as text",
            merged(unsaid.clone(), &json!({ "email_verified": "false" })),
            none.clone(),
            none.clone(),
            true,
            403,
        ),
        (
            "Zitadel: further audiences",
            person(json!({ "aud": ["gw", "3298"], "azp": "gw" })),
            none.clone(),
            none.clone(),
            false,
            303,
        ),
        (
            "another client's token",
            person(json!({ "aud": ["gw", "3298"], "azp": "3298" })),
            none.clone(),
            none.clone(),
            false,
            502,
        ),
        ("audiences without azp", person(json!({ "aud": ["gw", "3298"] })), none.clone(), none.clone(), false, 502),
        ("not our audience", person(json!({ "aud": "3298" })), none.clone(), none.clone(), false, 502),
        ("another nonce", person(json!({ "nonce": "x" })), none.clone(), none.clone(), false, 502),
        ("Auth0: a slash at the end", person(json!({})), none.clone(), slash, false, 303),
        ("only client_secret_post", person(json!({})), none.clone(), post_only, false, 303),
        (
            "userinfo that cannot be read",
            json!({ "sub": "ada", "email": "a@example.com" }),
            json!(["?"]),
            none.clone(),
            false,
            303,
        ),
        ("userinfo has verified it", unsaid.clone(), told(json!(true), "root@example.com"), none.clone(), true, 303),
        (
            "userinfo has verified another",
            unsaid.clone(),
            told(json!(true), "eve@example.com"),
            none.clone(),
            true,
            403,
        ),
        ("nobody says it is verified", unsaid.clone(), told(none.clone(), "root@example.com"), none.clone(), true, 403),
    ] {
        let gateway = gateway(&provider, "allowed_values = [\"*\"]");
        if exists {
            gateway.cli(&["user", "create", "--email", "root@example.com", "--name", "Root"]);
        }
        provider.says(id_token, userinfo, discovery.clone());
        assert_eq!(sign_on(&gateway, &provider).0, status, "{what}");
        for asked in &provider.says.lock().unwrap().asked {
            let (basic, posted) =
                (asked.to_lowercase().contains("authorization: basic"), asked.contains("client_secret="));
            assert_eq!(
                (basic, posted),
                if discovery["token_endpoint_auth_methods_supported"].is_null() {
                    (true, false)
                } else {
                    (false, true)
                },
                "{what}"
            );
        }
    }
}

#[test]
fn a_missing_role_claim_takes_no_role_and_an_empty_one_does() {
    let provider = Provider::start();
    let gateway =
        gateway(&provider, "role_claim = \"realm_access.roles\"\nadmin_values = [\"ops\"]\nallowed_values = [\"*\"]");
    gateway.cli(&["user", "create", "--email", "root@example.com", "--name", "Root", "--admin"]);
    let roles = |roles: Value| json!({ "realm_access": { "roles": roles } });
    for (what, extra, role) in [
        ("Keycloak: nested", roles(json!(["ops", "x"])), "admin"),
        ("missing", json!({}), "admin"),
        ("Entra ID: overage", json!({ "_claim_names": { "groups": "src1" }, "hasgroups": true }), "admin"),
        ("null", roles(Value::Null), "admin"),
        ("literal name first", json!({ "realm_access.roles": "x", "realm_access": { "roles": ["ops"] } }), "member"),
        ("one text", roles(json!("ops")), "admin"),
        ("an empty list", roles(json!([])), "member"),
    ] {
        provider.says(person(extra), json!({ "sub": "ada" }), Value::Null);
        assert_eq!(sign_on(&gateway, &provider), (303, role), "{what}");
    }
    assert!(gateway.stderr().iter().any(|line| line.contains("realm_access.roles")), "the log names the claim");
}

#[test]
fn the_last_admin_stays_one_and_signs_in() {
    let provider = Provider::start();
    let gateway = gateway(&provider, "role_claim = \"groups\"\nadmin_values = [\"ops\"]\nallowed_values = [\"*\"]");
    provider.says(person(json!({ "groups": ["ops"] })), json!({ "sub": "ada" }), Value::Null);
    assert_eq!(sign_on(&gateway, &provider), (303, "admin"));
    gateway.cli(&["user", "disable", "admin@localhost"]);
    provider.says(person(json!({ "groups": [] })), json!({ "sub": "ada" }), Value::Null);
    assert_eq!(sign_on(&gateway, &provider), (303, "admin"));
}
