//! The commands and their arguments. The doc comments are the help texts, from which `docs/cli.md` is generated.

use std::{net::SocketAddr, num::NonZeroU32, path::PathBuf, time::Duration};

use clap::{ArgGroup, Args, Parser, Subcommand};
use clap_complete::Shell;

use super::output::Format;
use crate::{
    domain::{
        cors_origin::CorsOrigin,
        deployment::{DeploymentName, UpstreamUrl},
        host::HostName,
        rate::Rate,
        token_text::{PREFIX, SESSION_PREFIX, TOKEN_LEN},
        units::{parse_duration, parse_size},
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
    /// List the gateways on this store, and remove those that have ended
    #[command(subcommand)]
    Replica(ReplicaCommand),
    /// Check or print the configuration
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Check whether a running gateway is ready: exit code 0 if it is, 1 if it is not
    Healthcheck {
        /// URL to check [default: /readyz on the configured management listener]
        #[arg(long)]
        url: Option<UpstreamUrl>,
    },
    /// Print a shell completion script
    Completions { shell: Shell },
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
        /// deployment:PREFIX* or deployment:*
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
pub enum DeploymentCommand {
    /// Add a Deployment to the store, and print its address
    ///
    /// The only Deployment of a gateway is reached at the gateway's own address. Several need an address each: a host, a
    /// listener, or proxy.base_domain in the configuration, which gives one to all.
    Add(AddDeployment),
    /// Change where a Deployment of the store is reached, and where it leads
    ///
    /// What is not given stays as it is.
    Update(UpdateDeployment),
    /// List Deployments from the configuration and the store
    List,
    /// Stop forwarding to a Deployment; its callers get 503
    Terminate { name: DeploymentName },
    /// Resume forwarding to a terminated Deployment
    Start { name: DeploymentName },
    /// Remove a Deployment from the store, and the scopes that name it from all tokens
    Remove { name: DeploymentName },
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

/// Settings without a flag take their current values in [proxy.deployment_defaults].
#[derive(Debug, Args)]
pub struct AddDeployment {
    /// Lower-case letters, digits and hyphens; starts and ends with a letter or digit
    pub name: DeploymentName,
    /// URL at which the Bento listens; can be repeated for replicas
    #[arg(long = "upstream", value_name = "URL", required = true)]
    pub upstreams: Vec<UpstreamUrl>,
    /// Custom host name; can be repeated
    #[arg(long = "host", value_name = "HOST")]
    pub hosts: Vec<HostName>,
    /// Let everybody call it, without a token
    #[arg(long)]
    pub public: bool,
    /// Address of a listener of its own
    #[arg(long, value_name = "IP:PORT")]
    pub listen: Option<SocketAddr>,
    /// Longest wait for the connection to the upstream
    #[arg(long, value_name = "DURATION", value_parser = positive_duration)]
    pub connect_timeout: Option<Duration>,
    /// Longest wait for the first byte of the response
    #[arg(long, value_name = "DURATION", value_parser = positive_duration)]
    pub first_byte_timeout: Option<Duration>,
    /// Longest time without a byte in either direction
    #[arg(long, value_name = "DURATION", value_parser = positive_duration)]
    pub idle_timeout: Option<Duration>,
    /// Maximum size of a request body, for example 10MiB
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    pub max_body: Option<u64>,
    /// How many requests of each gateway may be under way at once; the others wait, and tokens share the time equally
    #[arg(long, value_name = "NUMBER")]
    pub max_in_flight: Option<NonZeroU32>,
    /// How many requests may wait until it is their turn
    #[arg(long, value_name = "NUMBER")]
    pub max_queue: Option<u32>,
    /// Longest time that a request waits until it is its turn
    #[arg(long, value_name = "DURATION", value_parser = positive_duration)]
    pub queue_timeout: Option<Duration>,
    /// How often each token may ask, for example 600/1m
    #[arg(long, value_name = "REQUESTS/PERIOD")]
    pub rate_limit: Option<Rate>,
    /// Pass the caller's Authorization header on to the upstream
    #[arg(long)]
    pub forward_authorization: bool,
    /// Let pages of this origin call it and read the responses (CORS); can be repeated
    #[arg(long = "cors-origin", value_name = "ORIGIN")]
    pub cors_origins: Vec<CorsOrigin>,
    /// Allow pickle request bodies, which can run any code in the upstream
    #[arg(long)]
    pub allow_pickle: bool,
    /// Take over a name that a gateway's configuration declared before, with the tokens whose scopes name it
    #[arg(long)]
    pub was_declared: bool,
}

#[derive(Debug, Args)]
#[command(group(ArgGroup::new("change").required(true).multiple(true).args(["upstreams", "hosts", "listen"])))]
pub struct UpdateDeployment {
    pub name: DeploymentName,
    /// URL at which the Bento listens, in place of those before; can be repeated for replicas
    #[arg(long = "upstream", value_name = "URL")]
    pub upstreams: Vec<UpstreamUrl>,
    /// Custom host name, in place of those before; can be repeated
    #[arg(long = "host", value_name = "HOST")]
    pub hosts: Vec<HostName>,
    /// Address of a listener of its own
    #[arg(long, value_name = "IP:PORT")]
    pub listen: Option<SocketAddr>,
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

fn positive_duration(text: &str) -> Result<Duration, String> {
    match parse_duration(text)? {
        Duration::ZERO => Err("must be longer than 0s".to_owned()),
        duration => Ok(duration),
    }
}

/// What names a token. Its text does not: arguments are seen by everybody on the machine.
fn no_token_text(text: &str) -> Result<String, &'static str> {
    if text.len() >= TOKEN_LEN && [PREFIX, SESSION_PREFIX].iter().any(|prefix| text.contains(prefix)) {
        return Err("this holds the text of a token; give the token's name, or the 12 characters behind bgw_");
    }
    Ok(text.to_owned())
}
