//! Proves a secret: by Argon2 once per token and process, by a keyed fast hash ever after.
//!
//! Garbage costs least: shape and checksum are checked before a token comes here. An unknown lookup id costs one fast hash,
//! as does a wrong secret of a proven token. Only the first use of a token's secret in this process costs Argon2, off the
//! I/O threads, one at a time per token, after waiting in a bounded room (`waiting_room.rs`).

use std::sync::Arc;

use tokio::{runtime::Handle, sync::Semaphore};

use super::{
    entry::Entry,
    follow::Index,
    tokens::TokenIndex,
    waiting_room::{Full, WaitingRoom},
};
use crate::{
    domain::{
        decision,
        timestamp::Timestamp,
        token_text::{LookupId, PresentedToken, TOKEN_LEN},
    },
    http::{limit::Limit, network::Network},
    secret_hash::SecretHasher,
    system::{self, NoEntropy},
};

/// First verifications of tokens that are revoked, expired or the like, over all of them.
const ENDED_PER_MINUTE: u32 = 12;
const ENDED_AT_ONCE: u32 = 20;

/// An entry whose secret the caller has shown. Only [`Verifier`] makes one.
#[derive(Clone, Debug)]
pub struct ProvenToken {
    lookup_id: LookupId,
    entry: Arc<Entry>,
}

impl ProvenToken {
    pub fn entry(&self) -> &Entry {
        &self.entry
    }

    pub fn lookup_id(&self) -> LookupId {
        self.lookup_id
    }

    pub fn shared_entry(self) -> Arc<Entry> {
        self.entry
    }
}

impl AsRef<Entry> for ProvenToken {
    fn as_ref(&self) -> &Entry {
        &self.entry
    }
}

pub struct Verifier {
    /// Random per process: a fingerprint is of no use elsewhere.
    key: [u8; blake3::KEY_LEN],
    /// Compared with where there is no fingerprint, so that the time does not say whether a token is known.
    nobody: blake3::Hash,
    hasher: SecretHasher,
    /// Runs the blocking work.
    runtime: Handle,
    /// As many first verifications run at once.
    slots: Arc<Semaphore>,
    waiting: WaitingRoom,
    /// First verifications of tokens that have ended.
    ended: Limit<()>,
}

/// Who shows a token, and when.
#[derive(Clone, Copy, Debug)]
pub struct Shown {
    pub from: Network,
    pub at: Timestamp,
}

/// What the index says at once.
pub enum Lookup {
    Proven(ProvenToken),
    /// No such token, as far as this index knows.
    Unknown,
    /// The caller is told the same as for an unknown token.
    WrongSecret,
    /// Its secret was never proven in this process.
    Unproven(Arc<Entry>),
}

/// Why a first verification gave no result: our failure, never the caller's.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    #[error("too many first verifications are waiting, of this token, from this network, or in all")]
    Overloaded,
    #[error("{0}")]
    Broken(String),
}

/// Why a presented token was not proven.
#[derive(Debug, thiserror::Error)]
pub enum NotProven {
    /// Unknown, or its secret is wrong: the caller is not told which.
    #[error("the token is not valid")]
    Invalid,
    /// It has ended, and too many such were asked about to look at its secret: the caller is told the same.
    #[error("the token is not valid")]
    Ended,
    /// The index does not know the token, and while the store is away it may exist all the same.
    #[error("the store that would know the token cannot be asked")]
    StoreAway,
    #[error(transparent)]
    Unavailable(#[from] VerifyError),
}

impl Verifier {
    /// `runtime` runs the blocking work, on at most `parallelism` threads at once.
    ///
    /// # Errors
    /// [`NoEntropy`] for want of a key.
    pub fn new(hasher: SecretHasher, runtime: Handle, parallelism: usize) -> Result<Self, NoEntropy> {
        let key = system::random()?;
        Ok(Self {
            nobody: blake3::keyed_hash(&key, &system::random::<TOKEN_LEN>()?),
            key,
            hasher,
            runtime,
            slots: Arc::new(Semaphore::new(parallelism)),
            waiting: WaitingRoom::default(),
            ended: Limit::per_minute(ENDED_PER_MINUTE, ENDED_AT_ONCE),
        })
    }

    /// Proves that the token is one of `index`, at once or after its first verification. The entry is the one that the
    /// index holds when this returns: what was changed during the wait is in it.
    ///
    /// # Errors
    /// [`NotProven`].
    pub async fn authenticate(
        &self,
        index: &Index,
        token: PresentedToken<'_>,
        shown: Shown,
    ) -> Result<ProvenToken, NotProven> {
        loop {
            if let Some(proven) = self.authenticate_now(index, token, shown.at)? {
                return Ok(proven);
            }
            self.prove(&index.tokens, token, shown.from).await?;
        }
    }

    /// The same without waiting. `None`: [`Verifier::prove`] has to come first.
    ///
    /// A token that had ended before it was proven here opens nothing, and whether the secret is right matters only for
    /// what its holder is told. So little work is done to find out, and whoever asks beyond is told what strangers are.
    ///
    /// # Errors
    /// [`NotProven`].
    pub fn authenticate_now(
        &self,
        index: &Index,
        token: PresentedToken<'_>,
        now: Timestamp,
    ) -> Result<Option<ProvenToken>, NotProven> {
        match self.look_up(&index.tokens, token) {
            Lookup::Proven(proven) => Ok(Some(proven)),
            Lookup::Unproven(entry) if decision::alive(&entry.holder(), now).is_err() && !self.ended.allows(()) => {
                Err(NotProven::Ended)
            }
            Lookup::Unproven(_) => Ok(None),
            Lookup::Unknown if !index.freshness.is_current() => Err(NotProven::StoreAway),
            Lookup::Unknown | Lookup::WrongSecret => Err(NotProven::Invalid),
        }
    }

    /// First verifications that wait or run.
    pub fn waiting(&self) -> usize {
        self.waiting.waiting()
    }

    /// What the index says of the token, without waiting.
    pub fn look_up(&self, index: &TokenIndex, token: PresentedToken<'_>) -> Lookup {
        let fingerprint = self.fingerprint(token);
        // `blake3::Hash` compares in constant time, and an unknown token is compared with something too.
        let lookup_id = token.lookup_id();
        match index.find(lookup_id) {
            Some(entry) => match entry.fingerprint() {
                Some(expected) if fingerprint == *expected => Lookup::Proven(ProvenToken { lookup_id, entry }),
                Some(_) => Lookup::WrongSecret,
                None => Lookup::Unproven(entry),
            },
            None => {
                std::hint::black_box(fingerprint == self.nobody);
                Lookup::Unknown
            }
        }
    }

    /// Verifies the secret by Argon2 and leaves the result in the index, which is then to be asked again: while this
    /// waited, the follower may have revoked the token, narrowed it or taken it away. `from` is who shows it.
    ///
    /// # Errors
    /// [`NotProven`].
    pub async fn prove(&self, index: &TokenIndex, token: PresentedToken<'_>, from: Network) -> Result<(), NotProven> {
        let fingerprint = self.fingerprint(token);
        let place = self.waiting.enter(token.lookup_id(), fingerprint, from).map_err(|Full| VerifyError::Overloaded)?;
        let verify = || async {
            let turn = Arc::clone(&place.turn).lock_owned().await;
            self.verify(index, token, (turn, place.clone())).await
        };
        if *place.verdict.get_or_try_init(verify).await? { Ok(()) } else { Err(NotProven::Invalid) }
    }

    /// Whether the secret is the token's, which is left in the index. `turn`: what the work holds until it is done.
    async fn verify(
        &self,
        index: &TokenIndex,
        token: PresentedToken<'_>,
        turn: impl Send + 'static,
    ) -> Result<bool, VerifyError> {
        // Another text may have had its turn before, and be the right one.
        let Lookup::Unproven(entry) = self.look_up(index, token) else { return Ok(true) };
        if !self.run_argon2(token, &entry, turn).await? {
            return Ok(false);
        }
        // The entry that the follower has put in its place meanwhile need not be verified again.
        if let Some(current) = index.find(token.lookup_id()) {
            current.inherit(&entry);
        }
        Ok(true)
    }

    /// Nothing can end the work once it has begun. So it takes along what bounds it: whoever asks and leaves makes no room for
    /// more of it, and what it finds is not lost.
    async fn run_argon2(
        &self,
        token: PresentedToken<'_>,
        entry: &Arc<Entry>,
        turn: impl Send + 'static,
    ) -> Result<bool, VerifyError> {
        let broken = |error: &dyn std::fmt::Display| VerifyError::Broken(error.to_string());
        let slot = Arc::clone(&self.slots).acquire_owned().await.map_err(|error| broken(&error))?;
        let (text, entry, hasher) = (token.to_text(), Arc::clone(entry), self.hasher.clone());
        let fingerprint = self.fingerprint(token);
        let work = self.runtime.spawn_blocking(move || {
            let _until_done = (slot, turn);
            let right = hasher.verify_token(text.presented(), &entry.phc());
            if matches!(right, Ok(true)) {
                entry.prove(fingerprint);
            }
            right
        });
        work.await.map_err(|error| broken(&error))?.map_err(|error| broken(&error))
    }

    /// Of all that differs between tokens and sessions. That fits into one block of the hash, for which the whole text is
    /// two bytes too long.
    fn fingerprint(&self, token: PresentedToken<'_>) -> blake3::Hash {
        blake3::keyed_hash(&self.key, token.distinguishing_bytes())
    }
}
