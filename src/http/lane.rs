//! How much of something may go on at once, in all and for each key. Whoever finds no room is refused, and does not wait:
//! a queue would only move the flood.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

pub struct Lane<K> {
    places: usize,
    /// Of these, for one key.
    share: usize,
    taken: Arc<Mutex<Taken<K>>>,
}

struct Taken<K> {
    all: usize,
    by_key: HashMap<K, usize>,
}

/// A place in a lane; free again when it is dropped, as the request is that has it when its caller leaves.
pub struct Place {
    _given_back: Box<dyn Send + Sync>,
}

struct GiveBack<K: Eq + Hash> {
    key: K,
    taken: Arc<Mutex<Taken<K>>>,
}

impl<K: Copy + Eq + Hash + Send + Sync + 'static> Lane<K> {
    pub fn new(places: usize, share: usize) -> Self {
        Self { places, share, taken: Arc::new(Mutex::new(Taken { all: 0, by_key: HashMap::new() })) }
    }

    /// `None`: all places are taken, or the key's share of them.
    pub fn enter(&self, key: K) -> Option<Place> {
        let mut taken = locked(&self.taken);
        let of_key = taken.by_key.get(&key).copied().unwrap_or(0);
        if taken.all >= self.places || of_key >= self.share {
            return None;
        }
        taken.all += 1;
        taken.by_key.insert(key, of_key + 1);
        Some(Place { _given_back: Box::new(GiveBack { key, taken: Arc::clone(&self.taken) }) })
    }
}

impl<K: Eq + Hash> Drop for GiveBack<K> {
    fn drop(&mut self) {
        let mut taken = locked(&self.taken);
        taken.all -= 1;
        if let Some(of_key) = taken.by_key.get_mut(&self.key) {
            *of_key -= 1;
        }
        taken.by_key.retain(|_, of_key| *of_key > 0);
    }
}

fn locked<K>(taken: &Mutex<Taken<K>>) -> MutexGuard<'_, Taken<K>> {
    taken.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_has_more_than_their_share_and_all_is_given_back() {
        let lane = Lane::new(3, 2);
        let one: Vec<_> = (0..2).filter_map(|_| lane.enter(1)).collect();
        assert!(one.len() == 2 && lane.enter(1).is_none());
        let other = lane.enter(2);
        assert!(other.is_some() && lane.enter(3).is_none(), "all places are taken");
        drop(one);
        assert!(lane.enter(1).is_some());
        drop(other);
        assert_eq!(locked(&lane.taken).all, 0);
        assert!(locked(&lane.taken).by_key.is_empty());
    }
}
