//! What upstreams have said lately, so that each is asked once, however many look.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use tokio::sync::{OnceCell, Semaphore};

use crate::domain::upstream_url::UpstreamUrl;

pub struct Recent<T> {
    asked: Mutex<HashMap<UpstreamUrl, Asked<T>>>,
    turns: Semaphore,
    /// How long an answer counts, and who asks meanwhile gets the same one.
    fresh: Duration,
}

struct Asked<T> {
    at: Instant,
    /// Empty: the answer has not come yet.
    answer: Arc<OnceCell<T>>,
}

impl<T: Clone> Recent<T> {
    /// `at_once`: upstreams that are asked at the same time, for everybody.
    pub fn new(fresh: Duration, at_once: usize) -> Self {
        Self { asked: Mutex::default(), turns: Semaphore::new(at_once), fresh }
    }

    /// The upstream's answer, for which it is asked if there is none. Nothing is asked any more when the caller leaves.
    pub async fn get<F: Future<Output = T>>(&self, upstream: &UpstreamUrl, ask: impl FnOnce() -> F) -> T {
        let answer = self.answer(upstream, Instant::now());
        let in_turn = || async {
            let _turn = self.turns.acquire().await;
            ask().await
        };
        answer.get_or_init(in_turn).await.clone()
    }

    fn answer(&self, upstream: &UpstreamUrl, now: Instant) -> Arc<OnceCell<T>> {
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        asked.retain(|_, asked| now.duration_since(asked.at) < self.fresh);
        let new = || Asked { at: now, answer: Arc::default() };
        Arc::clone(&asked.entry(upstream.clone()).or_insert_with(new).answer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_asks_in_time_gets_the_same_answer_and_nothing_is_kept() {
        let fresh = Duration::from_secs(1);
        let (recent, now) = (Recent::<bool>::new(fresh, 1), Instant::now());
        let upstream: UpstreamUrl = "http://127.0.0.1:3000".parse().unwrap();
        let first = recent.answer(&upstream, now);
        assert!(Arc::ptr_eq(&first, &recent.answer(&upstream, now + fresh / 2)));
        assert!(!Arc::ptr_eq(&first, &recent.answer(&upstream, now + fresh)));
        recent.answer(&"http://127.0.0.1:3001".parse().unwrap(), now + fresh * 3);
        assert_eq!(recent.asked.lock().unwrap().len(), 1);
    }
}
