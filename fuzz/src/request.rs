//! What was authorised is what is reached: the bytes of a connection, what is decided about them, and the head that would
//! go to the service.

use std::{
    convert::Infallible,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use bento_gateway::{
    http::authority,
    index::routes::RouteKey,
    proxy::{
        credential::{PROTOCOL, PROTOCOL_PREFIX},
        permit::{Gate, Permit},
        record::Record,
        rejection::{Rejection, ReplyContext},
        request::Received,
        request_id::{self, Digits, RequestNumber},
        upstream::request_writer::BodyFraming,
        upstream_request::{UpstreamRequest, framing},
    },
    system,
};
use bytes::Bytes;
use http::{Request, Response, request::Parts};
use http_body_util::{BodyExt, Empty};
use hyper::{body::Body, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;

use super::world::{Known, READS_MODELS, WORLD, World};

/// What the URL of the service has before the path.
const BASE: &str = "/base";

/// How many requests would have gone to each kind of Deployment so far: a judge whom nothing reaches says nothing.
pub static TO_PUBLIC: AtomicUsize = AtomicUsize::new(0);
pub static TO_PROTECTED: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static RUNTIME: tokio::runtime::Runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
}

/// The fields of a request to a public Deployment and to a protected one.
pub fn fields(data: &[u8]) {
    for host in ["public.test", "open.test"] {
        let head = format!("POST /a HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer @TOKEN-WIDE@\r\n");
        request(&[head.as_bytes(), data, b"\r\n\r\n"].concat());
    }
}

/// All bytes of a connection.
pub fn request(data: &[u8]) {
    let world = &*WORLD;
    let raw = world.with_tokens(data);
    let limits = &world.gateway.settings.load().limits;
    let io = TokioIo::new(tokio::io::join(&raw[..], tokio::io::sink()));
    let service = service_fn(|request: Request<Incoming>| async {
        judge(world, request, &raw).await;
        Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()))
    });
    let mut server = http1::Builder::new();
    // As `proxy::connection` has it, but for what comes after the last byte: a caller who waits for answers.
    server.half_close(true);
    server.header_read_timeout(None).max_headers(limits.max_headers).max_header_size(limits.max_header_bytes);
    let serving = server.serve_connection(io, service);
    RUNTIME.with(|runtime| runtime.block_on(async { drop(pin!(serving).await) }));
}

/// As `proxy::pipeline` goes, up to the head for the service.
async fn judge(world: &World, request: Request<Incoming>, raw: &[u8]) {
    let (head, body) = request.into_parts();
    let settings = world.gateway.settings.load();
    let connection = world.connection();
    let mut record = Record::new(Arc::clone(&world.access.workers()[0]), system::now(), &connection.peer, None);
    let mut digits = Digits::default();
    let id = request_id::of_request(&head.headers, RequestNumber::default, &mut digits);
    let has_body = !body.is_end_stream();
    let received =
        Received { id, head: &head, has_body, forwarded_to: None, connection: &connection, settings: &settings };
    let request = match received.read(&mut record) {
        Ok(request) => request,
        Err(rejection) => return refused(world, rejection, &received.reply_context()),
    };
    let mut routed = request.route(&world.gateway.index);
    if routed.is_for_own_page() || routed.preflight().is_some() {
        return;
    }
    let permit = match routed.admit(&Gate::of(&world.gateway)).await {
        Ok(permit) => permit,
        Err(denied) => return refused(world, denied.into(), &routed.reply_context(None)),
    };
    let written = match UpstreamRequest::new(&request, &permit, framing(&head, Some(&body))) {
        Ok(upstream) => (upstream.write(BASE), upstream.framing()),
        Err(error) => return refused(world, error.into(), &routed.reply_context(None)),
    };
    // Values may hold bytes beyond ASCII; each is a letter here.
    let text: String = written.0.iter().map(|&byte| char::from(byte)).collect();
    let sent = Sent::read(&text);
    sent.check_form(written.1);
    sent.check_secrets(world, &permit);
    sent.check_reached(world, &head, &permit);
    sent.check_route(world, &permit);
    check_authorised(world, &permit, raw);
    if permit.spec().protected { &TO_PROTECTED } else { &TO_PUBLIC }.fetch_add(1, Relaxed);
    let Ok(body) = body.collect().await else { return };
    let length = body.to_bytes().len() as u64;
    match written.1 {
        BodyFraming::None => assert_eq!(length, 0, "a body that nobody announced"),
        BodyFraming::Length(announced) => assert_eq!(length, announced),
        BodyFraming::Chunked => {}
    }
}

fn refused(world: &World, rejection: Rejection, context: &ReplyContext<'_>) {
    let response = rejection.respond(context);
    assert!(response.status().as_u16() >= 400);
    let fields = response.headers().values().map(|value| value.as_bytes());
    for said in fields.chain([&response.body()[..]]) {
        assert!(world.tokens.iter().all(|token| !contains(said, token.text.as_bytes())), "a refusal repeats a token");
    }
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

/// The token is one that opens this Deployment, and the caller has sent it.
fn check_authorised(world: &World, permit: &Permit, raw: &[u8]) {
    let name = permit.spec().name.as_str();
    let Some(uid) = permit.token_uid() else {
        assert!(!permit.spec().protected, "{name} is reached without a token");
        return;
    };
    let token = world.tokens.iter().find(|token| token.uid == uid).unwrap();
    assert!(token.opens.contains(&name), "{} opens {name}", token.name);
    assert!(contains(raw, token.text.as_bytes()), "{} was not shown", token.name);
}

/// What a service reads, leniently: names in any case, an underscore like a hyphen.
struct Sent<'a> {
    text: &'a str,
    method: &'a str,
    target: &'a str,
    fields: Vec<(String, &'a str)>,
}

impl<'a> Sent<'a> {
    fn read(text: &'a str) -> Self {
        let text = text.strip_suffix("\r\n\r\n").expect("the head ends");
        assert!(!text.contains("\r\n\r\n"), "the head ends before its end");
        let mut lines = text.split("\r\n");
        let line: Vec<&str> = lines.next().unwrap().split(' ').collect();
        let [method, target, "HTTP/1.1"] = line[..] else { panic!("no request line: {line:?}") };
        let fields = lines.map(|line| {
            assert!(!line.contains(['\r', '\n', '\0']), "{line:?} can be read as two lines");
            let (name, value) = line.split_once(": ").expect("a colon");
            assert!(!name.is_empty() && !name.contains([' ', '\t', ':']), "{line:?}");
            (name.to_ascii_lowercase().replace('_', "-"), value)
        });
        let fields = fields.collect();
        Self { text, method, target, fields }
    }

    fn all(&self, name: &str) -> Vec<&'a str> {
        self.fields.iter().filter(|(field, _)| field == name).map(|(_, value)| *value).collect()
    }

    fn one(&self, name: &str) -> &'a str {
        let [one] = self.all(name)[..] else { panic!("{name}: {:?}", self.all(name)) };
        one
    }

    fn check_form(&self, framing: BodyFraming) {
        assert!(self.method.bytes().all(|byte| byte.is_ascii_graphic()) && !self.method.is_empty());
        assert!(self.target.bytes().all(|byte| byte.is_ascii_graphic()), "{}", self.target);
        let (lengths, codings) = (self.all("content-length"), self.all("transfer-encoding"));
        let length = |length: u64| vec![length.to_string()];
        match framing {
            BodyFraming::None => assert!(lengths.is_empty() && codings.is_empty()),
            BodyFraming::Length(announced) => assert!(lengths == length(announced) && codings.is_empty()),
            BodyFraming::Chunked => assert!(lengths.is_empty() && codings == ["chunked"]),
        }
        for (name, value) in &self.fields {
            let ours = matches!(&**name, "x-bento-gateway-deployment" | "x-bento-gateway-token-uid");
            assert!(ours || !name.starts_with("x-bento-gateway"), "{name} is ours to say");
            let identity =
                ["remote-user", "x-remote-user", "x-forwarded-user", "x-webauth-user", "x-auth-request-user"];
            assert!(!identity.contains(&&**name), "{name}: {value} claims an identity");
            let connection = ["keep-alive", "proxy-connection", "proxy-authorization", "trailer", "http2-settings"];
            assert!(!connection.contains(&&**name), "{name} is between two neighbours");
        }
        for name in ["host", "x-request-id", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto"] {
            self.one(name);
        }
        for name in ["connection", "upgrade", "te", "cookie", "forwarded", "sec-websocket-protocol", "expect"] {
            assert!(self.all(name).len() <= 1, "{name}: {:?}", self.all(name));
        }
    }

    fn check_secrets(&self, world: &World, permit: &Permit) {
        if !permit.spec().settings.forward_authorization {
            assert!(self.all("authorization").is_empty());
        }
        for token in &world.tokens {
            let holds = |text: &str| text.contains(&token.text);
            let shown = |(name, value): &&(String, &str)| name != "authorization" && holds(value);
            assert!(!holds(self.target), "{} in {}", token.name, self.target);
            assert_eq!(self.fields.iter().find(shown), None, "{}", token.name);
        }
        for pair in self.all("cookie").into_iter().flat_map(|field| field.split(';')) {
            let pair = pair.trim().trim_start_matches('=').trim_start();
            assert!(!pair.starts_with("bgw-") && !pair.starts_with("__Host-bgw-"), "{pair} is ours");
        }
        for protocol in self.all("sec-websocket-protocol").into_iter().flat_map(|field| field.split(',')) {
            let protocol = protocol.trim();
            assert!(protocol != PROTOCOL && !protocol.starts_with(PROTOCOL_PREFIX), "{protocol} is ours");
        }
    }

    /// What a token for some routes reaches is one of them, however a service reads it.
    fn check_route(&self, world: &World, permit: &Permit) {
        let narrow = |token: &&Known| token.name == READS_MODELS && Some(token.uid) == permit.token_uid();
        if !world.tokens.iter().any(|token| narrow(&token)) {
            return;
        }
        assert!(matches!(self.method, "GET" | "HEAD"), "{}", self.method);
        let path = self.target.strip_prefix(BASE).unwrap().split('?').next().unwrap();
        let rest = path.strip_prefix("/v1/models").expect("what the scope names");
        assert!(rest.is_empty() || rest.starts_with('/'), "{path}");
        let decoded = decoded(rest);
        let doubtful = |byte: &u8| byte.is_ascii_control() || matches!(byte, b'%' | b'?' | b'#' | b'\\');
        assert!(!decoded.iter().any(doubtful) && !climbs(rest), "{path}");
        for name in ["x-http-method-override", "x-http-method", "x-method-override", "x-rewrite-url", "x-original-url"]
        {
            assert!(self.all(name).is_empty(), "{name}: {:?}", self.all(name));
        }
    }

    /// Whoever looks where this head leads, by its host and path, comes to the Deployment of the permit.
    fn check_reached(&self, world: &World, head: &Parts, permit: &Permit) {
        let name = permit.spec().name.as_str();
        assert_eq!(self.one("x-bento-gateway-deployment"), name);
        let uid = permit.token_uid().map(|uid| uid.to_string());
        assert_eq!(self.all("x-bento-gateway-token-uid"), Vec::from_iter(uid));
        let below = self.target.strip_prefix(BASE).expect("below the service's own path");
        assert!(below.starts_with('/'), "{below}");
        let path = below.split('?').next().unwrap();
        assert!(!climbs(path), "{path} leads out of {BASE}");
        assert!(name != "model" || is_for_callers(path), "{path} is closed");
        let prefix = self.all("x-forwarded-prefix");
        assert!(prefix.len() <= 1);
        let asked = format!("{}{below}", prefix.first().unwrap_or(&""));
        let came = head.uri.path_and_query().map_or("/", |target| target.as_str());
        assert!(asked == came || asked == format!("{came}/") || asked.replacen("/?", "?", 1) == came, "{asked} {came}");
        let host = lenient_host(self.one("host"));
        assert_eq!(authority::read(head).map(|read| read.host.into_owned()), Ok(host.clone()));
        let asked = asked.split('?').next().unwrap();
        let method = Some(&head.method);
        let key = RouteKey { listener: None, forwarded_to: None, host: &host, path: asked, method, plain: false };
        let route = world.gateway.index.route(key);
        assert_eq!(route.deployment.map(|found| found.spec.name.to_string()), Some(name.to_owned()), "{}", self.text);
    }
}

const INFERENCE: [&str; 13] = [
    "chat",
    "completions",
    "embeddings",
    "models",
    "responses",
    "messages",
    "audio",
    "images",
    "videos",
    "moderations",
    "realtime",
    "rerank",
    "score",
];

/// Whether the preset of `model` leaves it open, as a server reads it that decodes once and knows neither case nor parameters.
fn is_for_callers(path: &str) -> bool {
    let decoded = String::from_utf8_lossy(&decoded(path)).to_ascii_lowercase();
    let mut segments = decoded.split('/').filter_map(|segment| segment.split(';').next());
    let mut next =
        || segments.find(|segment| !segment.is_empty()).unwrap_or_default().trim_end_matches(['.', ' ']).to_owned();
    let (first, second, third) = (next(), next(), next());
    let doubtful = decoded.contains(|c: char| c.is_ascii_control() || matches!(c, '%' | '?' | '#'));
    let is_open = match &*first {
        "health" => second.is_empty(),
        "v1" if matches!(&*second, "rerank" | "score") => third.is_empty(),
        "v1" => INFERENCE.contains(&&*second),
        _ => false,
    };
    is_open && !doubtful
}

/// As a careless server reads it: decoded once, a backslash is a slash, parameters are cut off.
fn climbs(path: &str) -> bool {
    let decoded = decoded(path);
    let segments = decoded.split(|byte| matches!(byte, b'/' | b'\\'));
    segments.into_iter().any(|segment| {
        let name: Vec<u8> = segment.iter().copied().take_while(|&byte| byte != b';' && byte != 0).collect();
        matches!(&name[..], b"." | b"..")
    })
}

fn decoded(path: &str) -> Vec<u8> {
    let mut decoded = Vec::new();
    let mut bytes = path.bytes();
    while let Some(byte) = bytes.next() {
        let hex =
            |byte: Option<u8>| byte.and_then(|byte| char::from(byte).to_digit(16)).expect("a whole encoding") as u8;
        decoded.push(if byte == b'%' { hex(bytes.next()) << 4 | hex(bytes.next()) } else { byte });
    }
    decoded
}

fn lenient_host(authority: &str) -> String {
    let host = match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => authority,
    };
    host.trim_end_matches('.').to_ascii_lowercase()
}
