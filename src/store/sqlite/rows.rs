//! From columns to values. What a rule of the domain refuses is an error of decoding, and so `Inconsistent`.

use sqlx::{
    FromRow,
    types::{Json, uuid::fmt::Hyphenated},
};

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
    id: Hyphenated,
    owner_id: Hyphenated,
    name: String,
    description: String,
    scopes: Json<Vec<String>>,
    created_at: i64,
    expires_at: Option<i64>,
    revoked_at: Option<i64>,
    last_used_at: Option<i64>,
}

#[derive(FromRow)]
pub(super) struct HolderRow {
    id: Hyphenated,
    name: String,
    scopes: Json<Vec<String>>,
}

#[derive(FromRow)]
pub(super) struct ChangedSecretRow {
    changed_seq: i64,
    lookup_id: String,
    hash: String,
    retires_at: Option<i64>,
    deployment: Option<String>,
    id: Hyphenated,
    owner_id: Hyphenated,
    scopes: Json<Vec<String>>,
    expires_at: Option<i64>,
    revoked_at: Option<i64>,
}

#[derive(FromRow)]
pub(super) struct UserRow {
    id: Hyphenated,
    name: String,
    email: String,
    role: String,
    password_hash: Option<String>,
    created_at: i64,
    disabled_at: Option<i64>,
}

impl TryFrom<TokenRow> for TokenRecord {
    type Error = sqlx::Error;

    fn try_from(row: TokenRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            uid: TokenUid(row.id.into()),
            name: row.name,
            description: row.description,
            scopes: stored_scopes(&row.scopes)?,
            owner: UserId(row.owner_id.into()),
            created_at: Timestamp::from_millis(row.created_at),
            expires_at: row.expires_at.map(Timestamp::from_millis),
            revoked_at: row.revoked_at.map(Timestamp::from_millis),
            last_used_at: row.last_used_at.map(Timestamp::from_millis),
        })
    }
}

impl TryFrom<HolderRow> for Holder {
    type Error = sqlx::Error;

    fn try_from(row: HolderRow) -> Result<Self, sqlx::Error> {
        Ok(Self { uid: TokenUid(row.id.into()), name: row.name, scopes: stored_scopes(&row.scopes)? })
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
                retires_at: row.retires_at.map(Timestamp::from_millis),
                session: row.deployment.map(|name| name.parse().map_err(unreadable)).transpose()?,
            },
            uid: TokenUid(row.id.into()),
            owner: UserId(row.owner_id.into()),
            scopes: stored_scopes(&row.scopes)?,
            expires_at: row.expires_at.map(Timestamp::from_millis),
            revoked_at: row.revoked_at.map(Timestamp::from_millis),
        })
    }
}

impl TryFrom<UserRow> for User {
    type Error = sqlx::Error;

    fn try_from(row: UserRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            id: UserId(row.id.into()),
            name: row.name,
            email: row.email.parse().map_err(unreadable)?,
            role: Role::from_stored(&row.role).ok_or_else(|| unreadable(format!("{:?} is not a role", row.role)))?,
            password_hash: row.password_hash,
            created_at: Timestamp::from_millis(row.created_at),
            disabled_at: row.disabled_at.map(Timestamp::from_millis),
        })
    }
}
