//! A follower whose store is not of the history any more that it has applied: after a fail-over that lost commits, or a
//! restore. The numbers go back, or are passed again with other contents.

use std::sync::Arc;

use bento_gateway::{
    domain::{audit::Action, routing::Declared, token::SecretRecord},
    index::follow::{Follower, Index},
    store::SharedStore,
    system::{self, clock::ClockReading},
};
use tokio::sync::watch;

use super::{StoreUnderTest, behaviours, deployments::add, event, insert, owner, spec, token, verbs::Verbs};

behaviours!(
    a_number_that_is_passed_again_is_noticed,
    a_store_that_went_back_is_read_whole,
    a_read_that_breaks_off_leaves_the_index_as_it_was,
    marks_are_bounded,
    an_index_is_rebuilt_once_if_its_mark_is_forgotten,
);

struct Followed {
    store: SharedStore,
    index: Arc<Index>,
    follower: Follower,
    _declared: watch::Sender<Declared>,
}

impl Followed {
    async fn new(under_test: &StoreUnderTest) -> Self {
        let (store, index) = (under_test.open().await, Arc::new(Index::new()));
        let (declared, receiver) = watch::channel(Declared::default());
        let follower = Follower::new(Arc::clone(&index), store.clone(), under_test.config.clone(), receiver);
        Self { store, index, follower, _declared: declared }
    }

    async fn catch_up(&mut self) {
        self.follower.catch_up().await.unwrap();
        self.index.freshness.mark_fresh(ClockReading::now(), None);
        let latest = self.store.snapshot().await.unwrap().head(None).await.unwrap().latest;
        assert_eq!(self.index.applied().as_deref(), Some(&latest));
    }

    /// `None`: the index does not know it.
    fn is_revoked(&self, secret: &SecretRecord) -> Option<bool> {
        self.index.tokens.find(secret.lookup_id).map(|entry| entry.holder().revoked_at.is_some())
    }
}

/// What a standby is like that has not got the last changes, as far as numbers and marks go.
pub(super) async fn lose_the_last(under_test: &StoreUnderTest, changes: i64) {
    under_test.execute(&format!("UPDATE change_seq SET seq = seq - {changes}")).await;
    under_test.execute("DELETE FROM change_marks WHERE seq > (SELECT seq FROM change_seq)").await;
}

async fn a_number_that_is_passed_again_is_noticed(under_test: StoreUnderTest) {
    for further in 0..3 {
        let mut followed = Followed::new(&under_test).await;
        let store = followed.store.clone();
        let owner_id = owner(&store).await;
        let record = token(owner_id, &format!("victim-{further}"));
        let victim = insert(&store, &record).await;
        for _ in 0..3 {
            owner(&store).await;
        }
        followed.catch_up().await;
        assert_eq!(followed.is_revoked(&victim), Some(false));

        lose_the_last(&under_test, 3).await;
        store.revoke_token(record.uid, system::now(), &event(Action::TokenRevoked)).await.unwrap();
        for _ in 0..2 + further {
            owner(&store).await;
        }
        followed.catch_up().await;
        assert_eq!(followed.is_revoked(&victim), Some(true), "{further} beyond the number that was applied");
    }
}

async fn a_store_that_went_back_is_read_whole(under_test: StoreUnderTest) {
    let mut followed = Followed::new(&under_test).await;
    let store = followed.store.clone();
    let owner_id = owner(&store).await;
    let kept = insert(&store, &token(owner_id, "kept")).await;
    let lost = insert(&store, &token(owner_id, "lost")).await;
    add(&store, &spec("lost", &[])).await.unwrap();
    followed.catch_up().await;
    assert_eq!((followed.is_revoked(&kept), followed.is_revoked(&lost)), (Some(false), Some(false)));
    assert_eq!(followed.index.routes.load().listeners().count(), 1);

    under_test.execute(&format!("DELETE FROM token_secrets WHERE lookup_id = '{}'", lost.lookup_id.as_str())).await;
    under_test.execute("DELETE FROM deployments").await;
    lose_the_last(&under_test, 2).await;
    followed.catch_up().await;
    assert_eq!((followed.is_revoked(&kept), followed.is_revoked(&lost)), (Some(false), None));
    assert_eq!(followed.index.routes.load().listeners().count(), 0);
}

async fn a_read_that_breaks_off_leaves_the_index_as_it_was(under_test: StoreUnderTest) {
    let mut followed = Followed::new(&under_test).await;
    let store = followed.store.clone();
    let owner_id = owner(&store).await;
    let known = insert(&store, &token(owner_id, "known")).await;
    owner(&store).await;
    followed.catch_up().await;
    let applied = followed.index.applied();

    lose_the_last(&under_test, 1).await;
    under_test.execute("ALTER TABLE token_secrets RENAME TO out_of_reach").await;
    followed.follower.catch_up().await.expect_err("it cannot be read");
    assert_eq!(followed.is_revoked(&known), Some(false), "known tokens go on");
    assert!(!followed.index.freshness.is_current(), "and nobody is told that a token does not exist");
    assert_eq!(followed.index.applied(), applied);

    under_test.execute("ALTER TABLE out_of_reach RENAME TO token_secrets").await;
    followed.catch_up().await;
    assert_eq!(followed.is_revoked(&known), Some(false));
}

async fn marks_are_bounded(under_test: StoreUnderTest) {
    let store = under_test.open().await;
    owner(&store).await;
    under_test.execute("UPDATE change_seq SET seq = seq + 10000").await;
    owner(&store).await;
    let kept = under_test.execute("DELETE FROM change_marks").await;
    assert_eq!(kept, 2, "the two that are not 10,000 changes ago");
}

async fn an_index_is_rebuilt_once_if_its_mark_is_forgotten(under_test: StoreUnderTest) {
    let mut followed = Followed::new(&under_test).await;
    owner(&followed.store).await;
    followed.catch_up().await;
    let epoch = || *followed.index.epoch.borrow();
    under_test.execute("DELETE FROM change_marks").await;
    let before = epoch();
    followed.follower.catch_up().await.unwrap();
    let rebuilt = *followed.index.epoch.borrow();
    assert_ne!(rebuilt, before, "what is not known to be the same is read again");
    followed.follower.catch_up().await.unwrap();
    assert_eq!(*followed.index.epoch.borrow(), rebuilt, "and not for ever");
}
