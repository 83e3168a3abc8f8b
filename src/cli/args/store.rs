//! The arguments of `store`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

#[derive(Debug, Subcommand)]
pub enum StoreCommand {
    /// Copy everything into another, empty store: from SQLite to PostgreSQL, or back
    ///
    /// Tokens, users, Deployments, usage and the audit trail keep their ids, times and numbers, and all tokens go on working.
    /// Each row is compared, and the audit trail of the copy verified; if anything differs, nothing is left there. The store that
    /// is copied from is only read.
    ///
    /// Stop the gateways first, and start them on the copy: what they change after the moment of the copy is not in it.
    Copy {
        #[command(flatten)]
        to: To,
        /// Copy although gateways run on the store, which then goes on by itself: what is changed after this moment,
        /// revocations included, is not in the copy
        #[arg(long)]
        while_running: bool,
    },
    /// Copy everything into a new SQLite file, whatever the store is; gateways may run
    ///
    /// The file is as of one moment, is a store by itself, and can be read by its owner only. It holds no token in clear, but who may
    /// do what, and the audit trail. Of a PostgreSQL store, `pg_dump` makes backups, too.
    Backup {
        /// It must not exist
        file: PathBuf,
    },
    /// Copy everything from a backup into an empty store
    ///
    /// Takes the gateways back in time: tokens that were created after the backup do not exist any more, and what was taken away after
    /// it is there again: tokens that were revoked, users that were disabled, passwords and roles that were changed, sessions
    /// that were ended, invitations that were used.
    Restore {
        /// What `store backup` has made, or any SQLite store of this release that no gateway has open
        file: PathBuf,
        /// The store that the restored one takes the place of, if it can still be read: lists what was changed there after the
        /// backup
        #[arg(long, value_name = "URL")]
        previous: Option<String>,
        /// A file with that URL: whoever may look at the processes of this machine sees arguments
        #[arg(long, value_name = "FILE", conflicts_with = "previous")]
        previous_file: Option<PathBuf>,
    },
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub struct To {
    /// The store to copy into: sqlite:PATH or postgres://USER:PASSWORD@HOST/DATABASE
    #[arg(long, value_name = "URL")]
    pub to: Option<String>,
    /// A file with that URL: whoever may look at the processes of this machine sees arguments
    #[arg(long, value_name = "FILE")]
    pub to_file: Option<PathBuf>,
}
