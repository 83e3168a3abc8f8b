//! Files: who may read and write them, and whether there is room.

use std::{
    collections::BTreeSet,
    fs, io,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
};

use super::Finding;
use crate::{
    config::{Loaded, Sources, StoreUrl},
    http::certificate,
};

const CHECK: &str = "files";
const READ_BY_OTHERS: u32 = 0o004;
const WRITTEN_BY_OTHERS: u32 = 0o002;
const WRITTEN_BY_GROUP: u32 = 0o020;
/// As on /tmp: who may write the directory may not replace what others have put there.
const STICKY: u32 = 0o1000;
const ROOM_LOW: u64 = 256 << 20;
const ROOM_OUT: u64 = 4 << 20;
const MIB: u64 = 1 << 20;

/// What is looked at.
pub struct Files {
    /// `None`: there is none.
    configuration: Option<PathBuf>,
    /// Settings in it that nobody else is to read.
    secrets: Vec<&'static str>,
    /// Files that may hold a secret.
    secret: BTreeSet<PathBuf>,
    /// `None`: the store is no file.
    sqlite: Option<PathBuf>,
}

impl Files {
    pub fn of(loaded: &Loaded, sources: &Sources) -> Self {
        let config = &loaded.config;
        let keys = [&config.proxy.tls, &config.management.tls].into_iter().flatten().map(|tls| tls.key.clone());
        let sqlite = match &config.store.url {
            StoreUrl::Sqlite(path) => Some(path.clone()),
            StoreUrl::Postgres(_) => None,
        };
        Self {
            configuration: sources.file.clone(),
            secrets: loaded.secrets_in_file(),
            secret: keys.chain(config.upstream_files.iter().cloned()).chain(sources.files_of_variables()).collect(),
            sqlite,
        }
    }

    pub fn examine(&self) -> Vec<Finding> {
        let mut findings: Vec<Finding> = Vec::new();
        let files = self.configuration.iter().chain(&self.secret).chain(&self.sqlite);
        let directories: BTreeSet<&Path> = files.map(|path| directory_of(path)).collect();
        findings.extend(directories.into_iter().filter_map(replaceable));
        if let Some(path) = &self.configuration {
            let holds = (!self.secrets.is_empty()).then(|| format!("it holds {}", self.secrets.join(" and ")));
            findings.extend(file(path, holds.as_deref()));
        }
        // Certificates are for everybody.
        let secret = self.secret.iter().filter(|path| certificate::validities(path).is_err());
        findings.extend(secret.filter_map(|path| file(path, Some("it holds a secret"))));
        if let Some(path) = &self.sqlite {
            let beside = |end: &str| PathBuf::from([path.as_os_str(), end.as_ref()].join("".as_ref()));
            let of_store = [path.clone(), beside("-wal"), beside("-shm")];
            let holds = Some("it holds hashes of tokens, and who may do what");
            findings.extend(of_store.iter().filter(|path| path.exists()).filter_map(|path| file(path, holds)));
            findings.extend(room(directory_of(path)));
        }
        if findings.is_empty() {
            findings.push(Finding::ok(CHECK, "nobody else may read what is secret, or write what the gateway goes by"));
        }
        findings
    }
}

fn directory_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// `holds`: why nobody else is to read it. `None`: everybody may.
fn file(path: &Path, holds: Option<&str>) -> Option<Finding> {
    let shown = path.display();
    let mode = match fs::metadata(path) {
        Ok(metadata) => metadata.mode(),
        Err(error) => {
            let advice = "run this as the gateway's user, who must be able to read it";
            return Some(Finding::unknown(CHECK, format!("{shown}: {error}"), advice));
        }
    };
    if mode & WRITTEN_BY_OTHERS != 0 {
        let found = format!("everybody on this machine may write {shown} (mode {:04o})", mode & 0o7777);
        return Some(Finding::fail(CHECK, found, format!("chmod o-rwx {shown}")));
    }
    if mode & WRITTEN_BY_GROUP != 0 {
        let found = format!("everybody in its group may write {shown} (mode {:04o})", mode & 0o7777);
        return Some(Finding::warn(CHECK, found, format!("chmod g-w {shown}")));
    }
    let holds = holds.filter(|_| mode & READ_BY_OTHERS != 0)?;
    let found = format!("everybody on this machine may read {shown} (mode {:04o}): {holds}", mode & 0o7777);
    Some(Finding::warn(CHECK, found, format!("chmod o-rwx {shown}")))
}

/// Whether others may put another file in the place of one that the gateway goes by.
fn replaceable(directory: &Path) -> Option<Finding> {
    let mode = fs::metadata(directory).ok()?.permissions().mode();
    (mode & WRITTEN_BY_OTHERS != 0 && mode & STICKY == 0).then(|| {
        let shown = directory.display();
        let found = format!(
            "everybody on this machine may replace files in {shown} (mode {:04o}): what the gateway goes by is there",
            mode & 0o7777
        );
        Finding::fail(CHECK, found, format!("chmod o-w {shown}"))
    })
}

fn room(directory: &Path) -> Option<Finding> {
    let free = free_bytes(directory).ok()?;
    let found = format!("{} MiB are free in {}", free / MIB, directory.display());
    match free {
        ..ROOM_OUT => Some(Finding::fail(CHECK, found, "make room: no token can be made or revoked")),
        ROOM_OUT..ROOM_LOW => {
            Some(Finding::warn(CHECK, found, "make room: without it no token can be made or revoked"))
        }
        _ => None,
    }
}

fn free_bytes(directory: &Path) -> io::Result<u64> {
    let status = rustix::fs::statvfs(directory)?;
    Ok(status.f_bavail.saturating_mul(status.f_frsize))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Status;

    #[test]
    fn modes_say_who_else_may() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        fs::write(&path, "x").unwrap();
        for (mode, holds, status) in [
            (0o600, Some("a secret"), None),
            (0o640, Some("a secret"), None),
            (0o644, Some("a secret"), Some(Status::Warn)),
            (0o660, Some("a secret"), Some(Status::Warn)),
            (0o664, None, Some(Status::Warn)),
            (0o644, None, None),
            (0o666, None, Some(Status::Fail)),
            (0o602, Some("a secret"), Some(Status::Fail)),
        ] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(file(&path, holds).map(|finding| finding.status), status, "{mode:o}");
        }
        assert_eq!(file(&directory.path().join("none"), None).unwrap().status, Status::Unknown);
        for (mode, status) in [(0o755, None), (0o777, Some(Status::Fail)), (0o1777, None)] {
            fs::set_permissions(directory.path(), fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(replaceable(directory.path()).map(|finding| finding.status), status, "{mode:o}");
        }
    }
}
