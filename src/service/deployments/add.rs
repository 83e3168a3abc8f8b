//! Adding a Deployment to the store.

use serde_json::json;

use crate::{
    domain::{audit::Action, deployment::DeploymentSpec},
    service::{Context, Error, Result},
};

/// # Errors
/// [`Error::Declared`], [`Error::NoUpstream`], and the store's conflicts.
pub async fn add(context: &Context<'_>, spec: &DeploymentSpec) -> Result<()> {
    if context.declared.iter().any(|declared| declared.name == spec.name) {
        return Err(Error::Declared(spec.name.clone()));
    }
    if spec.upstreams.is_empty() {
        return Err(Error::NoUpstream(spec.name.clone()));
    }
    let detail = json!({ "upstreams": spec.upstreams, "hosts": spec.hosts, "protected": spec.protected });
    let event = context.event(Action::DeploymentAdded, &spec.name, detail)?;
    Ok(context.store.insert_deployment(spec, context.now, &event).await?)
}
