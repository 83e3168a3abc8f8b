//! Adding a Deployment to the store.

use serde_json::json;

use crate::{
    domain::{audit::Action, deployment::DeploymentSpec},
    service::{Context, Error, Result},
    store::Committed,
};

/// # Errors
/// [`Error::Declared`], [`Error::NoUpstream`], [`Error::Forbidden`], and the store's conflicts.
pub async fn add(context: &Context<'_>, spec: &DeploymentSpec) -> Result<Committed> {
    if context.declared.iter().any(|declared| declared.name == spec.name) {
        return Err(Error::Declared(spec.name.clone()));
    }
    if spec.upstreams.is_empty() {
        return Err(Error::NoUpstream(spec.name.clone()));
    }
    context.grantor.shape(None, spec)?;
    let detail = json!({ "upstreams": spec.upstreams, "hosts": spec.hosts, "protected": spec.protected });
    let event = context.event(Action::DeploymentAdded, &spec.name, detail)?;
    let mut change = context.store.change().await?;
    change.insert_deployment(spec, context.now).await?;
    Ok(change.commit(&event).await?)
}
