//! `bento-gateway replica …`.

use serde::Serialize;

use super::{
    args::ReplicaCommand,
    environment::Environment,
    error::CliError,
    exit::ExitStatus,
    output::{Printer, table},
};
use crate::store::Replica;

/// A gateway as the list shows it.
#[derive(Serialize)]
struct Row {
    name: String,
    /// Decides by every change up to this one; -1: by none of this store's.
    applied_seq: i64,
    /// Since it was last heard of.
    silent_ms: u64,
    /// Decides for so long after that by what it knew. `None`: without limit.
    holds_ms: Option<u64>,
    /// How far its clock is ahead of the database's. `None`: it does not say.
    clock_ahead_ms: Option<i64>,
}

pub fn run(command: ReplicaCommand, environment: &Environment, printer: &mut Printer<'_>) -> Result<(), CliError> {
    let store = environment.open()?;
    match command {
        ReplicaCommand::List => {
            let replicas = store.block_on(store.context().store.replicas())?;
            let rows: Vec<Row> = replicas.into_iter().map(Row::from).collect();
            printer.answer(&rows, || {
                let limit =
                    |row: &Row| row.holds_ms.map_or("never".to_owned(), |millis| format!("{} s", millis / 1000));
                let cells = rows.iter().map(|row| {
                    [row.name.clone(), row.applied_seq.to_string(), format!("{} ms ago", row.silent_ms), limit(row)]
                });
                table(["NAME", "APPLIED", "HEARD OF", "ENDS AFTER"], cells)
            })
        }
        ReplicaCommand::Remove { name } => {
            if !store.block_on(store.context().store.remove_replica(&name))? {
                let hint = "`bento-gateway replica list` shows the names";
                return Err(CliError::new(ExitStatus::NotFound, format!("there is no replica {name}"), hint));
            }
            printer.answer(&serde_json::json!({ "removed": name }), || format!("Removed {name}."))
        }
    }
}

impl From<Replica> for Row {
    fn from(replica: Replica) -> Self {
        let millis = |duration: std::time::Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        Self {
            name: replica.name,
            applied_seq: replica.applied_seq,
            silent_ms: millis(replica.silent),
            holds_ms: replica.holds.map(millis),
            clock_ahead_ms: replica.clock_ahead_ms,
        }
    }
}
