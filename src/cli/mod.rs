//! The command line: parses arguments, calls the verb, prints the answer.
//!
//! Data goes to standard output, everything else to standard error. Errors carry their hint and their exit code.

mod args;
mod audit;
mod config;
mod csv;
mod deployment;
mod doctor;
mod environment;
mod error;
mod exit;
mod explain;
mod healthcheck;
mod hints;
mod man;
mod output;
mod reference;
mod replica;
mod sanitize;
mod scan;
mod serve;
mod settle;
mod stdin;
mod store;
mod token;
mod usage;
mod usage_error;
mod user;

use std::{collections::BTreeMap, ffi::OsString, io, sync::Arc};

use clap::{CommandFactory, Parser};

use self::{
    args::{Cli, Command, TokenCommand},
    environment::Environment,
    error::CliError,
    output::Printer,
};
pub use self::{exit::ExitStatus, reference::reference};
use crate::system::{Os, System};

/// The whole program.
pub fn main() -> std::process::ExitCode {
    // Not locked: `serve` writes its welcome from another thread.
    let (mut out, mut err) = (io::stdout(), io::stderr());
    // Names of settings are ASCII; a value that is not Unicode shows as such in the problem about it.
    let lossy = |text: OsString| text.to_string_lossy().into_owned();
    let env = std::env::vars_os().map(|(name, value)| (lossy(name), lossy(value))).collect();
    run(std::env::args_os(), env, Arc::new(Os), &mut out, &mut err).into()
}

/// The program with everything that a process has passed in. `args` begin with the program's name.
pub fn run(
    args: impl IntoIterator<Item = OsString>,
    env: BTreeMap<String, String>,
    system: Arc<dyn System>,
    out: &mut dyn io::Write,
    err: &mut dyn io::Write,
) -> ExitStatus {
    let args: Vec<OsString> = args.into_iter().collect();
    let cli = match Cli::try_parse_from(&args) {
        Ok(cli) => cli,
        Err(error) => {
            let safe = Some(&error).filter(|error| error.use_stderr());
            match safe.and_then(|error| usage_error::without_secrets(error, &args)) {
                Some(text) => drop(writeln!(err, "{text}")),
                // Knows the terminal's colours; --help and --version come this way too.
                None => drop(error.print()),
            }
            return if error.use_stderr() { ExitStatus::Usage } else { ExitStatus::Success };
        }
    };
    let environment = Environment { env, global: cli.global, system };
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
        Command::Audit(command) => audit::run(command, environment, printer),
        Command::Usage(args) => usage::run(args, environment, printer),
        Command::Explain(args) => explain::run(&args, environment, printer),
        Command::Replica(command) => replica::run(command, environment, printer),
        Command::Store(command) => store::run(command, environment, printer),
        Command::Config(command) => config::run(command, environment, printer),
        Command::Doctor(args) => doctor::run(args, environment, printer),
        Command::Healthcheck { url } => healthcheck::run(url.as_ref(), environment, printer),
        Command::Completions { shell } => {
            // Into memory first: the generator panics where it cannot write.
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "bento-gateway", &mut script);
            printer.raw(&script)
        }
        Command::Man { directory } => man::run(&directory, printer),
    }
}
