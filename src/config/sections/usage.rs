//! `[usage]`.

use std::time::Duration;

use crate::config::{UsageConfig, reader::Section};

const HOUR: Duration = Duration::from_secs(60 * 60);

pub fn read(section: Section<'_>) -> Option<UsageConfig> {
    let retention = section.optional_duration("retention", HOUR);
    section.finish();
    Some(UsageConfig { retention: retention? })
}
