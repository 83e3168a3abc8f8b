//! What every store promises (the documentation of `Store`), one file per noun, asked of both databases; and what each
//! database promises by itself.

mod audit;
mod browser_sessions;
mod deployments;
mod device_logins;
mod expiry;
mod feed;
mod feed_model;
mod history;
mod invitations;
mod large;
mod opening;
mod plans;
mod postgres;
mod priorities;
mod replicas;
mod sessions;
mod sqlite;
mod token_names;
mod tokens;
mod traffic;
mod usage;
mod users;
mod verbs;

use std::{sync::Mutex, time::Duration};

use bento_gateway::{
    config::{StoreConfig, StoreUrl},
    domain::{
        audit::{Action, Actor, AuditEvent},
        code::Nonce,
        deployment::DeploymentSpec,
        scope::ScopeSet,
        secret::Secret,
        timestamp::Timestamp,
        token::{SecretRecord, TokenRecord, TokenUid},
        user::{Role, User, UserId},
    },
    store::{self, ChangedSecret, Conflict, Cursor, SharedStore, StoreError, TokenFilter},
    system,
};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, Row, SqliteConnection, sqlite::SqliteConnectOptions};

use self::verbs::Verbs;
use crate::harness::postgres::Cluster;

const HOUR: Duration = Duration::from_secs(3600);

/// A store that is new, and can be opened as often as a test likes.
struct StoreUnderTest {
    config: StoreConfig,
    /// Removes the SQLite file in the end.
    _directory: Option<tempfile::TempDir>,
}

impl StoreUnderTest {
    pub async fn sqlite() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let url = StoreUrl::Sqlite(directory.path().join("store/gateway.db"));
        Self { config: config(url), _directory: Some(directory) }
    }

    pub async fn postgres() -> Self {
        let cluster = Cluster::shared();
        let database = cluster.create_database().await;
        Self { config: config(postgres_url(&cluster.url(&database))), _directory: None }
    }

    pub async fn open(&self) -> SharedStore {
        store::open(&self.config).await.unwrap()
    }

    /// For what no store does: manual edits, other releases.
    async fn execute(&self, sql: &str) -> u64 {
        let sql = AssertSqlSafe(sql);
        match &self.config.url {
            StoreUrl::Sqlite(path) => {
                let options = SqliteConnectOptions::new().filename(path);
                let mut connection = SqliteConnection::connect_with(&options).await.unwrap();
                connection.execute(sql).await.unwrap().rows_affected()
            }
            StoreUrl::Postgres(url) => {
                let mut connection = PgConnection::connect(url.expose()).await.unwrap();
                connection.execute(sql).await.unwrap().rows_affected()
            }
        }
    }

    async fn plan_of_changed_secrets(&self) -> String {
        let statements = store::statements();
        let with_values = |statements: Vec<&str>| {
            let sql = statements.into_iter().find(|sql| sql.contains("FROM token_secrets s JOIN")).unwrap();
            sql.replace("$1", "10000").replace("$2", "'~'").replace("$3", "1000")
        };
        match &self.config.url {
            StoreUrl::Sqlite(path) => {
                let options = SqliteConnectOptions::new().filename(path);
                let mut connection = SqliteConnection::connect_with(&options).await.unwrap();
                let sql = AssertSqlSafe(format!("EXPLAIN QUERY PLAN {}", with_values(statements.sqlite)));
                let rows = connection.fetch_all(sql).await.unwrap();
                rows.iter().map(|row| row.get::<String, _>("detail") + "\n").collect()
            }
            StoreUrl::Postgres(url) => {
                let mut connection = PgConnection::connect(url.expose()).await.unwrap();
                let sql = AssertSqlSafe(format!("EXPLAIN {}", with_values(statements.postgres)));
                let rows = connection.fetch_all(sql).await.unwrap();
                rows.iter().map(|row| row.get::<String, _>(0) + "\n").collect()
            }
        }
    }

    async fn audit_trail(&self) -> Vec<String> {
        let sql = "SELECT action FROM audit_events ORDER BY id";
        match &self.config.url {
            StoreUrl::Sqlite(path) => {
                let options = SqliteConnectOptions::new().filename(path);
                let mut connection = SqliteConnection::connect_with(&options).await.unwrap();
                sqlx::query_scalar(sql).fetch_all(&mut connection).await.unwrap()
            }
            StoreUrl::Postgres(url) => {
                let mut connection = PgConnection::connect(url.expose()).await.unwrap();
                sqlx::query_scalar(sql).fetch_all(&mut connection).await.unwrap()
            }
        }
    }
}

fn config(url: StoreUrl) -> StoreConfig {
    StoreConfig {
        url,
        max_connections: 5,
        acquire_timeout: Duration::from_secs(20),
        poll_interval: Duration::from_millis(250),
        max_staleness: None,
    }
}

fn postgres_url(url: &str) -> StoreUrl {
    StoreUrl::Postgres(Secret::new(url.to_owned()))
}

fn user(email: &str) -> User {
    let at = system::now();
    User {
        id: UserId(system::new_id(at).unwrap()),
        name: "Ada Lovelace".to_owned(),
        email: email.parse().unwrap(),
        role: Role::Member,
        password_hash: None,
        single_sign_on: false,
        created_at: at,
        disabled_at: None,
    }
}

fn token(owner: UserId, name: &str) -> TokenRecord {
    let at = system::now();
    TokenRecord {
        uid: TokenUid(system::new_id(at).unwrap()),
        name: name.to_owned(),
        description: String::new(),
        scopes: scopes(&["api"]),
        owner,
        created_at: at,
        expires_at: None,
        expired_at: None,
        revoked_at: None,
        last_used_at: None,
    }
}

fn scopes(texts: &[&str]) -> ScopeSet {
    ScopeSet::parse(texts).unwrap()
}

fn secret() -> SecretRecord {
    let text = system::new_token_text().unwrap();
    SecretRecord {
        lookup_id: text.presented().lookup_id(),
        hash: "$argon2id$v=19$none".into(),
        retires_at: None,
        session: None,
    }
}

/// The store knows codes by their hashes only, whatever they are.
fn code() -> Nonce {
    system::new_nonce().unwrap()
}

fn event(action: Action) -> AuditEvent {
    // No two at the same millisecond, within which ids have no order.
    static LAST: Mutex<i64> = Mutex::new(0);
    let at = {
        let mut last = LAST.lock().unwrap();
        *last = system::now().as_millis().max(*last + 1);
        Timestamp::from_millis(*last)
    };
    let detail = serde_json::json!({ "why": "test" });
    AuditEvent {
        id: system::new_id(at).unwrap(),
        at,
        action,
        actor: Actor::Cli,
        target: "it".to_owned(),
        detail,
        request: None,
    }
}

fn created() -> AuditEvent {
    event(Action::TokenCreated)
}

fn spec(name: &str, hosts: &[&str]) -> DeploymentSpec {
    DeploymentSpec {
        name: name.parse().unwrap(),
        hosts: hosts.iter().map(|host| host.parse().unwrap()).collect(),
        listen: Some("127.0.0.1:3100".parse().unwrap()),
        upstreams: vec!["http://127.0.0.1:3000/base".parse().unwrap()],
        protected: true,
        terminated: false,
        settings: Default::default(),
    }
}

fn everything() -> TokenFilter {
    TokenFilter::newest(1000)
}

async fn owner(store: &SharedStore) -> UserId {
    let user = user(&format!("{}@example.com", system::new_id(system::now()).unwrap()));
    store.insert_user(&user, &event(Action::UserCreated)).await.unwrap();
    user.id
}

async fn insert(store: &SharedStore, token: &TokenRecord) -> SecretRecord {
    let secret = secret();
    store.insert_token(token, &secret, &created()).await.unwrap();
    secret
}

async fn all_secrets(store: &SharedStore, from: Cursor) -> Vec<ChangedSecret> {
    let mut all: Vec<ChangedSecret> = Vec::new();
    let mut cursor = from;
    loop {
        let page = store.snapshot().await.unwrap().changed_secrets(cursor.clone(), 7).await.unwrap();
        assert!(page.len() <= 7);
        match page.last() {
            None => return all,
            Some(last) => cursor = last.cursor(),
        }
        all.extend(page);
    }
}

fn later(at: Timestamp) -> Timestamp {
    at.saturating_add(HOUR)
}

fn earlier(at: Timestamp) -> Timestamp {
    Timestamp::from_millis(at.as_millis() - 3_600_000)
}

#[track_caller]
fn assert_conflict<T: std::fmt::Debug>(outcome: Result<T, StoreError>, expected: Conflict) {
    assert!(matches!(outcome, Err(StoreError::Conflict(conflict)) if conflict == expected), "{outcome:?}");
}

/// Each behaviour is one test per store.
macro_rules! behaviours {
    ($($name:ident),+ $(,)?) => {
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::$name(super::StoreUnderTest::sqlite().await).await;
            })+
        }
        mod postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::$name(super::StoreUnderTest::postgres().await).await;
            })+
        }
    };
}

use behaviours;
