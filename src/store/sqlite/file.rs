//! The database's file: where it is, who may read it, and who opens it first.

use std::{
    fs::{DirBuilder, File, OpenOptions, TryLockError},
    io,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::time::{Instant, sleep};

use crate::store::StoreError;

/// How long to wait for other processes that open a store in the same directory, which takes each some milliseconds.
const LOCK_TIMEOUT: Duration = Duration::from_secs(30);
const LOCK_RETRY: Duration = Duration::from_millis(10);

/// SQLite reads `:memory:` and `file:` as something else than a path; none of these is absolute.
pub(super) fn absolute(path: &Path) -> Result<PathBuf, StoreError> {
    std::path::absolute(path).map_err(|error| cannot("use", path, &error))
}

/// The directory, since there need not be a file yet. Not the file in any case: closing it anywhere in a process drops
/// all locks that SQLite has on it in that process.
pub(super) async fn lock_directory(path: &Path) -> Result<File, StoreError> {
    let directory = path.parent().unwrap_or(Path::new("/"));
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)
        .map_err(|error| cannot("create the directory of", path, &error))?;
    let handle = File::open(directory).map_err(|error| cannot("open the directory of", path, &error))?;
    let deadline = Instant::now() + LOCK_TIMEOUT;
    loop {
        match handle.try_lock() {
            Ok(()) => return Ok(handle),
            // Whoever may open a directory may lock it, if its file system has locks.
            Err(TryLockError::Error(error)) => {
                return Err(StoreError::Unusable(format!(
                    "cannot lock {}: {error}; SQLite needs a local file system: put the file of store.url on one, not on \
                     NFS or the like, or use PostgreSQL",
                    directory.display()
                )));
            }
            Err(TryLockError::WouldBlock) if Instant::now() >= deadline => {
                return Err(StoreError::Unavailable(format!(
                    "another process has kept {} locked for {} s",
                    directory.display(),
                    LOCK_TIMEOUT.as_secs()
                )));
            }
            Err(TryLockError::WouldBlock) => sleep(LOCK_RETRY).await,
        }
    }
}

/// Mode 0600 from the first moment, which SQLite gives to its `-wal` and `-shm` files, too. A file that is there keeps
/// its mode: the operator may have chosen it.
pub(super) fn create(path: &Path) -> Result<(), StoreError> {
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
