//! Problems of a configuration, all at once: each with its value, where the value comes from, and the fix.

use std::{fmt, path::PathBuf};

use config::{Value, ValueKind};

use crate::domain::token_text::{PREFIX, SESSION_PREFIX};

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// `config/default.toml`, or what is derived from it.
    Default,
    File(PathBuf),
    /// The name of the environment variable.
    Env(String),
    /// With its hyphens: `--listen`.
    Flag(String),
}

/// One thing to fix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// `proxy.listen`. Empty if it is about a source as a whole.
    pub key: String,
    /// As it was written, without secrets. `None`: there is no value to show.
    pub value: Option<String>,
    pub source: Source,
    /// Continues the sentence that begins with the key.
    pub message: String,
    pub fix: String,
}

/// At least one problem. Prints as a list.
#[derive(Debug, PartialEq, Eq)]
pub struct ConfigProblems(pub Vec<Problem>);

impl Source {
    /// Reads what `Display` wrote: the `config` crate carries sources as text.
    pub(super) fn from_text(text: Option<&str>) -> Self {
        let text = text.unwrap_or_default();
        if let Some(path) = text.strip_prefix("file ") {
            Self::File(path.into())
        } else if let Some(name) = text.strip_prefix("variable ") {
            Self::Env(name.to_owned())
        } else if let Some(name) = text.strip_prefix("flag ") {
            Self::Flag(name.to_owned())
        } else {
            Self::Default
        }
    }

    /// Whether this source has texts only, so that numbers, booleans and lists must be read from texts.
    pub(super) fn is_text_only(&self) -> bool {
        matches!(self, Self::Env(_) | Self::Flag(_))
    }
}

/// Settings whose values are never shown.
pub(super) const SECRETS: [&str; 2] = ["tokens.pepper", "management.oidc.client_secret"];

/// Whether nobody is to read it.
pub(super) fn is_secret(key: &str, value: &Value) -> bool {
    match &value.kind {
        ValueKind::String(url) if key == "store.url" => redact_url(url) != *url,
        ValueKind::String(text) => SECRETS.contains(&key) && !text.is_empty(),
        _ => SECRETS.contains(&key),
    }
}

/// The value in TOML, with secrets redacted.
pub(super) fn shown(key: &str, value: &Value) -> String {
    match (key, &value.kind) {
        (key, _) if SECRETS.contains(&key) && is_secret(key, value) => quoted("[redacted]"),
        ("store.url", ValueKind::String(url)) => quoted(&redact_url(url)),
        // An upstream's URL must not have a password; the message that says so must not show it.
        (key, ValueKind::String(text)) if key.contains(".upstream") || text.contains("://") => {
            quoted(&redact_url(text))
        }
        // A token in the wrong place.
        (_, ValueKind::String(text)) if [PREFIX, SESSION_PREFIX].iter().any(|prefix| text.contains(prefix)) => {
            quoted("[redacted]")
        }
        (_, ValueKind::String(text)) => quoted(text),
        (_, ValueKind::Nil) => quoted(""),
        (_, ValueKind::Table(_)) => "a section".to_owned(),
        (_, ValueKind::Array(items)) => {
            format!("[{}]", items.iter().map(|item| shown(key, item)).collect::<Vec<_>>().join(", "))
        }
        (_, kind) => kind.to_string(),
    }
}

/// TOML's basic string. Control characters, which could drive a terminal, are escaped as TOML wants it.
pub(super) fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for character in text.chars() {
        match character {
            '"' | '\\' => out.extend(['\\', character]),
            control if control.is_control() => out.push_str(&format!("\\u{:04X}", u32::from(control))),
            plain => out.push(plain),
        }
    }
    out.push('"');
    out
}

/// A database URL without its password, even if it is not a valid URL.
pub fn redact_url(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else {
        // `sqlite:PATH` has no password; anything else with an @ may be a URL that was mistyped.
        return if url.contains('@') && !url.starts_with("sqlite:") { "[redacted]".to_owned() } else { url.to_owned() };
    };
    let rest = match rest.rsplit_once('@') {
        Some((user_info, host)) => match user_info.split_once(':') {
            Some((user, _)) => format!("{user}:[redacted]@{host}"),
            None => rest.to_owned(),
        },
        None => rest.to_owned(),
    };
    let (before, query) = rest.split_once('?').map_or((rest.as_str(), None), |(before, query)| (before, Some(query)));
    let mut out = format!("{scheme}://{before}");
    for (at, pair) in query.iter().flat_map(|query| query.split('&')).enumerate() {
        out.push(if at == 0 { '?' } else { '&' });
        out.push_str(if pair.to_ascii_lowercase().starts_with("password") { "password=[redacted]" } else { pair });
    }
    out
}

/// The candidate that `text` most likely misspells. `None`: it resembles none of them.
pub(super) fn nearest<'a>(text: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let limit = 1 + text.len() / 6;
    candidates
        .into_iter()
        .map(|candidate| (edit_distance(text, candidate), candidate))
        .filter(|(distance, _)| *distance <= limit)
        .min()
        .map(|(_, candidate)| candidate)
}

/// Levenshtein distance: the number of insertions, deletions and substitutions that turn one text into the other.
fn edit_distance(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (at, left) in from.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = at + 1;
        for (column, right) in to.iter().enumerate() {
            let substituted = diagonal + usize::from(left != *right);
            diagonal = row[column + 1];
            row[column + 1] = substituted.min(row[column] + 1).min(diagonal + 1);
        }
    }
    row[to.len()]
}

// === text ===

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(path) => write!(f, "file {}", path.display()),
            Self::Env(name) => write!(f, "variable {name}"),
            Self::Flag(name) => write!(f, "flag {name}"),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let subject = if self.key.is_empty() { "" } else { &self.key };
        match &self.value {
            Some(value) => write!(f, "{subject} = {value} ({}) ", self.source)?,
            None if subject.is_empty() => write!(f, "{} ", self.source)?,
            None => write!(f, "{subject} ({}) ", self.source)?,
        }
        write!(f, "{}\n    fix: {}", self.message, self.fix)
    }
}

impl fmt::Display for ConfigProblems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.len() {
            1 => f.write_str("the configuration has a problem")?,
            many => write!(f, "the configuration has {many} problems")?,
        }
        self.0.iter().try_for_each(|problem| write!(f, "\n  {problem}"))
    }
}

impl std::error::Error for ConfigProblems {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_taken_out_of_urls() {
        for (url, redacted) in [
            ("postgres://ada:s3cret@db/x", "postgres://ada:[redacted]@db/x"),
            ("postgres://ada:s3@cret@db/x", "postgres://ada:[redacted]@db/x"),
            ("postgre://ada:s3cret@db", "postgre://ada:[redacted]@db"),
            ("postgres://ada@db/x", "postgres://ada@db/x"),
            ("postgres:ada:s3cret@db/x", "[redacted]"),
            ("postgres://db/x?password=s3cret&sslmode=require", "postgres://db/x?password=[redacted]&sslmode=require"),
            ("sqlite:/var/lib/x.db", "sqlite:/var/lib/x.db"),
        ] {
            assert_eq!(redact_url(url), redacted);
        }
    }

    #[test]
    fn near_words_are_found_and_far_ones_not() {
        let keys = ["listen", "workers", "base_domain"];
        assert_eq!(nearest("lisen", keys), Some("listen"));
        assert_eq!(nearest("base-domain", keys), Some("base_domain"));
        assert_eq!(nearest("colour", keys), None);
    }

    #[test]
    fn sources_read_back() {
        for source in [
            Source::Default,
            Source::File("/etc/x.toml".into()),
            Source::Env("A".to_owned()),
            Source::Flag("--listen".to_owned()),
        ] {
            assert_eq!(Source::from_text(Some(&source.to_string())), source);
        }
    }
}
