//! Proves a secret: by Argon2 once per token and process, by a keyed fast hash ever after.
//!
//! Garbage costs least: shape and checksum are checked before a token comes here. An unknown lookup id costs one fast hash,
//! as does a wrong secret of a proven token. Only the first use of a token's secret in this process costs Argon2, off the
//! I/O threads, one at a time per token and behind a bounded gate.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::{runtime::Handle, sync::Semaphore};

use super::{
    follow::Index,
    tokens::{Entry, TokenIndex},
};
use crate::{
    domain::token_text::{LookupId, PresentedToken, TOKEN_LEN},
    secret_hash::SecretHasher,
    system::{self, NoEntropy},
};

/// First verifications that may wait. At 10,000 a second and core this is a tenth of a second's work; further requests are
/// answered 503.
const MAX_WAITING: usize = 1024;

/// An entry whose secret the caller has shown. Only [`Verifier`] makes one.
#[derive(Clone, Debug)]
pub struct ProvenToken(Arc<Entry>);

impl ProvenToken {
    pub fn entry(&self) -> &Entry {
        &self.0
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
    slots: Semaphore,
    /// As many wait or run.
    waiting: Semaphore,
    /// Tokens whose first verification is under way: further requests with the same token wait for it.
    running: Mutex<HashMap<LookupId, Arc<tokio::sync::Mutex<()>>>>,
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
    #[error("too many first verifications are waiting")]
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
            slots: Semaphore::new(parallelism),
            waiting: Semaphore::new(MAX_WAITING),
            running: Mutex::default(),
        })
    }

    /// Proves that the token is one of `index`, at once or after its first verification. The entry is the one that the
    /// index holds when this returns: what was changed during the wait is in it.
    ///
    /// # Errors
    /// [`NotProven`].
    pub async fn authenticate(&self, index: &Index, token: PresentedToken<'_>) -> Result<ProvenToken, NotProven> {
        loop {
            if let Some(proven) = self.authenticate_now(index, token)? {
                return Ok(proven);
            }
            self.prove(&index.tokens, token).await?;
        }
    }

    /// The same without waiting. `None`: [`Verifier::prove`] has to come first.
    ///
    /// # Errors
    /// [`NotProven`].
    pub fn authenticate_now(&self, index: &Index, token: PresentedToken<'_>) -> Result<Option<ProvenToken>, NotProven> {
        match self.look_up(&index.tokens, token) {
            Lookup::Proven(proven) => Ok(Some(proven)),
            Lookup::Unproven(_) => Ok(None),
            Lookup::Unknown if !index.freshness.is_current() => Err(NotProven::StoreAway),
            Lookup::Unknown | Lookup::WrongSecret => Err(NotProven::Invalid),
        }
    }

    /// What the index says of the token, without waiting.
    pub fn look_up(&self, index: &TokenIndex, token: PresentedToken<'_>) -> Lookup {
        let fingerprint = self.fingerprint(token);
        // `blake3::Hash` compares in constant time, and an unknown token is compared with something too.
        match index.find(token.lookup_id()) {
            Some(entry) => match entry.fingerprint.get() {
                Some(expected) if fingerprint == *expected => Lookup::Proven(ProvenToken(entry)),
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
    /// waited, the follower may have revoked the token, narrowed it or taken it away.
    ///
    /// # Errors
    /// [`NotProven`].
    pub async fn prove(&self, index: &TokenIndex, token: PresentedToken<'_>) -> Result<(), NotProven> {
        let _waiting = self.waiting.try_acquire().map_err(|_| VerifyError::Overloaded)?;
        let turn = self.turn(token.lookup_id());
        let _mine = turn.mutex.lock().await;
        // Another request with the same token may have had its turn before.
        let Lookup::Unproven(entry) = self.look_up(index, token) else { return Ok(()) };
        if !self.run_argon2(token, &entry).await? {
            return Err(NotProven::Invalid);
        }
        let fingerprint = self.fingerprint(token);
        let _ = entry.fingerprint.set(fingerprint);
        // The entry that the follower has put in its place meanwhile need not be verified again.
        if let Some(current) = index.find(token.lookup_id()).filter(|current| current.hash == entry.hash) {
            let _ = current.fingerprint.set(fingerprint);
        }
        Ok(())
    }

    async fn run_argon2(&self, token: PresentedToken<'_>, entry: &Arc<Entry>) -> Result<bool, VerifyError> {
        let broken = |error: &dyn std::fmt::Display| VerifyError::Broken(error.to_string());
        let _slot = self.slots.acquire().await.map_err(|error| broken(&error))?;
        let (text, entry, hasher) = (token.to_text(), Arc::clone(entry), self.hasher.clone());
        let work = self.runtime.spawn_blocking(move || hasher.verify_token(text.presented(), &entry.hash));
        work.await.map_err(|error| broken(&error))?.map_err(|error| broken(&error))
    }

    fn fingerprint(&self, token: PresentedToken<'_>) -> blake3::Hash {
        blake3::keyed_hash(&self.key, token.secret_bytes())
    }

    fn turn(&self, id: LookupId) -> Turn<'_> {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        Turn { verifier: self, id, mutex: Arc::clone(running.entry(id).or_default()) }
    }
}

/// A turn at one token's first verification. Dropping the last one removes the token from [`Verifier::running`].
struct Turn<'a> {
    verifier: &'a Verifier,
    id: LookupId,
    mutex: Arc<tokio::sync::Mutex<()>>,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut running = self.verifier.running.lock().unwrap_or_else(PoisonError::into_inner);
        // This turn's and the map's.
        if Arc::strong_count(&self.mutex) == 2 {
            running.remove(&self.id);
        }
    }
}
