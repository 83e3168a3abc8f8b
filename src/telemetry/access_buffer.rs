//! Where a worker leaves its lines of the access log until the thread that writes them takes them.

use std::{
    ops::Range,
    sync::{Mutex, PoisonError},
};

use super::{counter::Counter, line::Line, usage::UsageSums};

/// Lines that a worker may have waiting: about 10 MB, a second's worth at full speed.
const MAX_WAITING: usize = 50_000;

/// Where one worker leaves its lines.
#[derive(Debug, Default)]
pub struct AccessBuffer {
    waiting: Mutex<Batch>,
    /// Lines that found no room, since the start.
    pub dropped: Counter,
}

#[derive(Debug, Default)]
pub struct Batch {
    /// Each with the place of its text, which holds all its fields.
    pub lines: Vec<(Line, Range<usize>)>,
    pub text: String,
    /// Lines that found no room.
    pub dropped: u64,
    /// What those have used: it counts all the same.
    pub usage: UsageSums,
}

impl AccessBuffer {
    pub fn push(&self, line: Line, text: &str) {
        let mut batch = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if batch.lines.len() >= MAX_WAITING {
            batch.dropped += 1;
            batch.usage.count(&line, text);
            self.dropped.add(1);
            return;
        }
        let start = batch.text.len();
        batch.text.push_str(text);
        let end = batch.text.len();
        batch.lines.push((line, start..end));
    }

    /// Takes what is waiting, and leaves the room of what was written before.
    pub fn swap(&self, empty: &mut Batch) {
        std::mem::swap(empty, &mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::{domain::token::TokenUid, telemetry::usage::UsageCounts};

    #[test]
    fn lines_beyond_the_room_are_dropped_and_counted() {
        let (buffer, mut taken) = (AccessBuffer::default(), Batch::default());
        (0..MAX_WAITING + 3).for_each(|_| buffer.push(Line::default(), "text"));
        buffer.swap(&mut taken);
        assert_eq!((taken.lines.len(), taken.dropped, buffer.dropped.get()), (MAX_WAITING, 3, 3));
        buffer.push(Line::default(), "text");
        buffer.swap(&mut Batch::default());
        assert_eq!(buffer.dropped.get(), 3, "it goes on counting from there");
    }

    #[test]
    fn usage_counts_all_the_same() {
        let (buffer, mut taken, counts) = (AccessBuffer::default(), Batch::default(), UsageCounts::default());
        let refused = || Line {
            token: Some(TokenUid(Uuid::from_u128(1))),
            status: Some(403),
            reason: "insufficient_scope",
            ..Line::default()
        };
        (0..MAX_WAITING + 3).for_each(|_| buffer.push(refused(), ""));
        buffer.swap(&mut taken);
        counts.add(&mut taken.usage);
        let sums = counts.take(usize::MAX);
        assert_eq!(sums.iter().map(|sum| sum.used.refused).collect::<Vec<_>>(), [3], "of lines that found no room");
    }
}
