//! Users: as the owners of things, and as admins see them.

use schemars::JsonSchema;
use serde::Serialize;

use super::text;
use crate::domain::user::User;

#[derive(Clone, Serialize, JsonSchema)]
#[schemars(rename = "User")]
pub struct UserView {
    pub name: String,
    pub email: String,
    pub first_name: &'static str,
    pub last_name: &'static str,
}

/// A user as admins see them.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Person")]
pub struct PersonView {
    pub uid: String,
    pub name: String,
    pub email: String,
    /// `admin` or `member`.
    pub role: &'static str,
    pub created_at: String,
    /// Null: enabled. The tokens of a disabled user do not work.
    pub disabled_at: Option<String>,
}

pub fn user(user: &User) -> UserView {
    UserView { name: user.name.clone(), email: user.email.to_string(), first_name: "", last_name: "" }
}

pub fn person(user: &User) -> PersonView {
    PersonView {
        uid: user.id.to_string(),
        name: user.name.clone(),
        email: user.email.to_string(),
        role: user.role.as_str(),
        created_at: user.created_at.to_string(),
        disabled_at: text(user.disabled_at),
    }
}
