//! API tokens.

use schemars::JsonSchema;
use serde::Serialize;

use super::{OrganizationView, UserView, organization, text, user};
use crate::{
    domain::{
        deployment_scope::Routes,
        narrowing::Asked,
        scope::Scope,
        timestamp::Timestamp,
        token::{TokenRecord, TokenStatus},
        user::User,
    },
    store::Organization,
};

const TOKEN: &str = "api_token";

/// An API token, without its secret.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "ApiToken")]
pub struct TokenView {
    pub uid: String,
    pub name: String,
    pub resource_type: &'static str,
    pub labels: [String; 0],
    pub description: String,
    /// RFC 3339, UTC, like every time.
    pub created_at: String,
    pub updated_at: Option<String>,
    /// When it was revoked. Null: it was not.
    pub deleted_at: Option<String>,
    pub scopes: Vec<String>,
    /// Its owner.
    pub user: UserView,
    pub organization: OrganizationView,
    /// Null: it does not expire.
    pub expired_at: Option<String>,
    /// Null: never. Some seconds late.
    pub last_used_at: Option<String>,
    pub is_expired: bool,
    pub is_api_token: bool,
    pub is_organization_token: bool,
    /// It gives access to All Deployments.
    pub is_global_access: bool,
    /// The clear text, in the one response that shows it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// This request is a repetition and created nothing; only the first response had the clear text.
    pub replayed: bool,
}

pub fn token(record: &TokenRecord, owner: &User, organized: &Organization, now: Timestamp) -> TokenView {
    let developer = record.scopes.iter().any(|scope| *scope == Scope::Api);
    TokenView {
        uid: record.uid.to_string(),
        name: record.name.clone(),
        resource_type: TOKEN,
        labels: [],
        description: record.description.clone(),
        created_at: record.created_at.to_string(),
        updated_at: None,
        deleted_at: text(record.revoked_at),
        scopes: record.scopes.iter().map(Scope::to_string).collect(),
        user: user(owner),
        organization: organization(organized),
        expired_at: text(record.expires_at),
        last_used_at: text(record.last_used_at),
        is_expired: record.status(now) == TokenStatus::Expired,
        is_api_token: developer,
        is_organization_token: false,
        is_global_access: record.scopes.opening(None, Routes::Open, Asked::Everything).is_some(),
        token: None,
        replayed: false,
    }
}
