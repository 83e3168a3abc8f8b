//! Every token of the store, by lookup id.
//!
//! Immutable shards behind one atomic pointer each: a reader takes no lock, and a change copies one shard (250 entries
//! at a million tokens), never the whole index.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicI64, AtomicU32, Ordering::Relaxed},
    },
    time::Duration,
};

use arc_swap::ArcSwap;

use crate::{
    domain::{
        decision::Holder,
        deployment::DeploymentName,
        scope::ScopeSet,
        timestamp::Timestamp,
        token::TokenUid,
        token_text::{LOOKUP_ID_LEN, LookupId},
        user::UserId,
    },
    store::{ChangedSecret, ChangedUser},
    system,
};

/// One per pair of leading characters of a lookup id. They are random, so the shards fill evenly.
const SHARDS: usize = 62 * 62;

/// How long a browser session that has ended stays in the index.
const REMEMBERED: Duration = Duration::from_secs(3600);

/// The index that requests read.
pub struct TokenIndex {
    shards: Box<[ArcSwap<Shard>]>,
}

type Shard = HashMap<LookupId, Arc<Entry>>;

/// One secret and all that a decision needs of its token.
#[derive(Debug)]
pub struct Entry {
    pub uid: TokenUid,
    lookup_id: LookupId,
    /// PHC string.
    pub(super) hash: Box<str>,
    /// Keyed hash of the secret, once it was proven.
    pub(super) fingerprint: OnceLock<blake3::Hash>,
    scopes: Arc<ScopeSet>,
    owner: Arc<Owner>,
    expires_at: Option<Timestamp>,
    revoked_at: Option<Timestamp>,
    retires_at: Option<Timestamp>,
    /// A browser session of this Deployment. `None`: the token itself.
    session: Option<Box<DeploymentName>>,
    /// Second of the last use that was noted, so that a busy token is noted once a second.
    pub(super) used_second: AtomicI64,
    /// Requests that were let through and are not written yet.
    pub(super) uses: AtomicU32,
}

#[derive(Debug)]
struct Owner {
    disabled: AtomicBool,
}

impl TokenIndex {
    pub fn new() -> Self {
        Self { shards: (0..SHARDS).map(|_| ArcSwap::default()).collect() }
    }

    pub fn find(&self, id: LookupId) -> Option<Arc<Entry>> {
        self.shards[shard_of(id)].load().get(&id).cloned()
    }

    pub fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.load().len()).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Becomes like `whole`, which was built beside it: at no moment is a token missing that both know. Secrets whose hash
    /// is the same stay proven. For the one writer.
    pub fn take_over(&self, whole: &Self) {
        for (shard, new) in self.shards.iter().zip(&whole.shards) {
            let (earlier, new) = (shard.load(), new.load_full());
            for (id, entry) in new.iter() {
                if let Some(earlier) = earlier.get(id) {
                    entry.inherit(earlier);
                }
            }
            shard.store(new);
        }
    }

    /// Puts the entries in, in place of earlier ones with their lookup ids. For the one writer: two concurrent calls
    /// would lose entries.
    pub fn replace(&self, entries: Vec<Entry>) {
        let now = system::now();
        let mut by_shard: HashMap<usize, Vec<Entry>> = HashMap::new();
        for entry in entries {
            by_shard.entry(shard_of(entry.lookup_id)).or_default().push(entry);
        }
        for (at, entries) in by_shard {
            let mut shard = Shard::clone(&self.shards[at].load());
            shard.retain(|_, entry| !entry.is_spent(now));
            for entry in entries {
                if let Some(earlier) = shard.get(&entry.lookup_id) {
                    entry.inherit(earlier);
                }
                shard.insert(entry.lookup_id, Arc::new(entry));
            }
            shard.shrink_to_fit();
            self.shards[at].store(Arc::new(shard));
        }
    }
}

impl Default for TokenIndex {
    fn default() -> Self {
        Self::new()
    }
}

impl Entry {
    pub fn holder(&self) -> Holder<'_> {
        Holder {
            scopes: &self.scopes,
            expires_at: self.expires_at,
            revoked_at: self.revoked_at,
            retires_at: self.retires_at,
            owner_disabled: self.owner.disabled.load(Relaxed),
        }
    }

    /// Whether what was shown is good there: a session's secret at its own Deployment, and at no other.
    pub fn is_session_of(&self, deployment: &DeploymentName) -> bool {
        self.session.as_deref() == Some(deployment)
    }

    /// A browser session that ended so long ago that its browser need not be told any more.
    fn is_spent(&self, now: Timestamp) -> bool {
        self.session.is_some() && self.retires_at.is_some_and(|end| now.since(end) > REMEMBERED)
    }

    pub fn lookup_id(&self) -> LookupId {
        self.lookup_id
    }

    /// A secret that was proven stays so while its hash is the same.
    fn inherit(&self, earlier: &Self) {
        self.used_second.store(earlier.used_second.load(Relaxed), Relaxed);
        self.uses.store(earlier.uses.swap(0, Relaxed), Relaxed);
        if earlier.hash == self.hash
            && let Some(fingerprint) = earlier.fingerprint.get()
        {
            let _ = self.fingerprint.set(*fingerprint);
        }
    }
}

fn shard_of(id: LookupId) -> usize {
    let [first, second, ..]: [u8; LOOKUP_ID_LEN] = *id.as_bytes();
    digit(first) * 62 + digit(second)
}

fn digit(character: u8) -> usize {
    usize::from(match character {
        b'0'..=b'9' => character - b'0',
        b'A'..=b'Z' => character - b'A' + 10,
        b'a'..=b'z' => character - b'a' + 36,
        _ => 0,
    })
}

// === the writer's side ===

/// Turns the store's rows into entries, sharing what many tokens have in common. There is one, in the follower.
#[derive(Default)]
pub struct TokenWriter {
    owners: HashMap<UserId, Arc<Owner>>,
    scopes: HashSet<Arc<ScopeSet>>,
}

impl TokenWriter {
    pub fn entries(&mut self, changed: Vec<ChangedSecret>) -> Vec<Entry> {
        changed.into_iter().map(|secret| self.entry(secret)).collect()
    }

    /// Takes effect on every token of the user at once, since they share the flag.
    pub fn apply_users(&mut self, changed: &[ChangedUser]) {
        for user in changed {
            self.owner(user.id).disabled.store(user.disabled, Relaxed);
        }
    }

    fn entry(&mut self, changed: ChangedSecret) -> Entry {
        Entry {
            uid: changed.uid,
            lookup_id: changed.secret.lookup_id,
            hash: changed.secret.hash,
            fingerprint: OnceLock::new(),
            scopes: self.shared_scopes(changed.scopes),
            owner: self.owner(changed.owner),
            expires_at: changed.expires_at,
            revoked_at: changed.revoked_at,
            retires_at: changed.secret.retires_at,
            session: changed.secret.session.map(Box::new),
            used_second: AtomicI64::new(0),
            uses: AtomicU32::new(0),
        }
    }

    fn owner(&mut self, id: UserId) -> Arc<Owner> {
        let owner = self.owners.entry(id).or_insert_with(|| Arc::new(Owner { disabled: AtomicBool::new(false) }));
        Arc::clone(owner)
    }

    fn shared_scopes(&mut self, scopes: ScopeSet) -> Arc<ScopeSet> {
        if let Some(shared) = self.scopes.get(&scopes) {
            return Arc::clone(shared);
        }
        let shared = Arc::new(scopes);
        self.scopes.insert(Arc::clone(&shared));
        shared
    }
}
