//! Removing a Deployment from the store.

use serde_json::json;

use super::commit;
use crate::{
    domain::{audit::Action, deployment::DeploymentName},
    service::{Context, Error, Result},
    store::{Committed, TouchedToken},
};

/// The tokens that lost their exact scope for it. They lose it so that they do not open a later Deployment of that name.
///
/// # Errors
/// [`Error::DeploymentNotFound`], or [`Error::Declared`] if the configuration declares it; [`Error::Forbidden`] if another
/// one would become the default one.
pub async fn remove(context: &Context<'_>, name: &DeploymentName) -> Result<Committed<Vec<TouchedToken>>> {
    let event = context.event(Action::DeploymentRemoved, name, json!({}))?;
    let mut change = context.urgent_change().await?;
    let before = change.deployments().await?;
    match change.remove_deployment(name, context.now).await? {
        Some(touched) => Ok(commit(context, change, &before, &event).await?.with(touched)),
        None if context.declared.declares(name) => Err(Error::Declared(name.clone())),
        None => Err(Error::DeploymentNotFound(name.clone())),
    }
}
