//! Proving a secret: Argon2 once per token and process, a keyed fast hash ever after.
//!
//! Garbage is the cheapest thing to refuse. Its shape and checksum were checked before it came here; an unknown lookup
//! id costs one fast hash, like a wrong secret of a proven token. Only the first use of a token's secret in this process
//! costs Argon2, off the I/O threads, one at a time per token and behind a bounded gate.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
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

/// First verifications that may wait. At 10,000 a second and core this is a tenth of a second's work; whoever comes
/// later is told to come back.
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
    /// Compared with when no fingerprint is there, so that the time does not tell.
    nobody: blake3::Hash,
    hasher: SecretHasher,
    /// Runs the blocking work.
    runtime: Handle,
    slots: Arc<Semaphore>,
    waiting: AtomicUsize,
    /// Tokens whose first verification is under way: the others who bring the same one wait for it.
    running: Mutex<HashMap<LookupId, Arc<tokio::sync::Mutex<()>>>>,
}

/// What could be said at once.
pub enum Lookup {
    Proven(ProvenToken),
    /// No such token, as far as this index knows.
    Unknown,
    /// The caller is told the same as for an unknown token.
    WrongSecret,
    /// Its secret was never proven in this process.
    Unproven(Arc<Entry>),
}

/// Why a first verification gave no answer: our trouble, never the caller's.
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
    /// Unknown, or its secret is wrong: nobody is told which.
    #[error("the token is not valid")]
    Invalid,
    /// A token of which this index never heard may exist while the store is away. Not the caller's fault.
    #[error("the store that would know the token cannot be asked")]
    StoreAway,
    #[error(transparent)]
    Trouble(#[from] VerifyError),
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
            waiting: AtomicUsize::new(0),
            running: Mutex::default(),
        })
    }

    /// Proves that the token is one of `index`, at once or after its first verification.
    ///
    /// # Errors
    /// [`NotProven`].
    pub async fn authenticate(&self, index: &Index, token: PresentedToken<'_>) -> Result<ProvenToken, NotProven> {
        match self.look_up(&index.tokens, token) {
            Lookup::Proven(proven) => Ok(proven),
            Lookup::WrongSecret => Err(NotProven::Invalid),
            Lookup::Unknown if !index.condition.is_current() => Err(NotProven::StoreAway),
            Lookup::Unknown => Err(NotProven::Invalid),
            Lookup::Unproven(entry) => self.prove(token, entry).await?.ok_or(NotProven::Invalid),
        }
    }

    /// Says what it can without waiting.
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

    /// Proves the secret by Argon2. `None`: it is wrong.
    ///
    /// # Errors
    /// [`VerifyError`].
    pub async fn prove(
        &self,
        token: PresentedToken<'_>,
        entry: Arc<Entry>,
    ) -> Result<Option<ProvenToken>, VerifyError> {
        let _place = self.take_place()?;
        let turn = self.turn(entry.lookup_id());
        let _mine = turn.mutex.lock().await;
        let fingerprint = self.fingerprint(token);
        if let Some(expected) = entry.fingerprint.get() {
            return Ok((fingerprint == *expected).then_some(ProvenToken(entry)));
        }
        if self.run_argon2(token, &entry).await? {
            let _ = entry.fingerprint.set(fingerprint);
            Ok(Some(ProvenToken(entry)))
        } else {
            Ok(None)
        }
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

    fn take_place(&self) -> Result<Place<'_>, VerifyError> {
        let place = Place(&self.waiting);
        if self.waiting.fetch_add(1, Relaxed) >= MAX_WAITING { Err(VerifyError::Overloaded) } else { Ok(place) }
    }

    fn turn(&self, id: LookupId) -> Turn<'_> {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        Turn { verifier: self, id, mutex: Arc::clone(running.entry(id).or_default()) }
    }
}

/// A wait for one token's first verification. The last one who waits takes the entry away, also if they leave early.
struct Turn<'a> {
    verifier: &'a Verifier,
    id: LookupId,
    mutex: Arc<tokio::sync::Mutex<()>>,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut running = self.verifier.running.lock().unwrap_or_else(PoisonError::into_inner);
        // This one's and the map's.
        if Arc::strong_count(&self.mutex) == 2 {
            running.remove(&self.id);
        }
    }
}

/// One of the [`MAX_WAITING`] places, given back on drop.
struct Place<'a>(&'a AtomicUsize);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}
