//! Numbers that one thread writes and any thread reads.
//!
//! A worker counts by a load and a store, without a locked instruction: nobody else writes what it writes. Whoever reads
//! sees each number as it was a moment ago, never a torn one.

use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicU64, Ordering::Relaxed},
};

/// For one writing thread. It only grows, but for [`Counter::take_back`].
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    pub fn add(&self, more: u64) {
        self.0.store(self.0.load(Relaxed).wrapping_add(more), Relaxed);
    }

    /// For what goes up and down.
    pub fn take_back(&self, less: u64) {
        self.0.store(self.0.load(Relaxed).wrapping_sub(less), Relaxed);
    }

    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// Which of the workers of a process counts.
#[derive(Clone, Copy, Debug)]
pub struct WorkerNumber {
    pub number: usize,
    /// How many workers there are.
    pub of: usize,
}

/// One value for each worker, made when the worker first needs it.
#[derive(Debug)]
pub struct PerWorker<T>(OnceLock<Box<[OnceLock<Arc<T>>]>>);

impl<T: Default> PerWorker<T> {
    /// The one of this worker. Every caller of one value must name the same number of workers.
    pub fn of(&self, worker: WorkerNumber) -> &Arc<T> {
        let all = self.0.get_or_init(|| (0..worker.of).map(|_| OnceLock::new()).collect());
        all[worker.number].get_or_init(Arc::default)
    }

    /// Those that a worker has needed.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.0.get().into_iter().flat_map(|all| all.iter()).filter_map(|one| one.get().map(Arc::as_ref))
    }
}

impl<T> Default for PerWorker<T> {
    fn default() -> Self {
        Self(OnceLock::new())
    }
}

/// Values by key that are added and never taken out. Reading takes no lock. For few keys, those that are needed most first:
/// it is searched from the start.
#[derive(Debug)]
pub struct AppendList<K, V>(OnceLock<Box<Node<K, V>>>);

#[derive(Debug)]
struct Node<K, V> {
    key: K,
    value: V,
    next: AppendList<K, V>,
}

impl<K: Copy + PartialEq, V: Default> AppendList<K, V> {
    pub fn get_or_add(&self, key: K) -> &V {
        let mut list = self;
        loop {
            let node = list.0.get_or_init(|| Box::new(Node { key, value: V::default(), next: Self::default() }));
            if node.key == key {
                return &node.value;
            }
            list = &node.next;
        }
    }

    pub fn iter(&self) -> impl Iterator<Item = (K, &V)> {
        let first = self.0.get();
        std::iter::successors(first, |node| node.next.0.get()).map(|node| (node.key, &node.value))
    }
}

impl<K, V> Default for AppendList<K, V> {
    fn default() -> Self {
        Self(OnceLock::new())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_added_by_several_is_there_once() {
        let list = AppendList::<usize, AtomicU64>::default();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for key in 0..50 {
                        list.get_or_add(key % 10).fetch_add(1, Relaxed);
                    }
                });
            }
        });
        let mut all: Vec<_> = list.iter().map(|(key, value)| (key, value.load(Relaxed))).collect();
        all.sort_unstable();
        assert_eq!(all, (0..10).map(|key| (key, 20)).collect::<Vec<_>>());
    }

    #[test]
    fn each_worker_has_its_own() {
        let all = PerWorker::<Counter>::default();
        assert_eq!(all.iter().count(), 0);
        let of = |number| all.of(WorkerNumber { number, of: 3 });
        of(2).add(5);
        of(0).add(1);
        of(2).take_back(2);
        assert_eq!(all.iter().map(Counter::get).collect::<Vec<_>>(), [1, 3]);
    }
}
