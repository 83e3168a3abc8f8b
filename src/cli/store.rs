//! `bento-gateway store …`.

use std::{
    fs::{self, DirBuilder},
    io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

use serde::Serialize;
use tokio::{
    runtime::{Builder, Runtime},
    signal::unix::{SignalKind, signal},
};

use super::{
    args::{StoreCommand, To},
    audit,
    environment::Environment,
    error::CliError,
    exit::ExitStatus,
    output::{Printer, table},
};
use crate::{
    config::{Config, StoreConfig, StoreUrl},
    domain::{clean, timestamp::Timestamp},
    service::{
        audit::EventView,
        moving::{self, MoveError, Moved},
    },
    store::{self, CopyError, SharedStore},
    system,
};

/// What a restore has done.
#[derive(Serialize)]
struct Restored {
    #[serde(flatten)]
    moved: Moved,
    /// What was changed after the backup. `None`: nobody knows.
    lost: Option<Vec<EventView>>,
}

struct Work {
    config: Config,
    now: Timestamp,
    runtime: Runtime,
}

pub fn run(command: StoreCommand, environment: &Environment, printer: &mut Printer<'_>) -> Result<(), CliError> {
    let work = Work {
        config: environment.load()?,
        now: environment.system.now(),
        runtime: Builder::new_current_thread().enable_all().build()?,
    };
    match command {
        StoreCommand::Copy { to: To { to, to_file }, while_running } => {
            // One of the two is there.
            let to = url_of(to.as_deref(), to_file.as_deref())?.unwrap_or_default();
            work.copy(&to, while_running, printer)
        }
        StoreCommand::Backup { file } => work.backup(&file, printer),
        StoreCommand::Restore { file, previous, previous_file } => {
            let previous = url_of(previous.as_deref(), previous_file.as_deref())?;
            work.restore(&file, previous.as_deref(), printer)
        }
    }
}

/// Where nobody else can put anything or look. It goes with what is in it.
struct PrivateDirectory(PathBuf);

impl PrivateDirectory {
    fn beside(file: &Path) -> Result<Self, CliError> {
        let mut name = file.as_os_str().to_owned();
        name.push(format!(".{:016x}.incomplete", u64::from_ne_bytes(system::random()?)));
        let directory = PathBuf::from(name);
        DirBuilder::new().mode(0o700).create(&directory)?;
        Ok(Self(directory))
    }

    fn copy(&self) -> PathBuf {
        self.0.join("copy.db")
    }
}

impl Drop for PrivateDirectory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

impl Work {
    fn copy(&self, to: &str, while_running: bool, printer: &mut Printer<'_>) -> Result<(), CliError> {
        let target = self.other(to, "--to")?;
        let moved = self.block_on(async {
            let source = moving::source(&self.config.store).await?;
            if !while_running {
                moving::expect_nobody_on(&source).await?;
            }
            self.copy_into(&source, &target).await
        })?;
        printer.answer(&moved, || rows(&moved))?;
        printer.note("Every row was compared. Set store.url to the copy, and start the gateways.");
        verified(&moved, printer)
    }

    fn backup(&self, file: &Path, printer: &mut Printer<'_>) -> Result<(), CliError> {
        let exists = || {
            let message = format!("{} exists already", file.display());
            CliError::new(ExitStatus::Refused, message, "name a file that does not exist")
        };
        if file == Path::new("-") {
            let hint = "name a file; it can be sent elsewhere when it is whole";
            return Err(CliError::new(
                ExitStatus::Refused,
                "a backup is not written to the standard output".to_owned(),
                hint,
            ));
        }
        if file.exists() {
            return Err(exists());
        }
        let (moved, directory) = self.block_on(async {
            let source = moving::source(&self.config.store).await?;
            let directory = PrivateDirectory::beside(file)?;
            Ok((self.copy_into(&source, &self.sqlite(&directory.copy())).await?, directory))
        })?;
        // Under its name it is whole, or not there; and what somebody has put there meanwhile stays.
        fs::hard_link(directory.copy(), file).map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => exists(),
            _ => CliError::from(error),
        })?;
        printer.answer(&moved, || rows(&moved))?;
        printer.note(&format!("Every row was compared. The backup is {}.", file.display()));
        verified(&moved, printer)
    }

    fn restore(&self, file: &Path, previous: Option<&str>, printer: &mut Printer<'_>) -> Result<(), CliError> {
        let previous = previous.map(|url| self.other(url, "--previous")).transpose()?;
        let (moved, lost) = self.block_on(async {
            let backup = moving::source(&self.sqlite(file)).await?;
            let lost = match &previous {
                // First: a restored store that nobody knows what is missing of would be in use before it is known.
                Some(previous) => Some(moving::lost(moving::source(previous).await?.as_ref(), &backup).await?),
                None => None,
            };
            Ok::<_, CliError>((self.copy_into(&backup, &self.config.store).await?, lost))
        })?;
        let restored = Restored { moved, lost };
        printer.answer(&restored, || rows(&restored.moved))?;
        printer.note(
            "Every row was compared. What was changed after the backup is lost: tokens created since do not exist. What was \
             taken away since is there again: revoked tokens, disabled users, former passwords and roles, ended sessions, used \
             invitations.",
        );
        match &restored.lost {
            None => printer.note(
                "Take it away again. If the previous store can still be read, --previous URL lists what is lost.",
            ),
            Some(lost) if lost.is_empty() => printer.note("Nothing was changed after the backup."),
            Some(lost) => {
                printer
                    .note(&format!("Lost, and to be done again where it took a right away:\n{}", audit::events(lost)));
            }
        }
        verified(&restored.moved, printer)
    }

    /// Ends early when the operator or the system ends the command, and so leaves nothing behind.
    fn block_on<T>(&self, work: impl Future<Output = Result<T, CliError>>) -> Result<T, CliError> {
        self.runtime.block_on(async {
            let mut interrupt = signal(SignalKind::interrupt())?;
            let mut terminate = signal(SignalKind::terminate())?;
            tokio::select! {
                done = work => return done,
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            let message = "the command was ended before its work was done".to_owned();
            Err(CliError::new(ExitStatus::Failure, message, "nothing is left of it; start it again"))
        })
    }

    async fn copy_into(&self, source: &SharedStore, target: &StoreConfig) -> Result<Moved, CliError> {
        let target = store::open(target).await?;
        let moved = moving::copy(source, &target, self.now).await?;
        // All of an SQLite file is then in the one file.
        target.close().await;
        Ok(moved)
    }

    /// Another store, with the settings of this one.
    fn other(&self, url: &str, flag: &str) -> Result<StoreConfig, CliError> {
        let url = StoreUrl::parse(url)
            .map_err(|(message, fix)| CliError::new(ExitStatus::Refused, format!("{flag} {message}"), fix))?;
        Ok(StoreConfig { url, ..self.config.store.clone() })
    }

    fn sqlite(&self, path: &Path) -> StoreConfig {
        StoreConfig { url: StoreUrl::Sqlite(path.to_owned()), ..self.config.store.clone() }
    }
}

/// `None`: neither is given.
fn url_of(url: Option<&str>, file: Option<&Path>) -> Result<Option<String>, CliError> {
    let Some(path) = file else { return Ok(url.map(str::to_owned)) };
    let unreadable = |error: String| {
        let message = format!("{} cannot be read: {error}", path.display());
        CliError::new(ExitStatus::Refused, message, "name a file with the URL as its only line")
    };
    let bytes = fs::read(path).map_err(|error| unreadable(error.to_string()))?;
    Ok(Some(clean::value_of(&bytes).map_err(|reason| unreadable(reason.to_string()))?.to_owned()))
}

fn rows(moved: &Moved) -> String {
    let filled = moved.tables.iter().filter(|table| table.rows > 0);
    table(["TABLE", "ROWS"], filled.map(|table| [table.table.to_owned(), table.rows.to_string()]))
}

/// A copy is faithful, also of what somebody has changed.
fn verified(moved: &Moved, printer: &mut Printer<'_>) -> Result<(), CliError> {
    audit::judged(&moved.audit, printer)
}

impl From<MoveError> for CliError {
    fn from(error: MoveError) -> Self {
        let message = error.to_string();
        let hint = match error {
            MoveError::Other(error) => return error.into(),
            MoveError::Copy(CopyError::Store(error)) => return error.into(),
            MoveError::NoSource => "see whether the path is right",
            MoveError::EarlierSource => {
                "start the gateway of this release on it once; of a backup, make a copy of the file and list its gateways, \
                 which migrates it: `bento-gateway replica list --store URL`"
            }
            MoveError::LaterSource => "use the program of that release",
            MoveError::SourceRuns(_) => {
                "stop them first; or copy what there is at this moment with --while-running, or by `bento-gateway store backup \
                 FILE`"
            }
            MoveError::OtherHistory => "see whether --previous is the store that the backup was made of",
            MoveError::Copy(CopyError::NotEmpty) => {
                "name a new SQLite file, or an empty database of PostgreSQL: nothing is ever added to what is there"
            }
            MoveError::Copy(CopyError::Differs { .. }) => "nothing is left of the copy; please report this",
        };
        Self::new(ExitStatus::Refused, message, hint)
    }
}
