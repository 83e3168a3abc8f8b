//! The arguments of what is only looked at: the audit trail, usage, and what would be decided.

use std::net::SocketAddr;

use clap::{Args, Subcommand};

use super::no_token_text;
use crate::{
    domain::{audit_chain::Checkpoint, deployment::DeploymentName, timestamp::Timestamp, user::Email},
    service::usage::{Grouping, Moment},
};

#[derive(Debug, Subcommand)]
pub enum AuditCommand {
    /// List events, newest first
    List {
        #[command(flatten)]
        events: EventArgs,
        /// Maximum number of events
        #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
        limit: u32,
    },
    /// Print all events, newest first: a line of JSON each
    Export {
        #[command(flatten)]
        events: EventArgs,
        /// Print CSV
        #[arg(long)]
        csv: bool,
    },
    /// Check that no event was removed, altered or moved; exits with 8 if one was
    ///
    /// Each event has a hash, which is made of the event and of the hash before. Who can write to the database could make
    /// all hashes anew: keep checkpoints elsewhere and give them here. Gateways log one every hour.
    Verify {
        /// A checkpoint that was kept elsewhere; can be repeated
        #[arg(long = "checkpoint", value_name = "CHECKPOINT")]
        checkpoints: Vec<Checkpoint>,
    },
    /// Print the ends of the trail's chains, to be kept elsewhere and given to `verify`
    Checkpoint,
}

#[derive(Debug, Args)]
pub struct EventArgs {
    /// Only actions that begin so, for example token. or session.signed_in
    #[arg(long, value_name = "ACTION")]
    pub action: Option<String>,
    /// Only what this user did
    #[arg(long, value_name = "EMAIL")]
    pub actor: Option<Email>,
    /// Only what was done to this: a uid, or the name of a Deployment
    #[arg(long, value_name = "TARGET")]
    pub target: Option<String>,
    /// From when on: a date, a time, or how long ago
    #[arg(long, value_name = "WHEN")]
    pub since: Option<Moment>,
    /// Until when
    #[arg(long, value_name = "WHEN")]
    pub until: Option<Moment>,
}

#[derive(Debug, Args)]
pub struct UsageArgs {
    /// From when on: a date, a time, or how long ago, for example 2026-12-24 or 30d [default: 7 days before the end]
    #[arg(long, value_name = "WHEN")]
    pub since: Option<Moment>,
    /// Until when [default: now]
    #[arg(long, value_name = "WHEN")]
    pub until: Option<Moment>,
    /// Only of this token: its name, its id as `token list` shows it, or its uid
    #[arg(long, value_name = "TOKEN", value_parser = no_token_text)]
    pub token: Option<String>,
    /// Only of this Deployment, which need not exist any more
    #[arg(long, value_name = "NAME")]
    pub deployment: Option<DeploymentName>,
    /// What has sums of its own: hour or day, token and deployment, separated by commas [default: token,deployment]
    #[arg(long, value_name = "WHAT")]
    pub by: Option<Grouping>,
    /// Print CSV
    #[arg(long, conflicts_with = "output")]
    pub csv: bool,
}

#[derive(Debug, Args)]
pub struct ExplainArgs {
    /// What is called, as a caller would write it: http://HOST/PATH
    #[arg(value_name = "URL", value_parser = no_token_text)]
    pub url: String,
    /// The request's method
    #[arg(long, value_name = "METHOD", default_value = "GET")]
    pub method: String,
    /// The token that is sent: its name, its id as `token list` shows it, or its uid; its newest secret counts
    #[arg(long, value_name = "TOKEN", value_parser = no_token_text, conflicts_with = "token_stdin")]
    pub token: Option<String>,
    /// Read the text of the token that is sent from standard input
    #[arg(long)]
    pub token_stdin: bool,
    /// The Deployment's own listener at which it comes in [default: the one with the port of the URL, or the common one]
    #[arg(long, value_name = "IP:PORT")]
    pub listener: Option<SocketAddr>,
    /// A date or time for which it is decided, by what is known now [default: now]
    #[arg(long, value_name = "WHEN")]
    pub at: Option<Timestamp>,
}
