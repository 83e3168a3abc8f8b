//! People with a browser: console sessions, invitations, identities, browser sessions of Deployments.

use async_trait::async_trait;
use sqlx::FromRow;
use sqlx::types::Uuid;
use time::OffsetDateTime;

use super::{
    PostgresStore,
    changes::Change,
    rows::{TokenRow, UserRow},
    tokens::{find_token, insert_secret},
    users::insert_user,
};
use crate::{
    domain::{
        audit::AuditEvent,
        code::CodeHash,
        deployment::DeploymentName,
        session::{ConsoleSession, HandOver, Identity, Invitation},
        timestamp::Timestamp,
        token::{SecretRecord, TokenRecord, TokenUid},
        token_text::LookupId,
        user::{User, UserId},
    },
    store::{BrowserStore, InvitationStore, SessionStore, StoreError},
};

const FORGET_SESSIONS: &str = "DELETE FROM console_sessions WHERE expires_at <= $1";

const INSERT_SESSION: &str = "
    INSERT INTO console_sessions (id_hash, user_id, created_at, expires_at, address, client)
    VALUES ($1, $2, $3, $4, $5, $6)";

const SESSION: &str = "
    SELECT id_hash, user_id, created_at, expires_at, address, client
    FROM console_sessions WHERE id_hash = $1 AND expires_at > $2";

const SESSIONS_OF: &str = "
    SELECT id_hash, user_id, created_at, expires_at, address, client
    FROM console_sessions WHERE user_id = $1 AND expires_at > $2 ORDER BY created_at DESC, id_hash";

const END_SESSION: &str = "DELETE FROM console_sessions WHERE id_hash = $1";

const END_SESSIONS: &str = "DELETE FROM console_sessions WHERE user_id = $1 AND id_hash <> $2";

const END_BROWSER_SESSIONS: &str = "
    UPDATE token_secrets SET retires_at = $2, changed_seq = $3
    WHERE deployment IS NOT NULL AND retires_at > $2
        AND token_id IN (SELECT id FROM api_tokens WHERE owner_id = $1)";

const LIVE_USER: &str = "
    SELECT id, name, email, role, password_hash, created_at, disabled_at
    FROM users WHERE id = $1 AND disabled_at IS NULL";

const FORGET_INVITATIONS: &str = "DELETE FROM invitations WHERE user_id = $1";

const INSERT_INVITATION: &str = "
    INSERT INTO invitations (code_hash, user_id, created_at, expires_at) VALUES ($1, $2, $3, $4)";

const INVITATION: &str = "
    SELECT user_id, created_at, expires_at FROM invitations
    WHERE code_hash = $1 AND used_at IS NULL AND expires_at > $2";

const USE_INVITATION: &str = "
    UPDATE invitations SET used_at = $2
    WHERE code_hash = $1 AND user_id = $3 AND used_at IS NULL AND expires_at > $2";

const INTRODUCE: &str = "
    UPDATE users SET name = $2, email = $3, password_hash = $4, changed_seq = $5
    WHERE id = $1 AND disabled_at IS NULL";

const BY_IDENTITY: &str = "
    SELECT u.id, u.name, u.email, u.role, u.password_hash, u.created_at, u.disabled_at
    FROM identities i JOIN users u ON u.id = i.user_id WHERE i.issuer = $1 AND i.subject = $2";

const LINK: &str = "INSERT INTO identities (issuer, subject, user_id, created_at) VALUES ($1, $2, $3, $4)";

const FORGET_HAND_OVERS: &str = "DELETE FROM hand_overs WHERE expires_at <= $1";

const INSERT_HAND_OVER: &str = "
    INSERT INTO hand_overs (code_hash, nonce_hash, user_id, deployment, expires_at) VALUES ($1, $2, $3, $4, $5)";

const TAKE_HAND_OVER: &str = "
    DELETE FROM hand_overs
    WHERE code_hash = $1 AND nonce_hash = $2 AND deployment = $3 AND expires_at > $4 RETURNING user_id";

const TOKEN_BY_NAME: &str = "
    SELECT id, owner_id, name, description, scopes, created_at, expires_at, revoked_at, last_used_at
    FROM api_tokens WHERE owner_id = $1 AND name = $2 AND revoked_at IS NULL";

const FORGET_BROWSER_SESSIONS: &str = "DELETE FROM token_secrets WHERE deployment IS NOT NULL AND retires_at < $1";

const END_BROWSER_SESSION: &str = "
    UPDATE token_secrets SET retires_at = $2, changed_seq = $3
    WHERE lookup_id = $1 AND deployment IS NOT NULL AND retires_at > $2";

pub(super) const STATEMENTS: &[&str] = &[
    FORGET_SESSIONS,
    INSERT_SESSION,
    SESSION,
    SESSIONS_OF,
    END_SESSION,
    END_SESSIONS,
    END_BROWSER_SESSIONS,
    LIVE_USER,
    FORGET_INVITATIONS,
    INSERT_INVITATION,
    INVITATION,
    USE_INVITATION,
    INTRODUCE,
    BY_IDENTITY,
    LINK,
    FORGET_HAND_OVERS,
    INSERT_HAND_OVER,
    TAKE_HAND_OVER,
    TOKEN_BY_NAME,
    FORGET_BROWSER_SESSIONS,
    END_BROWSER_SESSION,
];

#[async_trait]
impl SessionStore for PostgresStore {
    async fn insert_session(&self, session: &ConsoleSession, event: &AuditEvent) -> Result<(), StoreError> {
        self.perform(async {
            let mut change = Change::begin(&self.pool).await?;
            sqlx::query(FORGET_SESSIONS).bind(OffsetDateTime::from(event.at)).execute(change.connection()).await?;
            sqlx::query(INSERT_SESSION)
                .bind(session.id_hash.as_str())
                .bind(session.user.0)
                .bind(OffsetDateTime::from(session.created_at))
                .bind(OffsetDateTime::from(session.expires_at))
                .bind(&session.address)
                .bind(&session.client)
                .execute(change.connection())
                .await?;
            change.commit(event).await
        })
        .await
    }

    async fn session(&self, id: &CodeHash, now: Timestamp) -> Result<Option<(ConsoleSession, User)>, StoreError> {
        self.perform(async {
            let row: Option<SessionRow> = sqlx::query_as(SESSION)
                .bind(id.as_str())
                .bind(OffsetDateTime::from(now))
                .fetch_optional(&self.pool)
                .await?;
            let Some(row) = row else { return Ok(None) };
            let user = self.live_user(row.user_id).await?;
            Ok(user.map(|user| (row.into(), user)))
        })
        .await
    }

    async fn sessions_of(&self, user: UserId, now: Timestamp) -> Result<Vec<ConsoleSession>, StoreError> {
        self.perform(async {
            let rows: Vec<SessionRow> =
                sqlx::query_as(SESSIONS_OF).bind(user.0).bind(OffsetDateTime::from(now)).fetch_all(&self.pool).await?;
            Ok(rows.into_iter().map(ConsoleSession::from).collect())
        })
        .await
    }

    async fn end_session(&self, id: &CodeHash, event: &AuditEvent) -> Result<bool, StoreError> {
        self.perform(async {
            let mut change = Change::begin(&self.pool).await?;
            let ended = sqlx::query(END_SESSION).bind(id.as_str()).execute(change.connection()).await?;
            let ended = ended.rows_affected() > 0;
            if ended {
                change.commit(event).await?;
            }
            Ok(ended)
        })
        .await
    }

    async fn end_sessions(&self, user: UserId, keep: Option<&CodeHash>, event: &AuditEvent) -> Result<(), StoreError> {
        self.perform(async {
            let mut change = Change::begin(&self.pool).await?;
            end_sessions(&mut change, user, keep, event.at).await?;
            change.commit(event).await
        })
        .await
    }
}

#[async_trait]
impl InvitationStore for PostgresStore {
    async fn insert_invitation(&self, invitation: &Invitation, event: &AuditEvent) -> Result<(), StoreError> {
        self.perform(async {
            let mut change = Change::begin(&self.pool).await?;
            insert_invitation(&mut change, invitation).await?;
            change.commit(event).await
        })
        .await
    }

    async fn invitation(&self, code: &CodeHash, now: Timestamp) -> Result<Option<(Invitation, User)>, StoreError> {
        self.perform(async {
            let row: Option<(Uuid, OffsetDateTime, OffsetDateTime)> = sqlx::query_as(INVITATION)
                .bind(code.as_str())
                .bind(OffsetDateTime::from(now))
                .fetch_optional(&self.pool)
                .await?;
            let Some((user_id, created_at, expires_at)) = row else { return Ok(None) };
            let invitation = Invitation {
                code_hash: code.clone(),
                user: UserId(user_id),
                created_at: created_at.into(),
                expires_at: expires_at.into(),
            };
            Ok(self.live_user(user_id).await?.map(|user| (invitation, user)))
        })
        .await
    }

    async fn accept_invitation(&self, code: &CodeHash, user: &User, event: &AuditEvent) -> Result<bool, StoreError> {
        self.perform(async {
            let mut change = Change::begin(&self.pool).await?;
            let used = sqlx::query(USE_INVITATION)
                .bind(code.as_str())
                .bind(OffsetDateTime::from(event.at))
                .bind(user.id.0)
                .execute(change.connection())
                .await?
                .rows_affected()
                > 0;
            if !used {
                return Ok(false);
            }
            let introduced = sqlx::query(INTRODUCE)
                .bind(user.id.0)
                .bind(&user.name)
                .bind(user.email.as_str())
                .bind(&user.password_hash)
                .bind(change.seq)
                .execute(change.connection())
                .await?
                .rows_affected()
                > 0;
            if introduced {
                end_sessions(&mut change, user.id, None, event.at).await?;
                change.commit(event).await?;
            }
            Ok(introduced)
        })
        .await
    }

    async fn user_by_identity(&self, identity: &Identity) -> Result<Option<User>, StoreError> {
        self.perform(async {
            let row: Option<UserRow> = sqlx::query_as(BY_IDENTITY)
                .bind(&identity.issuer)
                .bind(&identity.subject)
                .fetch_optional(&self.pool)
                .await?;
            row.map(User::try_from).transpose()
        })
        .await
    }

    async fn link_identity(
        &self,
        identity: &Identity,
        user: &User,
        new: bool,
        event: &AuditEvent,
    ) -> Result<(), StoreError> {
        self.perform(async {
            let mut change = Change::begin(&self.pool).await?;
            if new {
                insert_user(&mut change, user).await?;
            }
            sqlx::query(LINK)
                .bind(&identity.issuer)
                .bind(&identity.subject)
                .bind(user.id.0)
                .bind(OffsetDateTime::from(event.at))
                .execute(change.connection())
                .await?;
            change.commit(event).await
        })
        .await
    }
}

#[async_trait]
impl BrowserStore for PostgresStore {
    async fn insert_hand_over(&self, hand_over: &HandOver, now: Timestamp) -> Result<(), StoreError> {
        self.perform(async {
            let mut transaction = self.pool.begin().await?;
            sqlx::query(FORGET_HAND_OVERS).bind(OffsetDateTime::from(now)).execute(&mut *transaction).await?;
            sqlx::query(INSERT_HAND_OVER)
                .bind(hand_over.code_hash.as_str())
                .bind(hand_over.nonce_hash.as_str())
                .bind(hand_over.user.0)
                .bind(hand_over.deployment.as_str())
                .bind(OffsetDateTime::from(hand_over.expires_at))
                .execute(&mut *transaction)
                .await?;
            transaction.commit().await
        })
        .await
    }

    async fn take_hand_over(
        &self,
        code: &CodeHash,
        nonce: &CodeHash,
        deployment: &DeploymentName,
        now: Timestamp,
    ) -> Result<Option<User>, StoreError> {
        self.perform(async {
            let mut transaction = self.pool.begin().await?;
            let user: Option<Uuid> = sqlx::query_scalar(TAKE_HAND_OVER)
                .bind(code.as_str())
                .bind(nonce.as_str())
                .bind(deployment.as_str())
                .bind(OffsetDateTime::from(now))
                .fetch_optional(&mut *transaction)
                .await?;
            transaction.commit().await?;
            match user {
                Some(user) => self.live_user(user).await,
                None => Ok(None),
            }
        })
        .await
    }

    async fn token_by_name(&self, owner: UserId, name: &str) -> Result<Option<TokenRecord>, StoreError> {
        self.perform(async {
            let row: Option<TokenRow> =
                sqlx::query_as(TOKEN_BY_NAME).bind(owner.0).bind(name).fetch_optional(&self.pool).await?;
            row.map(TokenRecord::try_from).transpose()
        })
        .await
    }

    async fn insert_browser_session(
        &self,
        token: TokenUid,
        secret: &SecretRecord,
        forget: Timestamp,
        event: &AuditEvent,
    ) -> Result<bool, StoreError> {
        self.perform(async {
            let mut change = Change::begin(&self.pool).await?;
            let live = find_token(change.connection(), token).await?.is_some_and(|token| token.revoked_at.is_none());
            if live {
                sqlx::query(FORGET_BROWSER_SESSIONS)
                    .bind(OffsetDateTime::from(forget))
                    .execute(change.connection())
                    .await?;
                insert_secret(&mut change, token, secret).await?;
                change.commit(event).await?;
            }
            Ok(live)
        })
        .await
    }

    async fn end_browser_session(&self, id: LookupId, event: &AuditEvent) -> Result<bool, StoreError> {
        self.perform(async {
            let mut change = Change::begin(&self.pool).await?;
            let ended = sqlx::query(END_BROWSER_SESSION)
                .bind(id.as_str())
                .bind(OffsetDateTime::from(event.at))
                .bind(change.seq)
                .execute(change.connection())
                .await?
                .rows_affected()
                > 0;
            if ended {
                change.commit(event).await?;
            }
            Ok(ended)
        })
        .await
    }
}

impl PostgresStore {
    async fn live_user(&self, id: Uuid) -> Result<Option<User>, sqlx::Error> {
        let row: Option<UserRow> = sqlx::query_as(LIVE_USER).bind(id).fetch_optional(&self.pool).await?;
        row.map(User::try_from).transpose()
    }
}

pub(super) async fn end_sessions(
    change: &mut Change,
    user: UserId,
    keep: Option<&CodeHash>,
    at: Timestamp,
) -> Result<(), sqlx::Error> {
    sqlx::query(END_SESSIONS).bind(user.0).bind(keep.map_or("", CodeHash::as_str)).execute(change.connection()).await?;
    sqlx::query(END_BROWSER_SESSIONS)
        .bind(user.0)
        .bind(OffsetDateTime::from(at))
        .bind(change.seq)
        .execute(change.connection())
        .await?;
    Ok(())
}

pub(super) async fn insert_invitation(change: &mut Change, invitation: &Invitation) -> Result<(), sqlx::Error> {
    sqlx::query(FORGET_INVITATIONS).bind(invitation.user.0).execute(change.connection()).await?;
    sqlx::query(INSERT_INVITATION)
        .bind(invitation.code_hash.as_str())
        .bind(invitation.user.0)
        .bind(OffsetDateTime::from(invitation.created_at))
        .bind(OffsetDateTime::from(invitation.expires_at))
        .execute(change.connection())
        .await?;
    Ok(())
}

#[derive(FromRow)]
struct SessionRow {
    id_hash: String,
    user_id: Uuid,
    created_at: OffsetDateTime,
    expires_at: OffsetDateTime,
    address: String,
    client: String,
}

impl From<SessionRow> for ConsoleSession {
    fn from(row: SessionRow) -> Self {
        Self {
            id_hash: CodeHash::from_stored(row.id_hash),
            user: UserId(row.user_id),
            created_at: row.created_at.into(),
            expires_at: row.expires_at.into(),
            address: row.address,
            client: row.client,
        }
    }
}
