//! The model of the feed is held to the real store and the real follower: on random ways through it, after each step,
//! both know the same.

use std::sync::Arc;

use bento_gateway::{
    domain::{
        audit::Action as Audited,
        routing::Declared,
        token::{SecretRecord, TokenRecord},
    },
    index::follow::{Follower, Index},
    store::{ReplicaId, SharedStore},
    system,
};
use tokio::sync::watch;

use super::{StoreUnderTest, behaviours, created, event, owner, secret, token, verbs::Verbs};
use crate::feed_model::{
    rules::{Bounds, Rules},
    server::{GOOD, TOKENS},
    world::{Action, World},
};

behaviours!(the_model_and_the_store_agree);

/// What a standby or a backup has of a store. In an order in which rows may be removed: those that name others first.
const TABLES: [&str; 5] = ["token_secrets", "api_tokens", "replicas", "change_seq", "change_marks"];
const WAYS: u64 = 6;
const STEPS: usize = 40;
const GATEWAYS: usize = 2;
/// Marks are counted in 32 bits.
const BOUNDS: Bounds = Bounds { changes: 30, fail_overs: 30, restarts: 0, ticks: 0 };

struct Real {
    under_test: StoreUnderTest,
    store: SharedStore,
    tokens: [(TokenRecord, SecretRecord); TOKENS],
    gateways: Vec<RealGateway>,
    /// What the store had passed before the model's first change.
    origin: i64,
}

struct RealGateway {
    replica: ReplicaId,
    index: Arc<Index>,
    follower: Follower,
    _declared: watch::Sender<Declared>,
}

/// What is known of a token: nothing, or whether it is revoked.
type Known = [Option<bool>; TOKENS];

impl Real {
    /// As [`World::new`]; the store may have been used before.
    async fn new(under_test: StoreUnderTest) -> Self {
        let store = under_test.open().await;
        let owner = owner(&store).await;
        let tokens = std::array::from_fn(|number| (token(owner, &format!("token-{number}")), secret()));
        let origin = store.change_seq().await.unwrap();
        let mut real = Self { store, tokens, gateways: Vec::new(), origin, under_test };
        for token in [GOOD, 1] {
            real.change(token).await;
        }
        for number in 0..GATEWAYS {
            real.begin(number).await;
        }
        real.replicate().await;
        real
    }

    async fn begin(&mut self, number: usize) {
        let (index, replica) = (Arc::new(Index::new()), ReplicaId(system::new_id(system::now()).unwrap()));
        let (declared, receiver) = watch::channel(Declared::default());
        let config = self.under_test.config.clone();
        let follower = Follower::new(Arc::clone(&index), self.store.clone(), config, receiver);
        self.gateways.push(RealGateway { replica, index, follower, _declared: declared });
        self.beat(number).await;
    }

    /// Makes the token, also if a fail-over has lost it, or revokes it.
    async fn change(&self, number: usize) {
        let (record, secret) = &self.tokens[number];
        if self.store.token(record.uid).await.unwrap().is_none() {
            self.store.insert_token(record, secret, &created()).await.unwrap();
        } else {
            self.store.revoke_token(record.uid, system::now(), &event(Audited::TokenRevoked)).await.unwrap();
        }
    }

    async fn copy(&self, from: &str, to: &str) {
        let delete = TABLES.iter().map(|table| format!("DELETE FROM {to}{table};"));
        let insert = TABLES.iter().rev().map(|table| format!("INSERT INTO {to}{table} SELECT * FROM {from}{table};"));
        self.under_test.execute(&delete.chain(insert).collect::<String>()).await;
    }

    async fn replicate(&self) {
        self.copy("", "standby_").await;
    }

    async fn fail_over(&self) {
        self.copy("standby_", "").await;
    }

    async fn beat(&self, at: usize) {
        let gateway = &self.gateways[at];
        let applied = gateway.index.applied();
        self.store
            .beat(gateway.replica, &format!("gateway-{at}"), applied.as_deref(), None, None, system::now())
            .await
            .unwrap();
    }

    async fn list(&self) -> Vec<(String, Option<i64>)> {
        let listed = self.store.replicas().await.unwrap();
        listed.into_iter().map(|replica| (replica.name, Some(replica.applied_seq).filter(|seq| *seq >= 0))).collect()
    }

    fn known(&self, at: usize) -> Known {
        std::array::from_fn(|number| {
            let (_, secret) = &self.tokens[number];
            let entry = self.gateways[at].index.tokens.find(secret.lookup_id)?;
            Some(entry.holder().revoked_at.is_some())
        })
    }
}

/// One step of both. `false`: the model says that it cannot happen now.
async fn step(real: &mut Real, model: &mut World, action: Action) -> bool {
    let rules = Rules::within(BOUNDS);
    if !model.act(action, rules) {
        return false;
    }
    match action {
        Action::Change(token) => real.change(token).await,
        Action::Replicate => real.replicate().await,
        Action::FailOver => real.fail_over().await,
        Action::Look(at) => {
            model.act(Action::Apply(at), rules);
            real.gateways[at].follower.catch_up().await.unwrap();
        }
        Action::Beat(at) => {
            model.act(Action::BeatArrives(at), rules);
            real.beat(at).await;
        }
        other => panic!("{other:?} is not asked for"),
    }
    true
}

async fn the_model_and_the_store_agree(under_test: StoreUnderTest) {
    under_test.open().await;
    for table in TABLES {
        under_test.execute(&format!("CREATE TABLE standby_{table} AS SELECT * FROM {table} WHERE 1 = 0")).await;
    }
    let mut under_test = under_test;
    for way in 1..=WAYS {
        under_test.execute("DELETE FROM replicas").await;
        let mut real = Real::new(under_test).await;
        go(&mut real, way).await;
        under_test = real.under_test;
    }
}

/// A random way; the same in each run.
async fn go(real: &mut Real, way: u64) {
    let mut model = World::new(GATEWAYS.try_into().unwrap());
    let mut taken = Vec::new();
    for number in 0..STEPS {
        let chance = blake3::hash(format!("{way} {number}").as_bytes()).as_bytes()[0];
        let at = usize::from(chance / 16) % GATEWAYS;
        let action = match chance % 16 {
            0 => Action::Change(1),
            1..=4 => Action::Change(2),
            5 => Action::Replicate,
            6..=8 => Action::FailOver,
            9..=12 => Action::Look(at),
            _ => Action::Beat(at),
        };
        if !step(real, &mut model, action).await {
            continue;
        }
        taken.push(action);
        for (at, gateway) in model.gateways.iter().enumerate() {
            let known = gateway.tokens.map(|change| change.map(|change| change.revokes));
            assert_eq!(real.known(at), known, "gateway {at} after {taken:?}");
        }
        let listed = model.store.list(0, Rules::sound()).into_iter();
        let listed = listed
            .map(|(replica, seq)| (format!("gateway-{}", replica - 1), seq.map(|seq| real.origin + i64::from(seq))));
        assert_eq!(real.list().await, listed.collect::<Vec<_>>(), "after {taken:?}");
    }
    assert!(taken.contains(&Action::FailOver), "not what it is about: {taken:?}");
}
