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
    let listeners = [("proxy", &config.proxy.tls), ("management", &config.management.tls)];
    let files = listeners.into_iter().flat_map(|(listener, tls)| {
        let files = tls.iter().flat_map(|tls| [("certificate", &tls.certificate), ("key", &tls.key)]);
        files.map(move |(key, path)| (format!("{listener}.tls.{key}"), path))
    });
    let unreadable: Vec<String> = files
        .filter_map(|(key, path)| File::open(path).err().map(|error| format!("{key} = {path:?}: {error}")))
        .collect();
    if unreadable.is_empty() {
        return Ok(());
    }
    let message = format!("the TLS files cannot be read\n  {}", unreadable.join("\n  "));
    Err(CliError::new(ExitStatus::Configuration, message, "check the paths and the permissions of the files"))
}
