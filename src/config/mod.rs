//! Settings as plain data: read, layered, validated. Nobody else reads files or the environment for settings.
//!
//! Precedence: command-line flag, then `BENTO_GATEWAY__SECTION__KEY` (or `…_FILE`, whose value names a file that holds
//! the setting), then the configuration file, then `config/default.toml`, which is embedded and is the reference.

mod layers;
mod load;
mod print;
mod problems;
mod reader;
mod reference;
mod sections;
mod sources;
mod take_over;
#[cfg(test)]
mod tests;

pub use load::{Loaded, load, load_with_sources, watched_files};
pub use problems::{ConfigProblems, Problem, Source, redact_url};
pub use reference::reference;
pub use sources::{Overrides, Sources};

use std::{fmt, net::SocketAddr, path::PathBuf, time::Duration};

use ipnet::IpNet;

use crate::{
    domain::{
        deployment::{DeploymentName, DeploymentSettings},
        host::HostName,
        identity_fields::IdentityFields,
        origin::Origin,
        routing::Declared,
        secret::Secret,
        user::SingleSignOn,
    },
    secret_hash::Argon2Cost,
};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    pub organization: String,
    pub proxy: ProxyConfig,
    pub management: ManagementConfig,
    pub forward_auth: ForwardAuthConfig,
    pub telemetry: TelemetryConfig,
    pub store: StoreConfig,
    pub tokens: TokenConfig,
    pub usage: UsageConfig,
    pub log: LogConfig,
    pub declared: Declared,
    /// Where credentials for upstreams stand, and certificates that upstreams are verified by or shown.
    pub upstream_files: Vec<PathBuf>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProxyConfig {
    pub listen: SocketAddr,
    /// One single-threaded runtime each; as many as there are cores if the file says 0.
    pub workers: usize,
    /// `NAME.<base_domain>` reaches the Deployment `NAME`. `None`: it does not.
    pub base_domain: Option<HostName>,
    /// How callers reach the listener. `None`: by its address.
    pub public_url: Option<Origin>,
    /// `/deployments/NAME/…` reaches the Deployment `NAME`.
    pub path_prefix: bool,
    /// Whether browsers may sign in to Deployments that share an origin, whose pages then act with each other's sessions.
    pub path_prefix_sessions: bool,
    /// Where requests go whose host and path name no Deployment. `None`: nowhere.
    pub default_deployment: Option<DeploymentName>,
    /// Peers whose `X-Forwarded-*` is believed.
    pub trusted_proxies: Vec<IpNet>,
    /// Their connections to the proxy listener and to those of Deployments begin with the PROXY protocol.
    pub proxy_protocol: bool,
    pub tls: Option<TlsConfig>,
    /// HTTP/2: by ALPN with TLS, by prior knowledge in clear text.
    pub http2: bool,
    /// How long streams may go on after SIGTERM.
    pub drain_timeout: Duration,
    /// How long an idle connection to an upstream is kept: less than uvicorn's 5 s.
    pub upstream_keep_alive: Duration,
    /// How long a browser that has signed in to a Deployment stays so.
    pub session_lifetime: Duration,
    pub limits: LimitConfig,
    pub identity_fields: IdentityFields,
    pub deployment_defaults: DeploymentSettings,
}

/// What the gateway itself listens on.
fn own_listeners(
    proxy: &ProxyConfig,
    management: &ManagementConfig,
    forward_auth: &ForwardAuthConfig,
    telemetry: &TelemetryConfig,
) -> Vec<SocketAddr> {
    [proxy.listen, management.listen].into_iter().chain(forward_auth.listen).chain(telemetry.listen).collect()
}

/// PEM files, re-read when they change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsConfig {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LimitConfig {
    /// All fields of a request together, bytes: 431 beyond.
    pub max_header_bytes: usize,
    /// Fields of a request: 431 beyond.
    pub max_headers: usize,
    /// Request target, bytes: 414 beyond.
    pub max_uri_bytes: usize,
    /// Connections from callers, over all workers. Further ones wait in the kernel's queue.
    pub max_connections: usize,
    /// From the connection (or the first byte of a further request) to the complete header.
    pub header_timeout: Duration,
    /// How long a caller's connection may stay without a request.
    pub keep_alive_timeout: Duration,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManagementConfig {
    pub listen: SocketAddr,
    pub tls: Option<TlsConfig>,
    pub limits: ManagementLimitConfig,
    /// How long the browser's part of `bentoml cloud login` may take.
    pub login_code_lifetime: Duration,
    /// How browsers reach the listener. `None`: by its address.
    pub public_url: Option<Origin>,
    /// How long somebody who has signed in to the console stays so.
    pub session_lifetime: Duration,
    /// How long a link is good by which somebody sets their password.
    pub invitation_lifetime: Duration,
    /// `None`: no single sign-on.
    pub oidc: Option<OidcConfig>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManagementLimitConfig {
    /// Connections that may be open at once. A further one takes the place of the one that is idle longest.
    pub max_connections: usize,
    /// From the connection, or from the first byte of a further request, to the complete header.
    pub header_timeout: Duration,
    /// How long a connection may stay without a request.
    pub keep_alive_timeout: Duration,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForwardAuthConfig {
    /// `None`: there is no such listener.
    pub listen: Option<SocketAddr>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TelemetryConfig {
    /// `None`: there is no such listener.
    pub listen: Option<SocketAddr>,
}

impl ManagementConfig {
    pub fn single_sign_on(&self) -> SingleSignOn {
        match &self.oidc {
            None => SingleSignOn::Off,
            Some(oidc) if oidc.passwords => SingleSignOn::BesidePasswords,
            Some(_) => SingleSignOn::WithoutPasswords,
        }
    }
}

/// Single sign-on with OpenID Connect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OidcConfig {
    pub issuer: String,
    pub client_id: String,
    /// `None`: a public client.
    pub client_secret: Option<Secret>,
    pub label: String,
    pub scopes: Vec<String>,
    /// `None`: the provider says nothing about roles.
    pub role_claim: Option<String>,
    pub admin_values: Vec<String>,
    /// Never empty. `*`: everybody whom the provider knows may sign in.
    pub allowed_values: Vec<String>,
    /// People for whom the provider has vouched may have a password, too.
    pub passwords: bool,
    /// An address of which the provider does not say whether it has verified it counts as verified.
    pub trust_email: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreConfig {
    pub url: StoreUrl,
    /// Connections of the pool (PostgreSQL).
    pub max_connections: u32,
    /// How long one statement may wait for a connection.
    pub acquire_timeout: Duration,
    /// How often `change_seq` is read: the bound within which other processes' changes take effect.
    pub poll_interval: Duration,
    /// How long known tokens go on working while the store cannot be reached. `None`: without limit. Decision 16 argues the
    /// default.
    pub max_staleness: Option<Duration>,
}

/// `sqlite:PATH` or `postgres://…`. Printed without its password.
#[derive(Clone, PartialEq, Eq)]
pub enum StoreUrl {
    Sqlite(PathBuf),
    Postgres(Secret),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenConfig {
    /// Lifetime of a token created without Expired At. `None`: it does not expire.
    pub default_lifetime: Option<Duration>,
    /// Longest lifetime that may be asked for. `None`: any, also none.
    pub max_lifetime: Option<Duration>,
    /// How long the old secret goes on working after a rotation, unless the rotation says otherwise.
    pub rotation_overlap: Duration,
    /// How long before a token ends its callers are told. `None`: they are not.
    pub expiry_notice: Option<Duration>,
    /// How often `last_used_at` and usage are written.
    pub usage_interval: Duration,
    /// Keys Argon2 beside the salt; without it a copy of the store is of no use. `None`: no pepper.
    pub pepper: Option<Secret>,
    pub argon2: Argon2Cost,
    /// Whether the first token is minted and printed when the store is new.
    pub first_token: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsageConfig {
    /// How long it is kept what tokens have used of Deployments. `None`: for ever.
    pub retention: Option<Duration>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogConfig {
    pub format: LogFormat,
    /// A `tracing` filter: `info`, `bento_gateway=debug,sqlx=warn`, …
    pub filter: String,
    /// One line per proxied request.
    pub access: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// Readable on a terminal, JSON elsewhere.
    Auto,
    Json,
    Pretty,
}

impl StoreUrl {
    /// As `store.url` has it.
    ///
    /// # Errors
    /// What is wrong, which continues a sentence that begins with what it is the value of, and what to do. Neither has the
    /// text.
    pub fn parse(text: &str) -> Result<Self, (String, String)> {
        sections::store_url(text).map_err(|invalid| (invalid.message, invalid.fix))
    }
}

impl fmt::Debug for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(path) => write!(f, "sqlite:{}", path.display()),
            Self::Postgres(_) => f.write_str("postgres:[redacted]"),
        }
    }
}
