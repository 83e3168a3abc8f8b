//! A clock that a test sets, and randomness that is the same in every run.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};

use bento_gateway::{
    domain::timestamp::Timestamp,
    system::{NoEntropy, System},
};

pub struct FixedSystem {
    now: AtomicI64,
    draws: AtomicU64,
}

impl FixedSystem {
    pub fn at(time: &str) -> Self {
        let now = Timestamp::parse(time).unwrap().as_millis();
        Self { now: AtomicI64::new(now), draws: AtomicU64::new(0) }
    }

    pub fn set(&self, time: &str) {
        self.now.store(Timestamp::parse(time).unwrap().as_millis(), Relaxed);
    }
}

impl System for FixedSystem {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.now.load(Relaxed))
    }

    /// Each draw is another stretch of a fixed sequence, however long it is.
    fn fill(&self, bytes: &mut [u8]) -> Result<(), NoEntropy> {
        let draw = self.draws.fetch_add(1, Relaxed);
        blake3::Hasher::new().update(&draw.to_le_bytes()).finalize_xof().fill(bytes);
        Ok(())
    }
}
