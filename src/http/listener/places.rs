//! A bounded number of open connections. When all places are taken, a newcomer gets that of the connection whose caller has
//! kept the gateway waiting longest, for a request or for its body: silent connections, however many, keep nobody out.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::patience::Patience;

pub struct Places {
    free: Arc<Semaphore>,
    taken: Arc<Taken>,
}

#[derive(Default)]
struct Taken(Mutex<Table>);

#[derive(Default)]
struct Table {
    next: u64,
    open: HashMap<u64, Arc<Patience>>,
}

/// One of the places; free again when it is dropped.
pub struct Place {
    pub patience: Arc<Patience>,
    number: u64,
    taken: Arc<Taken>,
    _permit: Option<OwnedSemaphorePermit>,
}

impl Places {
    pub fn new(places: usize) -> Self {
        Self { free: Arc::new(Semaphore::new(places)), taken: Arc::default() }
    }

    /// Waits while every connection is being answered.
    pub async fn take(&self, patience: Arc<Patience>) -> Place {
        let free = || Arc::clone(&self.free);
        let permit = match free().try_acquire_owned() {
            Ok(permit) => Some(permit),
            Err(_) => {
                self.taken.end_longest_waiting();
                // The semaphore is never closed.
                free().acquire_owned().await.ok()
            }
        };
        let number = self.taken.add(Arc::clone(&patience));
        Place { patience, number, taken: Arc::clone(&self.taken), _permit: permit }
    }
}

impl Taken {
    fn table(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, patience: Arc<Patience>) -> u64 {
        let mut table = self.table();
        table.next += 1;
        let number = table.next;
        table.open.insert(number, patience);
        number
    }

    fn end_longest_waiting(&self) {
        let table = self.table();
        let waiting = table.open.values().filter_map(|patience| Some((patience.waiting_since()?, patience)));
        if let Some((_, longest)) = waiting.min_by_key(|(since, _)| *since) {
            longest.give_up();
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.taken.table().open.remove(&self.number);
    }
}
