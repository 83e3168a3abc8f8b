//! Backups of a database, by its own tools.

use std::{io::Write, path::Path, process::Command};

use sqlx::{AssertSqlSafe, Connection, Executor, SqliteConnection, sqlite::SqliteConnectOptions};
use tempfile::NamedTempFile;

use super::postgres::binaries;

/// Copies an SQLite file that is in use.
pub fn copy_sqlite(from: &Path, to: &Path) {
    let copying = async {
        let mut connection = SqliteConnection::connect_with(&SqliteConnectOptions::new().filename(from)).await.unwrap();
        connection.execute(AssertSqlSafe(format!("VACUUM INTO '{}'", to.display()))).await.unwrap();
        connection.close().await.unwrap();
    };
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(copying);
}

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
