//! What the API answers with, in the form that the `bentoml` client reads (1.4). Every key that it needs is always there,
//! texts are empty rather than null, lists never null. Keys that it does not know are ours.

mod deployment;
mod organization;
mod token;
mod user;

pub use deployment::{DeploymentParts, DeploymentView, deployment};
pub use organization::{OrganizationView, organization};
pub use token::{TokenView, token};
pub use user::{PersonView, UserView, person, user};

use schemars::JsonSchema;
use serde::Serialize;

use crate::{domain::timestamp::Timestamp, service::receipt::Receipt};

/// A part of a longer list.
#[derive(Serialize, JsonSchema)]
pub struct List<T> {
    /// How many were passed over.
    pub start: u64,
    /// How many were asked for at most.
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
    /// Null: it could not be learned; the change is made all the same.
    pub receipt: Option<Receipt>,
}

#[derive(Serialize, JsonSchema)]
pub struct EmptyObject {}

fn text(at: Option<Timestamp>) -> Option<String> {
    at.map(|at| at.to_string())
}
