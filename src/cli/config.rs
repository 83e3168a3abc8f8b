//! `bento-gateway config …`.

use std::fs::File;

use super::{args::ConfigCommand, environment::Environment, error::CliError, exit::ExitStatus, output::Printer};
use crate::config::{self, Config, Overrides};

pub fn run(command: ConfigCommand, environment: &Environment, printer: &mut Printer<'_>) -> Result<(), CliError> {
    let loaded = config::load_with_sources(&environment.sources(Overrides::default()))?;
    match command {
        ConfigCommand::Check => {
            readable(&loaded.config)?;
            printer.line("OK")
        }
        ConfigCommand::Print => printer.line(loaded.to_toml().trim_end()),
    }
}

/// Not a part of loading: other commands do not need the key, and their user may not be allowed to read it.
fn readable(config: &Config) -> Result<(), CliError> {
    let unreadable: Vec<String> = config
        .proxy
        .tls
        .iter()
        .flat_map(|tls| [("proxy.tls.certificate", &tls.certificate), ("proxy.tls.key", &tls.key)])
        .filter_map(|(key, path)| File::open(path).err().map(|error| format!("{key} = {path:?}: {error}")))
        .collect();
    if unreadable.is_empty() {
        return Ok(());
    }
    let message = format!("the TLS files cannot be read\n  {}", unreadable.join("\n  "));
    Err(CliError::new(ExitStatus::Configuration, message, "check the paths and the permissions of the files"))
}
