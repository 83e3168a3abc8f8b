//! The database's file: where it is, and who may read it.

use std::{
    fs::{DirBuilder, OpenOptions},
    io,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use crate::store::StoreError;

/// SQLite reads `:memory:` and `file:` as something else than a path; none of these is absolute.
pub(super) fn absolute(path: &Path) -> Result<PathBuf, StoreError> {
    std::path::absolute(path).map_err(|error| cannot("use", path, &error))
}

/// Mode 0600 from the first moment, which SQLite gives to its `-wal` and `-shm` files, too. A file that is there keeps
/// its mode, since the operator may have chosen it, and is not opened here: to close it would drop all locks that SQLite
/// has on it in this process.
pub(super) fn create(path: &Path) -> Result<(), StoreError> {
    let directory = path.parent().unwrap_or(Path::new("/"));
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)
        .map_err(|error| cannot("create the directory of", path, &error))?;
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(cannot("create", path, &error)),
    }
}

/// SQLite's errors do not say which file they are about. While opening, one that is not busy will go on.
pub(super) fn name_path(error: StoreError, path: &Path) -> StoreError {
    match error {
        StoreError::Unavailable(text) if text.contains("locked") => StoreError::Unavailable(text),
        StoreError::Unavailable(text) | StoreError::Unusable(text) => StoreError::Unusable(format!(
            "{}: {text}; is it a database that this user may read and write?",
            path.display()
        )),
        other => other,
    }
}

fn cannot(what: &str, path: &Path, error: &io::Error) -> StoreError {
    StoreError::Unusable(format!(
        "cannot {what} {}: {error}; let store.url name a file in a directory that this user may write",
        path.display()
    ))
}
