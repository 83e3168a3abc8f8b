//! Console sessions: people's browsers that are signed in.

use super::{
    Change, Store, StoreError,
    statement::{Connection, same, statements},
};
use crate::domain::{
    code::CodeHash,
    session::ConsoleSession,
    timestamp::Timestamp,
    user::{User, UserId},
};

statements! {
    INSERT = same(
        "INSERT INTO console_sessions (id_hash, user_id, created_at, expires_at, address, client)
        VALUES ($1, $2, $3, $4, $5, $6)",
    );

    FIND = same(
        "SELECT id_hash, user_id, created_at, expires_at, address, client
        FROM console_sessions WHERE id_hash = $1 AND expires_at > $2",
    );

    LIST = same(
        "SELECT id_hash, user_id, created_at, expires_at, address, client
        FROM console_sessions WHERE user_id = $1 AND expires_at > $2 ORDER BY created_at DESC, id_hash",
    );

    END = same("DELETE FROM console_sessions WHERE id_hash = $1");

    END_ALL = same("DELETE FROM console_sessions WHERE user_id = $1 AND id_hash <> $2");

    END_HAND_OVERS = same("DELETE FROM hand_overs WHERE user_id = $1");

    /// A login that is decided, and approved by nobody, was refused.
    END_LOGINS = same("UPDATE logins SET approved_by = NULL, scopes = NULL WHERE approved_by = $1 AND claimed_at IS NULL");

    END_BROWSER_SESSIONS = same(
        "UPDATE token_secrets SET retires_at = $2, changed_seq = $3
        WHERE deployment IS NOT NULL AND retires_at > $2
            AND token_id IN (SELECT id FROM api_tokens WHERE owner_id = $1)",
    );
}

impl Store {
    /// The session and its user, unless it is over at `now` or the user is disabled.
    pub async fn session(&self, id: &CodeHash, now: Timestamp) -> Result<Option<(ConsoleSession, User)>, StoreError> {
        let reading = async {
            let mut reading = self.read().await?;
            let Some(session) = reading.session(id, now).await? else { return Ok(None) };
            let user = reading.live_user(session.user).await?;
            Ok(user.map(|user| (session, user)))
        };
        self.shared.sessions.get((self.priority, id.clone()), reading).await
    }

    /// Those that are not over at `now`, newest first.
    pub async fn sessions_of(&self, user: UserId, now: Timestamp) -> Result<Vec<ConsoleSession>, StoreError> {
        self.read().await?.all(LIST, (user, now)).await
    }
}

impl Change {
    pub async fn insert_session(&mut self, session: &ConsoleSession) -> Result<(), StoreError> {
        let ConsoleSession { id_hash, user, created_at, expires_at, address, client } = session;
        self.connection.execute(INSERT, (id_hash, user, created_at, expires_at, address, client)).await.map(drop)
    }

    /// `false`: there was none.
    pub async fn end_session(&mut self, id: &CodeHash) -> Result<bool, StoreError> {
        self.connection.changes(END, (id,)).await
    }

    /// Ends the user's console sessions but `keep`, the browser sessions of all their tokens, and what any of them has begun:
    /// hand-overs to Deployments, and approved logins of the command line.
    pub async fn end_sessions(
        &mut self,
        user: UserId,
        keep: Option<&CodeHash>,
        at: Timestamp,
    ) -> Result<(), StoreError> {
        self.connection.execute(END_ALL, (user, keep.map_or("", CodeHash::as_str))).await?;
        self.connection.execute(END_HAND_OVERS, (user,)).await?;
        self.connection.execute(END_LOGINS, (user,)).await?;
        self.connection.execute(END_BROWSER_SESSIONS, (user, at, self.seq)).await.map(drop)
    }
}

impl Connection {
    /// `None`: there is none, or it is over at `now`.
    pub(super) async fn session(
        &mut self,
        id: &CodeHash,
        now: Timestamp,
    ) -> Result<Option<ConsoleSession>, StoreError> {
        self.optional(FIND, (id, now)).await
    }
}
