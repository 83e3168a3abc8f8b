//! A statement in both databases' spelling, the values that it takes, and the connection on which it runs.
//!
//! Each function has one arm for each database and no bound on either: a row is read by column types that know both
//! ([`super::columns`]), and what differs in a statement stands side by side in its [`Sql`].

use sqlx::{
    Arguments, FromRow, Postgres, Sqlite, Transaction, Type,
    encode::Encode,
    error::BoxDynError,
    pool::PoolConnection,
    postgres::{PgArguments, PgRow},
    sqlite::{SqliteArguments, SqliteRow},
};
use tokio::time::{Instant, timeout_at};

use super::{StoreError, error};

/// The text of a statement.
#[derive(Clone, Copy)]
pub(super) struct Sql {
    pub sqlite: &'static str,
    pub postgres: &'static str,
}

/// The spelling is the same in both.
pub(super) const fn same(text: &'static str) -> Sql {
    Sql { sqlite: text, postgres: text }
}

/// Defines the statements of a file, and the list of them that a test prepares: none can be left out.
macro_rules! statements {
    ($($(#[$attribute:meta])* $name:ident = $sql:expr;)*) => {
        $($(#[$attribute])* const $name: $crate::store::statement::Sql = $sql;)*
        pub(super) const STATEMENTS: &[$crate::store::statement::Sql] = &[$($name),*];
    };
}
pub(super) use statements;

/// What can be bound in both databases.
pub(super) trait Column<'t>:
    Encode<'t, Sqlite> + Type<Sqlite> + Encode<'t, Postgres> + Type<Postgres> + Send
{
}

impl<'t, T> Column<'t> for T where T: Encode<'t, Sqlite> + Type<Sqlite> + Encode<'t, Postgres> + Type<Postgres> + Send {}

/// What can be read from a row of both databases.
pub(super) trait Record: for<'r> FromRow<'r, SqliteRow> + for<'r> FromRow<'r, PgRow> + Send + Unpin {}

impl<T> Record for T where T: for<'r> FromRow<'r, SqliteRow> + for<'r> FromRow<'r, PgRow> + Send + Unpin {}

/// The values of a statement, in the order of its `$1`, `$2`, …: a tuple of columns.
pub(super) trait Values: Send {
    fn sqlite(self) -> Bound<SqliteArguments>;
    fn postgres(self) -> Bound<PgArguments>;
}

macro_rules! values {
    ($($value:ident: $T:ident),*) => {
        impl<'t, $($T: Column<'t>),*> Values for ($($T,)*) {
            fn sqlite(self) -> Bound<SqliteArguments> {
                let ($($value,)*) = self;
                #[allow(unused_mut, reason = "a statement may take no value")]
                let mut arguments = SqliteArguments::default();
                $(arguments.add($value)?;)*
                Ok(arguments)
            }

            fn postgres(self) -> Bound<PgArguments> {
                let ($($value,)*) = self;
                #[allow(unused_mut, reason = "a statement may take no value")]
                let mut arguments = PgArguments::default();
                $(arguments.add($value)?;)*
                Ok(arguments)
            }
        }
    };
}

values!();
values!(a: A);
values!(a: A, b: B);
values!(a: A, b: B, c: C);
values!(a: A, b: B, c: C, d: D);
values!(a: A, b: B, c: C, d: D, e: E);
values!(a: A, b: B, c: C, d: D, e: E, f: F);
values!(a: A, b: B, c: C, d: D, e: E, f: F, g: G);
values!(a: A, b: B, c: C, d: D, e: E, f: F, g: G, h: H);
values!(a: A, b: B, c: C, d: D, e: E, f: F, g: G, h: H, i: I);
values!(a: A, b: B, c: C, d: D, e: E, f: F, g: G, h: H, i: I, j: J);
values!(a: A, b: B, c: C, d: D, e: E, f: F, g: G, h: H, i: I, j: J, k: K, l: L);

/// Values as a database takes them.
type Bound<A> = Result<A, BoxDynError>;

/// A connection of the pool, in a transaction or not.
pub(super) enum Held<D: sqlx::Database> {
    Pooled(PoolConnection<D>),
    InTransaction(Transaction<'static, D>),
}

impl<D: sqlx::Database> Held<D> {
    pub fn connection(&mut self) -> &mut D::Connection {
        match self {
            Self::Pooled(connection) => connection,
            Self::InTransaction(transaction) => transaction,
        }
    }
}

/// A connection to either database. Dropped in a transaction without [`Connection::commit`], it has changed nothing.
pub(super) enum Connection {
    Sqlite(Held<Sqlite>),
    /// A database that hangs must not hang us: all that is done on this connection is done by the deadline.
    Postgres(Held<Postgres>, Instant),
}

impl Connection {
    /// The number of rows that the statement has changed.
    pub async fn execute(&mut self, sql: Sql, values: impl Values) -> Result<u64, StoreError> {
        match self {
            Self::Sqlite(held) => held.execute(sql.sqlite, values.sqlite()).await,
            Self::Postgres(held, deadline) => held.execute(sql.postgres, values.postgres(), *deadline).await,
        }
    }

    /// Whether the statement has changed a row.
    pub async fn changes(&mut self, sql: Sql, values: impl Values) -> Result<bool, StoreError> {
        Ok(self.execute(sql, values).await? > 0)
    }

    pub async fn all<T: Record>(&mut self, sql: Sql, values: impl Values) -> Result<Vec<T>, StoreError> {
        match self {
            Self::Sqlite(held) => held.all(sql.sqlite, values.sqlite()).await,
            Self::Postgres(held, deadline) => held.all(sql.postgres, values.postgres(), *deadline).await,
        }
    }

    pub async fn optional<T: Record>(&mut self, sql: Sql, values: impl Values) -> Result<Option<T>, StoreError> {
        match self {
            Self::Sqlite(held) => held.optional(sql.sqlite, values.sqlite()).await,
            Self::Postgres(held, deadline) => held.optional(sql.postgres, values.postgres(), *deadline).await,
        }
    }

    /// For a statement that answers one row whatever happens.
    pub async fn one<T: Record>(&mut self, sql: Sql, values: impl Values) -> Result<T, StoreError> {
        let row = self.optional(sql, values).await?;
        row.ok_or_else(|| StoreError::Inconsistent("a row that is always there is missing".to_owned()))
    }

    /// # Errors
    /// [`StoreError::Uncertain`] if PostgreSQL is lost before it answers. SQLite, which is no other process, says whether it
    /// has committed.
    pub async fn commit(self) -> Result<(), StoreError> {
        match self {
            Self::Sqlite(Held::InTransaction(transaction)) => transaction.commit().await.map_err(error::of_sqlite),
            Self::Postgres(Held::InTransaction(transaction), deadline) => {
                by(deadline, transaction.commit()).await.map_err(StoreError::of_commit)
            }
            Self::Sqlite(Held::Pooled(_)) | Self::Postgres(Held::Pooled(_), _) => Ok(()),
        }
    }
}

// === for each database, whatever the values are: for each tuple of them the compiler would take its time ===

impl Held<Sqlite> {
    async fn execute(&mut self, sql: &'static str, values: Bound<SqliteArguments>) -> Result<u64, StoreError> {
        let query = sqlx::query_with(sql, values.map_err(unwritable)?);
        Ok(query.execute(self.connection()).await.map_err(error::of_sqlite)?.rows_affected())
    }

    async fn all<T: Record>(
        &mut self,
        sql: &'static str,
        values: Bound<SqliteArguments>,
    ) -> Result<Vec<T>, StoreError> {
        let query = sqlx::query_as_with(sql, values.map_err(unwritable)?);
        query.fetch_all(self.connection()).await.map_err(error::of_sqlite)
    }

    async fn optional<T: Record>(
        &mut self,
        sql: &'static str,
        values: Bound<SqliteArguments>,
    ) -> Result<Option<T>, StoreError> {
        let query = sqlx::query_as_with(sql, values.map_err(unwritable)?);
        query.fetch_optional(self.connection()).await.map_err(error::of_sqlite)
    }
}

impl Held<Postgres> {
    async fn execute(
        &mut self,
        sql: &'static str,
        values: Bound<PgArguments>,
        deadline: Instant,
    ) -> Result<u64, StoreError> {
        let query = sqlx::query_with(sql, values.map_err(unwritable)?);
        Ok(by(deadline, query.execute(self.connection())).await?.rows_affected())
    }

    async fn all<T: Record>(
        &mut self,
        sql: &'static str,
        values: Bound<PgArguments>,
        deadline: Instant,
    ) -> Result<Vec<T>, StoreError> {
        let query = sqlx::query_as_with(sql, values.map_err(unwritable)?);
        by(deadline, query.fetch_all(self.connection())).await
    }

    async fn optional<T: Record>(
        &mut self,
        sql: &'static str,
        values: Bound<PgArguments>,
        deadline: Instant,
    ) -> Result<Option<T>, StoreError> {
        let query = sqlx::query_as_with(sql, values.map_err(unwritable)?);
        by(deadline, query.fetch_optional(self.connection())).await
    }
}

/// PostgreSQL, with our patience.
pub(super) async fn by<T>(
    deadline: Instant,
    work: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, StoreError> {
    match timeout_at(deadline, work).await {
        Ok(done) => done.map_err(error::of_postgres),
        Err(_) => Err(StoreError::no_answer()),
    }
}

fn unwritable(error: BoxDynError) -> StoreError {
    StoreError::Inconsistent(format!("a value could not be written: {error}"))
}
