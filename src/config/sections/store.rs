//! `[store]`.

use std::time::Duration;

use crate::{
    config::{
        StoreConfig, StoreUrl,
        reader::{Invalid, Section},
    },
    domain::{secret::Secret, units::format_duration},
};

const MILLISECOND: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
/// So many polls may fail, or take long, before the gateway decides by nothing.
const POLLS: u32 = 3;

pub fn read(section: Section<'_>) -> Option<StoreConfig> {
    let url = section.parsed("url", store_url);
    let max_connections = section.integer("max_connections", 1..=1000_i64);
    let acquire_timeout = section.duration("acquire_timeout", MILLISECOND);
    // Below 10 ms the poll would keep a database busy for nothing.
    let poll_interval = section.duration("poll_interval", 10 * MILLISECOND);
    let max_staleness = section.optional_duration("max_staleness", SECOND);
    if let (Some(poll), Some(Some(staleness))) = (poll_interval, max_staleness)
        && staleness < poll * POLLS
    {
        let message = format!(
            "is shorter than {POLLS} times store.poll_interval: known tokens would be refused between two polls"
        );
        let fix = format!("write {} or more, or poll more often", format_duration(poll * POLLS));
        section.report("max_staleness", message, fix);
    }
    section.finish();
    Some(StoreConfig {
        url: url?,
        max_connections: u32::try_from(max_connections?).ok()?,
        acquire_timeout: acquire_timeout?,
        poll_interval: poll_interval?,
        max_staleness: max_staleness?,
    })
}

/// What sqlx reads of a URL of PostgreSQL. Others it passes over, and writes them to the log with their values.
const PARAMETERS: [&str; 18] = [
    "sslmode",
    "ssl-mode",
    "sslrootcert",
    "ssl-root-cert",
    "ssl-ca",
    "sslcert",
    "ssl-cert",
    "sslkey",
    "ssl-key",
    "statement-cache-capacity",
    "host",
    "hostaddr",
    "port",
    "dbname",
    "user",
    "password",
    "application_name",
    "options",
];

/// Of a URL without its scheme.
fn has_unknown_parameter(url: &str) -> bool {
    let Some((_, query)) = url.split_once('?') else { return false };
    let known = |key: &str| PARAMETERS.contains(&key) || key.starts_with("options[");
    let pairs: Result<Vec<(String, String)>, _> = serde_urlencoded::from_str(query);
    pairs.map_or(true, |pairs| pairs.iter().any(|(key, _)| !known(key)))
}

/// As `store.url` has it.
pub(in crate::config) fn store_url(text: &str) -> Result<StoreUrl, Invalid> {
    let refused = |message: &str| {
        let fix = "write sqlite:PATH or postgres://USER:PASSWORD@HOST/DATABASE".to_owned();
        Err(Invalid { message: message.to_owned(), fix })
    };
    if let Some(path) = text.strip_prefix("sqlite:") {
        let path = path.strip_prefix("//").unwrap_or(path);
        return match path {
            "" => refused("names no file"),
            ":memory:" | "memory:" => refused("would lose every token when the gateway ends"),
            path if path.contains('?') => refused("has options, which are not supported"),
            path => Ok(StoreUrl::Sqlite(path.into())),
        };
    }
    match text.strip_prefix("postgres://").or_else(|| text.strip_prefix("postgresql://")) {
        Some("") => refused("names no host"),
        Some(rest) if has_unknown_parameter(rest) => {
            refused("has a parameter that is not known here, of which a password might be the value")
        }
        Some(_) => Ok(StoreUrl::Postgres(Secret::new(text.to_owned()))),
        None => refused("is not the URL of a supported database"),
    }
}
