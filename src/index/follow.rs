//! Keeps the index like the store: the one task that writes it.
//!
//! It reads `change_seq` whenever the store says that something changed, and every poll interval whether it did or not,
//! since notifications can be lost. While the store is away the index stays as it was.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use arc_swap::{ArcSwap, ArcSwapOption};
use tokio::{
    sync::{Notify, watch},
    time::timeout,
};
use tracing::{debug, error, info, warn};

use super::{
    freshness::Freshness,
    history::Step,
    routes::{Route, RouteKey, RoutingTable},
    token_writer::TokenWriter,
    tokens::TokenIndex,
};
use crate::{
    config::StoreConfig,
    domain::{
        deployment::{DeploymentName, DeploymentSpec},
        routing::Declared,
    },
    store::{ChangedDeployment, ChangedUser, Cursor, Point, SharedStore, Snapshot, StoreError},
    system::clock::ClockReading,
};

/// Changed secrets read at once, which are in memory twice then.
const PAGE: u32 = 50_000;
/// Longest pause between two tries to reach a store that is away.
const MAX_BACKOFF: Duration = Duration::from_secs(5);
/// After so long a poll counts as failed for tokens that the index does not know: they get 503 instead of 401. The poll
/// itself goes on. A connection that hangs is given up only after seconds, and no good token may be called unknown until then.
const POLL_LIMIT: Duration = Duration::from_millis(250);
/// Pause before a lost subscription is renewed.
const RESUBSCRIBE_AFTER: Duration = Duration::from_secs(1);

/// Passes the store's notifications on. It is a task of its own, since the next poll must not cancel the subscribing.
async fn listen(store: SharedStore, changed: Arc<Notify>) {
    loop {
        match store.notified().await {
            Ok(()) => changed.notify_one(),
            Err(error) => {
                debug!(%error, "no notifications from the store; polling goes on");
                tokio::time::sleep(RESUBSCRIBE_AFTER).await;
            }
        }
    }
}

/// The memory that the follower keeps and everyone reads.
pub struct Index {
    pub tokens: TokenIndex,
    pub routes: ArcSwap<RoutingTable>,
    pub freshness: Freshness,
    /// Counts what was applied, so that running work can be looked at again.
    pub epoch: watch::Sender<u64>,
    /// What the index is like. `None` before it was first loaded.
    applied: ArcSwapOption<Point>,
    /// The store may have changed.
    changed: Arc<Notify>,
}

impl Index {
    pub fn new() -> Self {
        Self {
            tokens: TokenIndex::new(),
            routes: ArcSwap::default(),
            freshness: Freshness::new(),
            epoch: watch::Sender::new(0),
            applied: ArcSwapOption::empty(),
            changed: Arc::default(),
        }
    }

    /// Makes the follower poll at once: something was just committed.
    pub fn poll_now(&self) {
        self.changed.notify_one();
    }

    /// Where a request leads by the routing table of now. It has authorised nobody.
    pub fn route<'a>(&self, key: RouteKey<'a>) -> Route<'a> {
        self.routes.load().find(key)
    }

    /// Every change up to this one is decided by. `None`: none yet.
    pub fn applied(&self) -> Option<Arc<Point>> {
        self.applied.load_full()
    }

    /// Returns once this change is decided by.
    pub async fn applied_up_to(&self, seq: i64) {
        let mut epoch = self.epoch.subscribe();
        while self.applied().is_none_or(|applied| applied.seq < seq) && epoch.changed().await.is_ok() {}
    }

    /// Returns once the store was read for the first time.
    pub async fn loaded(&self) {
        let mut epoch = self.epoch.subscribe();
        while self.freshness.check().is_err() && epoch.changed().await.is_ok() {}
    }

    /// Calls `adjust` with each routing table that follows another, beginning with that of now, until the process ends.
    pub async fn each_routing_table(&self, mut adjust: impl FnMut(&Arc<RoutingTable>)) {
        let mut epoch = self.epoch.subscribe();
        let mut seen: Option<Arc<RoutingTable>> = None;
        loop {
            let routes = self.routes.load_full();
            // The epoch is of tokens, too.
            if seen.as_ref().is_none_or(|seen| !Arc::ptr_eq(seen, &routes)) {
                adjust(&routes);
                seen = Some(routes);
            }
            if epoch.changed().await.is_err() {
                return;
            }
        }
    }

    fn announce(&self) {
        self.epoch.send_modify(|epoch| *epoch = epoch.wrapping_add(1));
    }
}

impl Default for Index {
    fn default() -> Self {
        Self::new()
    }
}

pub struct Follower {
    index: Arc<Index>,
    store: SharedStore,
    config: StoreConfig,
    declared: watch::Receiver<Declared>,
    writer: TokenWriter,
    stored: BTreeMap<DeploymentName, DeploymentSpec>,
    /// What the index is like. `None`: nothing was read yet.
    applied: Option<Point>,
}

/// What one look has read beside the secrets. Nothing of it is decided by before all of it is there.
struct News {
    users: Vec<ChangedUser>,
    deployments: Vec<ChangedDeployment>,
}

impl News {
    async fn read(snapshot: &mut Snapshot, since: i64) -> Result<Self, StoreError> {
        let deployments = snapshot.changed_deployments(since).await?;
        Ok(Self { users: snapshot.changed_users(since).await?, deployments })
    }
}

impl Follower {
    pub fn new(
        index: Arc<Index>,
        store: SharedStore,
        config: StoreConfig,
        declared: watch::Receiver<Declared>,
    ) -> Self {
        Self { index, store, config, declared, writer: TokenWriter::default(), stored: BTreeMap::new(), applied: None }
    }

    /// Reads the store once, for whoever only wants to know what a gateway would decide that starts now. Nothing is written.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn read_once(mut self) -> Result<(), StoreError> {
        let asked = ClockReading::now();
        let mut snapshot = self.store.snapshot().await?;
        let head = snapshot.head(None).await?;
        self.replace_everything(snapshot, head.latest).await?;
        self.index.freshness.mark_fresh(asked, None);
        Ok(())
    }

    /// Follows the store until the process ends.
    pub async fn run(mut self) {
        let changed_elsewhere = Arc::clone(&self.index.changed);
        tokio::spawn(listen(Arc::clone(&self.store), Arc::clone(&changed_elsewhere)));
        let mut pause = self.config.poll_interval;
        let mut unreachable = false;
        let mut declared = self.declared.clone();
        loop {
            // A poll that hangs must not hold a reload up. It may be cancelled: the next one asks for what it left undone.
            let asked = ClockReading::now();
            let polled = tokio::select! {
                polled = self.poll() => polled,
                changed = declared.changed() => {
                    if changed.is_err() { return }
                    self.declare_anew();
                    continue;
                }
            };
            match polled {
                Ok(()) => {
                    if std::mem::take(&mut unreachable) {
                        info!("the store is followed again");
                    }
                    let first = self.index.freshness.check().is_err();
                    self.index.freshness.mark_fresh(asked, self.config.max_staleness);
                    if first {
                        self.index.announce();
                    }
                    pause = self.config.poll_interval;
                }
                Err(error) => {
                    if !std::mem::replace(&mut unreachable, true) {
                        error!(%error, "the store cannot be followed; known tokens go on working, new ones wait");
                    }
                    self.index.freshness.mark_stale();
                    pause = (pause * 2).min(MAX_BACKOFF);
                }
            }
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = changed_elsewhere.notified() => {}
                changed = declared.changed() => {
                    if changed.is_err() { return }
                    self.declare_anew();
                }
            }
        }
    }

    /// Catches up. While that takes longer than [`POLL_LIMIT`], the index counts as behind the store.
    async fn poll(&mut self) -> Result<(), StoreError> {
        let index = Arc::clone(&self.index);
        let mut polling = std::pin::pin!(self.catch_up());
        match timeout(POLL_LIMIT, &mut polling).await {
            Ok(polled) => polled,
            Err(_) => {
                index.freshness.mark_stale();
                polling.await
            }
        }
    }

    /// Makes the index like the store.
    ///
    /// # Errors
    /// [`StoreError`]; the index is as it was before, and the next call asks for the same.
    pub async fn catch_up(&mut self) -> Result<(), StoreError> {
        let mut snapshot = self.store.snapshot().await?;
        let head = snapshot.head(self.applied.as_ref().map(|applied| applied.seq)).await?;
        match Step::of(self.applied.as_ref(), &head) {
            Step::Nothing => Ok(()),
            Step::Changes { since } => self.apply_changes(snapshot, since, head.latest).await,
            Step::Everything => {
                self.replace_everything(snapshot, head.latest).await?;
                // Writing may have to wait, and the follower must not.
                tokio::spawn(self.declare());
                Ok(())
            }
        }
    }

    async fn apply_changes(&mut self, mut snapshot: Snapshot, since: i64, latest: Point) -> Result<(), StoreError> {
        let news = News::read(&mut snapshot, since).await?;
        let (mut changed, mut cursor) = (Vec::new(), Cursor::after(since));
        loop {
            let page = snapshot.changed_secrets(cursor, PAGE).await?;
            let Some(last) = page.last() else { break };
            cursor = last.cursor();
            changed.extend(self.writer.entries(page.into_iter().map(|changed| changed.now)));
        }

        self.writer.apply_users(&news.users);
        self.index.tokens.replace(changed);
        let routes_changed = !news.deployments.is_empty();
        self.store_deployments(news.deployments);
        if routes_changed {
            self.rebuild_routes();
        }
        self.is_like(latest);
        Ok(())
    }

    /// Builds everything beside what there is and swaps it. Until then known tokens go on; unknown ones may be of the
    /// history that is being read.
    async fn replace_everything(&mut self, mut snapshot: Snapshot, latest: Point) -> Result<(), StoreError> {
        if let Some(applied) = &self.applied {
            warn!(
                seq = latest.seq,
                applied = applied.seq,
                "the store's history has changed, as after a restore or a fail-over; everything is read again"
            );
            self.index.freshness.mark_stale();
        }
        let news = News::read(&mut snapshot, -1).await?;
        let (mut whole, mut writer) = (Vec::new(), TokenWriter::default());
        snapshot.every_secret(|secrets| whole.extend(writer.entries(secrets))).await?;

        writer.apply_users(&news.users);
        self.writer = writer;
        self.index.tokens.take_over(whole);
        self.stored.clear();
        self.store_deployments(news.deployments);
        self.rebuild_routes();
        self.is_like(latest);
        Ok(())
    }

    fn store_deployments(&mut self, changed: Vec<ChangedDeployment>) {
        for changed in changed {
            match changed.spec {
                Some(spec) => self.stored.insert(changed.name, spec),
                None => self.stored.remove(&changed.name),
            };
        }
    }

    fn is_like(&mut self, latest: Point) {
        self.applied = Some(latest.clone());
        self.index.applied.store(Some(Arc::new(latest)));
        self.index.announce();
    }

    /// After a reload. A task tells the store, which may be away.
    fn declare_anew(&mut self) {
        self.rebuild_routes();
        tokio::spawn(self.declare());
    }

    /// Tells the store what this process declares, for whoever has not been given its file.
    fn declare(&self) -> impl Future<Output = ()> + Send + use<> {
        let declared = self.declared.borrow().deployments.clone();
        let store = Arc::clone(&self.store);
        async move {
            if let Err(error) = store.declare_deployments(&declared, crate::system::now()).await {
                warn!(%error, "the store could not be told which Deployments are declared");
            }
        }
    }

    fn rebuild_routes(&mut self) {
        let earlier = self.index.routes.load();
        let table = RoutingTable::build(&self.declared.borrow_and_update(), self.stored.values(), &earlier);
        for (deployment, taken) in table.refused().iter().filter(|refused| !earlier.refused().contains(refused)) {
            warn!(%deployment, "{taken}, so requests there do not reach this Deployment");
        }
        self.index.routes.store(Arc::new(table));
        self.index.announce();
    }
}
