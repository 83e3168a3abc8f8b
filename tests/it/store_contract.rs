//! What every store promises (the documentation of the traits in `store`), asked of both; at the end what each promises
//! by itself.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    process::Command,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use bento_gateway::{
    config::{Secret, StoreConfig, StoreUrl},
    domain::{
        audit::{Action, Actor, AuditEvent},
        code::{CODE_BYTES, OneTimeCode},
        deployment::DeploymentSpec,
        scope::ScopeSet,
        session::Invitation,
        timestamp::Timestamp,
        token::{SecretRecord, TokenRecord, TokenUid},
        usage::TokenUse,
        user::{Role, User, UserId},
    },
    store::{
        self, Bootstrap, ChangedSecret, ChangedUser, Conflict, Cursor, SharedStore, StoreError, TokenFilter, TokenOrder,
    },
    system,
};
use sqlx::{
    AssertSqlSafe, Connection, Executor, PgConnection, Row, SqlSafeStr, SqliteConnection, sqlite::SqliteConnectOptions,
};
use tokio::time::timeout;

use crate::harness::postgres::{Cluster, PASSWORD};

/// A store that is new, and can be opened as often as a test likes.
pub struct Place {
    config: StoreConfig,
    /// Removes the SQLite file in the end.
    _directory: Option<tempfile::TempDir>,
}

impl Place {
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

pub fn user(email: &str) -> User {
    let at = system::now();
    User {
        id: UserId(system::new_id(at).unwrap()),
        name: "Ada Lovelace".to_owned(),
        email: email.parse().unwrap(),
        role: Role::Member,
        password_hash: None,
        created_at: at,
        disabled_at: None,
    }
}

pub fn token(owner: UserId, name: &str) -> TokenRecord {
    let at = system::now();
    TokenRecord {
        uid: TokenUid(system::new_id(at).unwrap()),
        name: name.to_owned(),
        description: String::new(),
        scopes: scopes(&["api"]),
        owner,
        created_at: at,
        expires_at: None,
        revoked_at: None,
        last_used_at: None,
    }
}

pub fn scopes(texts: &[&str]) -> ScopeSet {
    ScopeSet::parse(texts).unwrap()
}

pub fn secret() -> SecretRecord {
    let text = system::new_token_text().unwrap();
    SecretRecord {
        lookup_id: text.presented().lookup_id(),
        hash: "$argon2id$v=19$none".into(),
        retires_at: None,
        session: None,
    }
}

pub fn event(action: Action) -> AuditEvent {
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

pub fn spec(name: &str, hosts: &[&str]) -> DeploymentSpec {
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
    TokenFilter { search: None, owner: None, revoked: true, order: TokenOrder::Newest, offset: 0, limit: 1000 }
}

pub async fn owner(store: &SharedStore) -> UserId {
    let user = user(&format!("{}@example.com", system::new_id(system::now()).unwrap()));
    store.insert_user(&user, &event(Action::UserCreated)).await.unwrap();
    user.id
}

pub fn used(uid: TokenUid, at: Timestamp) -> TokenUse {
    TokenUse { uid, at, requests: 1 }
}

pub async fn insert(store: &SharedStore, token: &TokenRecord) -> SecretRecord {
    let secret = secret();
    store.insert_token(token, &secret, &created()).await.unwrap();
    secret
}

async fn all_secrets(store: &SharedStore, from: Cursor) -> Vec<ChangedSecret> {
    let mut all: Vec<ChangedSecret> = Vec::new();
    let mut cursor = from;
    loop {
        let page = store.changed_secrets(cursor.clone(), 7).await.unwrap();
        assert!(page.len() <= 7);
        match page.last() {
            None => return all,
            Some(last) => cursor = last.cursor(),
        }
        all.extend(page);
    }
}

#[track_caller]
pub fn assert_conflict<T: std::fmt::Debug>(outcome: Result<T, StoreError>, expected: Conflict) {
    assert!(matches!(outcome, Err(StoreError::Conflict(conflict)) if conflict == expected), "{outcome:?}");
}

/// Each behaviour is one test per store.
macro_rules! behaviours {
    ($($name:ident),+ $(,)?) => {
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::$name(super::Place::sqlite().await).await;
            })+
        }
        mod postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::$name(super::Place::postgres().await).await;
            })+
        }
    };
}

pub(crate) use behaviours;

behaviours!(
    a_token_comes_back_as_it_was,
    a_live_name_is_taken_once,
    lists_newest_first_in_pages,
    searches_literally_in_any_case,
    revoking_twice_changes_nothing,
    rotation_retires_older_secrets,
    use_moves_forward_only,
    the_first_start_happens_once,
    users,
    disabled_users_are_told,
    deployments_come_back_by_name,
    deployment_names_and_hosts_are_taken_once,
    removal_ends_exact_scopes,
    declared_names_are_known,
    every_change_has_its_own_sequence,
    a_follower_misses_nothing,
    pages_of_secrets_are_complete,
    many_open_a_new_store_at_once,
    a_newer_schema_can_be_used,
    unreadable_rows_are_inconsistent,
    no_statement_fails_to_prepare,
);

// === tokens ===

async fn a_token_comes_back_as_it_was(place: Place) {
    let store = place.open().await;
    let owner = owner(&store).await;
    let at = |millis| Timestamp::from_millis(millis);
    let mut record = token(owner, "Zoë’s 令牌 🍱");
    record.description = "line\nbreak, 'quote', \\ and %".to_owned();
    record.scopes = scopes(&["api", "deployment:*", "deployment:team-*", "deployment:summarization"]);
    record.created_at = at(1_798_135_200_123);
    record.expires_at = Some(Timestamp::MAX);
    record.last_used_at = Some(at(1));
    insert(&store, &record).await;
    assert_eq!(store.token(record.uid).await.unwrap(), Some(record.clone()));

    let mut revoked = token(owner, "old");
    revoked.revoked_at = Some(at(1_798_135_200_999));
    revoked.expires_at = Some(at(-1));
    let stored = SecretRecord { retires_at: Some(at(7)), ..secret() };
    store.insert_token(&revoked, &stored, &created()).await.unwrap();
    assert_eq!(store.token(revoked.uid).await.unwrap(), Some(revoked.clone()));

    let changed = all_secrets(&store, Cursor::after(0)).await;
    let changed = changed.iter().find(|changed| changed.uid == revoked.uid).unwrap();
    assert_eq!(changed.secret, stored);
    assert_eq!((changed.owner, &changed.scopes), (owner, &revoked.scopes));
    assert_eq!((changed.expires_at, changed.revoked_at), (revoked.expires_at, revoked.revoked_at));

    assert_eq!(store.token(token(owner, "never stored").uid).await.unwrap(), None);
}

async fn a_live_name_is_taken_once(place: Place) {
    let store = place.open().await;
    let (ada, bob) = (owner(&store).await, owner(&store).await);
    let first = token(ada, "ci");
    insert(&store, &first).await;
    let before = store.change_seq().await.unwrap();

    assert_conflict(store.insert_token(&token(ada, "ci"), &secret(), &created()).await, Conflict::TokenName);
    assert_eq!(store.change_seq().await.unwrap(), before, "a refused change is none");

    insert(&store, &token(bob, "ci")).await;
    insert(&store, &token(ada, "CI")).await;
    store.revoke_token(first.uid, system::now(), &event(Action::TokenRevoked)).await.unwrap().unwrap();
    insert(&store, &token(ada, "ci")).await;
    assert_conflict(store.insert_token(&token(ada, "ci"), &secret(), &created()).await, Conflict::TokenName);
}

async fn lists_newest_first_in_pages(place: Place) {
    let store = place.open().await;
    let (ada, bob) = (owner(&store).await, owner(&store).await);
    let mut newest_first = Vec::new();
    for number in 0..7 {
        let mut record = token(if number == 3 { bob } else { ada }, &format!("token {number}"));
        // Three at the same moment: still a fixed order.
        record.created_at = Timestamp::from_millis(20_000 + [0, 1, 2, 2, 2, 3, 4][number]);
        insert(&store, &record).await;
        newest_first.push(record);
    }
    newest_first.sort_by_key(|record| std::cmp::Reverse((record.created_at, record.uid)));

    let all = store.list_tokens(&everything()).await.unwrap();
    assert_eq!((all.items, all.total), (newest_first.clone(), 7));

    for (offset, expected) in [(0, &newest_first[0..3]), (3, &newest_first[3..6]), (6, &newest_first[6..]), (7, &[])] {
        let page = store.list_tokens(&TokenFilter { offset, limit: 3, ..everything() }).await.unwrap();
        assert_eq!((&*page.items, page.total), (expected, 7), "from {offset}");
    }

    let bobs = store.list_tokens(&TokenFilter { owner: Some(bob), ..everything() }).await.unwrap();
    assert_eq!((bobs.items.len(), bobs.total), (1, 1));
    assert_eq!(bobs.items[0].name, "token 3");
}

async fn searches_literally_in_any_case(place: Place) {
    let store = place.open().await;
    let owner = owner(&store).await;
    let mut uids = BTreeMap::new();
    for (name, description) in
        [("100% sure", ""), ("snake_case", ""), ("back\\slash", ""), ("ÄRGER", "Ιστορία"), ("plain", "100 snakes")]
    {
        let record = TokenRecord { description: description.to_owned(), ..token(owner, name) };
        insert(&store, &record).await;
        uids.insert(name, record.uid.to_string());
    }
    let plain = uids["plain"].to_uppercase();
    let table: &[(&str, &[&str])] = &[
        ("", &["100% sure", "back\\slash", "plain", "snake_case", "ÄRGER"]),
        ("%", &["100% sure"]),
        ("_", &["snake_case"]),
        ("\\", &["back\\slash"]),
        ("SNAKE", &["plain", "snake_case"]),
        ("ärger", &["ÄRGER"]),
        ("ΙΣΤΟΡ", &["ÄRGER"]),
        (&plain, &["plain"]),
        ("'; DROP TABLE api_tokens; --", &[]),
        ("100 %", &[]),
        ("\0", &[]),
    ];
    for (search, expected) in table {
        let filter = TokenFilter { search: Some((*search).to_owned()), ..everything() };
        let found = store.list_tokens(&filter).await.unwrap();
        let names: BTreeSet<&str> = found.items.iter().map(|record| record.name.as_str()).collect();
        assert_eq!(names, expected.iter().copied().collect(), "{search:?}");
        assert_eq!(found.total as usize, expected.len(), "{search:?}");
    }
}

async fn revoking_twice_changes_nothing(place: Place) {
    let store = place.open().await;
    let record = token(owner(&store).await, "ci");
    insert(&store, &record).await;
    let before = store.change_seq().await.unwrap();
    let at = Timestamp::from_millis(1_798_135_200_123);

    let revoked = store.revoke_token(record.uid, at, &event(Action::TokenRevoked)).await.unwrap().unwrap();
    assert_eq!(revoked, TokenRecord { revoked_at: Some(at), ..record.clone() });
    let after = store.change_seq().await.unwrap();
    assert_eq!(after, before + 1);
    let changed = all_secrets(&store, Cursor::after(before)).await;
    assert_eq!((changed.len(), changed[0].revoked_at), (1, Some(at)));

    let later = Timestamp::from_millis(at.as_millis() + 1);
    let again = store.revoke_token(record.uid, later, &event(Action::TokenRevoked)).await.unwrap();
    assert_eq!(again, Some(revoked));
    assert_eq!(store.change_seq().await.unwrap(), after);
    let unknown = token(record.owner, "unknown").uid;
    assert_eq!(store.revoke_token(unknown, at, &event(Action::TokenRevoked)).await.unwrap(), None);
    assert_eq!(place.audit_trail().await, ["user.created", "token.created", "token.revoked"]);
}

async fn rotation_retires_older_secrets(place: Place) {
    let store = place.open().await;
    let record = token(owner(&store).await, "ci");
    let first = insert(&store, &record).await;
    let (second, third) = (secret(), secret());
    let at = Timestamp::from_millis;
    let rotated = event(Action::TokenRotated);

    let before = store.change_seq().await.unwrap();
    let returned = store.rotate_token(record.uid, &second, at(1000), &rotated).await.unwrap();
    assert_eq!(returned, Some(record.clone()));
    assert_eq!(store.change_seq().await.unwrap(), before + 1);
    // Both are told: the old one ends, the new one begins.
    assert_eq!(all_secrets(&store, Cursor::after(before)).await.len(), 2);

    // A longer overlap for the second does not prolong the first.
    store.rotate_token(record.uid, &third, at(5000), &event(Action::TokenRotated)).await.unwrap().unwrap();
    let ends: BTreeMap<String, Option<Timestamp>> = all_secrets(&store, Cursor::after(before))
        .await
        .into_iter()
        .map(|changed| (changed.secret.lookup_id.as_str().to_owned(), changed.secret.retires_at))
        .collect();
    let expected = [(&first, Some(at(1000))), (&second, Some(at(5000))), (&third, None)];
    assert_eq!(ends, expected.map(|(secret, end)| (secret.lookup_id.as_str().to_owned(), end)).into());

    // A shorter one, such as none, shortens.
    store.rotate_token(record.uid, &secret(), at(10), &event(Action::TokenRotated)).await.unwrap().unwrap();
    let ends = all_secrets(&store, Cursor::after(before)).await;
    assert_eq!(ends.iter().filter(|changed| changed.secret.retires_at == Some(at(10))).count(), 3);

    let unknown = token(record.owner, "unknown").uid;
    assert_eq!(store.rotate_token(unknown, &secret(), at(1), &event(Action::TokenRotated)).await.unwrap(), None);
    store.revoke_token(record.uid, at(1), &event(Action::TokenRevoked)).await.unwrap().unwrap();
    let before = store.change_seq().await.unwrap();
    assert_eq!(store.rotate_token(record.uid, &secret(), at(1), &event(Action::TokenRotated)).await.unwrap(), None);
    assert_eq!(store.change_seq().await.unwrap(), before);
}

async fn use_moves_forward_only(place: Place) {
    let store = place.open().await;
    let other = place.open().await;
    let owner = owner(&store).await;
    let mut uids = Vec::new();
    for number in 0..50 {
        let record = token(owner, &format!("token {number}"));
        insert(&store, &record).await;
        uids.push(record.uid);
    }
    let before = store.change_seq().await.unwrap();
    let used_at = async |uid| store.token(uid).await.unwrap().unwrap().last_used_at;
    let at = Timestamp::from_millis;

    store.record_use(&[]).await.unwrap();
    let unknown = token(owner, "unknown").uid;
    store
        .record_use(&[used(uids[0], at(300)), used(unknown, at(1)), used(uids[1], at(200)), used(uids[0], at(100))])
        .await
        .unwrap();
    assert_eq!(used_at(uids[0]).await, Some(at(300)));
    assert_eq!(used_at(uids[1]).await, Some(at(200)));
    assert_eq!(used_at(uids[2]).await, None);

    store.record_use(&[used(uids[0], at(299)), used(uids[1], at(201))]).await.unwrap();
    assert_eq!(used_at(uids[0]).await, Some(at(300)));
    assert_eq!(used_at(uids[1]).await, Some(at(201)));

    // Two gateways that write the same tokens again and again, in opposite orders.
    let write = |store: SharedStore, mut uids: Vec<TokenUid>, reverse: bool| async move {
        if reverse {
            uids.reverse();
        }
        for round in 0..20 {
            let uses: Vec<_> = uids.iter().map(|&uid| used(uid, at(1000 + round))).collect();
            store.record_use(&uses).await.unwrap();
        }
    };
    tokio::join!(write(store.clone(), uids.clone(), false), write(other, uids.clone(), true));
    for uid in uids {
        assert_eq!(used_at(uid).await, Some(at(1019)));
    }
    assert_eq!(store.change_seq().await.unwrap(), before);
}

// === users ===

fn first_start() -> Bootstrap {
    let admin = User { role: Role::Admin, ..user("admin@example.com") };
    let token = Some((token(admin.id, "first"), secret()));
    let invitation = Invitation {
        code_hash: OneTimeCode::from_random([9; CODE_BYTES]).hash(),
        user: admin.id,
        created_at: Timestamp::from_millis(0),
        expires_at: Timestamp::MAX,
    };
    Bootstrap { organization: "Acme".to_owned(), admin, token, invitation, event: event(Action::Bootstrapped) }
}

async fn the_first_start_happens_once(place: Place) {
    let stores = [place.open().await, place.open().await];
    let mut calls = tokio::task::JoinSet::new();
    for number in 0..8 {
        let store = stores[number % 2].clone();
        calls.spawn(async move { store.bootstrap(&first_start()).await.unwrap() });
    }
    let outcomes = calls.join_all().await;
    assert_eq!(outcomes.iter().filter(|&&created| created).count(), 1, "{outcomes:?}");

    let [store, _] = stores;
    assert_eq!(store.list_users().await.unwrap().len(), 1);
    assert_eq!(store.list_tokens(&everything()).await.unwrap().total, 1);
    assert_eq!(all_secrets(&store, Cursor::after(0)).await.len(), 1);
    assert_eq!(store.change_seq().await.unwrap(), 1);
    assert_eq!(place.audit_trail().await, ["gateway.bootstrapped"]);
    assert!(!store.bootstrap(&first_start()).await.unwrap());
}

async fn users(place: Place) {
    let store = place.open().await;
    let ada = user("ada@example.com");
    let bob = User {
        role: Role::Admin,
        password_hash: Some("$argon2id$bob".to_owned()),
        created_at: Timestamp::from_millis(5),
        disabled_at: Some(Timestamp::from_millis(6)),
        ..user("bob@example.com")
    };
    store.insert_user(&ada, &event(Action::UserCreated)).await.unwrap();
    store.insert_user(&bob, &event(Action::UserCreated)).await.unwrap();
    assert_conflict(store.insert_user(&user("ADA@example.com"), &event(Action::UserCreated)).await, Conflict::Email);

    let listed = store.list_users().await.unwrap();
    assert_eq!(listed.iter().map(|user| user.id).collect::<Vec<_>>(), [bob.id, ada.id], "oldest first");
    let found = store.user_by_email(&bob.email).await.unwrap().unwrap();
    assert_eq!(format!("{found:?}"), format!("{bob:?}"));
    assert!(store.user_by_email(&"eve@example.com".parse().unwrap()).await.unwrap().is_none());

    // As somebody might have written it by hand.
    place.execute("UPDATE users SET email = 'Ada@Example.com' WHERE email = 'ada@example.com'").await;
    assert_eq!(store.user_by_email(&ada.email).await.unwrap().unwrap().id, ada.id);

    let set = event(Action::UserPasswordSet);
    assert!(store.set_password(ada.id, "$argon2id$new", None, &set).await.unwrap());
    let found = store.user_by_email(&ada.email).await.unwrap().unwrap();
    assert_eq!(found.password_hash.as_deref(), Some("$argon2id$new"));
    assert!(
        !store.set_password(user("eve@example.com").id, "$x", None, &event(Action::UserPasswordSet)).await.unwrap()
    );
    assert_eq!(place.audit_trail().await, ["user.created", "user.created", "user.password_set"]);
}

async fn disabled_users_are_told(place: Place) {
    let store = place.open().await;
    let ada = owner(&store).await;
    insert(&store, &token(ada, "ci")).await;
    let before = store.change_seq().await.unwrap();
    assert!(store.changed_users(before).await.unwrap().is_empty());
    assert_eq!(store.changed_users(0).await.unwrap(), [ChangedUser { id: ada, disabled: false }]);

    let at = Timestamp::from_millis(77);
    assert!(store.disable_user(ada, at, &event(Action::UserDisabled)).await.unwrap());
    assert_eq!(store.changed_users(before).await.unwrap(), [ChangedUser { id: ada, disabled: true }]);
    assert_eq!(store.list_users().await.unwrap()[0].disabled_at, Some(at));
    assert_eq!(store.change_seq().await.unwrap(), before + 1);

    assert!(!store.disable_user(ada, system::now(), &event(Action::UserDisabled)).await.unwrap());
    assert!(!store.disable_user(user("eve@example.com").id, at, &event(Action::UserDisabled)).await.unwrap());
    assert_eq!(store.list_users().await.unwrap()[0].disabled_at, Some(at));
    assert_eq!(store.change_seq().await.unwrap(), before + 1);
}

// === Deployments ===

pub async fn add(store: &SharedStore, spec: &DeploymentSpec) -> Result<(), StoreError> {
    store.insert_deployment(spec, system::now(), &event(Action::DeploymentAdded)).await
}

async fn deployments_come_back_by_name(place: Place) {
    let store = place.open().await;
    // A hyphen sorts before a letter by bytes, and not at all in many languages.
    let by_name = [spec("a-z", &[]), spec("ab", &["x.example.com", "y.example.com"]), spec("b", &[])];
    for at in [2, 0, 1] {
        add(&store, &by_name[at]).await.unwrap();
    }
    let listed = store.list_deployments().await.unwrap();
    assert_eq!(listed.into_iter().map(|stored| stored.spec).collect::<Vec<_>>(), by_name);

    let changed = store.changed_deployments(1).await.unwrap();
    let changed: Vec<_> = changed.into_iter().map(|changed| changed.spec.unwrap()).collect();
    assert_eq!(changed, [by_name[0].clone(), by_name[1].clone()]);
}

async fn deployment_names_and_hosts_are_taken_once(place: Place) {
    let store = place.open().await;
    add(&store, &spec("a", &["a.example.com", "shared.example.com"])).await.unwrap();
    let before = store.change_seq().await.unwrap();
    assert_conflict(add(&store, &spec("a", &[])).await, Conflict::DeploymentName);
    let taken = add(&store, &spec("b", &["b.example.com", "shared.example.com"])).await;
    assert_conflict(taken, Conflict::DeploymentHost);
    assert_eq!(store.list_deployments().await.unwrap().len(), 1);
    assert_eq!(store.change_seq().await.unwrap(), before);
    add(&store, &spec("b", &["b.example.com"])).await.unwrap();

    let name = "a".parse().unwrap();
    let removed = event(Action::DeploymentRemoved);
    assert_eq!(store.remove_deployment(&name, system::now(), &removed).await.unwrap(), Some(vec![]));
    let seq = store.change_seq().await.unwrap();
    assert_eq!(store.remove_deployment(&name, system::now(), &event(Action::DeploymentRemoved)).await.unwrap(), None);
    assert_eq!(store.change_seq().await.unwrap(), seq);
    let changed = store.changed_deployments(before + 1).await.unwrap();
    assert_eq!((changed.len(), changed[0].name.as_str(), changed[0].spec.is_none()), (1, "a", true));
    assert!(!store.knows_deployment(&name).await.unwrap());

    // Its hosts are free, and so is its name.
    add(&store, &spec("c", &["shared.example.com"])).await.unwrap();
    add(&store, &spec("a", &["a.example.com"])).await.unwrap();
    assert!(store.knows_deployment(&name).await.unwrap());
    let changed = store.changed_deployments(seq).await.unwrap();
    let live: Vec<_> = changed.iter().map(|changed| (changed.name.as_str(), changed.spec.is_some())).collect();
    assert_eq!(live, [("c", true), ("a", true)]);
}

async fn removal_ends_exact_scopes(place: Place) {
    let store = place.open().await;
    let owner = owner(&store).await;
    add(&store, &spec("old", &[])).await.unwrap();
    let mut records = BTreeMap::new();
    for (name, texts) in [
        ("only", &["deployment:old"][..]),
        ("one of two", &["deployment:new", "deployment:old"]),
        ("also api", &["api", "deployment:old"]),
        ("all", &["deployment:*"]),
        ("prefix", &["deployment:ol*"]),
        ("other", &["deployment:older"]),
        ("gone", &["deployment:old"]),
    ] {
        let record = TokenRecord { scopes: scopes(texts), ..token(owner, name) };
        insert(&store, &record).await;
        records.insert(name, record);
    }
    let gone_at = Timestamp::from_millis(5);
    store.revoke_token(records["gone"].uid, gone_at, &event(Action::TokenRevoked)).await.unwrap().unwrap();
    let before = store.change_seq().await.unwrap();

    let at = Timestamp::from_millis(1_798_135_200_123);
    let removed = event(Action::DeploymentRemoved);
    let touched = store.remove_deployment(&"old".parse().unwrap(), at, &removed).await.unwrap().unwrap();
    let touched: BTreeMap<&str, (TokenUid, bool)> =
        touched.iter().map(|token| (token.name.as_str(), (token.uid, token.revoked))).collect();
    let expected = [("only", true), ("one of two", false), ("also api", false)];
    assert_eq!(touched, expected.map(|(name, revoked)| (name, (records[name].uid, revoked))).into());
    assert_eq!(store.change_seq().await.unwrap(), before + 1);

    for (name, record) in &records {
        let after = store.token(record.uid).await.unwrap().unwrap();
        let (texts, revoked_at) = match *name {
            "only" => (scopes(&["deployment:old"]), Some(at)),
            "one of two" => (scopes(&["deployment:new"]), None),
            "also api" => (scopes(&["api"]), None),
            "gone" => (record.scopes.clone(), Some(gone_at)),
            _ => (record.scopes.clone(), None),
        };
        assert_eq!((after.scopes, after.revoked_at), (texts, revoked_at), "{name}");
    }
    let changed = all_secrets(&store, Cursor::after(before)).await;
    let changed: BTreeSet<TokenUid> = changed.iter().map(|changed| changed.uid).collect();
    assert_eq!(changed, touched.values().map(|&(uid, _)| uid).collect());

    // A later one of that name is closed to them, and the revoked one's name is free.
    add(&store, &spec("old", &[])).await.unwrap();
    assert!(!store.token(records["also api"].uid).await.unwrap().unwrap().scopes.opens_deployment("old"));
    insert(&store, &token(owner, "only")).await;
}

async fn declared_names_are_known(place: Place) {
    let store = place.open().await;
    let names = ["a", "b", "a"].map(|name| name.parse().unwrap());
    store.declare_deployments(&[], system::now()).await.unwrap();
    store.declare_deployments(&names, system::now()).await.unwrap();
    store.declare_deployments(&names[..1], system::now()).await.unwrap();
    add(&store, &spec("stored", &[])).await.unwrap();
    for (name, known) in [("a", true), ("b", true), ("stored", true), ("c", false)] {
        assert_eq!(store.knows_deployment(&name.parse().unwrap()).await.unwrap(), known, "{name}");
    }
    let declared = store.declared_deployments().await.unwrap();
    assert_eq!(declared.iter().map(|name| name.as_str()).collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(store.list_deployments().await.unwrap().len(), 1, "declared ones are not stored ones");
    assert_eq!(store.change_seq().await.unwrap(), 1);
    assert_eq!(place.audit_trail().await, ["deployment.added"]);
}

// === following ===

async fn every_change_has_its_own_sequence(place: Place) {
    let store = place.open().await;
    assert_eq!(store.change_seq().await.unwrap(), 0);
    let ada = user("ada@example.com");
    let record = token(ada.id, "ci");
    let name = "a".parse().unwrap();
    let at = system::now();

    store.insert_user(&ada, &event(Action::UserCreated)).await.unwrap();
    assert_eq!(store.change_seq().await.unwrap(), 1);
    insert(&store, &record).await;
    assert_eq!(store.change_seq().await.unwrap(), 2);
    store.rotate_token(record.uid, &secret(), at, &event(Action::TokenRotated)).await.unwrap();
    assert_eq!(store.change_seq().await.unwrap(), 3);
    store.set_password(ada.id, "$x", None, &event(Action::UserPasswordSet)).await.unwrap();
    assert_eq!(store.change_seq().await.unwrap(), 4);
    add(&store, &spec("a", &[])).await.unwrap();
    assert_eq!(store.change_seq().await.unwrap(), 5);
    store.remove_deployment(&name, at, &event(Action::DeploymentRemoved)).await.unwrap();
    assert_eq!(store.change_seq().await.unwrap(), 6);
    store.revoke_token(record.uid, at, &event(Action::TokenRevoked)).await.unwrap();
    assert_eq!(store.change_seq().await.unwrap(), 7);
    store.disable_user(ada.id, at, &event(Action::UserDisabled)).await.unwrap();
    assert_eq!(store.change_seq().await.unwrap(), 8);

    let changed = all_secrets(&store, Cursor::after(6)).await;
    assert_eq!(changed.iter().map(|changed| changed.seq).collect::<Vec<_>>(), [7, 7], "both of the token's secrets");
    assert!(all_secrets(&store, Cursor::after(7)).await.is_empty());
}

async fn a_follower_misses_nothing(place: Place) {
    const WRITERS: usize = 6;
    const CHANGES: usize = 15;
    let stores = [place.open().await, place.open().await, place.open().await];
    let owner = owner(&stores[0]).await;
    let committed: Arc<Mutex<BTreeSet<TokenUid>>> = Arc::default();

    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..WRITERS {
        let (store, committed) = (stores[writer % 2].clone(), committed.clone());
        writers.spawn(async move {
            for number in 0..CHANGES {
                let record = token(owner, &format!("{writer}/{number}"));
                insert(&store, &record).await;
                committed.lock().unwrap().insert(record.uid);
            }
        });
    }

    let follower = &stores[2];
    let mut applied = Cursor::after(0);
    let mut seen = BTreeMap::new();
    let mut last_seq = 0;
    loop {
        let writing = !writers.is_empty() && writers.try_join_next().is_none();
        let before: BTreeSet<TokenUid> = committed.lock().unwrap().clone();
        let seq = follower.change_seq().await.unwrap();
        assert!(seq >= last_seq, "{seq} after {last_seq}");
        last_seq = seq;
        for changed in all_secrets(follower, applied.clone()).await {
            applied = changed.cursor();
            assert!(seen.insert(changed.uid, changed.seq).is_none(), "told twice");
        }
        assert!(applied.seq >= seq || seq == 1, "{seq} was committed, {} is what could be read", applied.seq);
        assert!(before.iter().all(|uid| seen.contains_key(uid)), "a committed change was not told");
        if !writing && writers.is_empty() {
            break;
        }
    }
    assert_eq!(seen.len(), WRITERS * CHANGES);
    let sequences: BTreeSet<i64> = seen.values().copied().collect();
    assert_eq!(sequences, (2..2 + (WRITERS * CHANGES) as i64).collect());
}

async fn pages_of_secrets_are_complete(place: Place) {
    let store = place.open().await;
    let owner = owner(&store).await;
    add(&store, &spec("old", &[])).await.unwrap();
    let mut expected = BTreeSet::new();
    for number in 0..40 {
        let record = TokenRecord { scopes: scopes(&["api", "deployment:old"]), ..token(owner, &number.to_string()) };
        expected.insert(insert(&store, &record).await.lookup_id);
        if number % 5 == 0 {
            let new = secret();
            store.rotate_token(record.uid, &new, system::now(), &event(Action::TokenRotated)).await.unwrap();
            expected.insert(new.lookup_id);
        }
    }
    let check = |all: &[ChangedSecret]| {
        let order: Vec<_> = all.iter().map(|changed| (changed.seq, changed.secret.lookup_id)).collect();
        assert!(order.is_sorted(), "upper case before lower case, as bytes are");
        assert_eq!(order.iter().map(|&(_, id)| id).collect::<BTreeSet<_>>(), expected);
        assert_eq!(order.len(), expected.len(), "each once");
    };
    check(&all_secrets(&store, Cursor::after(0)).await);

    // One change that touches all: one sequence, pages in its middle.
    let before = store.change_seq().await.unwrap();
    let removed = event(Action::DeploymentRemoved);
    store.remove_deployment(&"old".parse().unwrap(), system::now(), &removed).await.unwrap().unwrap();
    let all = all_secrets(&store, Cursor::after(before)).await;
    check(&all);
    assert!(all.iter().all(|changed| changed.seq == before + 1));
    assert!(all_secrets(&store, Cursor::after(before + 1)).await.is_empty());
    let from_first = Cursor { seq: before + 1, lookup_id: String::new() };
    check(&all_secrets(&store, from_first).await);
}

// === opening ===

async fn many_open_a_new_store_at_once(place: Place) {
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let config = place.config.clone();
        tasks.spawn(async move { store::open(&config).await.unwrap().change_seq().await.unwrap() });
    }

    let url = match &place.config.url {
        StoreUrl::Sqlite(path) => format!("sqlite:{}", path.display()),
        StoreUrl::Postgres(url) => url.expose().to_owned(),
    };
    let processes: Vec<_> = (0..8)
        .map(|_| {
            Command::new(env!("CARGO_BIN_EXE_bento-gateway"))
                .args(["token", "list", "--store", &url])
                .stdout(std::process::Stdio::null())
                .stderr(std::process::Stdio::piped())
                .spawn()
                .unwrap()
        })
        .collect();
    assert_eq!(tasks.join_all().await, [0; 8]);
    for process in processes {
        let output = process.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}

async fn a_newer_schema_can_be_used(place: Place) {
    drop(place.open().await);
    let checksum = if matches!(place.config.url, StoreUrl::Sqlite(_)) { "x'00'" } else { "'\\x00'" };
    place
        .execute(&format!(
            "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
             VALUES (9999, 'of a later release', true, {checksum}, 0)"
        ))
        .await;
    let store = place.open().await;
    owner(&store).await;

    // Our own migrations are another matter: they must be what this release knows.
    place.execute(&format!("UPDATE _sqlx_migrations SET checksum = {checksum} WHERE version = 1")).await;
    let outcome = store::open(&place.config).await.map(drop);
    assert!(matches!(outcome, Err(StoreError::Unusable(_))), "{outcome:?}");
}

async fn unreadable_rows_are_inconsistent(place: Place) {
    let store = place.open().await;
    let record = token(owner(&store).await, "ci");
    insert(&store, &record).await;
    let scopes =
        if matches!(place.config.url, StoreUrl::Sqlite(_)) { "[\"no such scope\"]" } else { "{no such scope}" };
    assert_eq!(place.execute(&format!("UPDATE api_tokens SET scopes = '{scopes}'")).await, 1);
    let outcome = store.token(record.uid).await;
    assert!(matches!(&outcome, Err(StoreError::Inconsistent(text)) if text.contains("no such scope")), "{outcome:?}");

    let outcome = store.insert_token(&token(user("x@y").id, "no such owner"), &secret(), &created()).await;
    assert!(matches!(outcome, Err(StoreError::Inconsistent(_))), "{outcome:?}");
}

async fn no_statement_fails_to_prepare(place: Place) {
    drop(place.open().await);
    let statements = store::statements();
    match &place.config.url {
        StoreUrl::Sqlite(path) => {
            let options = SqliteConnectOptions::new().filename(path);
            let mut connection = SqliteConnection::connect_with(&options).await.unwrap();
            for &sql in &statements.sqlite {
                connection.prepare(sql.into_sql_str()).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
            }
        }
        StoreUrl::Postgres(url) => {
            let mut connection = PgConnection::connect(url.expose()).await.unwrap();
            for &sql in &statements.postgres {
                connection.prepare(sql.into_sql_str()).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
            }
        }
    }
}

#[test]
fn migrations_move_together() {
    let names = |database: &str| -> BTreeSet<String> {
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("migrations").join(database);
        fs::read_dir(folder).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap()).collect()
    };
    assert_eq!(names("sqlite"), names("postgres"));
    assert!(!names("sqlite").is_empty());
}

// === SQLite by itself ===

#[tokio::test]
async fn sqlite_files_are_private() {
    let place = Place::sqlite().await;
    let StoreUrl::Sqlite(path) = &place.config.url else { unreachable!() };
    let store = place.open().await;
    owner(&store).await;
    let mode = |path: PathBuf| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let directory = path.parent().unwrap();
    let files: BTreeMap<String, u32> = fs::read_dir(directory)
        .unwrap()
        .map(|file| file.unwrap())
        .map(|file| (file.file_name().into_string().unwrap(), mode(file.path())))
        .collect();
    let expected = ["gateway.db", "gateway.db-shm", "gateway.db-wal"].map(|name| (name.to_owned(), 0o600));
    assert_eq!(files, expected.into());
    assert_eq!(mode(directory.to_owned()), 0o700);
}

#[tokio::test]
async fn sqlite_says_which_file_it_cannot_use() {
    let directory = tempfile::tempdir().unwrap();
    let text_file = directory.path().join("notes.txt");
    fs::write(&text_file, "this is not a database, and long enough for SQLite to see that it is none: ".repeat(20))
        .unwrap();
    for path in
        [directory.path().to_owned(), text_file.clone(), text_file.join("gateway.db"), "/proc/gateway.db".into()]
    {
        let outcome = store::open(&config(StoreUrl::Sqlite(path.clone()))).await.map(drop);
        let Err(StoreError::Unusable(text)) = outcome else { panic!("{}: {outcome:?}", path.display()) };
        assert!(text.contains(path.to_str().unwrap()), "{text}");
    }
    assert!(fs::read_to_string(&text_file).unwrap().starts_with("this is not"));
}

#[tokio::test]
async fn sqlite_never_notifies() {
    let place = Place::sqlite().await;
    let store = place.open().await;
    owner(&store).await;
    assert!(timeout(Duration::from_millis(100), store.notified()).await.is_err());
}

// === PostgreSQL by itself ===

#[tokio::test]
async fn postgres_notifies_other_processes() {
    let place = Place::postgres().await;
    let (here, there) = (place.open().await, place.open().await);
    here.notified().await.expect("the first call returns when it listens");
    let nothing = timeout(Duration::from_millis(200), here.notified()).await;
    assert!(nothing.is_err(), "nothing has changed, {nothing:?}");

    let begun = Instant::now();
    let (notified, ()) = tokio::join!(timeout(Duration::from_secs(1), here.notified()), async {
        owner(&there).await;
    });
    notified.expect("within a second").unwrap();
    println!("notified after {:?}, the change included", begun.elapsed());
    assert_eq!(here.change_seq().await.unwrap(), 1);

    // One that came while nobody waited is not lost.
    owner(&there).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    timeout(Duration::from_secs(1), here.notified()).await.expect("kept").unwrap();
}

/// A private server and a store on it that waits half a second at most.
async fn private_postgres() -> (Cluster, SharedStore, StoreConfig) {
    let cluster = Cluster::start();
    let database = cluster.create_database().await;
    let config = StoreConfig {
        acquire_timeout: Duration::from_millis(500),
        ..config(postgres_url(&cluster.socket_url(&database)))
    };
    // A busy machine may need more than that for a schema.
    let patient = StoreConfig { acquire_timeout: Duration::from_secs(20), ..config.clone() };
    drop(store::open(&patient).await.unwrap());
    let store = store::open(&config).await.unwrap();
    (cluster, store, config)
}

async fn assert_unavailable_soon(store: &SharedStore) {
    let begun = Instant::now();
    let write = store.insert_user(&user("eve@example.com"), &event(Action::UserCreated)).await;
    assert!(matches!(write, Err(StoreError::Unavailable(_))), "{write:?}");
    let read = store.change_seq().await;
    assert!(matches!(read, Err(StoreError::Unavailable(_))), "{read:?}");
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    println!("two answers after {:?}: {}; {}", begun.elapsed(), write.unwrap_err(), read.unwrap_err());
}

async fn assert_recovers(store: &SharedStore, seq: i64) {
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(10) {
        if store.change_seq().await.is_ok_and(|now| now == seq) {
            println!("recovered after {:?}", begun.elapsed());
            return;
        }
    }
    panic!("still {:?}", store.change_seq().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_may_stop_and_come_back() {
    let (cluster, store, config) = private_postgres().await;
    owner(&store).await;
    store.notified().await.unwrap();

    cluster.stop();
    let lost = timeout(Duration::from_secs(2), store.notified()).await.expect("noticed at once");
    assert!(matches!(lost, Err(StoreError::Unavailable(_))), "{lost:?}");
    assert_unavailable_soon(&store).await;
    let opened = store::open(&config).await.map(drop);
    assert!(matches!(opened, Err(StoreError::Unavailable(_))), "{opened:?}");

    cluster.start_again();
    assert_recovers(&store, 1).await;
    owner(&store).await;
    store.notified().await.expect("listens again");

    // As after a power failure. What was committed is there.
    cluster.kill();
    assert_unavailable_soon(&store).await;
    cluster.start_again();
    assert_recovers(&store, 2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_may_hang() {
    let (cluster, store, config) = private_postgres().await;
    owner(&store).await;
    cluster.pause();
    assert_unavailable_soon(&store).await;
    let opened = store::open(&config).await.map(drop);
    assert!(matches!(opened, Err(StoreError::Unavailable(_))), "{opened:?}");
    cluster.resume();
    let begun = Instant::now();
    while store.change_seq().await.is_err() {
        assert!(begun.elapsed() < Duration::from_secs(10));
    }
    owner(&store).await;
}

#[tokio::test]
async fn postgres_itself_gives_up_what_the_gateway_gave_up() {
    let (_cluster, store, config) = private_postgres().await;
    let StoreUrl::Postgres(url) = &config.url else { unreachable!() };
    // Somebody keeps the row that every change needs: psql with an open transaction, say.
    let mut keeper = PgConnection::connect(url.expose()).await.unwrap();
    keeper.execute("BEGIN; UPDATE change_seq SET seq = seq + 1").await.unwrap();

    let blocked = store.insert_user(&user("ada@example.com"), &event(Action::UserCreated)).await;
    assert!(
        matches!(&blocked, Err(StoreError::Unavailable(text)) if text.contains("statement timeout")),
        "{blocked:?}"
    );
    let waiting: i64 = sqlx::query_scalar("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'")
        .fetch_one(&mut keeper)
        .await
        .unwrap();
    assert_eq!(waiting, 0);
    store.change_seq().await.expect("readers are not blocked");

    keeper.execute("ROLLBACK").await.unwrap();
    owner(&store).await;
}

#[tokio::test]
async fn postgres_errors_do_not_show_the_password() {
    let cluster = Cluster::shared();
    let database = cluster.create_database().await;
    let good = cluster.url(&database);
    let wrong_password = good.replace(PASSWORD, &format!("{PASSWORD}-wrong"));
    let unknown_database = cluster.url("no_such_database");
    let not_a_url = format!("not a URL {PASSWORD}");
    let bad_port = good.replace("127.0.0.1:", "127.0.0.1:x");
    let bad_option = format!("{good}?sslmode={PASSWORD}");
    for url in [&wrong_password, &unknown_database, &not_a_url, &bad_port, &bad_option] {
        let outcome = store::open(&config(postgres_url(url))).await.map(drop);
        let Err(StoreError::Unusable(text)) = &outcome else { panic!("{outcome:?}") };
        let printed = format!("{text} {:?} {:?}", outcome, config(postgres_url(url)));
        assert!(!printed.contains(PASSWORD) && !printed.contains("postgres://gateway"), "{printed}");
    }

    let nobody_there = StoreConfig {
        acquire_timeout: Duration::from_millis(500),
        ..config(postgres_url(&format!("postgres://gateway:{PASSWORD}@127.0.0.1:1/gateway")))
    };
    let outcome = store::open(&nobody_there).await.map(drop);
    let Err(StoreError::Unavailable(text)) = &outcome else { panic!("{outcome:?}") };
    assert!(!text.contains(PASSWORD), "{text}");
}

#[tokio::test]
async fn postgres_without_the_right_to_write_is_unusable() {
    let cluster = Cluster::shared();
    let database = cluster.create_database().await;
    let place = Place { config: config(postgres_url(&cluster.url(&database))), _directory: None };
    drop(place.open().await);
    let account = format!("reader_{database}");
    place
        .execute(&format!("CREATE ROLE {account} LOGIN PASSWORD 'r'; GRANT USAGE ON SCHEMA public TO {account}"))
        .await;
    let url = cluster.url(&database).replace(&format!("gateway:{PASSWORD}"), &format!("{account}:r"));
    let outcome = store::open(&config(postgres_url(&url))).await.map(drop);
    assert!(matches!(&outcome, Err(StoreError::Unusable(text)) if text.contains("permission")), "{outcome:?}");
}

// === a large store ===

const MANY: &str = "
    INSERT INTO api_tokens (id, owner_id, name, description, search_text, scopes, created_at)
    SELECT {id}, (SELECT id FROM users), 'token ' || n, '', 'token ' || n, {scopes}, {at} FROM {numbers};
    INSERT INTO token_secrets (lookup_id, token_id, hash, changed_seq)
    SELECT {lookup}, {id}, '$argon2id$v=19$m=64,t=1,p=1$0123456789abcdef012345$0123456789abcdef0123456789abcdef0123456789a', n
    FROM {numbers};
    UPDATE change_seq SET seq = 20000;
    ANALYZE";

async fn many_tokens(place: Place, fill: [(&str, &str); 5]) {
    const TOKENS: usize = 20_000;
    let store = place.open().await;
    let owner = owner(&store).await;
    let fill = fill.iter().fold(MANY.to_owned(), |sql, (key, value)| sql.replace(&format!("{{{key}}}"), value));
    let begun = Instant::now();
    place.execute(&fill).await;
    println!("filled in {:?}", begun.elapsed());
    let plan = place.plan_of_changed_secrets().await;
    println!("{plan}");
    assert!(plan.contains("token_secrets_changed_idx") && !plan.to_lowercase().contains("sort"));

    let begun = Instant::now();
    let (mut cursor, mut read, mut slowest) = (Cursor::after(0), 0, Duration::ZERO);
    loop {
        let page_begun = Instant::now();
        let page = store.changed_secrets(cursor.clone(), 3_000).await.unwrap();
        slowest = slowest.max(page_begun.elapsed());
        let Some(last) = page.last() else { break };
        cursor = last.cursor();
        read += page.len();
    }
    println!("{read} secrets read in {:?}, the slowest page of 3,000 in {slowest:?}", begun.elapsed());
    assert_eq!(read, TOKENS);

    for (what, filter) in [
        ("first page", TokenFilter { limit: 20, ..everything() }),
        ("owner's first page", TokenFilter { limit: 20, owner: Some(owner), ..everything() }),
        ("search", TokenFilter { limit: 20, search: Some("99999".to_owned()), ..everything() }),
    ] {
        let begun = Instant::now();
        let page = store.list_tokens(&filter).await.unwrap();
        println!("{what} of {} in {:?}", page.total, begun.elapsed());
    }
    let begun = Instant::now();
    insert(&store, &TokenRecord { scopes: scopes(&["api", "deployment:old"]), ..token(owner, "one more") }).await;
    println!("inserted in {:?}", begun.elapsed());
    add(&store, &spec("old", &[])).await.unwrap();
    let begun = Instant::now();
    let removed = event(Action::DeploymentRemoved);
    let touched = store.remove_deployment(&"old".parse().unwrap(), system::now(), &removed).await.unwrap().unwrap();
    println!("a Deployment removed in {:?}, {} token touched", begun.elapsed(), touched.len());
    let uses: Vec<_> = store
        .list_tokens(&everything())
        .await
        .unwrap()
        .items
        .iter()
        .map(|token| used(token.uid, system::now()))
        .collect();
    let begun = Instant::now();
    store.record_use(&uses).await.unwrap();
    println!("{} uses recorded in {:?}", uses.len(), begun.elapsed());
}

#[tokio::test]
async fn postgres_walks_an_index_through_many_tokens() {
    let fill = [
        (
            "id",
            "(lpad(to_hex(n * 2654435761 % 4294967296), 8, '0') || '-0000-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid",
        ),
        ("scopes", "ARRAY['deployment:*', 'deployment:a' || (n % 100)]"),
        ("at", "to_timestamp(n)"),
        ("numbers", "generate_series(1::bigint, 20000) AS n"),
        ("lookup", "lpad(to_hex(n * 2654435761 % 4294967296), 12, '0')"),
    ];
    many_tokens(Place::postgres().await, fill).await;
}

#[tokio::test]
async fn sqlite_walks_an_index_through_many_tokens() {
    let fill = [
        ("id", "printf('%08x-0000-7000-8000-%012x', n * 2654435761 % 4294967296, n)"),
        ("scopes", "json_array('deployment:*', 'deployment:a' || (n % 100))"),
        ("at", "n * 1000"),
        (
            "numbers",
            "(WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers LIMIT 20000) SELECT n FROM numbers)",
        ),
        ("lookup", "printf('%012x', n * 2654435761 % 4294967296)"),
    ];
    many_tokens(Place::sqlite().await, fill).await;
}
