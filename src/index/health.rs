//! Whether an upstream says that it is ready, as standing probes hear it.

use std::{
    num::NonZeroU32,
    sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed},
};

/// Written by the one task that probes the upstream, and read by whoever chooses one. An upstream that was never probed is
/// ready.
#[derive(Debug, Default)]
pub struct Health {
    unready: AtomicBool,
    /// Answers, one after the other, that say something else than what is believed.
    against: AtomicU32,
    /// Whether there was an answer. The first one is believed at once.
    heard: AtomicBool,
}

impl Health {
    pub fn is_ready(&self) -> bool {
        !self.unready.load(Relaxed)
    }

    /// Notes an answer. `rise`, `fall`: how many it takes, one after the other, to be believed that it is ready, or not. Returns
    /// whether it is now, if that has turned.
    pub fn note(&self, ready: bool, rise: NonZeroU32, fall: NonZeroU32) -> Option<bool> {
        if ready == self.is_ready() {
            self.heard.store(true, Relaxed);
            self.against.store(0, Relaxed);
            return None;
        }
        let against = self.against.load(Relaxed) + 1;
        let needed = if ready { rise } else { fall };
        if self.heard.swap(true, Relaxed) && against < needed.get() {
            self.against.store(against, Relaxed);
            return None;
        }
        self.against.store(0, Relaxed);
        self.unready.store(!ready, Relaxed);
        Some(ready)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is believed after each answer, 2 in a row for it and 3 against it.
    fn believed(answers: &[bool]) -> Vec<bool> {
        let health = Health::default();
        let [rise, fall] = [2, 3].map(|count| NonZeroU32::new(count).unwrap());
        answers
            .iter()
            .map(|ready| {
                let before = health.is_ready();
                let turned = health.note(*ready, rise, fall);
                assert_eq!(turned, (before != health.is_ready()).then(|| health.is_ready()));
                health.is_ready()
            })
            .collect()
    }

    #[test]
    fn it_takes_several_answers_in_a_row_but_the_first_counts_at_once() {
        assert!(Health::default().is_ready());
        let (yes, no) = (true, false);
        assert_eq!(believed(&[no, yes, yes, no]), [no, no, yes, yes]);
        assert_eq!(believed(&[yes, no, no, yes, no, no, no]), [yes, yes, yes, yes, yes, yes, no]);
        assert_eq!(believed(&[no, yes, no, yes, yes]), [no, no, no, no, yes]);
    }
}
