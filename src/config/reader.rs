//! Reads typed values from the merged tree, and reports every problem instead of stopping at the first.
//!
//! A getter returns `None` after it has reported a problem; the configuration is not used then. The keys that getters have
//! asked for are the known ones, and any other key of a section is a problem.

use std::{
    borrow::Cow, cell::RefCell, collections::BTreeSet, fmt::Display, ops::RangeInclusive, str::FromStr, time::Duration,
};

use config::{Map, Value, ValueKind};

use super::problems::{Problem, Source, nearest, shown};
use crate::domain::units::{self, InvalidDuration};

/// One tree, and the problems that were found in it.
pub(super) struct Validation<'a> {
    pub tree: &'a Value,
    pub problems: RefCell<Vec<Problem>>,
}

/// One table of the tree.
pub(super) struct Section<'a> {
    validation: &'a Validation<'a>,
    /// Empty for the root.
    path: String,
    /// `None`: there is something else than a table. That has been reported, so missing keys are not reported, too.
    values: Option<&'a Map<String, Value>>,
    known: RefCell<BTreeSet<String>>,
}

/// Why a text is not a valid value. The message continues the sentence "KEY = VALUE …".
#[derive(Debug)]
pub(super) struct Invalid {
    pub message: String,
    pub fix: String,
}

impl<'a> Validation<'a> {
    /// The value at `key` is invalid.
    pub fn report(&self, key: &str, message: impl Into<String>, fix: impl Into<String>) {
        let value = self.value(key).filter(|value| !matches!(value.kind, ValueKind::Table(_)));
        self.note(key, value.map(|value| shown(key, value)), message.into(), fix.into());
    }

    /// There should be nothing at `key`. Its value is not shown, because it may be a secret whose key is misspelt.
    fn report_unknown(&self, key: &str, fix: String) {
        self.note(key, None, "is not a setting".to_owned(), fix);
    }

    fn note(&self, key: &str, value: Option<String>, message: String, fix: String) {
        let source = self.value(key).map_or(Source::Default, source_of);
        self.problems.borrow_mut().push(Problem { key: key.to_owned(), value, source, message, fix });
    }

    /// The text at `key`, if there is one and it is a valid `T`. If not, the section that has the key reports it.
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
    pub fn root(validation: &'a Validation<'a>) -> Self {
        Self::new(validation, String::new(), Some(validation.tree))
    }

    fn new(validation: &'a Validation<'a>, path: String, value: Option<&'a Value>) -> Self {
        let values = match value.map(|value| &value.kind) {
            Some(ValueKind::Table(table)) => Some(table),
            Some(_) => {
                validation.report(&path, "must be a section", format!("write [{path}], with its keys below"));
                None
            }
            None => None,
        };
        Self { validation, path, values, known: RefCell::default() }
    }

    pub fn section(&self, key: &str) -> Section<'a> {
        Self::new(self.validation, self.key(key), self.get(key))
    }

    /// The keys of a section in which any key is allowed. Sorted, since TOML tables have no order.
    pub fn names(&self) -> BTreeSet<&'a str> {
        self.values.iter().flat_map(|values| values.keys()).map(String::as_str).collect()
    }

    /// Whether the key is present.
    pub fn has(&self, key: &str) -> bool {
        self.get(key).is_some()
    }

    pub fn report(&self, key: &str, message: impl Into<String>, fix: impl Into<String>) {
        self.validation.report(&self.key(key), message, fix);
    }

    /// Reports every key that no getter has asked for.
    pub fn finish(self) {
        let known = self.known.borrow();
        for key in self.names().into_iter().filter(|key| !known.contains(*key)) {
            let fix = match nearest(key, known.iter().map(String::as_str)) {
                Some(near) => format!("did you mean {near}?"),
                None => format!("remove it; known here: {}", known.iter().cloned().collect::<Vec<_>>().join(", ")),
            };
            self.validation.report_unknown(&self.key(key), fix);
        }
    }

    fn key(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    fn get(&self, key: &str) -> Option<&'a Value> {
        self.known.borrow_mut().insert(key.to_owned());
        self.values?.get(key)
    }

    /// As `get`, for keys that `config/default.toml` always has.
    fn required(&self, key: &str) -> Option<&'a Value> {
        let value = self.get(key);
        if value.is_none() && self.values.is_some() {
            self.report(key, "is missing", "give it a value");
        }
        value
    }

    fn wrong_type(&self, key: &str, expected: &str, example: &str) {
        self.report(key, format!("must be {expected}"), format!("write for example {key} = {example}"));
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

    pub fn parsed<T>(&self, key: &str, parse: impl FnOnce(&str) -> Result<T, Invalid>) -> Option<T> {
        match parse(&self.text(key)?) {
            Ok(value) => Some(value),
            Err(invalid) => {
                self.report(key, invalid.message, invalid.fix);
                None
            }
        }
    }

    /// Empty text: `Some(None)`.
    pub fn optional<T>(&self, key: &str, parse: impl FnOnce(&str) -> Result<T, Invalid>) -> Option<Option<T>> {
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

    /// Empty text: `Some(None)`.
    pub fn optional_integer<T: TryFrom<i64> + Display + PartialOrd>(
        &self,
        key: &str,
        range: RangeInclusive<T>,
    ) -> Option<Option<T>> {
        match &self.required(key)?.kind {
            ValueKind::String(text) if text.is_empty() => Some(None),
            _ => self.integer(key, range).map(Some),
        }
    }

    /// A duration of at least `least`.
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
                self.report(key, "is out of range", format!("write a size from {least} to {most} bytes"));
            }
            Err(error) => self.report(key, error.to_string(), format!("write for example {key} = \"10 MiB\"")),
        }
        None
    }

    pub fn size(&self, key: &str, range: RangeInclusive<u64>) -> Option<usize> {
        match self.optional_size(key, range)? {
            Some(bytes) => usize::try_from(bytes).ok(),
            None => {
                self.report(key, "must not be empty", format!("write for example {key} = \"64 KiB\""));
                None
            }
        }
    }

    /// A list of texts; from a flag or a variable, separated by commas.
    pub fn list<T>(&self, key: &str, parse: impl Fn(&str) -> Result<T, Invalid>) -> Option<Vec<T>> {
        self.list_of(key, ("a list of texts", "[\"…\", \"…\"]"), |_| None, parse)
    }

    /// The same, of which an item may also be a table. `text_of`: the text that says the same; `None`: there is none.
    pub fn list_of<T>(
        &self,
        key: &str,
        (expected, example): (&str, &str),
        text_of: impl Fn(&Map<String, Value>) -> Option<String>,
        parse: impl Fn(&str) -> Result<T, Invalid>,
    ) -> Option<Vec<T>> {
        let value = self.required(key)?;
        let texts: Option<Vec<Cow<'_, str>>> = match &value.kind {
            ValueKind::Array(items) => items
                .iter()
                .map(|item| match &item.kind {
                    ValueKind::String(text) => Some(Cow::from(text)),
                    ValueKind::Table(table) => text_of(table).map(Cow::from),
                    _ => None,
                })
                .collect(),
            ValueKind::String(text) if source_of(value).is_text_only() => {
                Some(text.split(',').map(str::trim).filter(|text| !text.is_empty()).map(Cow::from).collect())
            }
            _ => None,
        };
        let Some(texts) = texts else {
            self.wrong_type(key, expected, example);
            return None;
        };
        // Not `collect`, which would stop at the first wrong one.
        let wanted = texts.len();
        let mut out = Vec::with_capacity(wanted);
        for text in texts {
            match parse(&text) {
                Ok(item) => out.push(item),
                Err(invalid) => self.report(key, invalid.message, invalid.fix),
            }
        }
        (out.len() == wanted).then_some(out)
    }
}

fn read_duration(text: &str, least: Duration) -> Result<Duration, Invalid> {
    let fix = || format!("write a duration of at least {}", units::format_duration(least));
    match units::parse_duration(text) {
        Ok(duration) if duration >= least => Ok(duration),
        Ok(_) => Err(Invalid { message: "is too short".to_owned(), fix: fix() }),
        Err(error @ InvalidDuration::Form) => Err(Invalid { message: error.to_string(), fix: fix() }),
        Err(error @ InvalidDuration::TooLong) => {
            Err(Invalid { message: error.to_string(), fix: "write a shorter one".to_owned() })
        }
    }
}

/// A parser for types whose own error says little. `expected` continues the sentence "… is not".
pub(super) fn expect<T: FromStr>(expected: &'static str, example: &'static str) -> impl Fn(&str) -> Result<T, Invalid> {
    move |text| {
        text.parse()
            .map_err(|_| Invalid { message: format!("is not {expected}"), fix: format!("write for example {example}") })
    }
}

pub(super) fn source_of(value: &Value) -> Source {
    Source::from_text(value.origin())
}
