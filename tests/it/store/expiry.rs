//! What has expired stays expired, whatever the clock says later.

use std::{sync::Arc, time::Duration};

use bento_gateway::{
    config::TokenConfig,
    domain::{
        audit::{Action, Actor},
        rights::Grantor,
        routing::Declared,
        timestamp::Timestamp,
        token::{TokenRecord, TokenStatus},
        user::SingleSignOn,
    },
    index::follow::{Follower, Index},
    secret_hash::Argon2Cost,
    service::{Context, Error, tokens},
    store::{EventFilter, SharedStore},
    system::{self, Os},
};
use tokio::sync::watch;

use super::{StoreUnderTest, behaviours, insert, owner, secret, token, verbs::Verbs};

behaviours!(
    what_was_seen_to_expire_stays_so_when_the_clock_is_set_back,
    what_has_just_expired_is_not_written_down_yet,
    an_old_secret_stays_retired,
);

const HOUR: Duration = Duration::from_secs(3600);

/// What a verb needs beside the store.
struct Surroundings {
    tokens: TokenConfig,
    declared: Declared,
}

impl Surroundings {
    fn new() -> Self {
        let tokens = TokenConfig {
            default_lifetime: None,
            max_lifetime: None,
            rotation_overlap: HOUR,
            expiry_notice: None,
            usage_interval: HOUR,
            pepper: None,
            argon2: Argon2Cost { memory_kib: 8, iterations: 1, parallelism: 1 },
            first_token: false,
        };
        Self { tokens, declared: Declared::default() }
    }

    fn context<'a>(&'a self, store: &'a SharedStore, now: Timestamp) -> Context<'a> {
        let (actor, grantor) = (Actor::System, Grantor::Operator);
        let Self { tokens, declared } = self;
        let sign_on = SingleSignOn::Off;
        Context { store, tokens, declared, actor, grantor, sign_on, request: None, system: &Os, now }
    }
}

async fn record_expiry(store: &SharedStore, now: Timestamp) -> bool {
    tokens::record_expiry(&Surroundings::new().context(store, now)).await.unwrap()
}

async fn indexed(under_test: &StoreUnderTest, store: &SharedStore) -> Arc<Index> {
    let index = Arc::new(Index::new());
    let (_declared, receiver) = watch::channel(Declared::default());
    let mut follower = Follower::new(index.clone(), store.clone(), under_test.config.clone(), receiver);
    follower.catch_up().await.unwrap();
    index
}

async fn what_was_seen_to_expire_stays_so_when_the_clock_is_set_back(under_test: StoreUnderTest) {
    let store = under_test.open().await;
    let (owner, now) = (owner(&store).await, system::now());
    let expires_at = Some(now.saturating_sub(2 * HOUR));
    let short = TokenRecord { expires_at, ..token(owner, "short") };
    let secret = insert(&store, &short).await;
    let long = TokenRecord { expires_at: Some(now.saturating_add(HOUR)), ..token(owner, "long") };
    let other = insert(&store, &long).await;

    assert!(record_expiry(&store, now).await);
    let seq = store.change_seq().await.unwrap();
    assert!(!record_expiry(&store, now).await, "it is written down once");
    assert_eq!(store.change_seq().await.unwrap(), seq);

    let before_its_end = now.saturating_sub(3 * HOUR);
    let found = store.token(short.uid).await.unwrap().unwrap();
    assert_eq!(found.status(before_its_end), TokenStatus::Expired);
    assert_eq!(found.expires_at, expires_at, "what was asked for is still shown");
    assert_eq!(store.token(long.uid).await.unwrap().unwrap().status(now), TokenStatus::Active);
    let index = indexed(&under_test, &store).await;
    let ends = |lookup_id| index.tokens.find(lookup_id).unwrap().holder().expires_at;
    assert!(ends(secret.lookup_id).unwrap() < before_its_end, "every gateway decides so");
    assert_eq!(ends(other.lookup_id), long.expires_at);

    let surroundings = Surroundings::new();
    let context = surroundings.context(&store, before_its_end);
    let update = tokens::UpdateToken { name: Some("revived".to_owned()), ..Default::default() };
    let refused = tokens::update(&context, short.uid, update).await;
    assert!(matches!(refused, Err(Error::TokenExpired { .. })), "{refused:?}");
    let refused = tokens::rotate(&context, short.uid, None).await.map(drop);
    assert!(matches!(refused, Err(Error::TokenExpired { .. })), "{refused:?}");

    let events = store.events(&EventFilter { limit: 100, ..Default::default() }).await.unwrap();
    let recorded = events.iter().find(|event| event.facts.action == Action::ExpiryRecorded.as_str()).unwrap();
    assert!(recorded.facts.detail.to_string().contains(&short.uid.to_string()), "{recorded:?}");
}

async fn what_has_just_expired_is_not_written_down_yet(under_test: StoreUnderTest) {
    let store = under_test.open().await;
    let (owner, now) = (owner(&store).await, system::now());
    let expires_at = Some(now.saturating_sub(tokens::GRACE / 2));
    insert(&store, &TokenRecord { expires_at, ..token(owner, "short") }).await;
    assert!(!record_expiry(&store, now).await, "a clock that is wrong for a moment ends nothing for good");
    let earlier = TokenRecord { expires_at: Some(now.saturating_sub(tokens::GRACE * 2)), ..token(owner, "earlier") };
    insert(&store, &earlier).await;
    assert!(record_expiry(&store, now).await);
}

async fn an_old_secret_stays_retired(under_test: StoreUnderTest) {
    let store = under_test.open().await;
    let (owner, now) = (owner(&store).await, system::now());
    let record = token(owner, "rotated");
    let old = insert(&store, &record).await;
    let old_until = now.saturating_sub(HOUR);
    store.rotate_token(record.uid, &secret(), old_until, &super::event(Action::TokenRotated)).await.unwrap();
    assert!(record_expiry(&store, now).await);
    assert!(!record_expiry(&store, now).await);
    let index = indexed(&under_test, &store).await;
    let retires = index.tokens.find(old.lookup_id).unwrap().holder().retires_at.unwrap();
    assert!(retires < old_until.saturating_sub(HOUR * 24 * 365), "{retires}");
}
