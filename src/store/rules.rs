//! What both adapters do alike, kept once so that they cannot differ in it.

use std::collections::BTreeMap;

use sqlx::migrate::MigrateError;

use super::{StoreError, TouchedToken};
use crate::domain::{
    deployment::DeploymentName,
    scope::{DeploymentPattern, Scope, ScopeSet},
    token::{TokenRecord, TokenUid},
    token_text::LookupId,
    usage::TokenUse,
};

/// A live token that has the exact scope of a Deployment.
pub(super) struct Holder {
    pub uid: TokenUid,
    pub name: String,
    pub scopes: ScopeSet,
}

/// What becomes of the holders when the Deployment is removed.
#[derive(Default)]
pub(super) struct EndedScopes {
    pub touched: Vec<TouchedToken>,
    /// With the scopes that are left.
    pub narrowed: Vec<(TokenUid, ScopeSet)>,
    /// Those that would have no scope left. They keep the last one, since there is no empty set.
    pub revoked: Vec<TokenUid>,
}

pub(super) fn end_scopes(holders: Vec<Holder>, removed: &DeploymentName) -> EndedScopes {
    let mut ended = EndedScopes::default();
    for Holder { uid, name, scopes } in holders {
        let left = scopes.without_exact(removed);
        ended.touched.push(TouchedToken { uid, name, revoked: left.is_none() });
        match left {
            Some(left) => ended.narrowed.push((uid, left)),
            None => ended.revoked.push(uid),
        }
    }
    ended
}

/// The scope that opens this Deployment and no other, as it is stored.
pub(super) fn exact_scope(name: &DeploymentName) -> String {
    Scope::Deployment(DeploymentPattern::Exact(name.clone())).to_string()
}

pub(super) fn scope_texts(scopes: &ScopeSet) -> Vec<String> {
    scopes.iter().map(Scope::to_string).collect()
}

/// What a search looks into. Lower-cased here and not in SQL: SQLite's `lower` knows ASCII only, PostgreSQL's depends on
/// the database's locale.
pub(super) fn search_text(token: &TokenRecord) -> String {
    format!("{}\n{}\n{}", token.name, token.description, token.uid).to_lowercase()
}

/// What a search looks for in [`search_text`]. PostgreSQL refuses a text with U+0000, and none that is stored has one,
/// so something else that is in none takes its place.
pub(super) fn search_needle(search: &str) -> String {
    search.to_lowercase().replace('\0', "\u{1}")
}

/// One for each token, with its last time and all its requests, in the order of their uids, in which concurrent writers
/// must lock them.
pub(super) fn totals(uses: &[TokenUse]) -> Vec<TokenUse> {
    let mut totals: BTreeMap<TokenUid, TokenUse> = BTreeMap::new();
    for &used in uses {
        let total = totals.entry(used.uid).or_insert(TokenUse { requests: 0, ..used });
        total.at = total.at.max(used.at);
        total.requests += used.requests;
    }
    totals.into_values().collect()
}

/// `read` is the adapter's reading of sqlx's errors. What it has no better word for will fail again at the next start.
pub(super) fn migration_error(error: MigrateError, read: fn(sqlx::Error) -> StoreError) -> StoreError {
    let unusable = |text: String| StoreError::Unusable(format!("its schema could not be migrated: {text}"));
    match error {
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => match read(error) {
            StoreError::Inconsistent(text) => unusable(text),
            other => other,
        },
        other => unusable(other.to_string()),
    }
}

// === reading back ===

/// What is stored breaks a rule of the domain. The text must not quote a hash or a lookup id.
pub(super) fn unreadable(what: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> sqlx::Error {
    sqlx::Error::Decode(what.into())
}

pub(super) fn stored_scopes(texts: &[String]) -> Result<ScopeSet, sqlx::Error> {
    ScopeSet::parse(texts).map_err(unreadable)
}

pub(super) fn stored_lookup_id(text: &str) -> Result<LookupId, sqlx::Error> {
    LookupId::from_stored(text).ok_or_else(|| unreadable("a lookup id is not 12 letters and digits"))
}
