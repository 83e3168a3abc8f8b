//! `bento-gateway man`: the help texts as manual pages.

use std::{fs, io, path::Path};

use clap::CommandFactory;

use super::{args::Cli, error::CliError, exit::ExitStatus, output::Printer, sanitize::escaped};

/// # Errors
/// [`ExitStatus::Failure`] if the directory cannot be written to.
pub fn run(directory: &Path, printer: &mut Printer<'_>) -> Result<(), CliError> {
    let command = Cli::command().disable_help_subcommand(true);
    let written = fs::create_dir_all(directory).and_then(|()| clap_mangen::generate_to(command, directory));
    written.map_err(|error| refused(directory, &error))?;
    printer.note(&format!("The manual begins with {}.", shown(&directory.join("bento-gateway.1"))));
    Ok(())
}

fn refused(directory: &Path, error: &io::Error) -> CliError {
    let message = format!("the manual pages could not be written into {}: {error}", shown(directory));
    CliError::new(ExitStatus::Failure, message, "name a directory that you may write to")
}

fn shown(path: &Path) -> String {
    escaped(&path.to_string_lossy()).into_owned()
}
