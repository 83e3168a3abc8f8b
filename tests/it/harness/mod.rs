//! What the tests share: servers that are started for them, and values they need.
//! Whatever is started here ends with the test process, however that ends.
//! Nothing here is skipped when a prerequisite is missing: it panics, naming the package to install.

pub mod postgres;
pub mod system;

pub mod console;
pub mod gateway;
pub mod http;
pub mod upstream;

use std::{
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
