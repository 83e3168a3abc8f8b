//! The organization.

use schemars::JsonSchema;
use serde::Serialize;

use crate::store::Organization;

const ORGANIZATION: &str = "organization";

#[derive(Clone, Serialize, JsonSchema)]
#[schemars(rename = "Organization")]
pub struct OrganizationView {
    pub uid: String,
    pub name: String,
    pub resource_type: &'static str,
    pub labels: [String; 0],
    pub description: &'static str,
    pub created_at: String,
    pub updated_at: Option<String>,
    pub deleted_at: Option<String>,
}

/// There is one organization, so its name is its uid.
pub fn organization(organization: &Organization) -> OrganizationView {
    OrganizationView {
        uid: organization.name.clone(),
        name: organization.name.clone(),
        resource_type: ORGANIZATION,
        labels: [],
        description: "",
        created_at: organization.created_at.to_string(),
        updated_at: None,
        deleted_at: None,
    }
}
