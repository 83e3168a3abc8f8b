//! Prints answers: a table for people, JSON or YAML for programs.

use std::io::Write;

use comfy_table::{Table, presets};
use serde::Serialize;

use super::{error::CliError, exit::ExitStatus, sanitize::escaped};

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    #[default]
    Table,
    Json,
    Yaml,
}

pub struct Printer<'a> {
    format: Format,
    out: &'a mut dyn Write,
    err: &'a mut dyn Write,
}

impl<'a> Printer<'a> {
    pub fn new(format: Format, out: &'a mut dyn Write, err: &'a mut dyn Write) -> Self {
        Self { format, out, err }
    }

    pub fn is_table(&self) -> bool {
        self.format == Format::Table
    }

    /// The answer: `table` for people, `data` otherwise.
    pub fn answer<T: Serialize>(&mut self, data: &T, table: impl FnOnce() -> String) -> Result<(), CliError> {
        let unprintable = |error: String| CliError::Failed { message: error, hint: None, status: ExitStatus::Failure };
        let text = match self.format {
            Format::Table => table(),
            Format::Json => serde_json::to_string_pretty(data).map_err(|error| unprintable(error.to_string()))?,
            Format::Yaml => serde_saphyr::to_string(data).map_err(|error| unprintable(error.to_string()))?,
        };
        self.line(text.trim_end())
    }

    /// A line of data.
    pub fn line(&mut self, text: &str) -> Result<(), CliError> {
        Ok(writeln!(self.out, "{text}")?)
    }

    pub fn raw(&mut self, bytes: &[u8]) -> Result<(), CliError> {
        Ok(self.out.write_all(bytes)?)
    }

    /// A note for the person, on standard error. The command goes on if it cannot be written.
    pub fn note(&mut self, text: &str) {
        let _ = writeln!(self.err, "{text}");
    }

    pub fn error(&mut self, error: &CliError) {
        if let CliError::Failed { message, hint, .. } = error {
            self.note(&format!("error: {message}"));
            if let Some(hint) = hint {
                self.note(&format!("hint: {hint}"));
            }
        }
    }
}

/// Columns under headers, without lines, so that people and `awk` can both read it.
pub fn table<'h>(headers: impl AsRef<[&'h str]>, rows: impl IntoIterator<Item: AsRef<[String]>>) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(headers.as_ref().to_vec());
    for row in rows {
        table.add_row(row.as_ref().iter().map(|cell| escaped(cell).into_owned()).collect::<Vec<String>>());
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table.trim_fmt()
}

/// One thing: a line for each of its properties.
pub fn card(rows: &[(&str, String)]) -> String {
    let width = rows.iter().map(|(label, _)| label.len()).max().unwrap_or(0);
    let lines = rows.iter().map(|(label, value)| format!("{label:width$}  {}", escaped(value)));
    lines.collect::<Vec<String>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_line_up_and_hide_nothing() {
        let text =
            table(["NAME", "UID"], [["a\u{1b}[2J".to_owned(), "1".to_owned()], ["b".to_owned(), "2".to_owned()]]);
        assert_eq!(text, "NAME        UID\na\\u{1b}[2J  1\nb           2");
        assert_eq!(
            card(&[("name", "a".to_owned()), ("description", "x\ny".to_owned())]),
            "name         a\ndescription  x\\ny"
        );
    }
}
