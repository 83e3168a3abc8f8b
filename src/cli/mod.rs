//! The command line: what it takes, which verb that is, how the answer is printed.
//!
//! Data goes to standard output, everything else to standard error. Errors carry their hint and their exit code.

mod args;
mod config;
mod deployment;
mod environment;
mod error;
mod exit;
mod healthcheck;
mod output;
mod reference;
mod sanitize;
mod scan;
mod serve;
mod settle;
mod token;
mod user;

use std::{collections::BTreeMap, ffi::OsString, io};

use clap::{CommandFactory, Parser};

pub use self::reference::reference;
use self::{
    args::{Cli, Command, TokenCommand},
    environment::Environment,
    error::CliError,
    exit::ExitStatus,
    output::Printer,
};

/// The whole program.
pub fn main() -> std::process::ExitCode {
    // Not locked: `serve` writes its welcome from another thread.
    let (mut out, mut err) = (io::stdout(), io::stderr());
    // Names of settings are ASCII; a value that is not Unicode shows as such in the problem about it.
    let lossy = |text: OsString| text.to_string_lossy().into_owned();
    let env = std::env::vars_os().map(|(name, value)| (lossy(name), lossy(value))).collect();
    run(std::env::args_os(), env, &mut out, &mut err).into()
}

fn run(
    args: impl IntoIterator<Item = OsString>,
    env: BTreeMap<String, String>,
    out: &mut dyn io::Write,
    err: &mut dyn io::Write,
) -> ExitStatus {
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        // Knows the terminal's colours; --help and --version come this way too.
        Err(error) => {
            let _ = error.print();
            return if error.use_stderr() { ExitStatus::Usage } else { ExitStatus::Success };
        }
    };
    let environment = Environment { env, global: cli.global };
    let mut printer = Printer::new(environment.global.output, out, err);
    match perform(cli.command, &environment, &mut printer) {
        Ok(()) => ExitStatus::Success,
        Err(error) => {
            printer.error(&error);
            error.status()
        }
    }
}

fn perform(command: Command, environment: &Environment, printer: &mut Printer<'_>) -> Result<(), CliError> {
    match command {
        Command::Serve(args) => serve::run(args, environment),
        Command::Token(TokenCommand::Scan { paths }) => scan::run(&paths, printer),
        Command::Token(command) => token::run(command, environment, printer),
        Command::Deployment(command) => deployment::run(command, environment, printer),
        Command::User(command) => user::run(command, environment, printer),
        Command::Config(command) => config::run(command, environment, printer),
        Command::Healthcheck { url } => healthcheck::run(url.as_ref(), environment, printer),
        Command::Completions { shell } => {
            // Into memory first: the generator panics where it cannot write.
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "bento-gateway", &mut script);
            printer.raw(&script)
        }
    }
}
