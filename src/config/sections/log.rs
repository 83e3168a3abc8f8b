//! `[log]`.

use tracing_subscriber::{EnvFilter, filter::LevelFilter};

use crate::config::{
    LogConfig, LogFormat,
    reader::{Invalid, Section},
};

pub fn read(section: Section<'_>) -> Option<LogConfig> {
    let format = section.parsed("format", log_format);
    let filter = section.parsed("filter", |text| {
        let fix = "write a level (error, warn, info, debug, trace; off) or for example \"bento_gateway=debug\"";
        let refused = |message: &str| Err(Invalid { message: message.to_owned(), fix: fix.to_owned() });
        match EnvFilter::try_new(text) {
            Ok(_) if text.trim().is_empty() => refused("is not a filter"),
            Ok(_) if text.split(',').any(is_of_gateway) => Ok(text.to_owned()),
            // A level that is misspelt is a filter, too: for a part of the program with that name.
            Ok(_) => refused("leaves nothing of what the gateway says"),
            Err(_) => refused("is not a filter"),
        }
    });
    let access = section.boolean("access");
    section.finish();
    Some(LogConfig { format: format?, filter: filter?, access: access? })
}

/// Whether a part of a filter decides about the gateway's own lines: a level alone, or one for it.
fn is_of_gateway(directive: &str) -> bool {
    let directive = directive.trim();
    let target = directive.split(['=', '[', ':']).next().unwrap_or_default();
    directive.parse::<LevelFilter>().is_ok() || target == "bento_gateway"
}

fn log_format(text: &str) -> Result<LogFormat, Invalid> {
    match text {
        "auto" => Ok(LogFormat::Auto),
        "json" => Ok(LogFormat::Json),
        "pretty" => Ok(LogFormat::Pretty),
        _ => Err(Invalid { message: "is not a log format".to_owned(), fix: "write auto, json or pretty".to_owned() }),
    }
}
