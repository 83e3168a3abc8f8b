//! The database's file: where it is, who may read it, and who opens it first.

use std::{
    fs::{self, DirBuilder, File, Metadata, OpenOptions, TryLockError},
    io,
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    time::Duration,
};

use rustix::fs::{Access, AtFlags};
use tokio::time::{Instant, sleep};

use crate::store::StoreError;

/// How long to wait for other processes that open a store in the same directory, which takes each some milliseconds.
const LOCK_TIMEOUT: Duration = Duration::from_secs(30);
const LOCK_RETRY: Duration = Duration::from_millis(10);

/// Which file it is, whatever its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    device: u64,
    inode: u64,
}

impl Identity {
    /// Of what is at `path`. It is not opened, as in [`lock_directory`].
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]: there is nothing, which may be so for a moment only.
    pub fn of(path: &Path) -> Result<Self, StoreError> {
        let metadata = metadata(path)?;
        Ok(Self { device: metadata.dev(), inode: metadata.ino() })
    }
}

/// What somebody is putting there may not be there yet. SQLite refuses a part of a database by itself, and takes an empty
/// file for a new one.
///
/// # Errors
/// [`StoreError::Unavailable`].
pub(super) fn expect_content(path: &Path) -> Result<(), StoreError> {
    match metadata(path)?.len() {
        0 => Err(StoreError::Unavailable(format!("{} is empty", path.display()))),
        _ => Ok(()),
    }
}

/// Whether there is a file at all, with something in it.
///
/// # Errors
/// [`StoreError::Unusable`]: this user may not look.
pub(super) fn has_content(path: &Path) -> Result<bool, StoreError> {
    match fs::metadata(path) {
        Ok(metadata) => Ok(metadata.len() > 0),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(cannot("look at", path, &error)),
    }
}

/// Whether somebody has the file open, or was killed while they had: what was committed last may be in the log.
pub(super) fn has_log(path: &Path) -> bool {
    let mut log = path.as_os_str().to_owned();
    log.push("-wal");
    Path::new(&log).exists()
}

/// As [`SqliteFile::is_writable`](super::SqliteFile::is_writable). Nothing is opened, as in [`lock_directory`].
pub(super) fn is_writable(path: &Path) -> Result<(), String> {
    for written in [path, path.parent().unwrap_or(Path::new("/"))] {
        rustix::fs::accessat(rustix::fs::CWD, written, Access::WRITE_OK, AtFlags::EACCESS)
            .map_err(|error| format!("this user may not write {}: {error}", written.display()))?;
    }
    Ok(())
}

fn metadata(path: &Path) -> Result<Metadata, StoreError> {
    fs::metadata(path).map_err(|error| StoreError::Unavailable(format!("{}: {error}", path.display())))
}

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
