//! Removing a Deployment from the store.

use serde_json::json;

use super::DeploymentError;
use crate::{
    domain::{audit::Action, deployment::DeploymentName},
    service::Context,
    store::TouchedToken,
};

/// The tokens that lost the exact scope for it, so that they do not open a later Deployment of the same name.
///
/// # Errors
/// [`DeploymentError::NotFound`], or [`DeploymentError::Declared`] if it is the configuration that has it.
pub async fn remove(context: &Context<'_>, name: &DeploymentName) -> Result<Vec<TouchedToken>, DeploymentError> {
    let event = context.event(Action::DeploymentRemoved, name, json!({}))?;
    match context.store.remove_deployment(name, context.now, &event).await? {
        Some(touched) => Ok(touched),
        None if context.declared.iter().any(|declared| declared.name == *name) => {
            Err(DeploymentError::Declared(name.clone()))
        }
        None => Err(DeploymentError::NotFound(name.clone())),
    }
}
