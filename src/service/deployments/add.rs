//! Adding a Deployment to the store.

use serde_json::json;

use super::{Placed, own_ways};
use crate::{
    domain::{audit::Action, deployment::DeploymentSpec},
    service::{Context, Error, Result},
    store::Committed,
};

/// What had the name before. Tokens that name it open whoever has the name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Predecessor {
    None,
    /// A gateway has declared it, and whoever adds it now says that none does any more.
    Declared,
}

/// # Errors
/// [`Error::Declared`], [`Error::DeclaredElsewhere`] unless `predecessor` says so, [`Error::NoUpstream`],
/// [`Error::TakenWay`], [`Error::Forbidden`], and the store's conflicts.
pub async fn add(context: &Context<'_>, spec: &DeploymentSpec, predecessor: Predecessor) -> Result<Committed<Placed>> {
    let name = &spec.name;
    if context.declared.declares(name) {
        return Err(Error::Declared(name.clone()));
    }
    if spec.upstreams.is_empty() {
        return Err(Error::NoUpstream(name.clone()));
    }
    context.grantor.shape(None, spec)?;
    let detail = json!({ "upstreams": spec.upstreams, "hosts": spec.hosts, "protected": spec.protected });
    let event = context.event(Action::DeploymentAdded, name, detail)?;
    let mut change = context.change().await?;
    if predecessor == Predecessor::None && change.is_declared(name).await? {
        return Err(Error::DeclaredElsewhere(name.clone()));
    }
    // Callers who may call all Deployments would go on sending to the name.
    if change.was_removed(name).await? {
        context.grantor.weaken("adding a Deployment under the name of a removed one")?;
    }
    let stored = change.deployments().await?;
    if context.declared.default_deployment(stored.iter().chain([spec])) == Some(name) {
        context.grantor.weaken("adding the default Deployment")?;
    }
    own_ways(context, &mut change, None, spec).await?;
    change.insert_deployment(spec, context.now).await?;
    let placed = Placed::read(context, &mut change, spec.clone()).await?;
    Ok(change.commit(&event).await?.with(placed))
}
