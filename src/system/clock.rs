//! Readings of the clock whose distance counts all the time that has passed: for whatever may be believed only so long.
//!
//! [`Instant`](std::time::Instant) stands still while Linux is suspended, so that a gateway would go on deciding by what it
//! knew before. `CLOCK_BOOTTIME` counts that time. It stands still, too, while a hypervisor holds the whole machine or brings
//! back an image of it; then only the wall clock is set right afterwards. Of the two, the one is believed by which
//! more time has passed: a wall clock that is set back gives nothing more time, and one that is set forward makes
//! the gateway ask anew too early.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use super::now;
use crate::domain::timestamp::Timestamp;

/// Elsewhere than on Linux this clock is the one that counts suspension, as on macOS, or there is none.
#[cfg(not(target_os = "linux"))]
const SINCE_BOOT: ClockId = ClockId::Monotonic;
#[cfg(target_os = "linux")]
const SINCE_BOOT: ClockId = ClockId::Boottime;

/// Both are read without a system call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockReading {
    /// Since the machine was started, suspension included.
    pub uptime: Duration,
    pub wall: Timestamp,
}

impl ClockReading {
    pub fn now() -> Self {
        let since_boot = clock_gettime(SINCE_BOOT);
        let uptime = Duration::try_from(since_boot).unwrap_or_default();
        Self { uptime, wall: now() }
    }

    /// Zero if `earlier` is not earlier.
    pub fn since(self, earlier: Self) -> Duration {
        self.uptime.saturating_sub(earlier.uptime).max(self.wall.since(earlier.wall))
    }

    /// If the machine runs without interruption until then.
    pub fn after(self, time: Duration) -> Self {
        Self { uptime: self.uptime.saturating_add(time), wall: self.wall.saturating_add(time) }
    }
}
