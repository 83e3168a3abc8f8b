//! `[telemetry]`.

use crate::config::{
    TelemetryConfig,
    reader::{Section, expect},
};

pub fn read(section: Section<'_>) -> Option<TelemetryConfig> {
    let listen = section.optional("listen", expect("an address with a port", "127.0.0.1:9464"));
    section.finish();
    Some(TelemetryConfig { listen: listen? })
}
