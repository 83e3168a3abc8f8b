//! Reads typed values out of the merged tree, and notes what is wrong instead of stopping.
//!
//! Every getter answers `None` if it noted a problem; the configuration is not used then. The keys that were asked for
//! are the known ones: whatever else a section holds is an error.

use std::{cell::RefCell, collections::BTreeSet, fmt::Display, ops::RangeInclusive, str::FromStr, time::Duration};

use config::{Map, Value, ValueKind};

use super::problems::{Problem, Source, nearest, shown};
use crate::domain::units;

/// Collects problems about one tree.
pub(super) struct Report<'a> {
    pub tree: &'a Value,
    pub problems: RefCell<Vec<Problem>>,
}

/// One table of the tree.
pub(super) struct Section<'a> {
    report: &'a Report<'a>,
    /// Empty for the root.
    path: String,
    /// `None`: something else stands where the table should; noted already, so nothing in it is missed.
    values: Option<&'a Map<String, Value>>,
    known: RefCell<BTreeSet<String>>,
}

/// Why a text is not taken: continues the sentence "KEY = VALUE …".
#[derive(Debug)]
pub(super) struct Wrong {
    pub what: String,
    pub fix: String,
}

impl<'a> Report<'a> {
    /// Notes that the value at `key` is wrong.
    pub fn refuse(&self, key: &str, what: impl Into<String>, fix: impl Into<String>) {
        let value = self.value(key).filter(|value| !matches!(value.kind, ValueKind::Table(_)));
        self.note(key, value.map(|value| shown(key, value)), what.into(), fix.into());
    }

    /// Notes that there should be nothing at `key`. What is there is not shown: it may be a secret whose key is misspelt.
    fn refuse_key(&self, key: &str, fix: String) {
        self.note(key, None, "is not a setting".to_owned(), fix);
    }

    fn note(&self, key: &str, value: Option<String>, wrong: String, fix: String) {
        let source = self.value(key).map_or(Source::Default, source_of);
        self.problems.borrow_mut().push(Problem { key: key.to_owned(), value, source, wrong, fix });
    }

    /// The text at `key`, if there is one and it reads as a `T`. Notes nothing: the section that has the key does.
    pub fn peek<T: FromStr>(&self, key: &str) -> Option<T> {
        match &self.value(key)?.kind {
            ValueKind::String(text) => text.parse().ok(),
            _ => None,
        }
    }

    fn value(&self, key: &str) -> Option<&'a Value> {
        key.split('.').try_fold(self.tree, |value, part| match &value.kind {
            ValueKind::Table(table) => table.get(part),
            _ => None,
        })
    }
}

impl<'a> Section<'a> {
    pub fn root(report: &'a Report<'a>) -> Self {
        Self::new(report, String::new(), Some(report.tree))
    }

    fn new(report: &'a Report<'a>, path: String, value: Option<&'a Value>) -> Self {
        let values = match value.map(|value| &value.kind) {
            Some(ValueKind::Table(table)) => Some(table),
            Some(_) => {
                report.refuse(&path, "must be a section", format!("write [{path}], with its keys below"));
                None
            }
            None => None,
        };
        Self { report, path, values, known: RefCell::default() }
    }

    pub fn section(&self, key: &str) -> Section<'a> {
        Self::new(self.report, self.key(key), self.get(key))
    }

    /// The names in a section whose names are free. Sorted, since TOML tables have no order.
    pub fn names(&self) -> BTreeSet<&'a str> {
        self.values.iter().flat_map(|values| values.keys()).map(String::as_str).collect()
    }

    /// Whether the key is written at all.
    pub fn has(&self, key: &str) -> bool {
        self.get(key).is_some()
    }

    pub fn refuse(&self, key: &str, what: impl Into<String>, fix: impl Into<String>) {
        self.report.refuse(&self.key(key), what, fix);
    }

    /// Notes every key that nobody asked for.
    pub fn finish(self) {
        let known = self.known.borrow();
        for key in self.names().into_iter().filter(|key| !known.contains(*key)) {
            let fix = match nearest(key, known.iter().map(String::as_str)) {
                Some(near) => format!("did you mean {near}?"),
                None => format!("remove it; known here: {}", known.iter().cloned().collect::<Vec<_>>().join(", ")),
            };
            self.report.refuse_key(&self.key(key), fix);
        }
    }

    fn key(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    fn get(&self, key: &str) -> Option<&'a Value> {
        self.known.borrow_mut().insert(key.to_owned());
        self.values?.get(key)
    }

    /// As `get`, for keys that `config/default.toml` must have.
    fn required(&self, key: &str) -> Option<&'a Value> {
        let value = self.get(key);
        if value.is_none() && self.values.is_some() {
            self.refuse(key, "is missing", "give it a value");
        }
        value
    }

    fn wrong_type(&self, key: &str, expected: &str, example: &str) {
        self.refuse(key, format!("must be {expected}"), format!("write for example {key} = {example}"));
    }

    // === typed values ===

    pub fn text(&self, key: &str) -> Option<String> {
        match &self.required(key)?.kind {
            ValueKind::String(text) => Some(text.clone()),
            ValueKind::Nil => Some(String::new()),
            _ => {
                self.wrong_type(key, "a text", "\"…\" in quotation marks");
                None
            }
        }
    }

    pub fn parsed<T>(&self, key: &str, parse: impl FnOnce(&str) -> Result<T, Wrong>) -> Option<T> {
        match parse(&self.text(key)?) {
            Ok(value) => Some(value),
            Err(wrong) => {
                self.refuse(key, wrong.what, wrong.fix);
                None
            }
        }
    }

    /// Empty text: `Some(None)`.
    pub fn optional<T>(&self, key: &str, parse: impl FnOnce(&str) -> Result<T, Wrong>) -> Option<Option<T>> {
        self.parsed(key, |text| if text.is_empty() { Ok(None) } else { parse(text).map(Some) })
    }

    pub fn boolean(&self, key: &str) -> Option<bool> {
        let value = self.required(key)?;
        let read = match &value.kind {
            ValueKind::Boolean(value) => Some(*value),
            ValueKind::String(text) if source_of(value).is_text_only() => text.parse().ok(),
            _ => None,
        };
        if read.is_none() {
            self.wrong_type(key, "true or false", "true");
        }
        read
    }

    pub fn integer<T: TryFrom<i64> + Display + PartialOrd>(&self, key: &str, range: RangeInclusive<T>) -> Option<T> {
        let value = self.required(key)?;
        let read = match &value.kind {
            ValueKind::I64(number) => Some(*number),
            ValueKind::String(text) if source_of(value).is_text_only() => text.parse().ok(),
            _ => None,
        };
        let read = read.and_then(|number| T::try_from(number).ok()).filter(|number| range.contains(number));
        if read.is_none() {
            let expected = format!("a whole number from {} to {}", range.start(), range.end());
            self.wrong_type(key, &expected, &range.start().to_string());
        }
        read
    }

    /// At least `least`.
    pub fn duration(&self, key: &str, least: Duration) -> Option<Duration> {
        self.parsed(key, |text| read_duration(text, least))
    }

    pub fn optional_duration(&self, key: &str, least: Duration) -> Option<Option<Duration>> {
        self.optional(key, |text| read_duration(text, least))
    }

    /// Bytes, a number or a text with a unit. Empty text: `Some(None)`.
    pub fn optional_size(&self, key: &str, range: RangeInclusive<u64>) -> Option<Option<u64>> {
        let text = match &self.required(key)?.kind {
            ValueKind::I64(number) => number.to_string(),
            ValueKind::String(text) if text.is_empty() => return Some(None),
            ValueKind::String(text) => text.clone(),
            _ => {
                self.wrong_type(key, "a size", "\"10 MiB\"");
                return None;
            }
        };
        match units::parse_size(&text) {
            Ok(bytes) if range.contains(&bytes) => return Some(Some(bytes)),
            Ok(_) => {
                let (least, most) = range.into_inner();
                self.refuse(key, "is out of range", format!("write a size from {least} to {most} bytes"));
            }
            Err(what) => self.refuse(key, what, format!("write for example {key} = \"10 MiB\"")),
        }
        None
    }

    pub fn size(&self, key: &str, range: RangeInclusive<u64>) -> Option<usize> {
        match self.optional_size(key, range)? {
            Some(bytes) => usize::try_from(bytes).ok(),
            None => {
                self.refuse(key, "must not be empty", format!("write for example {key} = \"64 KiB\""));
                None
            }
        }
    }

    /// A list of texts; from a flag or a variable, separated by commas.
    pub fn list<T>(&self, key: &str, parse: impl Fn(&str) -> Result<T, Wrong>) -> Option<Vec<T>> {
        let value = self.required(key)?;
        let texts: Option<Vec<&str>> = match &value.kind {
            ValueKind::Array(items) => items
                .iter()
                .map(|item| match &item.kind {
                    ValueKind::String(text) => Some(text.as_str()),
                    _ => None,
                })
                .collect(),
            ValueKind::String(text) if source_of(value).is_text_only() => {
                Some(text.split(',').map(str::trim).filter(|text| !text.is_empty()).collect())
            }
            _ => None,
        };
        let Some(texts) = texts else {
            self.wrong_type(key, "a list of texts", "[\"…\", \"…\"]");
            return None;
        };
        // Not `collect`, which would stop at the first wrong one.
        let wanted = texts.len();
        let mut out = Vec::with_capacity(wanted);
        for text in texts {
            match parse(text) {
                Ok(item) => out.push(item),
                Err(wrong) => self.refuse(key, wrong.what, wrong.fix),
            }
        }
        (out.len() == wanted).then_some(out)
    }
}

fn read_duration(text: &str, least: Duration) -> Result<Duration, Wrong> {
    let fix = || format!("write a duration of at least {}", units::format_duration(least));
    match units::parse_duration(text) {
        Ok(duration) if duration >= least => Ok(duration),
        Ok(_) => Err(Wrong { what: "is too short".to_owned(), fix: fix() }),
        Err(what) => Err(Wrong { what, fix: fix() }),
    }
}

/// A parser for types whose own error says little: `what` continues "is not ".
pub(super) fn expect<T: FromStr>(what: &'static str, example: &'static str) -> impl Fn(&str) -> Result<T, Wrong> {
    move |text| {
        text.parse().map_err(|_| Wrong { what: format!("is not {what}"), fix: format!("write for example {example}") })
    }
}

pub(super) fn source_of(value: &Value) -> Source {
    Source::from_text(value.origin())
}
