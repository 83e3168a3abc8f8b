//! A provider of single sign-on that says what a test has it say.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use data_encoding::BASE64URL_NOPAD;
use openidconnect::{
    JsonWebKeyId, PrivateSigningKey,
    core::{CoreJwsSigningAlgorithm, CoreRsaPrivateSigningKey},
};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls_pki_types::PrivateKeyDer;
use serde_json::{Value, json};
use tokio_rustls::rustls::{ServerConfig, ServerConnection, StreamOwned, crypto::ring};

use super::{console::Browser, gateway::Gateway, http::Response};

/// Of the tests, and of nobody else.
const KEY: &str = include_str!("../../fixtures/provider-key.pem");

pub struct Provider {
    pub address: SocketAddr,
    /// PEM. `None`: it has no TLS.
    pub certificate: Option<String>,
    says: Arc<Mutex<Says>>,
}

#[derive(Default)]
pub struct Says {
    /// What is different from an ordinary discovery document.
    pub discovery: Value,
    pub id_token: Value,
    pub userinfo: Value,
    /// Of the person who signs in now.
    pub nonce: String,
    /// The `kid` of its key.
    pub key: String,
    /// `None`: that key.
    pub signs_with: Option<String>,
    /// This path is answered with this status, and a text that is no JSON.
    pub fails: Option<(&'static str, u16)>,
    /// Before each answer.
    pub pause: Duration,
    /// Head and body of each request.
    pub asked: Vec<String>,
}

impl Provider {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let issuer = format!("http://{}", listener.local_addr().unwrap());
        Self::accept(listener, None, move |stream, says| serve(stream, &issuer, says))
    }

    /// With TLS, as `https://HOST` with the port of its address.
    pub fn start_secure(host: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let issuer = format!("https://{host}:{}", listener.local_addr().unwrap().port());
        let CertifiedKey { cert, signing_key } = generate_simple_self_signed([host.to_owned()]).unwrap();
        let key = PrivateKeyDer::Pkcs8(signing_key.serialize_der().into());
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
        let config = config.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
        let config = Arc::new(config.with_single_cert(vec![cert.der().clone()], key).unwrap());
        Self::accept(listener, Some(cert.pem()), move |stream, says| {
            let connection = ServerConnection::new(Arc::clone(&config)).unwrap();
            serve(StreamOwned::new(connection, stream), &issuer, says);
        })
    }

    fn accept(
        listener: TcpListener,
        certificate: Option<String>,
        serve: impl Fn(TcpStream, &Mutex<Says>) + Clone + Send + 'static,
    ) -> Self {
        let address = listener.local_addr().unwrap();
        let says = Arc::new(Mutex::new(Says { key: "1".to_owned(), ..Says::default() }));
        let told = Arc::clone(&says);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (told, serve) = (Arc::clone(&told), serve.clone());
                std::thread::spawn(move || serve(stream, &told));
            }
        });
        Self { address, certificate, says }
    }

    pub fn says(&self, id_token: Value, userinfo: Value, discovery: Value) {
        let mut says = self.now();
        *says = Says { discovery, id_token, userinfo, key: says.key.clone(), ..Says::default() };
    }

    pub fn now(&self) -> MutexGuard<'_, Says> {
        self.says.lock().unwrap()
    }

    /// How often it was asked for that path.
    pub fn asked_for(&self, path: &str) -> usize {
        self.now().asked.iter().filter(|asked| asked.split(' ').nth(1) == Some(path)).count()
    }

    /// The section of a gateway that has its people sign in here.
    pub fn config(&self, settings: &str) -> String {
        config(&format!("http://{}", self.address), settings)
    }

    pub fn gateway(&self, settings: &str) -> Gateway {
        Gateway::start(&self.config(settings))
    }

    /// Goes to the provider and comes back: the page at the end.
    pub fn sign_on(&self, browser: &mut Browser) -> Response {
        let left = browser.get("/sign-in/oidc");
        assert_eq!(left.status, 303, "{}", left.text());
        let back = self.way_back(left.header("location").unwrap());
        browser.get(&back)
    }

    /// Where the provider sends a browser that came with this address.
    pub fn way_back(&self, location: &str) -> String {
        let query = location.split_once('?').unwrap().1;
        let pairs: Vec<(String, String)> = serde_urlencoded::from_str(query).unwrap();
        let value = |name: &str| pairs.iter().find(|(key, _)| key == name).unwrap().1.clone();
        self.now().nonce = value("nonce");
        let query = serde_urlencoded::to_string([("code", "c"), ("state", &value("state"))]).unwrap();
        format!("/sign-in/oidc/callback?{query}")
    }
}

pub fn config(issuer: &str, settings: &str) -> String {
    format!(
        "[management.oidc]\nissuer = \"{issuer}\"\nclient_id = \"gw\"\nclient_secret = \"a secret: /+\"\n{settings}\n"
    )
}

/// What the provider says of Ada, and more.
pub fn ada(extra: Value) -> Value {
    merged(json!({ "sub": "ada", "email": "ada@example.com", "email_verified": true, "name": "Ada" }), &extra)
}

pub fn merged(mut base: Value, over: &Value) -> Value {
    for (key, value) in over.as_object().into_iter().flatten() {
        base[key] = value.clone();
    }
    base
}

fn serve(stream: impl Read + Write, issuer: &str, says: &Mutex<Says>) {
    let mut stream = BufReader::new(stream);
    while let Some((head, body)) = request(&mut stream) {
        let pause = says.lock().unwrap().pause;
        std::thread::sleep(pause);
        let (status, answer) = answer(&head, &body, issuer, &mut says.lock().unwrap());
        let length = answer.len();
        let head = format!("HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n");
        if stream.get_mut().write_all(format!("{head}{answer}").as_bytes()).is_err() {
            return;
        }
    }
}

/// Head and body. `None`: the other end is gone.
fn request(stream: &mut impl BufRead) -> Option<(String, String)> {
    let (mut head, mut length) = (String::new(), 0);
    loop {
        let before = head.len();
        if stream.read_line(&mut head).unwrap_or(0) == 0 {
            return None;
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
    stream.read_exact(&mut body).unwrap();
    Some((head, String::from_utf8(body).unwrap()))
}

fn answer(head: &str, body: &str, issuer: &str, says: &mut Says) -> (u16, String) {
    let path = head.split(' ').nth(1).unwrap();
    says.asked.push(format!("{head}{body}"));
    if let Some((_, status)) = says.fails.filter(|(failing, _)| *failing == path) {
        return (status, "not today".to_owned());
    }
    let key = CoreRsaPrivateSigningKey::from_pem(KEY, Some(JsonWebKeyId::new(says.key.clone()))).unwrap();
    let answer = match path {
        path if path.ends_with("/.well-known/openid-configuration") => merged(
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
            let issuer = says.discovery["issuer"].as_str().unwrap_or(issuer);
            let whole = merged(
                json!({ "iss": issuer, "aud": "gw", "iat": 1, "exp": 9_999_999_999_u64, "nonce": says.nonce }),
                &says.id_token,
            );
            let part = |value: Value| BASE64URL_NOPAD.encode(value.to_string().as_bytes());
            let signed = format!(
                "{}.{}",
                part(json!({ "alg": "RS256", "kid": says.signs_with.as_ref().unwrap_or(&says.key) })),
                part(whole)
            );
            let mac = key.sign(&CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha256, signed.as_bytes()).unwrap();
            let id_token = format!("{signed}.{}", BASE64URL_NOPAD.encode(&mac));
            json!({ "access_token": "a", "token_type": "Bearer", "id_token": id_token })
        }
        other => panic!("nobody asks a provider for {other}"),
    };
    (200, answer.to_string())
}
