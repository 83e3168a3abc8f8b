//! Logs: what the program says of itself (through `tracing`), and one line per proxied request ([`access_log`]). Beside them
//! what workers count of their requests ([`worker`]).

mod access_buffer;
pub mod access_log;
pub mod change_metrics;
pub mod counter;
pub mod histogram;
pub mod json_line;
pub mod let_through;
pub mod line;
mod own_log;
mod redact;
pub mod request_metrics;
mod shared_histogram;
pub mod traffic;
pub mod unsent;
pub mod upstream_metrics;
pub mod usage;
pub mod worker;
mod writing_thread;

pub use own_log::{Lines, OwnLog};

use std::io::IsTerminal;

use tracing_subscriber::{EnvFilter, fmt, prelude::*};

use crate::config::{LogConfig, LogFormat};

/// What lines look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    Json,
    Pretty,
}

impl Style {
    pub fn of(format: LogFormat) -> Self {
        match format {
            LogFormat::Json => Self::Json,
            LogFormat::Pretty => Self::Pretty,
            LogFormat::Auto if std::io::stderr().is_terminal() => Self::Pretty,
            LogFormat::Auto => Self::Json,
        }
    }
}

/// Sends what the program says to standard error, by `log`. A second call changes nothing.
///
/// # Errors
/// The sentence of the filter's parser, if `log.filter` is not a filter.
pub fn start(config: &LogConfig, log: &OwnLog) -> Result<(), String> {
    let filter = EnvFilter::try_new(&config.filter).map_err(|error| error.to_string())?;
    let colours = std::io::stderr().is_terminal();
    let registry = tracing_subscriber::registry().with(filter);
    let layer = fmt::layer().with_writer(log.lines()).with_ansi(colours).with_target(false);
    let _ = match Style::of(config.format) {
        Style::Json => registry.with(layer.json().flatten_event(true)).try_init(),
        Style::Pretty => registry.with(layer).try_init(),
    };
    Ok(())
}
