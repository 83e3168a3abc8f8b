//! Adding a Deployment to the store.

use serde_json::json;

use super::DeploymentError;
use crate::{
    domain::{audit::Action, deployment::DeploymentSpec},
    service::Context,
};

/// # Errors
/// [`DeploymentError::Declared`], [`DeploymentError::NoUpstream`], and the store's conflicts.
pub async fn add(context: &Context<'_>, spec: &DeploymentSpec) -> Result<(), DeploymentError> {
    if context.declared.iter().any(|declared| declared.name == spec.name) {
        return Err(DeploymentError::Declared(spec.name.clone()));
    }
    if spec.upstreams.is_empty() {
        return Err(DeploymentError::NoUpstream(spec.name.clone()));
    }
    let detail = json!({ "upstreams": spec.upstreams, "hosts": spec.hosts, "protected": spec.protected });
    let event = context.event(Action::DeploymentAdded, &spec.name, detail)?;
    Ok(context.store.insert_deployment(spec, context.now, &event).await?)
}
