//! `[log]`.

use tracing_subscriber::EnvFilter;

use crate::config::{
    LogConfig, LogFormat,
    reader::{Invalid, Section},
};

pub fn read(section: Section<'_>) -> Option<LogConfig> {
    let format = section.parsed("format", log_format);
    let filter = section.parsed("filter", |text| match EnvFilter::try_new(text) {
        Ok(_) if !text.trim().is_empty() => Ok(text.to_owned()),
        _ => Err(Invalid {
            message: "is not a filter".to_owned(),
            fix: "write a level (error, warn, info, debug, trace) or for example \"bento_gateway=debug\"".to_owned(),
        }),
    });
    let access = section.boolean("access");
    section.finish();
    Some(LogConfig { format: format?, filter: filter?, access: access? })
}

fn log_format(text: &str) -> Result<LogFormat, Invalid> {
    match text {
        "auto" => Ok(LogFormat::Auto),
        "json" => Ok(LogFormat::Json),
        "pretty" => Ok(LogFormat::Pretty),
        _ => Err(Invalid { message: "is not a log format".to_owned(), fix: "write auto, json or pretty".to_owned() }),
    }
}
