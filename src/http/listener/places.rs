//! A bounded number of open connections. When all places are taken, a newcomer gets that of the connection whose caller has
//! kept the gateway waiting longest, for a request or for its body, or else by not taking an answer: such connections,
//! however many, keep nobody out.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

use super::patience::Patience;

/// How often a newcomer looks whether a connection has begun to wait for its caller, while all places are taken.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

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
            Err(_) => loop {
                self.taken.end_longest_waiting();
                // Those that are being answered now may wait for their callers a moment later.
                if let Ok(permit) = timeout(LOOK_AGAIN, free().acquire_owned()).await {
                    // The semaphore is never closed.
                    break permit.ok();
                }
            },
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
        let waiting = table.open.values().filter_map(|patience| Some((patience.waiting()?, patience)));
        if let Some((_, longest)) = waiting.min_by_key(|(waiting, _)| *waiting) {
            longest.give_up();
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.taken.table().open.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::listener::Times;

    #[tokio::test]
    async fn a_newcomer_gets_the_place_of_who_becomes_idle_later() {
        let patience = || {
            let long = Duration::from_secs(3600);
            Arc::new(Patience::new(Times { header: long, keep_alive: long }))
        };
        let places = Places::new(1);
        let first = places.take(patience()).await;
        first.patience.begun();
        first.patience.received_all();
        let newcomer = places.take(patience());
        let answered = async {
            tokio::time::sleep(LOOK_AGAIN).await;
            first.patience.answered();
            first.patience.flushed();
            first.patience.is_over().await;
            drop(first);
        };
        let both = async { tokio::join!(newcomer, answered) };
        assert!(timeout(Duration::from_secs(60), both).await.is_ok(), "the newcomer waits for an idle connection");
    }
}
