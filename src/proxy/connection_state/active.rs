//! A request under way, and what becomes of its connection when it ends.

use std::{
    sync::{
        Arc,
        atomic::Ordering::{AcqRel, Relaxed},
    },
    time::Duration,
};

use super::ConnectionState;
use crate::{proxy::connection_clock::millis, telemetry::unsent::UnsentLine};

/// A request under way on a connection, until it is dropped.
pub struct Active {
    pub(super) state: Arc<ConnectionState>,
    /// Of HTTP/2.
    pub(super) stream: Option<u32>,
    /// HTTP/2: it waits for its caller only.
    pub(super) rests: bool,
    /// How long its response may make no progress while the caller takes it.
    pub idle_timeout: Duration,
    /// Whether the request asks for the connection to be kept.
    pub persistent: bool,
    /// Whether it was read to its end, so that what follows is another request.
    pub read: bool,
}

impl Active {
    /// All of the response is there. On HTTP/2 hyper may not have taken it, because its caller does not.
    pub fn rests(&mut self) {
        if let (Some(streams), Some(stream), false) = (self.state.streams(), self.stream, self.rests) {
            self.rests = true;
            streams.rests(stream, self.idle_timeout);
            self.state.active.fetch_sub(1, AcqRel);
            self.state.settle(streams);
        }
    }

    /// hyper has the whole response. The line waits until it is written.
    pub fn responded(mut self, line: UnsentLine) {
        match (self.state.streams(), self.stream.take()) {
            (Some(streams), Some(stream)) => streams.responded(stream, line),
            (Some(_), None) => line.push(),
            (None, _) => self.state.unsent().push(line),
        }
    }
}

impl Drop for Active {
    fn drop(&mut self) {
        let state = &self.state;
        if !self.rests {
            state.active.fetch_sub(1, AcqRel);
        }
        if let Some(streams) = state.streams() {
            if let Some(stream) = self.stream {
                streams.left(stream);
            }
            return state.settle(streams);
        }
        state.may_rest.store(self.persistent && self.read, Relaxed);
        state.read.store(self.read, Relaxed);
        state.flush_limit.store(millis(self.idle_timeout), Relaxed);
        state.flushing.store(true, Relaxed);
        state.clock.arm(self.idle_timeout);
    }
}
