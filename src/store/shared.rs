//! By key: what many ask for at once is read once, writers of one key take turns, and readers of one have a share.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Arc, Mutex as StdMutex, PoisonError, Weak},
    time::Instant,
};

use tokio::sync::Mutex;

use super::StoreError;

/// What all who use the same key have in common, as long as somebody does.
pub(super) struct ByKey<K, V> {
    used: StdMutex<HashMap<K, Weak<V>>>,
}

/// A lock for each key that somebody holds or waits for. Those who wait get it in the order of their coming.
pub(super) type Locks<K, T = ()> = ByKey<K, Mutex<T>>;

/// Readings that are shared by all who ask for the same key: a flood of one question is one statement at a time.
///
/// Whoever asks gets what was read after they asked, as if they had read it themselves.
pub(super) struct SharedReads<K, T> {
    last: Locks<K, Option<Reading<T>>>,
}

struct Reading<T> {
    begun: Instant,
    read: Result<T, StoreError>,
}

impl<K, V> Default for ByKey<K, V> {
    fn default() -> Self {
        Self { used: StdMutex::default() }
    }
}

impl<K, T> Default for SharedReads<K, T> {
    fn default() -> Self {
        Self { last: Locks::default() }
    }
}

impl<K: Eq + Hash, V> ByKey<K, V> {
    /// `make` is called if nobody uses the key.
    pub fn of(&self, key: K, make: impl FnOnce() -> V) -> Arc<V> {
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(value) = used.get(&key).and_then(Weak::upgrade) {
            return value;
        }
        used.retain(|_, value| value.strong_count() > 0);
        let value = Arc::new(make());
        used.insert(key, Arc::downgrade(&value));
        value
    }
}

impl<K: Eq + Hash, T: Clone> SharedReads<K, T> {
    /// `reading` is only begun if nobody else has begun one since this was called.
    pub async fn get(&self, key: K, reading: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
        let asked = Instant::now();
        let last = self.last.of(key, Mutex::default);
        let mut last = last.lock().await;
        if let Some(later) = last.as_ref().filter(|last| last.begun > asked) {
            return later.read.clone();
        }
        let begun = Instant::now();
        let read = reading.await;
        *last = Some(Reading { begun, read: read.clone() });
        read
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::{AtomicUsize, Ordering::Relaxed},
        time::Duration,
    };

    use tokio::{
        sync::{Barrier, Notify},
        task::JoinSet,
        time::sleep,
    };

    use super::*;

    /// What is read is the number of the reading, so that a caller can tell one that began before it asked.
    #[tokio::test]
    async fn many_share_a_reading_that_began_after_they_asked() {
        let shared = Arc::new(SharedReads::default());
        let (begun, together) = (Arc::new(AtomicUsize::new(0)), Arc::new(Barrier::new(101)));
        let mut asking = JoinSet::new();
        for _ in 0..100 {
            let (shared, begun, together) = (Arc::clone(&shared), Arc::clone(&begun), Arc::clone(&together));
            asking.spawn(async move {
                together.wait().await;
                for _ in 0..10 {
                    let before = begun.load(Relaxed);
                    let reading = async {
                        let number = begun.fetch_add(1, Relaxed) + 1;
                        sleep(Duration::from_millis(5)).await;
                        Ok(number)
                    };
                    assert!(shared.get("key", reading).await.unwrap() > before);
                }
            });
        }
        together.wait().await;
        asking.join_all().await;
        assert!(begun.load(Relaxed) <= 12, "{begun:?} readings for 1000 questions");
        assert_eq!(shared.get("other", async { Ok(0) }).await.unwrap(), 0);
        assert_eq!(shared.last.used.lock().unwrap().len(), 1, "what nobody waits for is forgotten");
    }

    #[tokio::test]
    async fn a_reading_whose_caller_left_is_begun_again_by_the_next_one() {
        let shared = Arc::new(SharedReads::<(), u8>::default());
        let hanging = tokio::spawn({
            let shared = Arc::clone(&shared);
            async move { shared.get((), std::future::pending()).await }
        });
        tokio::task::yield_now().await;
        let next = shared.get((), async { Ok(1) });
        hanging.abort();
        assert_eq!(next.await.unwrap(), 1);
    }

    #[tokio::test]
    async fn an_error_is_shared_too() {
        let shared = SharedReads::<(), u8>::default();
        let first_goes_on = Notify::new();
        let first = shared.get((), async {
            first_goes_on.notified().await;
            Ok(1)
        });
        let second = shared.get((), async { Err(StoreError::Unavailable("away".to_owned())) });
        let third = shared.get((), async { panic!("what the second one reads answers the third one") });
        let (first, second, third, ()) = tokio::join!(first, second, third, async { first_goes_on.notify_one() });
        assert_eq!(first.unwrap(), 1);
        assert!(second.is_err() && third.is_err());
    }
}
