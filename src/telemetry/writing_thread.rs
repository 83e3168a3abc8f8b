//! Threads that write to standard error, which nobody may be reading.

use std::{
    convert::Infallible,
    io,
    sync::{
        Mutex, PoisonError,
        mpsc::{Receiver, channel},
    },
    thread::{Builder, Thread},
    time::Duration,
};

/// How long the end of the program waits for what is left to be written.
const PATIENCE: Duration = Duration::from_secs(2);

/// One such thread.
pub struct WritingThread {
    thread: Thread,
    /// Nothing is ever sent: it ends with the thread. The lock is for whoever shares this.
    ended: Mutex<Receiver<Infallible>>,
}

impl WritingThread {
    /// # Errors
    /// If the operating system gives no thread.
    pub fn start(name: &str, run: impl FnOnce() + Send + 'static) -> io::Result<Self> {
        let (running, ended) = channel();
        let run = move || {
            let _running = running;
            run();
        };
        let thread = Builder::new().name(name.to_owned()).spawn(run)?.thread().clone();
        Ok(Self { thread, ended: Mutex::new(ended) })
    }

    /// Has it look for what there is to do, if it is parked.
    pub fn unpark(&self) {
        self.thread.unpark();
    }

    /// Waits until it has ended, and not for ever.
    pub fn wait(&self) {
        let _ = self.ended.lock().unwrap_or_else(PoisonError::into_inner).recv_timeout(PATIENCE);
    }
}
