//! Secrets come by standard input: everybody on the machine sees the arguments of a command.

use std::io::{self, BufRead, Read};

use super::{error::CliError, exit::ExitStatus};
use crate::domain::clean::{self, Unclean};

/// More than any secret has, so that a longer one is refused for its length.
const MAX_LINE: u64 = 4096;

/// The first line. `noun`: what it is.
pub fn secret(noun: &str) -> Result<String, CliError> {
    let mut line = Vec::new();
    io::stdin().lock().take(MAX_LINE).read_until(b'\n', &mut line)?;
    let unusable = |reason: String| {
        let message = format!("the {noun} on standard input {reason}");
        let hint = format!("pass it as UTF-8 text, for example with printf '%s' {}", noun.to_uppercase());
        CliError::new(ExitStatus::Refused, message, hint)
    };
    let secret = clean::value_of(&line).map_err(|reason| unusable(format!("cannot be read: {reason}")))?;
    match clean::check(secret) {
        // Somebody may have chosen a password with a blank at an end.
        Ok(()) | Err(Unclean::OuterBlank) => Ok(secret.to_owned()),
        Err(hidden) => Err(unusable(hidden.to_string())),
    }
}
