//! A gateway in memory: Deployments of each kind, and tokens that are good, narrow, revoked, expired and of a browser.

use std::{
    net::SocketAddr,
    sync::{Arc, LazyLock},
    time::Duration,
};

use bento_gateway::{
    app,
    config::{self, Config, Sources},
    domain::{
        deployment::DeploymentName,
        scope::ScopeSet,
        timestamp::Timestamp,
        token::{SecretRecord, TokenUid},
        token_text::{PREFIX, PresentedToken, RANDOM_BYTES, SESSION_PREFIX, TokenText},
        user::UserId,
    },
    gateway::Gateway,
    http::{network::Network, peer::Peer},
    index::{routes::RoutingTable, token_writer::TokenWriter, tokens::TokenIndex},
    proxy::{
        connection_state::ConnectionState,
        state::{Connection, Entrance},
    },
    secret_hash::SecretHasher,
    store::IndexedSecret,
    system::{self, clock::ClockReading},
    telemetry::{Style, access_log::AccessLog},
};
use tokio::runtime::Runtime;
use uuid::Uuid;

const CONFIG: &str = r#"
[proxy]
base_domain = "base.test"
path_prefix = true
path_prefix_sessions = true
default_deployment = "narrow"
trusted_proxies = ["127.0.0.0/8"]
[deployments.public]
upstream = "@UPSTREAM@"
hosts = ["public.test"]
protected = false
allow_pickle = true
[deployments.narrow]
upstream = "@UPSTREAM@"
hosts = ["narrow.test"]
[deployments.open]
upstream = "@UPSTREAM@"
hosts = ["open.test", "[::1]"]
forward_authorization = true
[deployments.model]
upstream = "@UPSTREAM@"
hosts = ["model.test"]
preset = "openai"
"#;

pub struct World {
    pub gateway: Arc<Gateway>,
    pub access: AccessLog,
    pub tokens: Vec<Known>,
    started: std::time::Instant,
    /// Runs first verifications.
    _runtime: Runtime,
}

pub struct Known {
    /// What stands for it in the data.
    pub name: &'static str,
    pub text: String,
    pub uid: TokenUid,
    /// The Deployments that it opens.
    pub opens: &'static [&'static str],
}

/// The same for every run of a process: what it remembers of requests decides about none.
pub static WORLD: LazyLock<World> = LazyLock::new(|| World::new("http://127.0.0.1:9"));

struct Kind {
    name: &'static str,
    scope: &'static str,
    opens: &'static [&'static str],
    expires_at: Option<i64>,
    revoked_at: Option<i64>,
    /// It is a browser's session there.
    session: Option<&'static str>,
}

/// Opens nothing but `GET` and `HEAD` below `/v1/models`.
pub const READS_MODELS: &str = "@TOKEN-READS@";

const GOOD: Kind = Kind {
    name: "@TOKEN-WIDE@",
    scope: "deployment:*",
    opens: &["narrow", "open", "model"],
    expires_at: None,
    revoked_at: None,
    session: None,
};

const KINDS: [Kind; 6] = [
    GOOD,
    Kind { name: "@TOKEN-NARROW@", scope: "deployment:narrow", opens: &["narrow"], ..GOOD },
    Kind { name: "@TOKEN-REVOKED@", revoked_at: Some(1), opens: &[], ..GOOD },
    Kind { name: "@TOKEN-EXPIRED@", expires_at: Some(1), opens: &[], ..GOOD },
    Kind { name: "@SESSION-OPEN@", session: Some("open"), opens: &["open"], ..GOOD },
    Kind { name: READS_MODELS, scope: "deployment:open:GET:/v1/models", opens: &["open"], ..GOOD },
];

impl World {
    /// `upstream`: where all Deployments lead.
    pub fn new(upstream: &str) -> Self {
        let file = std::env::temp_dir().join(format!("bento-gateway-{}.toml", system::new_id(system::now()).unwrap()));
        std::fs::write(&file, CONFIG.replace("@UPSTREAM@", upstream)).unwrap();
        let config = config::load(&Sources { file: Some(file.clone()), ..Sources::default() }).unwrap();
        std::fs::remove_file(file).unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
        let gateway = {
            let _inside = runtime.enter();
            app::gateway(&config).unwrap()
        };
        gateway.index.routes.store(Arc::new(RoutingTable::build(&config.declared, [], &RoutingTable::default())));
        gateway.index.freshness.mark_fresh(ClockReading::now(), None);
        let tokens = tokens(&config, &gateway.index.tokens);
        for token in &tokens {
            let text = token.text.as_bytes();
            let presented = PresentedToken::parse(text).or_else(|_| PresentedToken::parse_session(text)).unwrap();
            let from = Network::of([127, 0, 0, 1].into());
            runtime.block_on(gateway.verifier.prove(&gateway.index.tokens, presented, from)).unwrap();
        }
        let access = AccessLog::start(1, false, Style::Json).unwrap();
        Self { gateway, access, tokens, started: std::time::Instant::now(), _runtime: runtime }
    }

    /// A connection from a proxy that is trusted.
    pub fn connection(&self) -> Connection {
        let minute = Duration::from_secs(60);
        let state = Arc::new(ConnectionState::new(self.started, minute, minute));
        Connection {
            peer: Peer::new(SocketAddr::from(([127, 0, 0, 1], 40_000)), false),
            entrance: Entrance::Common,
            ends: None,
            state,
        }
    }

    /// The data with real tokens in it.
    pub fn with_tokens(&self, data: &[u8]) -> Vec<u8> {
        let mut data = data.to_vec();
        for token in &self.tokens {
            while let Some(at) = data.windows(token.name.len()).position(|window| window == token.name.as_bytes()) {
                data.splice(at..at + token.name.len(), token.text.bytes());
            }
        }
        data
    }
}

fn tokens(config: &Config, index: &TokenIndex) -> Vec<Known> {
    let hasher = SecretHasher::for_tokens(config.tokens.argon2, None).unwrap();
    let mut writer = TokenWriter::default();
    let all = KINDS.iter().zip(1u8..).map(|(kind, number)| {
        let prefix = if kind.session.is_some() { SESSION_PREFIX } else { PREFIX };
        let random: [u8; RANDOM_BYTES] =
            std::array::from_fn(|at| (at as u8).wrapping_mul(7).wrapping_add(number) % 200);
        let text = TokenText::from_random(prefix, &random).unwrap();
        let uid = TokenUid(Uuid::from_u128(number.into()));
        let secret = IndexedSecret {
            secret: SecretRecord {
                lookup_id: text.presented().lookup_id(),
                hash: hasher.hash_token(text.presented()).unwrap(),
                retires_at: kind.session.map(|_| Timestamp::MAX),
                session: kind.session.map(|name| name.parse::<DeploymentName>().unwrap()),
            },
            uid,
            owner: UserId(Uuid::nil()),
            scopes: Arc::new(ScopeSet::parse([kind.scope]).unwrap()),
            expires_at: kind.expires_at.map(Timestamp::from_millis),
            revoked_at: kind.revoked_at.map(Timestamp::from_millis),
        };
        index.replace(writer.entries([secret]).collect());
        Known { name: kind.name, text: text.expose().to_owned(), uid, opens: kind.opens }
    });
    all.collect()
}
