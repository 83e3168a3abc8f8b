//! What the index knows of one secret. There may be millions, so it is kept small, and what many have in common is shared.

use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicBool, AtomicI64, AtomicU32, Ordering::Relaxed},
};

use crate::{
    domain::{
        decision::Holder, deployment::DeploymentName, scope::ScopeSet, timestamp::Timestamp, token::TokenUid,
        user::UserId,
    },
    secret_hash::{HashBytes, HashForm},
};

/// One secret and all that a decision needs of its token. Its lookup id is the index's to know.
pub struct Entry {
    pub uid: TokenUid,
    pub(super) hash: HashBytes,
    pub(super) common: Arc<Common>,
    pub(super) expires_at: MaybeNever,
    pub(super) rare: Option<Box<Rare>>,
    /// Empty until the secret was proven. The entry that replaces this one shares it.
    live: OnceLock<Arc<Live>>,
}

/// With the counts of its `Arc` 120 bytes, for which an allocator takes 128.
const _: () = assert!(size_of::<Entry>() <= 104);

/// What many secrets have in common, kept once.
#[derive(PartialEq, Eq, Hash)]
pub(super) struct Common {
    pub scopes: Arc<ScopeSet>,
    pub owner: Owner,
    pub form: HashForm,
}

/// A user, as far as their tokens depend on them. Clones share the flag.
#[derive(Clone)]
pub(super) struct Owner {
    id: UserId,
    disabled: Arc<AtomicBool>,
}

/// What few secrets have.
pub(super) struct Rare {
    pub revoked_at: Option<Timestamp>,
    pub retires_at: Option<Timestamp>,
    /// A browser session of this Deployment. `None`: the token itself.
    pub session: Option<DeploymentName>,
}

/// What only a secret has that is used.
struct Live {
    /// Keyed hash of the secret.
    fingerprint: blake3::Hash,
    /// Second of the last use that was noted, so that a busy token is noted once a second.
    used_second: AtomicI64,
    /// Requests that were let through and are not written yet.
    uses: AtomicU32,
}

/// Half as large as an `Option<Timestamp>`.
#[derive(Clone, Copy)]
pub(super) struct MaybeNever(i64);

impl Entry {
    pub(super) fn new(
        uid: TokenUid,
        hash: HashBytes,
        common: Arc<Common>,
        expires_at: Option<Timestamp>,
        rare: Rare,
    ) -> Self {
        let rare = (!rare.is_usual()).then(|| Box::new(rare));
        Self { uid, hash, common, expires_at: expires_at.into(), rare, live: OnceLock::new() }
    }

    pub fn holder(&self) -> Holder<'_> {
        Holder {
            scopes: &self.common.scopes,
            expires_at: self.expires_at.get(),
            revoked_at: self.rare.as_ref().and_then(|rare| rare.revoked_at),
            retires_at: self.retires_at(),
            owner_disabled: self.common.owner.is_disabled(),
        }
    }

    pub fn owner(&self) -> UserId {
        self.common.owner.id
    }

    /// Whether what was shown is good there: a session's secret at its own Deployment, and at no other.
    pub fn is_session_of(&self, deployment: &DeploymentName) -> bool {
        self.session() == Some(deployment)
    }

    /// The Deployment of the browser session. `None`: it is the token itself.
    pub(super) fn session(&self) -> Option<&DeploymentName> {
        self.rare.as_ref()?.session.as_ref()
    }

    pub(super) fn retires_at(&self) -> Option<Timestamp> {
        self.rare.as_ref()?.retires_at
    }

    /// When the secret stops being good by itself. `None`: never.
    pub fn ends(&self) -> Option<Timestamp> {
        [self.expires_at.get(), self.retires_at()].into_iter().flatten().min()
    }

    /// The PHC string.
    pub(super) fn phc(&self) -> String {
        self.hash.to_phc(&self.common.form)
    }

    /// `None`: the secret was never proven.
    pub(super) fn fingerprint(&self) -> Option<&blake3::Hash> {
        self.live.get().map(|live| &live.fingerprint)
    }

    /// The secret was proven; this is its fingerprint.
    pub(super) fn prove(&self, fingerprint: blake3::Hash) {
        self.live
            .get_or_init(|| Arc::new(Live { fingerprint, used_second: AtomicI64::new(0), uses: AtomicU32::new(0) }));
    }

    /// A secret that was proven stays so while its hash is the same.
    pub(super) fn inherit(&self, earlier: &Self) {
        if self.hash == earlier.hash
            && self.common.form == earlier.common.form
            && let Some(live) = earlier.live.get()
        {
            let _ = self.live.set(Arc::clone(live));
        }
    }

    /// Counts a request. Whether it is the first of this second.
    pub(super) fn count_use(&self, second: i64) -> bool {
        let Some(live) = self.live.get() else { return false };
        live.uses.fetch_add(1, Relaxed);
        let first = live.used_second.load(Relaxed) != second;
        if first {
            live.used_second.store(second, Relaxed);
        }
        first
    }

    /// The requests since the last time. What is counted from now on is noted again, also within this second.
    pub(super) fn take_uses(&self) -> u32 {
        let Some(live) = self.live.get() else { return 0 };
        live.used_second.store(0, Relaxed);
        live.uses.swap(0, Relaxed)
    }
}

impl std::fmt::Debug for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Entry").field("uid", &self.uid).finish_non_exhaustive()
    }
}

impl Owner {
    pub fn new(id: UserId) -> Self {
        Self { id, disabled: Arc::default() }
    }

    /// For all tokens of the user at once.
    pub fn disable(&self, disabled: bool) {
        self.disabled.store(disabled, Relaxed);
    }

    fn is_disabled(&self) -> bool {
        self.disabled.load(Relaxed)
    }
}

impl PartialEq for Owner {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id
    }
}

impl Eq for Owner {}

impl std::hash::Hash for Owner {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.id.hash(state);
    }
}

impl Rare {
    /// Whether it says nothing.
    fn is_usual(&self) -> bool {
        matches!(self, Self { revoked_at: None, retires_at: None, session: None })
    }
}

impl MaybeNever {
    const NEVER: i64 = i64::MAX;

    fn get(self) -> Option<Timestamp> {
        (self.0 != Self::NEVER).then_some(Timestamp::from_millis(self.0))
    }
}

impl From<Option<Timestamp>> for MaybeNever {
    /// A time of 292 million years from now is never, too.
    fn from(at: Option<Timestamp>) -> Self {
        Self(at.map_or(Self::NEVER, Timestamp::as_millis))
    }
}
