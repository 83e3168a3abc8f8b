//! The commands and their arguments. The doc comments are the help texts, from which `docs/cli.md` is generated.

mod deployment;
mod reports;
mod store;

use std::{path::PathBuf, time::Duration};

use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;

pub use self::{
    deployment::{AddDeployment, DeploymentCommand, Maybe, UpdateDeployment},
    reports::{AuditCommand, EventArgs, ExplainArgs, UsageArgs},
    store::{StoreCommand, To},
};
use super::output::Format;
use crate::{
    domain::{
        token_text::{PREFIX, SESSION_PREFIX, TOKEN_LEN},
        units::parse_duration,
        upstream_url::UpstreamUrl,
        user::Email,
    },
    service::tokens::Expiry,
};

/// An authenticating reverse proxy for self-hosted BentoML services
#[derive(Debug, Parser)]
#[command(name = "bento-gateway", version, propagate_version = false, subcommand_required = true)]
#[command(after_long_help = AFTER_HELP)]
pub struct Cli {
    #[command(flatten)]
    pub global: GlobalArgs,
    #[command(subcommand)]
    pub command: Command,
}

const AFTER_HELP: &str = "\
A command that changes something returns once all running gateways have applied the change, and says so. It waits for \
those that run for 3 s. If one of them has not applied it by then, the exit code is 7. What takes access away also ends \
with 7 while a gateway that was killed or is cut off from the store may still decide without it.

Exit codes:
   0  success
   1  failure
   2  invalid command line
   3  not found
   4  refused: an invalid value, or a conflict with what exists
   5  the store cannot be reached or used
   6  `token scan` found tokens
   7  the change is made, but a gateway has not confirmed it and may still decide without it
   8  `audit verify`, or a copy of the store, found that the audit trail was changed
  78  invalid configuration";

#[derive(Debug, Args)]
pub struct GlobalArgs {
    /// Configuration file [env: BENTO_GATEWAY_CONFIG]
    #[arg(short, long, global = true, value_name = "FILE", help_heading = "Global options")]
    pub config: Option<PathBuf>,
    /// The store: sqlite:PATH or postgres://USER:PASSWORD@HOST/DATABASE
    #[arg(long, global = true, value_name = "URL", help_heading = "Global options")]
    pub store: Option<String>,
    /// Output format
    #[arg(short, long, global = true, value_enum, default_value_t, value_name = "FORMAT")]
    #[arg(help_heading = "Global options")]
    pub output: Format,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the gateway
    Serve(ServeArgs),
    /// Create, list, rotate and revoke API tokens
    #[command(subcommand)]
    Token(TokenCommand),
    /// Add, list, stop and remove Deployments
    #[command(subcommand)]
    Deployment(DeploymentCommand),
    /// Manage users, who own tokens
    #[command(subcommand)]
    User(UserCommand),
    /// List, export and verify the audit trail: who changed what, and who signed in
    #[command(subcommand)]
    Audit(AuditCommand),
    /// Show what tokens have used of Deployments
    ///
    /// Requests, bytes and upstream time of each token at each Deployment, over a period of whole hours. Gateways write it
    /// every few seconds (tokens.usage_interval), and keep it for usage.retention.
    Usage(UsageArgs),
    /// Say which rule would let a request through, or refuse it
    ///
    /// Decided as a gateway would decide that starts now with this configuration and this store, by the code that serves
    /// requests. Nothing is sent, counted or written. Exits with 0 whether the request would be let through or not.
    Explain(ExplainArgs),
    /// List the gateways on this store, and remove those that have ended
    #[command(subcommand)]
    Replica(ReplicaCommand),
    /// Copy the store into another database, back it up, and restore it
    #[command(subcommand)]
    Store(StoreCommand),
    /// Check or print the configuration
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Look for what keeps a gateway from working, or lets others do more than they should
    ///
    /// Looks at the store and its schema, the upstreams of all Deployments, clocks, certificates, files, limits and listeners,
    /// whether a gateway runs or not. Changes nothing, and prints no secret. Give it the configuration, the environment and
    /// the flags that the gateway has, and run it as its user, on its machine. Exits with 1 if something failed; what it only
    /// warns of, or cannot tell from here, does not count.
    Doctor(ServeArgs),
    /// Check whether a running gateway is ready: exit code 0 if it is, 1 if it is not
    Healthcheck {
        /// URL to check [default: /readyz on the configured management listener]
        #[arg(long)]
        url: Option<UpstreamUrl>,
    },
    /// Print a shell completion script
    Completions { shell: Shell },
    /// Write the manual pages into a directory: one for each command, for man(1)
    Man {
        /// It is made if it does not exist: ~/.local/share/man/man1 is where man(1) looks
        directory: PathBuf,
    },
}

#[derive(Debug, Args)]
pub struct ServeArgs {
    /// A Deployment and the URL of its upstream; can be repeated
    ///
    /// A single Deployment is also the default Deployment. With several, each gets its own listener at the proxy's port
    /// + 10, + 11 and so on, unless a base domain is set.
    #[arg(long = "deployment", value_name = "NAME=URL")]
    pub deployments: Vec<String>,
    /// Address of the proxy listener, where callers connect
    #[arg(long, value_name = "IP:PORT")]
    pub listen: Option<String>,
    /// Address of the management listener, for the console, the API and probes
    #[arg(long, value_name = "IP:PORT")]
    pub management_listen: Option<String>,
    /// Address of the forward-auth listener, which another proxy asks whether a request may pass; "" for none
    #[arg(long, value_name = "IP:PORT")]
    pub forward_auth_listen: Option<String>,
    /// Address of the telemetry listener, for Prometheus; "" for none
    #[arg(long, value_name = "IP:PORT")]
    pub telemetry_listen: Option<String>,
    /// Domain whose subdomains are the Deployments: NAME.DOMAIN reaches the Deployment NAME
    #[arg(long, value_name = "DOMAIN")]
    pub base_domain: Option<String>,
    /// Log format: auto, json or pretty
    #[arg(long, value_name = "FORMAT")]
    pub log_format: Option<String>,
    /// PEM file with the TLS certificate chain
    #[arg(long, value_name = "FILE")]
    pub tls_certificate: Option<String>,
    /// PEM file with the TLS private key
    #[arg(long, value_name = "FILE")]
    pub tls_key: Option<String>,
}

#[derive(Debug, Subcommand)]
pub enum TokenCommand {
    /// Create a token and print it once
    Create {
        name: String,
        #[arg(long, default_value = "", hide_default_value = true)]
        description: String,
        /// What the token may do; can be repeated [default: api]
        ///
        /// api, read_organization, write_organization, read_cluster, write_cluster, deployment:NAME,
        /// deployment:PREFIX* or deployment:*; behind the latter three may stand :operations, methods (:GET,POST) and a path with
        /// all below it (:/v1/models)
        #[arg(long = "scope", value_name = "SCOPE")]
        scopes: Vec<String>,
        /// When the token expires: 30d, 12h, 2w, 2026-12-24 or never [default: tokens.default_lifetime]
        #[arg(long, value_name = "WHEN", allow_hyphen_values = true)]
        expires: Option<Expiry>,
        /// The user who owns the token [default: the first admin]
        #[arg(long, value_name = "EMAIL")]
        owner: Option<Email>,
    },
    /// List tokens, newest first, including revoked and expired ones
    List {
        /// Only tokens with this text in their name, description or uid, or behind their `bgw_`
        #[arg(long, value_name = "TEXT")]
        search: Option<String>,
        /// Only tokens of this user
        #[arg(long, value_name = "EMAIL")]
        owner: Option<Email>,
        /// Only tokens that are in force and expire within this time, the first to expire first
        #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
        expires_within: Option<Duration>,
        /// Maximum number of tokens
        #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
        limit: u32,
    },
    /// Show one token
    Get {
        /// Its name, its id as `list` shows it, or its uid
        #[arg(value_parser = no_token_text)]
        token: String,
    },
    /// Revoke a token, permanently
    Revoke {
        /// Its name, its id as `list` shows it, or its uid
        #[arg(value_parser = no_token_text)]
        token: String,
    },
    /// Find tokens in files, offline; prints where they are, but not the tokens
    ///
    /// Searches directories recursively, including hidden files and .git, without following links. Every match has the
    /// prefix and the checksum of a token, so there are no false alarms. Exits with 6 if it finds any.
    Scan {
        /// Files and directories; - for standard input
        #[arg(required = true, value_name = "PATH")]
        paths: Vec<PathBuf>,
    },
    /// Give a token a new secret and print it once
    Rotate {
        /// Its name, its id as `list` shows it, or its uid
        #[arg(value_parser = no_token_text)]
        token: String,
        /// How long the old secret keeps working; 0s ends it now [default: tokens.rotation_overlap]
        #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
        overlap: Option<Duration>,
    },
}

#[derive(Debug, Subcommand)]
pub enum ReplicaCommand {
    /// List the gateways that may decide by what they know
    List,
    /// Remove a gateway that has ended without signing off, so that no change waits for it or names it any more
    ///
    /// Make sure that it has ended: cut off from the store, it may still let revoked tokens through. One that runs comes
    /// back by itself.
    Remove { name: String },
}

#[derive(Debug, Subcommand)]
pub enum UserCommand {
    /// Create a user
    Create {
        #[arg(long)]
        email: Email,
        #[arg(long)]
        name: String,
        /// Make the user an admin, who manages everything and not only their own tokens
        #[arg(long)]
        admin: bool,
        /// Read the password from standard input; without this, the user has no password yet
        #[arg(long)]
        password_stdin: bool,
    },
    /// List users, oldest first
    List,
    /// Set a user's password
    ///
    /// Users who sign in with single sign-on have none, unless management.oidc.passwords allows it.
    SetPassword {
        email: Email,
        /// Read the password from standard input instead of prompting for it
        #[arg(long)]
        stdin: bool,
    },
    /// Create a link with which a user sets their password, once; earlier links stop working
    ///
    /// Users who sign in with single sign-on have none, unless management.oidc.passwords allows it.
    Invite { email: Email },
    /// Disable a user and all their tokens, and end their sessions
    Disable { email: Email },
    /// Enable a disabled user and their live tokens
    Enable { email: Email },
}

#[derive(Clone, Copy, Debug, Subcommand)]
pub enum ConfigCommand {
    /// Check the configuration and list every problem
    Check,
    /// Print every setting in effect as TOML, and where it comes from
    Print,
}

/// What names a token. Its text does not: arguments are seen by everybody on the machine.
fn no_token_text(text: &str) -> Result<String, &'static str> {
    if text.len() >= TOKEN_LEN && [PREFIX, SESSION_PREFIX].iter().any(|prefix| text.contains(prefix)) {
        return Err("this holds the text of a token; give the token's name, or the 12 characters behind bgw_");
    }
    Ok(text.to_owned())
}
