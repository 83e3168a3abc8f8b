//! Both stores, and a way into them that is not the gateway's.

use std::{future::Future, str::FromStr};

use bento_gateway::{
    config::{Argon2Config, Secret, StoreConfig, StoreUrl},
    domain::{
        audit::{Action, Actor, AuditEvent},
        scope::ScopeSet,
        token::{SecretRecord, TokenRecord, TokenUid},
        token_text::{RANDOM_BYTES, TokenText},
    },
    secret_hash::SecretHasher,
    store::{self, SharedStore},
    system,
};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, SqliteConnection, sqlite::SqliteConnectOptions};

use super::{gateway::Setup, postgres::Cluster};

/// Which database a test runs over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Sqlite,
    Postgres,
}

/// Makes a test of each function for each store.
macro_rules! over_both_stores {
    ($($name:ident),+ $(,)?) => {
        mod sqlite {
            $(#[test] fn $name() { super::$name($crate::harness::stores::Kind::Sqlite); })+
        }
        mod postgres {
            $(#[test] fn $name() { super::$name($crate::harness::stores::Kind::Postgres); })+
        }
    };
}
pub(crate) use over_both_stores;

impl Kind {
    /// A gateway on a new store of this kind, in the server that all tests share.
    pub fn setup(self, config: &str) -> Setup {
        self.on(Setup::new(config))
    }

    /// The same for a setup that is there already.
    pub fn on(self, setup: Setup) -> Setup {
        match self {
            Self::Sqlite => setup,
            Self::Postgres => setup.env("STORE__URL", &new_database(Cluster::shared())),
        }
    }
}

pub fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}

/// Its URL.
pub fn new_database(cluster: &Cluster) -> String {
    cluster.url(&block_on(cluster.create_database()))
}

/// The first column, which must be text, of each row. Written so that it means the same in both databases.
pub fn texts(url: &str, sql: &str) -> Vec<String> {
    let sql = AssertSqlSafe(sql.to_owned());
    block_on(async {
        match url.strip_prefix("sqlite:") {
            Some(path) => {
                let mut connection = sqlite(path).await;
                sqlx::query_scalar(sql).fetch_all(&mut connection).await.unwrap()
            }
            None => {
                let mut connection = PgConnection::connect(url).await.unwrap();
                sqlx::query_scalar(sql).fetch_all(&mut connection).await.unwrap()
            }
        }
    })
}

/// Any number of statements.
pub fn execute(url: &str, sql: &str) {
    let sql = AssertSqlSafe(sql.to_owned());
    block_on(async {
        match url.strip_prefix("sqlite:") {
            Some(path) => drop(sqlite(path).await.execute(sql).await.unwrap()),
            None => drop(PgConnection::connect(url).await.unwrap().execute(sql).await.unwrap()),
        }
    });
}

async fn sqlite(path: &str) -> SqliteConnection {
    let options = SqliteConnectOptions::from_str("sqlite:").unwrap().filename(path);
    SqliteConnection::connect_with(&options).await.unwrap()
}

/// Puts `count` tokens into the store of a gateway that was bootstrapped, without the command line's cost for each;
/// their texts. All may call all Deployments.
pub fn insert_tokens(url: &str, count: usize) -> Vec<String> {
    let cost = Argon2Config { memory_kib: 8, iterations: 1, parallelism: 1 };
    let hasher = SecretHasher::for_tokens(cost, None).unwrap();
    block_on(async {
        let store = open(url).await;
        let owner = store.list_users().await.unwrap()[0].id;
        let mut texts = Vec::new();
        for number in 0..count {
            let (text, at) = (system::new_token_text().unwrap(), system::now());
            let record = TokenRecord {
                uid: TokenUid(system::new_id(at).unwrap()),
                name: format!("inserted-{number}-{}", lookup_id(text.expose())),
                description: String::new(),
                scopes: ScopeSet::parse(["deployment:*"]).unwrap(),
                owner,
                created_at: at,
                expires_at: None,
                revoked_at: None,
                last_used_at: None,
            };
            let hash = hasher.hash_token(text.presented()).unwrap();
            let secret = SecretRecord { lookup_id: text.presented().lookup_id(), hash, retires_at: None };
            let event = AuditEvent {
                id: system::new_id(at).unwrap(),
                at,
                action: Action::TokenCreated,
                actor: Actor::Cli,
                target: record.uid.to_string(),
                detail: serde_json::json!({}),
            };
            store.insert_token(&record, &secret, &event).await.unwrap();
            texts.push(text.expose().to_owned());
        }
        texts
    })
}

async fn open(url: &str) -> SharedStore {
    let url = match url.strip_prefix("sqlite:") {
        Some(path) => StoreUrl::Sqlite(path.into()),
        None => StoreUrl::Postgres(Secret::new(url.to_owned())),
    };
    let config = StoreConfig {
        url,
        max_connections: 2,
        acquire_timeout: std::time::Duration::from_secs(20),
        poll_interval: std::time::Duration::from_secs(1),
        max_staleness: None,
    };
    store::open(&config).await.unwrap()
}

/// A token that no gateway has made, well-formed to the last character.
pub fn unknown_token() -> String {
    system::new_token_text().unwrap().expose().to_owned()
}

/// The lookup id of `token` with another secret, and a checksum that fits.
pub fn with_another_secret(token: &str) -> String {
    const ALPHABET: &str = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let mut random: [u8; RANDOM_BYTES] = system::random().unwrap();
    let lookup_id = lookup_id(token);
    for (byte, character) in random.iter_mut().zip(lookup_id.chars()) {
        *byte = u8::try_from(ALPHABET.find(character).unwrap()).unwrap();
    }
    let text = TokenText::from_random(&random).unwrap().expose().to_owned();
    assert!(text != token && text.contains(lookup_id), "the token's format has changed");
    text
}

pub fn lookup_id(token: &str) -> &str {
    &token[4..16]
}

/// Secret and checksum.
pub fn secret_part(token: &str) -> &str {
    &token[17..]
}
