//! Copies all that a store has into an empty one, which may be of the other database. `docs/decisions/0042-moving-a-store.md`.

mod tables;

use serde_json::Value;

use self::tables::{TABLES, Table};
use super::{
    Snapshot, Store, StoreError,
    priority::Writing,
    statement::{Connection, Sql, same, statements},
};

statements! {
    /// Alone from here on, and only on what nobody has changed. A trigger makes a mark for the number.
    BEGIN = same("UPDATE change_seq SET seq = $1 WHERE seq = 0 AND NOT EXISTS (SELECT 1 FROM replicas)");

    /// What migrating has made, which the other store has, too.
    CLEAR_MARKS = same("DELETE FROM change_marks WHERE seq < $1");
    CLEAR_KEY = same("DELETE FROM code_key");
    CLEAR_CHAINS = same("DELETE FROM audit_chains");
}

/// Of one table.
const AT_ONCE: i64 = 500;

#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// There is something in it already, or a gateway runs on it.
    #[error("the store to be copied into is not empty")]
    NotEmpty,
    /// What was written is not what was read. Nothing is left of it.
    #[error("the table {table} did not arrive as it is: {read} rows were read, and {arrived} found")]
    Differs { table: &'static str, read: u64, arrived: u64 },
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What was copied.
#[derive(Clone, Debug)]
pub struct Copied {
    /// The last change, which has the same number in both.
    pub seq: i64,
    /// Rows of each table.
    pub rows: Vec<(&'static str, u64)>,
}

/// The rows of a table, in whatever order they come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Sum {
    rows: u64,
    /// Of each row its hash, added up: a row that is missing, altered or there twice makes another sum.
    hashes: [u64; 4],
}

/// All of it, or nothing. `from` is read as it is at one moment. What is in `to` then is of a history of its own: whoever has
/// applied changes of `from` reads everything anew.
///
/// # Errors
/// [`CopyError`].
pub async fn copy(from: &Store, to: &Store) -> Result<Copied, CopyError> {
    let mut source = from.snapshot().await?;
    let seq = source.head(None).await?.latest.seq;
    let mut target = to.begin().await?;
    if !target.changes(BEGIN, (seq,)).await? {
        return Err(CopyError::NotEmpty);
    }
    target.execute(CLEAR_MARKS, (seq,)).await?;
    target.execute(CLEAR_KEY, ()).await?;
    target.execute(CLEAR_CHAINS, ()).await?;
    let mut sums = Vec::new();
    for table in TABLES {
        sums.push(copy_table(table, &mut source, to, &mut target).await?);
    }
    let mut rows = Vec::new();
    for (table, read) in TABLES.iter().zip(sums) {
        let arrived = sum_of(table, to, &mut target).await?;
        if arrived != read {
            return Err(CopyError::Differs { table: table.name, read: read.rows, arrived: arrived.rows });
        }
        rows.push((table.name, read.rows));
    }
    to.shared.database.renew(&mut target);
    target.commit().await?;
    Ok(Copied { seq, rows })
}

async fn copy_table(table: &Table, source: &mut Snapshot, to: &Store, target: &mut Writing) -> Result<Sum, StoreError> {
    let (mut sum, mut last) = (Sum::default(), None);
    loop {
        let rows = page(table, source.connection(), last).await?;
        if rows.is_empty() {
            return Ok(sum);
        }
        rows.iter().try_for_each(|row| sum.add(row))?;
        to.shared.database.renew(target);
        target.execute(table.write, (format!("[{}]", rows.join(",")),)).await?;
        last = rows.into_iter().next_back();
    }
}

async fn sum_of(table: &Table, store: &Store, connection: &mut Writing) -> Result<Sum, StoreError> {
    let (mut sum, mut last) = (Sum::default(), None);
    loop {
        store.shared.database.renew(connection);
        let rows = page(table, connection, last).await?;
        if rows.is_empty() {
            return Ok(sum);
        }
        rows.iter().try_for_each(|row| sum.add(row))?;
        last = rows.into_iter().next_back();
    }
}

async fn page(table: &Table, connection: &mut Connection, after: Option<String>) -> Result<Vec<String>, StoreError> {
    let rows: Vec<(String,)> = connection.all(table.read, (after, AT_ONCE)).await?;
    Ok(rows.into_iter().map(|(row,)| row).collect())
}

impl Sum {
    /// Two databases write an object in two ways: members of what is stored as JSON are in another order, and with blanks.
    fn add(&mut self, row: &str) -> Result<(), StoreError> {
        let unreadable = |error| StoreError::Inconsistent(format!("a row is no JSON: {error}"));
        let value: Value = serde_json::from_str(row).map_err(unreadable)?;
        let hash = blake3::hash(value.to_string().as_bytes());
        let words = hash.as_bytes().as_chunks::<8>().0.iter().map(|word| u64::from_le_bytes(*word));
        self.rows += 1;
        self.hashes.iter_mut().zip(words).for_each(|(sum, word)| *sum = sum.wrapping_add(word));
        Ok(())
    }
}

/// Those of all tables, beside the ones above.
pub(super) fn statements() -> impl Iterator<Item = Sql> {
    STATEMENTS.iter().copied().chain(TABLES.iter().flat_map(|table| [table.read, table.write]))
}

/// What is copied, for a test that compares it with what there is.
#[doc(hidden)]
pub fn copied_tables() -> impl Iterator<Item = (&'static str, &'static str)> {
    TABLES.iter().map(|table| (table.name, table.write.sqlite))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sum_is_of_what_rows_say_and_not_of_how() {
        let sum = |rows: &[&str]| {
            let mut sum = Sum::default();
            rows.iter().for_each(|row| sum.add(row).unwrap());
            sum
        };
        let both = sum(&[r#"{"a":1,"b":{"d":[],"c":null}}"#, r#"{"a":2}"#]);
        assert_eq!(both, sum(&[r#"{ "a": 2 }"#, r#"{"b" : {"c": null, "d": []}, "a" : 1}"#]));
        for other in [
            &[r#"{"a":1,"b":{"d":[],"c":null}}"#][..],
            &[r#"{"a":2}"#, r#"{"a":2}"#],
            &[r#"{"a":1,"b":{"d":[],"c":0}}"#, r#"{"a":2}"#],
            &[r#"{"a":1,"b":{"d":[],"c":null}}"#, r#"{"a":2}"#, r#"{"a":2}"#],
        ] {
            assert_ne!(both, sum(other));
        }
    }
}
