//! Removing a Deployment from the store.

use serde_json::json;

use crate::{
    domain::{audit::Action, deployment::DeploymentName},
    service::{Context, Error, Result},
    store::TouchedToken,
};

/// The tokens that lost their exact scope for it. They lose it so that they do not open a later Deployment of that name.
///
/// # Errors
/// [`Error::DeploymentNotFound`], or [`Error::Declared`] if the configuration declares it.
pub async fn remove(context: &Context<'_>, name: &DeploymentName) -> Result<Vec<TouchedToken>> {
    let event = context.event(Action::DeploymentRemoved, name, json!({}))?;
    match context.store.remove_deployment(name, context.now, &event).await? {
        Some(touched) => Ok(touched),
        None if context.declared.iter().any(|declared| declared.name == *name) => Err(Error::Declared(name.clone())),
        None => Err(Error::DeploymentNotFound(name.clone())),
    }
}
