//! From columns to values. What a rule of the domain refuses is an error of decoding, and so `Inconsistent`.

use sqlx::{FromRow, types::Uuid};
use time::OffsetDateTime;

use crate::{
    domain::{
        timestamp::Timestamp,
        token::{SecretRecord, TokenRecord, TokenUid},
        user::{Role, User, UserId},
    },
    store::{
        ChangedSecret,
        rules::{Holder, stored_lookup_id, stored_scopes, unreadable},
    },
};

#[derive(FromRow)]
pub(super) struct TokenRow {
    id: Uuid,
    owner_id: Uuid,
    name: String,
    description: String,
    scopes: Vec<String>,
    created_at: OffsetDateTime,
    expires_at: Option<OffsetDateTime>,
    revoked_at: Option<OffsetDateTime>,
    last_used_at: Option<OffsetDateTime>,
}

#[derive(FromRow)]
pub(super) struct HolderRow {
    id: Uuid,
    name: String,
    scopes: Vec<String>,
}

#[derive(FromRow)]
pub(super) struct ChangedSecretRow {
    changed_seq: i64,
    lookup_id: String,
    hash: String,
    retires_at: Option<OffsetDateTime>,
    deployment: Option<String>,
    id: Uuid,
    owner_id: Uuid,
    scopes: Vec<String>,
    expires_at: Option<OffsetDateTime>,
    revoked_at: Option<OffsetDateTime>,
}

#[derive(FromRow)]
pub(super) struct UserRow {
    id: Uuid,
    name: String,
    email: String,
    role: String,
    password_hash: Option<String>,
    created_at: OffsetDateTime,
    disabled_at: Option<OffsetDateTime>,
}

impl TryFrom<TokenRow> for TokenRecord {
    type Error = sqlx::Error;

    fn try_from(row: TokenRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            uid: TokenUid(row.id),
            name: row.name,
            description: row.description,
            scopes: stored_scopes(&row.scopes)?,
            owner: UserId(row.owner_id),
            created_at: row.created_at.into(),
            expires_at: row.expires_at.map(Timestamp::from),
            revoked_at: row.revoked_at.map(Timestamp::from),
            last_used_at: row.last_used_at.map(Timestamp::from),
        })
    }
}

impl TryFrom<HolderRow> for Holder {
    type Error = sqlx::Error;

    fn try_from(row: HolderRow) -> Result<Self, sqlx::Error> {
        Ok(Self { uid: TokenUid(row.id), name: row.name, scopes: stored_scopes(&row.scopes)? })
    }
}

impl TryFrom<ChangedSecretRow> for ChangedSecret {
    type Error = sqlx::Error;

    fn try_from(row: ChangedSecretRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            seq: row.changed_seq,
            secret: SecretRecord {
                lookup_id: stored_lookup_id(&row.lookup_id)?,
                hash: row.hash.into(),
                retires_at: row.retires_at.map(Timestamp::from),
                session: row.deployment.map(|name| name.parse().map_err(unreadable)).transpose()?,
            },
            uid: TokenUid(row.id),
            owner: UserId(row.owner_id),
            scopes: stored_scopes(&row.scopes)?,
            expires_at: row.expires_at.map(Timestamp::from),
            revoked_at: row.revoked_at.map(Timestamp::from),
        })
    }
}

impl TryFrom<UserRow> for User {
    type Error = sqlx::Error;

    fn try_from(row: UserRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            id: UserId(row.id),
            name: row.name,
            email: row.email.parse().map_err(unreadable)?,
            role: Role::from_stored(&row.role).ok_or_else(|| unreadable(format!("{:?} is not a role", row.role)))?,
            password_hash: row.password_hash,
            created_at: row.created_at.into(),
            disabled_at: row.disabled_at.map(Timestamp::from),
        })
    }
}
