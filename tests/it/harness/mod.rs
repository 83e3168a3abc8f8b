//! What the tests share: servers that are started for them, and values they need.
//! Whatever is started here ends with the test process, however that ends.
//! Nothing here is skipped when a prerequisite is missing: it panics, naming the package to install.

pub mod api;
pub mod authority;
pub mod backup;
pub mod bentoml;
pub mod commands;
pub mod console;
pub mod disk;
pub mod frames;
pub mod gateway;
pub mod http;
pub mod http2;
pub mod metrics;
pub mod pair;
pub mod pooler;
pub mod postgres;
pub mod process;
pub mod provider;
pub mod relay;
pub mod snapshot;
pub mod system;
pub mod tls_front;
pub mod token_text;
pub mod upstream;

use std::{
    sync::{Arc, Condvar, Mutex},
    thread::sleep,
    time::{Duration, Instant},
};

/// How long anything may take that should be there at once, on a busy machine.
pub const SOON: Duration = Duration::from_secs(10);

/// Waits for what `look` finds.
pub fn wait_for<T>(what: &str, limit: Duration, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "not within {limit:?}: {what}");
        sleep(Duration::from_millis(5));
    }
}

pub fn wait_until(what: &str, limit: Duration, mut condition: impl FnMut() -> bool) {
    wait_for(what, limit, || condition().then_some(()));
}

/// Holds other threads until the test lets them go on: what comes first is said, and not left to sleeping.
#[derive(Clone, Default)]
pub struct Gate(Arc<(Mutex<bool>, Condvar)>);

impl Gate {
    pub fn open(&self) {
        *self.0.0.lock().unwrap() = true;
        self.0.1.notify_all();
    }

    /// Returns when the gate is open. A test that has failed never opens it, so that there is a limit.
    pub fn pass(&self) {
        let closed = |open: &mut bool| !*open;
        drop(self.0.1.wait_timeout_while(self.0.0.lock().unwrap(), Duration::from_secs(60), closed).unwrap());
    }
}
