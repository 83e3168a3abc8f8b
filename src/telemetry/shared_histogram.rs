//! A histogram that several threads write: for what happens a few times a second at most.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use super::histogram::{Counted, Histogram, WORK};

#[derive(Debug, Default)]
pub struct SharedHistogram(Mutex<Histogram>);

impl SharedHistogram {
    pub fn observe(&self, duration: Duration) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).observe(WORK, duration);
    }

    pub fn counted(&self) -> Counted {
        let mut counted = Counted::default();
        counted.add(&self.0.lock().unwrap_or_else(PoisonError::into_inner));
        counted
    }
}
