//! clap's errors, which repeat what was typed: what may be a secret in it is not shown.

use std::ffi::OsString;

use clap::error::{ContextKind, ContextValue, ErrorKind};

use super::sanitize::escaped;
use crate::{
    config::redact_url,
    domain::token_text::{PREFIX, SESSION_PREFIX},
};

const HIDDEN: &str = "[redacted]";

/// The text of the error for standard error. `None`: clap may print it as it is, with its colours. `args` are all that was
/// typed.
pub fn without_secrets(error: &clap::Error, args: &[OsString]) -> Option<String> {
    let shown = error.to_string();
    let mut safe = shown.clone();
    for arg in args.iter().map(|arg| arg.to_string_lossy()) {
        // Also what comes after the `=` of a flag.
        let parts = arg.match_indices('=').map(|(at, _)| &arg[at + 1..]);
        for part in std::iter::once(&*arg).chain(parts) {
            if let Some(redacted) = redacted(part) {
                // As it was typed, and as a type's own error quotes it.
                let quoted = format!("{part:?}");
                safe = safe.replace(part, &redacted).replace(quoted.trim_matches('"'), &redacted);
            }
        }
    }
    if let Some(word) = stray(error) {
        safe = safe.replace(word, HIDDEN);
    }
    // Lines are clap's own; a line break in an argument is shown where the error type escapes it, and is none otherwise.
    let safe: Vec<_> = safe.lines().map(escaped).collect();
    let safe = safe.join("\n");
    (safe != shown.trim_end()).then_some(safe)
}

/// Without what may be secret in it. `None`: nothing is.
fn redacted(arg: &str) -> Option<String> {
    if [PREFIX, SESSION_PREFIX].iter().any(|prefix| arg.contains(prefix)) {
        return Some(HIDDEN.to_owned());
    }
    let url = arg.contains('@') && (arg.contains("://") || arg.split('@').any(|part| part.contains(':')));
    let query = arg.to_ascii_lowercase().contains("password=");
    (url || query).then(|| redact_url(arg)).filter(|redacted| redacted != arg)
}

/// A word that no argument of the command takes. It may be anything, a password among it.
fn stray(error: &clap::Error) -> Option<&str> {
    match (error.kind(), error.get(ContextKind::InvalidArg)) {
        (ErrorKind::UnknownArgument, Some(ContextValue::String(word))) if !word.starts_with('-') => Some(word),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::{cli::args::Cli, system};

    /// What is printed for the arguments after the program's name.
    fn printed(args: &[&str]) -> String {
        let args: Vec<OsString> =
            std::iter::once("bento-gateway").chain(args.iter().copied()).map(Into::into).collect();
        let error = Cli::try_parse_from(&args).unwrap_err();
        without_secrets(&error, &args).unwrap_or_else(|| error.to_string())
    }

    #[test]
    fn no_secret_is_repeated() {
        let token = system::new_token_text().unwrap();
        let token = token.expose();
        let session = token.replacen(PREFIX, SESSION_PREFIX, 1);
        let url = "postgres://ada:s3cr3t@db/x";
        let in_flag = format!("--store={url}");
        let limit = format!("--limit={url}");
        for args in [
            &["token", "revoke", token][..],
            &["token", "get", &session],
            &["token", token],
            &[token],
            &["token", "list", token],
            &["token", "list", "--limit", token],
            &["token", "list", "--owner", token],
            &["token", "create", "n", "--expires", token],
            &[&format!("--{token}")],
            &[&format!("--token={token}"), "token", "list"],
            &["token", "list", "--limit", url],
            &["token", "list", url],
            &["token", "list", "-o", url],
            &["token", "list", &in_flag, &in_flag],
            &["token", "list", &limit],
            &["deployment", "add", "a", "--upstream", "http://ada:s3cr3t@a"],
            &["deployment", "add", "a", "--upstream", "http://a", "--cors-origin", "https://ada:s3cr3t@a"],
            &["deployment", "add", "a", "--upstream", "postgres://db/x?password=s3cr3t"],
            &["user", "set-password", "ada@example.com", "s3cr3t"],
            &["user", "set-password", "ada@example.com", "--password=s3cr3t"],
            &["user", "set-password", "ada@example.com", "--password", "s3cr3t"],
            &["serve", "s3cr3t"],
        ] {
            let text = printed(args);
            let secret = [token, &session, &token[20..], "s3cr3t"].into_iter().find(|secret| text.contains(secret));
            assert_eq!(secret, None, "{args:?}: {text}");
            assert!(text.starts_with("error: ") && text.contains("--help"), "{args:?}: {text}");
        }
    }

    #[test]
    fn what_is_no_secret_is_repeated() {
        for (args, part) in [
            (&["tokn"][..], "'tokn'"),
            (&["token", "list", "--limt", "3"], "'--limt'"),
            (&["token", "list", "--limit", "many"], "'many'"),
            (&["deployment", "add", "a", "--upstream", "ftp://a"], "ftp://a"),
            (&["user", "invite", "ada@"], "ada@"),
        ] {
            let text = printed(args);
            assert!(text.contains(part), "{args:?}: {text}");
        }
    }
}
