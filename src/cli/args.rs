//! What can be typed. The doc comments are the help texts, and `docs/cli.md` is made of them.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;

use super::output::Format;
use crate::{
    domain::{
        deployment::{CorsOrigin, DeploymentName, UpstreamUrl},
        host::HostName,
        token::TokenUid,
        units::{parse_duration, parse_size},
        user::Email,
    },
    service::tokens::Expiry,
};

/// An authenticating reverse proxy for self-hosted BentoML services
#[derive(Debug, Parser)]
#[command(name = "bento-gateway", version, propagate_version = false, subcommand_required = true)]
#[command(after_long_help = EXIT_CODES)]
pub struct Cli {
    #[command(flatten)]
    pub global: GlobalArgs,
    #[command(subcommand)]
    pub command: Command,
}

const EXIT_CODES: &str = "\
Exit codes:
   0  done
   1  failed
   2  the command line cannot be read
   3  what was named does not exist
   4  refused: a bad value, or it contradicts what exists
   5  the store cannot be reached or used
   6  `token scan` has found tokens
  78  the configuration has problems";

#[derive(Debug, Args)]
pub struct GlobalArgs {
    /// Configuration file [env: BENTO_GATEWAY_CONFIG]
    #[arg(short, long, global = true, value_name = "FILE", help_heading = "Global options")]
    pub config: Option<PathBuf>,
    /// sqlite:PATH or postgres://USER:PASSWORD@HOST/DATABASE
    #[arg(long, global = true, value_name = "URL", help_heading = "Global options")]
    pub store: Option<String>,
    /// How answers are printed
    #[arg(short, long, global = true, value_enum, default_value_t, value_name = "FORMAT")]
    #[arg(help_heading = "Global options")]
    pub output: Format,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the gateway
    Serve(ServeArgs),
    /// Make, look at and end API tokens
    #[command(subcommand)]
    Token(TokenCommand),
    /// Add, look at and remove Deployments
    #[command(subcommand)]
    Deployment(DeploymentCommand),
    /// Manage the people who own tokens
    #[command(subcommand)]
    User(UserCommand),
    /// Check or print the configuration
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Ask a running gateway whether it is ready; exit code 0 if so, 1 if not
    Healthcheck {
        /// Where to ask, instead of /readyz of the configured management listener
        #[arg(long)]
        url: Option<UpstreamUrl>,
    },
    /// Print a completion script for a shell
    Completions { shell: Shell },
}

#[derive(Debug, Args)]
pub struct ServeArgs {
    /// A Deployment and its upstream; may be repeated
    ///
    /// A single one is also the default Deployment. Several get a listener each, at the proxy's port + 10, + 11 and so
    /// on, unless there is a base domain.
    #[arg(long = "deployment", value_name = "NAME=URL")]
    pub deployments: Vec<String>,
    /// Where callers connect
    #[arg(long, value_name = "IP:PORT")]
    pub listen: Option<String>,
    /// Where operators and probes connect: /livez and /readyz
    #[arg(long, value_name = "IP:PORT")]
    pub management_listen: Option<String>,
    /// NAME.DOMAIN reaches the Deployment NAME
    #[arg(long, value_name = "DOMAIN")]
    pub base_domain: Option<String>,
    /// auto, json or pretty
    #[arg(long, value_name = "FORMAT")]
    pub log_format: Option<String>,
    /// PEM file with the certificate chain
    #[arg(long, value_name = "FILE")]
    pub tls_certificate: Option<String>,
    /// PEM file with the private key
    #[arg(long, value_name = "FILE")]
    pub tls_key: Option<String>,
}

#[derive(Debug, Subcommand)]
pub enum TokenCommand {
    /// Make a token; its text is printed once
    Create {
        name: String,
        #[arg(long, default_value = "", hide_default_value = true)]
        description: String,
        /// What it may do; may be repeated [default: api]
        ///
        /// api, read_organization, write_organization, read_cluster, write_cluster, deployment:NAME,
        /// deployment:PREFIX* or deployment:*
        #[arg(long = "scope", value_name = "SCOPE")]
        scopes: Vec<String>,
        /// 30d, 12h, 2w, 2026-12-24 or never [default: tokens.default_lifetime]
        #[arg(long, value_name = "WHEN", allow_hyphen_values = true)]
        expires: Option<Expiry>,
        /// Whose token it is [default: the first admin]
        #[arg(long, value_name = "EMAIL")]
        owner: Option<Email>,
    },
    /// List tokens, newest first, revoked and expired ones too
    List {
        /// A part of the name, the description or the uid
        #[arg(long, value_name = "TEXT")]
        search: Option<String>,
        /// Only this user's
        #[arg(long, value_name = "EMAIL")]
        owner: Option<Email>,
        /// At most so many
        #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
        limit: u32,
    },
    /// Show one token
    Get { uid: TokenUid },
    /// End a token for good
    Revoke { uid: TokenUid },
    /// Find tokens in files, offline; prints where they are, never what they are
    ///
    /// Directories are searched whole, hidden files and .git too; links in them are not followed. What is found has the
    /// prefix and the checksum of a token, so there are no false alarms. Exit code 6 if there are any.
    Scan {
        /// Files and directories; - for standard input
        #[arg(required = true, value_name = "PATH")]
        paths: Vec<PathBuf>,
    },
    /// Give a token a new secret; its text is printed once
    Rotate {
        uid: TokenUid,
        /// How long the old secret goes on working; 0s ends it now [default: tokens.rotation_overlap]
        #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
        overlap: Option<Duration>,
    },
}

#[derive(Debug, Subcommand)]
pub enum DeploymentCommand {
    /// Add a Deployment to the store; a running gateway serves it at once
    Add(AddDeployment),
    /// List Deployments of the configuration and of the store
    List,
    /// Stop forwarding to a Deployment of the store; its callers get 503
    Terminate { name: DeploymentName },
    /// Forward to a terminated Deployment again
    Start { name: DeploymentName },
    /// Remove a Deployment from the store, and end the scopes that name it
    Remove { name: DeploymentName },
}

/// Settings that are not given are those of [proxy.deployment_defaults] now.
#[derive(Debug, Args)]
pub struct AddDeployment {
    /// Lower-case letters, digits and inner hyphens
    pub name: DeploymentName,
    /// Where the Bento listens; may be repeated for replicas
    #[arg(long = "upstream", value_name = "URL", required = true)]
    pub upstreams: Vec<UpstreamUrl>,
    /// A custom host name; may be repeated
    #[arg(long = "host", value_name = "HOST")]
    pub hosts: Vec<HostName>,
    /// Ask for no token
    #[arg(long)]
    pub public: bool,
    /// An address of its own
    #[arg(long, value_name = "IP:PORT")]
    pub listen: Option<SocketAddr>,
    /// Until the connection to the upstream stands
    #[arg(long, value_name = "DURATION", value_parser = positive_duration)]
    pub connect_timeout: Option<Duration>,
    /// Until the first byte of the answer
    #[arg(long, value_name = "DURATION", value_parser = positive_duration)]
    pub first_byte_timeout: Option<Duration>,
    /// Without a byte in either direction
    #[arg(long, value_name = "DURATION", value_parser = positive_duration)]
    pub idle_timeout: Option<Duration>,
    /// Largest request body, for example 10MiB
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    pub max_body: Option<u64>,
    /// Pass the caller's Authorization on to the upstream
    #[arg(long)]
    pub forward_authorization: bool,
    /// Let pages of this origin call it and read the answers (CORS); may be repeated
    #[arg(long = "cors-origin", value_name = "ORIGIN")]
    pub cors_origins: Vec<CorsOrigin>,
    /// Let pickle through, which runs code of the caller's choice in the upstream
    #[arg(long)]
    pub allow_pickle: bool,
}

#[derive(Debug, Subcommand)]
pub enum UserCommand {
    /// Create a user
    Create {
        #[arg(long)]
        email: Email,
        #[arg(long)]
        name: String,
        /// May manage everything, not only tokens of their own
        #[arg(long)]
        admin: bool,
        /// Read the password from standard input; without it the user has none yet
        #[arg(long)]
        password_stdin: bool,
    },
    /// List users, oldest first
    List,
    /// Set a user's password
    SetPassword {
        email: Email,
        /// Read it from standard input instead of asking
        #[arg(long)]
        stdin: bool,
    },
    /// Make a link by which a user sets their password, once; earlier links end
    Invite { email: Email },
    /// Disable a user, and with them all their tokens and sessions
    Disable { email: Email },
    /// Enable a disabled user, and with them those of their tokens that are not over
    Enable { email: Email },
}

#[derive(Clone, Copy, Debug, Subcommand)]
pub enum ConfigCommand {
    /// List every problem of the configuration
    Check,
    /// Print every setting in effect as TOML, with where it came from
    Print,
}

fn positive_duration(text: &str) -> Result<Duration, String> {
    match parse_duration(text)? {
        Duration::ZERO => Err("must be longer than 0s".to_owned()),
        duration => Ok(duration),
    }
}
