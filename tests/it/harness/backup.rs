//! Backups of a PostgreSQL database, by its own tools.

use std::{io::Write, process::Command};

use tempfile::NamedTempFile;

use super::postgres::binaries;

/// What `pg_dump` makes of that database.
pub fn backup(url: &str) -> Vec<u8> {
    let output = Command::new(binaries().join("pg_dump")).args(["--format=custom", url]).output().unwrap();
    assert!(output.status.success(), "pg_dump failed: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// Puts a backup back, whoever is connected.
pub fn restore(url: &str, backup: &[u8]) {
    let mut file = NamedTempFile::new().unwrap();
    file.write_all(backup).unwrap();
    let mut restore = Command::new(binaries().join("pg_restore"));
    restore.args(["--clean", "--if-exists", "--single-transaction", "--dbname", url]).arg(file.path());
    let output = restore.output().unwrap();
    assert!(output.status.success(), "pg_restore failed: {}", String::from_utf8_lossy(&output.stderr));
}
