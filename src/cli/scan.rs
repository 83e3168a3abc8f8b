//! `bento-gateway token scan`: tokens in files, found offline. No part of a token is ever printed.

use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

use serde::Serialize;
use walkdir::WalkDir;

use super::{
    error::CliError,
    exit::ExitStatus,
    output::{Printer, table},
    sanitize::escaped,
};
use crate::domain::token_search::{Location, TokenSearch};

/// Read at once, bytes.
const PIECE: usize = 256 * 1024;

/// Tokens of one scan.
#[derive(Serialize)]
struct Found {
    /// `-`: standard input.
    path: String,
    line: u64,
    column: u64,
    offset: u64,
}

#[derive(Default)]
struct Scan {
    found: Vec<Found>,
    read: usize,
    unreadable: usize,
    missing: usize,
}

/// # Errors
/// [`ExitStatus::Found`] if there are tokens, [`ExitStatus::NotFound`] and [`ExitStatus::Failure`] if paths could not be read.
pub fn run(paths: &[PathBuf], printer: &mut Printer<'_>) -> Result<(), CliError> {
    let mut scan = Scan::default();
    for path in paths {
        if path.as_os_str() == "-" {
            scan.stream(io::stdin().lock(), path, printer);
        } else if path.symlink_metadata().is_err() {
            scan.missing += 1;
            printer.note(&format!("error: {} does not exist", shown(path)));
        } else {
            scan.tree(path, printer);
        }
    }
    printer.answer(&scan.found, || {
        let rows = scan.found.iter().map(|found| {
            [found.path.clone(), found.line.to_string(), found.column.to_string(), found.offset.to_string()]
        });
        table(["PATH", "LINE", "COLUMN", "OFFSET"], rows)
    })?;
    scan.outcome()
}

impl Scan {
    /// A file, or all files below. Links are not followed below, so that nothing is read twice.
    fn tree(&mut self, path: &Path, printer: &mut Printer<'_>) {
        for entry in WalkDir::new(path).sort_by_file_name() {
            match entry {
                Ok(entry) if entry.file_type().is_file() || entry.depth() == 0 && !entry.path().is_dir() => {
                    match File::open(entry.path()) {
                        Ok(file) => self.stream(file, entry.path(), printer),
                        Err(error) => self.unreadable(entry.path(), &error, printer),
                    }
                }
                Ok(_) => {}
                Err(error) => {
                    let at = error.path().unwrap_or(path).to_owned();
                    self.unreadable(&at, &error.into(), printer);
                }
            }
        }
    }

    fn stream(&mut self, mut from: impl Read, path: &Path, printer: &mut Printer<'_>) {
        let (mut search, mut piece) = (TokenSearch::default(), vec![0; PIECE]);
        loop {
            match from.read(&mut piece) {
                Ok(0) => break self.read += 1,
                Ok(length) => {
                    let places = search.read(&piece[..length]);
                    self.found.extend(places.into_iter().map(|Location { line, column, offset }| Found {
                        path: path.to_string_lossy().into_owned(),
                        line,
                        column,
                        offset,
                    }));
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => break self.unreadable(path, &error, printer),
            }
        }
    }

    fn unreadable(&mut self, path: &Path, error: &io::Error, printer: &mut Printer<'_>) {
        self.unreadable += 1;
        printer.note(&format!("error: {} could not be read: {error}", shown(path)));
    }

    fn outcome(self) -> Result<(), CliError> {
        let Self { found, read, unreadable, missing } = self;
        if !found.is_empty() {
            let places = found.len();
            return Err(CliError::new(
                ExitStatus::Found,
                format!("found tokens at {places} places in {read} files"),
                "revoke each of them: `bento-gateway token revoke UID`, or send them to POST /api/v1/leaked_tokens; \
                 deleting the text is not enough",
            ));
        }
        if missing > 0 {
            let hint = "check the spelling; the other paths were scanned";
            return Err(CliError::new(ExitStatus::NotFound, format!("{missing} of the paths do not exist"), hint));
        }
        if unreadable > 0 {
            let hint = "run the command as a user who may read them";
            return Err(CliError::new(ExitStatus::Failure, format!("{unreadable} files could not be read"), hint));
        }
        Ok(())
    }
}

fn shown(path: &Path) -> String {
    escaped(&path.to_string_lossy()).into_owned()
}
