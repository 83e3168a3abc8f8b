//! What the program says of itself, written by a thread of its own: whoever says it does not wait for standard error, which
//! nobody may be reading.

use std::{
    io::Write,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
};

use tracing_subscriber::fmt::MakeWriter;

use super::writing_thread::WritingThread;

/// Bytes that may wait to be written; what is said beyond them is dropped and counted.
const MAX_WAITING: usize = 1 << 20;
/// Writes until it is dropped, and then what is left.
pub struct OwnLog {
    waiting: Arc<Waiting>,
    thread: WritingThread,
}

/// Where lines are left.
#[derive(Clone)]
pub struct Lines(Arc<Waiting>);

#[derive(Default)]
struct Waiting {
    said: Mutex<Said>,
    changed: Condvar,
}

#[derive(Default)]
struct Said {
    text: Vec<u8>,
    /// Lines since the log last said so, and since the start.
    dropped: u64,
    all_dropped: u64,
    /// Nothing more will be said.
    ended: bool,
}

impl OwnLog {
    /// # Errors
    /// If the operating system gives no thread.
    pub fn start() -> std::io::Result<Self> {
        let waiting = Arc::<Waiting>::default();
        let writing = Arc::clone(&waiting);
        let thread = WritingThread::start("own-log", move || writing.write_all())?;
        Ok(Self { waiting, thread })
    }

    pub fn lines(&self) -> Lines {
        Lines(Arc::clone(&self.waiting))
    }
}

impl Drop for OwnLog {
    fn drop(&mut self) {
        self.waiting.said().ended = true;
        self.waiting.changed.notify_all();
        self.thread.wait();
    }
}

impl Waiting {
    fn said(&self) -> MutexGuard<'_, Said> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_all(&self) {
        loop {
            let nothing = |said: &mut Said| said.text.is_empty() && !said.ended;
            let mut said = self.changed.wait_while(self.said(), nothing).unwrap_or_else(PoisonError::into_inner);
            let Said { text, dropped, ended, .. } = &mut *said;
            let (text, dropped, ended) = (std::mem::take(text), std::mem::take(dropped), *ended);
            drop(said);
            // Nobody is left to be told if standard error is gone.
            let _ = std::io::stderr().lock().write_all(&text);
            if dropped > 0 {
                tracing::warn!(dropped, "lines of the log were dropped: standard error was not read fast enough");
            } else if ended {
                return;
            }
        }
    }
}

impl Lines {
    /// Lines that were dropped since the start.
    pub fn dropped_since_start(&self) -> u64 {
        self.0.said().all_dropped
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = &'a Self;

    fn make_writer(&'a self) -> &'a Self {
        self
    }
}

impl Write for &Lines {
    /// A line is written by one call.
    fn write(&mut self, line: &[u8]) -> std::io::Result<usize> {
        let mut said = self.0.said();
        if said.text.len() + line.len() > MAX_WAITING {
            said.dropped += 1;
            said.all_dropped += 1;
        } else {
            said.text.extend_from_slice(line);
            self.0.changed.notify_all();
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_beyond_the_room_are_dropped_and_counted() {
        let lines = Lines(Arc::default());
        let say = |bytes: usize| (&lines).write_all(&vec![b'x'; bytes]).unwrap();
        say(MAX_WAITING - 1);
        assert_eq!(lines.dropped_since_start(), 0);
        (0..3).for_each(|_| say(2));
        assert_eq!(lines.dropped_since_start(), 3);
        // The log says so once, and the count goes on.
        assert_eq!(std::mem::take(&mut lines.0.said().dropped), 3);
        say(2);
        assert_eq!(lines.dropped_since_start(), 4);
    }
}
