//! Adding a Deployment to the store.

use super::{Placed, commit, expect_counted, own_ways, recorded};
use crate::{
    domain::{audit::Action, deployment::DeploymentSpec, routing, weighted_url},
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
/// [`Error::UncountedBudget`],
/// [`Error::TakenWay`], [`Error::Forbidden`], and the store's conflicts.
pub async fn add(context: &Context<'_>, spec: &DeploymentSpec, predecessor: Predecessor) -> Result<Committed<Placed>> {
    let name = &spec.name;
    if context.declared.declares(name) {
        return Err(Error::Declared(name.clone()));
    }
    if !weighted_url::take_requests(&spec.upstreams) {
        return Err(Error::NoUpstream(name.clone()));
    }
    expect_counted(spec)?;
    context.grantor.shape(None, spec)?;
    let event = context.event(Action::DeploymentAdded, name, recorded(spec))?;
    let mut change = context.change().await?;
    if predecessor == Predecessor::None && change.is_declared(name).await? {
        return Err(Error::DeclaredElsewhere(name.clone()));
    }
    // Callers who may call all Deployments would go on sending to the name.
    if change.was_removed(name).await? {
        context.grantor.weaken("adding a Deployment under the name of a removed one")?;
    }
    // So would callers of a host that another one had, and which is now what the name stands for.
    if let Some(host) = routing::own_host(name, context.declared.rules.base_domain.as_ref())
        && change.was_given(&host).await?
    {
        context.grantor.weaken("adding a Deployment whose host another one has had")?;
    }
    let before = change.deployments().await?;
    own_ways(context, &before, None, spec)?;
    change.insert_deployment(spec, context.now).await?;
    let committed = commit(context, change, &before, &event).await?;
    Ok(committed.map(|default_deployment| Placed { spec: spec.clone(), default_deployment }))
}
