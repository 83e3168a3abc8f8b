//! `/api/v1/users`: people who own tokens, for admins.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{
    caller::Caller,
    error::ApiError,
    openapi::Empty,
    operation::ApiRequest,
    views::{self, Changed, List, PersonView},
};
use crate::{
    domain::user::{Role, User},
    service::{
        lookup,
        users::{self, CreateUser, UpdateUser},
    },
    store::Committed,
};

#[derive(Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum RoleText {
    Admin,
    Member,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewUser {
    email: String,
    name: String,
    /// Null: `member`.
    role: Option<RoleText>,
    /// At least 12 characters. Null: the user cannot sign in with a password until one is set.
    password: Option<String>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ChangedUser {
    name: Option<String>,
    role: Option<RoleText>,
}

pub async fn list(call: ApiRequest<Caller>) -> Result<List<PersonView>, ApiError> {
    let items: Vec<PersonView> = call.store.list_users().await?.iter().map(views::person).collect();
    let total = items.len() as u64;
    Ok(List { start: 0, count: total, total, items })
}

pub async fn create(call: ApiRequest<Caller, Empty, NewUser>) -> Result<Changed<PersonView>, ApiError> {
    let body = &call.body;
    let request = CreateUser {
        email: body.email.parse().map_err(|error| ApiError::invalid(format!("email: {error}")))?,
        name: body.name.clone(),
        role: body.role.map_or(Role::Member, Role::from),
        password: body.password.clone(),
    };
    let created = users::create(&call.context(), request).await?;
    changed(call, created).await
}

pub async fn created_before(call: ApiRequest<Caller>, uid: String) -> Result<Changed<PersonView>, ApiError> {
    let user = find(&call, &uid).await?;
    let before = call.store.committed_before(user).await?;
    changed(call, before).await
}

pub async fn get(call: ApiRequest<Caller>) -> Result<PersonView, ApiError> {
    find(&call, &call.param).await.map(|user| views::person(&user))
}

pub async fn update(call: ApiRequest<Caller, Empty, ChangedUser>) -> Result<Changed<PersonView>, ApiError> {
    let email = find(&call, &call.param).await?.email;
    let update = UpdateUser { name: call.body.name.clone(), role: call.body.role.map(Role::from) };
    let updated = users::update(&call.context(), &email, update).await?;
    changed(call, updated).await
}

/// All tokens of the user stop working.
pub async fn disable(call: ApiRequest<Caller>) -> Result<Changed<PersonView>, ApiError> {
    let email = find(&call, &call.param).await?.email;
    let disabled = users::disable(&call.context(), &email).await?;
    changed(call, disabled).await
}

/// The user's tokens work again, unless revoked or expired.
pub async fn enable(call: ApiRequest<Caller>) -> Result<Changed<PersonView>, ApiError> {
    let email = find(&call, &call.param).await?.email;
    let enabled = users::enable(&call.context(), &email).await?;
    changed(call, enabled).await
}

/// The user after the change, once every replica decides by it.
async fn changed<Q, B>(
    call: ApiRequest<Caller, Q, B>,
    committed: Committed<User>,
) -> Result<Changed<PersonView>, ApiError> {
    let (user, receipt) = call.settle(committed).await;
    Ok(Changed { view: views::person(&user), receipt })
}

/// By uid or email address.
async fn find<Q, B>(call: &ApiRequest<Caller, Q, B>, text: &str) -> Result<User, ApiError> {
    Ok(lookup::user(&call.store, call.caller.viewer(), text).await?)
}

impl From<RoleText> for Role {
    fn from(text: RoleText) -> Self {
        match text {
            RoleText::Admin => Self::Admin,
            RoleText::Member => Self::Member,
        }
    }
}
