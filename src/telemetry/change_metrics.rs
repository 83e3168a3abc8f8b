//! How soon the changes take effect that were made at this gateway.

use super::shared_histogram::SharedHistogram;

/// Each from the commit on.
#[derive(Debug, Default)]
pub struct ChangeMetrics {
    /// Until this gateway decided by the change.
    pub applied: SharedHistogram,
    /// Until every gateway that runs did.
    pub settled: SharedHistogram,
    /// Until it was given up to wait for some.
    pub unsettled: SharedHistogram,
    /// Until the store said that it could not be known, or that it has lost the change.
    pub failed: SharedHistogram,
}
