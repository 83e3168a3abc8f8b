//! `[management]`, `[store]`, `[tokens]` and `[log]`.

use std::time::Duration;

use tracing_subscriber::EnvFilter;

use crate::{
    config::{
        Argon2Config, LogConfig, LogFormat, ManagementConfig, OidcConfig, Secret, StoreConfig, StoreUrl, TokenConfig,
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
    let public_url = section.optional("public_url", super::proxy::public_url);
    let session_lifetime = section.duration("session_lifetime", SECOND);
    let invitation_lifetime = section.duration("invitation_lifetime", SECOND);
    let oidc = oidc(section.section("oidc"));
    section.finish();
    Some(ManagementConfig {
        listen: listen?,
        login_code_lifetime: login_code_lifetime?,
        public_url: public_url?,
        session_lifetime: session_lifetime?,
        invitation_lifetime: invitation_lifetime?,
        oidc: oidc?,
    })
}

/// `Some(None)`: no single sign-on.
fn oidc(section: Section<'_>) -> Option<Option<OidcConfig>> {
    let issuer = section.optional("issuer", issuer);
    let client_id = section.text("client_id");
    let client_secret = section.optional("client_secret", |text| Ok(Secret::new(text.to_owned())));
    let label = section.text("label");
    let text = |text: &str| Ok(text.to_owned());
    let scopes = section.list("scopes", text);
    let role_claim = section.optional("role_claim", text);
    let admin_values = section.list("admin_values", text);
    let allowed_values = section.list("allowed_values", text);
    let given = issuer.as_ref().is_some_and(Option::is_some);
    if given && client_id.as_ref().is_some_and(String::is_empty) {
        section.refuse("client_id", "is missing beside issuer", "write the id that the provider has for this gateway");
        return None;
    }
    let needs_claim = |values: &Option<Vec<String>>| values.as_ref().is_some_and(|values| !values.is_empty());
    if given && role_claim == Some(None) && (needs_claim(&admin_values) || needs_claim(&allowed_values)) {
        let fix = "name the claim that holds these values, for example role_claim = \"groups\"";
        section.refuse("role_claim", "is missing beside admin_values or allowed_values", fix);
        return None;
    }
    section.finish();
    let oidc = OidcConfig {
        issuer: issuer?.unwrap_or_default(),
        client_id: client_id?,
        client_secret: client_secret?,
        label: label?,
        scopes: scopes?,
        role_claim: role_claim?,
        admin_values: admin_values?,
        allowed_values: allowed_values?,
    };
    Some(given.then_some(oidc))
}

/// Clear text only on this machine: who can change what the provider says can sign in as anybody.
fn issuer(text: &str) -> Result<String, Wrong> {
    let rest = text.strip_prefix("https://").or_else(|| {
        let rest = text.strip_prefix("http://")?;
        let host = rest.split([':', '/']).next();
        matches!(host, Some("127.0.0.1" | "localhost")).then_some(rest)
    });
    match rest {
        Some(rest) if !rest.is_empty() && !rest.contains(['?', '#', '@']) => Ok(text.to_owned()),
        _ => Err(Wrong {
            what: "is not an issuer".to_owned(),
            fix: "write https://HOST[/PATH], as the provider's discovery document has it".to_owned(),
        }),
    }
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
