//! An error as the command line prints it: what happened, what to do, and the exit code.

use std::io;

use super::{exit::ExitStatus, hints};
use crate::{config::ConfigProblems, service};

#[derive(Debug)]
pub enum CliError {
    Failed {
        message: String,
        /// What to do. `None`: the message says it.
        hint: Option<String>,
        status: ExitStatus,
    },
    /// The reader of our output has closed it (`token list | head`), which is no error.
    BrokenPipe,
}

impl CliError {
    pub fn new(status: ExitStatus, message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::Failed { message: message.into(), hint: Some(hint.into()), status }
    }

    pub fn status(&self) -> ExitStatus {
        match self {
            Self::Failed { status, .. } => *status,
            Self::BrokenPipe => ExitStatus::Success,
        }
    }
}

impl<E: Into<service::Error>> From<E> for CliError {
    fn from(error: E) -> Self {
        let error = error.into();
        Self::Failed { message: error.to_string(), hint: hints::hint(&error), status: error.kind().into() }
    }
}

impl From<ConfigProblems> for CliError {
    fn from(problems: ConfigProblems) -> Self {
        let hint = "config/default.toml describes every setting; `bento-gateway config check` checks again";
        Self::new(ExitStatus::Configuration, problems.to_string(), hint)
    }
}

impl From<io::Error> for CliError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::BrokenPipe,
            _ => Self::Failed { message: error.to_string(), hint: None, status: ExitStatus::Failure },
        }
    }
}
