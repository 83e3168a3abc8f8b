//! `[management]`, `[store]`, `[tokens]` and `[log]`.

use std::time::Duration;

use tracing_subscriber::EnvFilter;

use crate::{
    config::{
        Argon2Config, LogConfig, LogFormat, ManagementConfig, Secret, StoreConfig, StoreUrl, TokenConfig,
        reader::{Section, Wrong, expect},
    },
    secret_hash::SecretHasher,
};

const MILLISECOND: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

pub fn organization(text: &str) -> Result<String, Wrong> {
    let text = text.trim();
    if (1..=100).contains(&text.chars().count()) && !text.chars().any(char::is_control) {
        Ok(text.to_owned())
    } else {
        Err(Wrong {
            what: "is not the name of an organization".to_owned(),
            fix: "write 1 to 100 characters without control characters".to_owned(),
        })
    }
}

pub fn management(section: Section<'_>) -> Option<ManagementConfig> {
    let listen = section.parsed("listen", expect("an address with a port", "127.0.0.1:8081"));
    let login_code_lifetime = section.duration("login_code_lifetime", SECOND);
    section.finish();
    Some(ManagementConfig { listen: listen?, login_code_lifetime: login_code_lifetime? })
}

pub fn store(section: Section<'_>) -> Option<StoreConfig> {
    let url = section.parsed("url", store_url);
    let max_connections = section.integer("max_connections", 1..=1000_i64);
    let acquire_timeout = section.duration("acquire_timeout", MILLISECOND);
    // Below 10 ms the poll would keep a database busy for nothing.
    let poll_interval = section.duration("poll_interval", 10 * MILLISECOND);
    let max_staleness = section.optional_duration("max_staleness", SECOND);
    section.finish();
    Some(StoreConfig {
        url: url?,
        max_connections: u32::try_from(max_connections?).ok()?,
        acquire_timeout: acquire_timeout?,
        poll_interval: poll_interval?,
        max_staleness: max_staleness?,
    })
}

fn store_url(text: &str) -> Result<StoreUrl, Wrong> {
    let refused = |what: &str| {
        let fix = "write sqlite:PATH or postgres://USER:PASSWORD@HOST/DATABASE".to_owned();
        Err(Wrong { what: what.to_owned(), fix })
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
        Some(_) => Ok(StoreUrl::Postgres(Secret::new(text.to_owned()))),
        None => refused("is not the URL of a supported database"),
    }
}

pub fn tokens(section: Section<'_>) -> Option<TokenConfig> {
    let default_lifetime = section.optional_duration("default_lifetime", SECOND);
    let max_lifetime = section.optional_duration("max_lifetime", SECOND);
    let rotation_overlap = section.duration("rotation_overlap", Duration::ZERO);
    let usage_interval = section.duration("usage_interval", 100 * MILLISECOND);
    let pepper = section.optional("pepper", |text| Ok(Secret::new(text.to_owned())));
    let first_token = section.boolean("first_token");
    let argon2 = argon2(section.section("argon2"));
    if let (Some(cost), Some(pepper)) = (argon2, pepper.clone())
        && let Err(error) = SecretHasher::for_tokens(cost, pepper)
    {
        section.refuse("argon2", format!("is refused: {error}"), "see the ranges in config/default.toml");
    }
    section.finish();
    Some(TokenConfig {
        default_lifetime: default_lifetime?,
        max_lifetime: max_lifetime?,
        rotation_overlap: rotation_overlap?,
        usage_interval: usage_interval?,
        pepper: pepper?,
        argon2: argon2?,
        first_token: first_token?,
    })
}

fn argon2(section: Section<'_>) -> Option<Argon2Config> {
    let memory_kib = section.integer("memory_kib", 8..=1_048_576_i64);
    let iterations = section.integer("iterations", 1..=100_i64);
    let parallelism = section.integer("parallelism", 1..=64_i64);
    section.finish();
    Some(Argon2Config {
        memory_kib: u32::try_from(memory_kib?).ok()?,
        iterations: u32::try_from(iterations?).ok()?,
        parallelism: u32::try_from(parallelism?).ok()?,
    })
}

pub fn log(section: Section<'_>) -> Option<LogConfig> {
    let format = section.parsed("format", log_format);
    let filter = section.parsed("filter", |text| match EnvFilter::try_new(text) {
        Ok(_) if !text.trim().is_empty() => Ok(text.to_owned()),
        _ => Err(Wrong {
            what: "is not a filter".to_owned(),
            fix: "write a level (error, warn, info, debug, trace) or for example \"bento_gateway=debug\"".to_owned(),
        }),
    });
    let access = section.boolean("access");
    section.finish();
    Some(LogConfig { format: format?, filter: filter?, access: access? })
}

fn log_format(text: &str) -> Result<LogFormat, Wrong> {
    match text {
        "auto" => Ok(LogFormat::Auto),
        "json" => Ok(LogFormat::Json),
        "pretty" => Ok(LogFormat::Pretty),
        _ => Err(Wrong { what: "is not a log format".to_owned(), fix: "write auto, json or pretty".to_owned() }),
    }
}
