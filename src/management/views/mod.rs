//! What the API answers with, in the form that the `bentoml` client reads (1.4). Every key that it needs is always there,
//! texts are empty instead of null, and lists are never null. The gateway adds keys that the client does not know.

mod deployment;
mod organization;
mod token;
mod user;

pub use deployment::{DeploymentParts, DeploymentView, deployment, internals};
pub use organization::{OrganizationView, organization};
pub use token::{TokenView, token};
pub use user::{PersonView, UserView, person, user};

use schemars::JsonSchema;
use serde::Serialize;

use crate::{domain::timestamp::Timestamp, service::receipt::Receipt};

/// A part of a longer list.
#[derive(Serialize, JsonSchema)]
pub struct List<T> {
    /// How many were skipped.
    pub start: u64,
    /// How many were requested at most.
    pub count: u64,
    /// How many there are in all.
    pub total: u64,
    pub items: Vec<T>,
}

/// What has changed, and how far the change has come.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Changed{V}")]
pub struct Changed<V> {
    #[serde(flatten)]
    pub view: V,
    /// Null: the gateway could not learn it. The change was made.
    pub receipt: Option<Receipt>,
}

fn text(at: Option<Timestamp>) -> Option<String> {
    at.map(|at| at.to_string())
}
