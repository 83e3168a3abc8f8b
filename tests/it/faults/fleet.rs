//! Three gateways on one PostgreSQL, each behind a network of its own.

use std::{
    net::SocketAddr,
    path::Path,
    sync::{
        RwLock,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use serde_json::{Value, json};

use crate::harness::{
    gateway::{Gateway, Setup, Token, deployment, readyz},
    http::{Client, Response},
    postgres::Cluster,
    process::BINARY,
    relay::Relay,
    upstream::Upstream,
    wait_until,
};

pub const GATEWAYS: usize = 3;
/// How long anything may take after a fault is over.
pub const RECOVERY: Duration = Duration::from_secs(30);
/// How long one answer is waited for: a gateway may be stopped.
const PATIENCE: Duration = Duration::from_secs(8);

pub struct Fleet {
    pub gateways: Vec<RwLock<Gateway>>,
    pub relays: Vec<Relay>,
    pub admin: Token,
    database: String,
    _upstream: Upstream,
}

/// Where one of them is, and which process it is now.
#[derive(Clone, Copy)]
pub struct Place {
    pub proxy: SocketAddr,
    pub management: SocketAddr,
    pub pid: u32,
}

impl Fleet {
    /// That soon give up a store that does not answer.
    pub fn on(cluster: &Cluster) -> Self {
        let upstream = Upstream::named("a");
        let url = cluster.database_url();
        let relays: Vec<Relay> = (0..GATEWAYS).map(|_| Relay::to(cluster.address())).collect();
        let start = |relay: &Relay| {
            let url = url.replace(&cluster.address().to_string(), &relay.address.to_string());
            Setup::new(&deployment("a", upstream.address, ""))
                .env("STORE__URL", &url)
                .env("STORE__ACQUIRE_TIMEOUT", "500ms")
                .env("STORE__POLL_INTERVAL", "100ms")
                .spawn()
        };
        let gateways = relays.iter().map(start).collect();
        let database = url.rsplit('/').next().unwrap().to_owned();
        Self::of(gateways, relays, database, upstream)
    }

    /// With no network of the test's between them and the store, and settings as an operator gets them.
    pub fn beside(cluster: &Cluster) -> Self {
        Self::of_release(cluster, Path::new(BINARY))
    }

    /// The same, of another release.
    pub fn of_release(cluster: &Cluster, binary: &Path) -> Self {
        let upstream = Upstream::named("a");
        let config = deployment("a", upstream.address, "");
        let url = cluster.database_url();
        let start = |_| Setup::new(&config).env("STORE__URL", &url).binary(binary).spawn();
        let gateways = (0..GATEWAYS).map(start).collect();
        Self::of(gateways, Vec::new(), String::new(), upstream)
    }

    /// One gateway, as such a store has.
    pub fn on_sqlite() -> Self {
        let upstream = Upstream::named("a");
        let gateway = Setup::new(&deployment("a", upstream.address, "")).spawn();
        Self::of(vec![gateway], Vec::new(), String::new(), upstream)
    }

    fn of(mut gateways: Vec<Gateway>, relays: Vec<Relay>, database: String, upstream: Upstream) -> Self {
        gateways.iter_mut().for_each(Gateway::becomes_ready);
        let admin = gateways[0].token(&["api"]);
        gateways.iter().for_each(|gateway| gateway.await_token(&admin));
        Self { database, gateways: gateways.into_iter().map(RwLock::new).collect(), relays, admin, _upstream: upstream }
    }

    pub fn place(&self, at: usize) -> Place {
        let gateway = self.gateways[at].read().unwrap();
        Place { proxy: gateway.proxy, management: gateway.management, pid: gateway.pid() }
    }

    /// `None`: no answer.
    pub fn manage(&self, at: usize, method: &str, path: &str, body: &Value) -> Option<(u16, Value)> {
        manage(self.place(at).management, &self.admin, method, path, body)
    }

    pub fn create(&self, at: usize) -> Option<(u16, Value)> {
        create(self.place(at).management, &self.admin)
    }

    pub fn revoke(&self, at: usize, uid: &str) -> Option<(u16, Value)> {
        revoke(self.place(at).management, &self.admin, uid)
    }

    /// A change that the gateways have no part in.
    pub fn changes_elsewhere(&self, cluster: &Cluster, number: usize) {
        let name = format!("elsewhere-{number}");
        let mut create = self.gateways[0].read().unwrap().cli_command(&["token", "create", &name, "--scope", "api"]);
        create.env("BENTO_GATEWAY__STORE__ACQUIRE_TIMEOUT", "30s");
        let made = create.args(["--store", &cluster.url(&self.database)]).output().unwrap();
        // 7: the change is made, and its receipt names gateways as missing.
        assert!(matches!(made.status.code(), Some(0 | 7)), "{made:?}");
    }

    /// Until all decide by the store again. Killed ones may still be named as missing.
    pub fn recovers(&self) {
        wait_until("all acknowledge a change", RECOVERY, || {
            let made = self.create(0);
            made.is_some_and(|(_, made)| made["receipt"]["acknowledged"] == GATEWAYS)
        });
        (0..GATEWAYS).for_each(|at| assert_eq!(readyz(self.place(at).management), Some(200)));
    }
}

/// `None`: no answer.
pub fn manage(management: SocketAddr, admin: &Token, method: &str, path: &str, body: &Value) -> Option<(u16, Value)> {
    let body = body.to_string();
    let request = format!(
        "{method} /api/v1/{path} HTTP/1.1\r\nhost: gateway\r\nx-yatai-api-token: {}\r\ncontent-type: application/json\r\n\
         content-length: {}\r\nconnection: close\r\n\r\n{body}",
        admin.text,
        body.len()
    );
    let answer = ask(management, &request)?;
    Some((answer.status, serde_json::from_slice(&answer.body).unwrap_or(Value::Null)))
}

/// Makes a token whose name nobody else takes.
pub fn create(management: SocketAddr, admin: &Token) -> Option<(u16, Value)> {
    static NUMBER: AtomicUsize = AtomicUsize::new(0);
    let name = format!("made-{}", NUMBER.fetch_add(1, Relaxed));
    manage(management, admin, "POST", "api_tokens", &json!({ "name": name, "scopes": ["deployment:a"] }))
}

pub fn revoke(management: SocketAddr, admin: &Token, uid: &str) -> Option<(u16, Value)> {
    manage(management, admin, "POST", &format!("api_tokens/{uid}/revoke"), &json!({}))
}

pub fn ask(address: SocketAddr, request: &str) -> Option<Response> {
    let mut client = Client::try_connect(address).ok()?;
    client.read_timeout(PATIENCE);
    client.try_send(request.as_bytes()).ok()?;
    client.try_response(false).ok()
}
