//! Deployments that are kept in the store, beside those that the configuration declares.

mod add;
pub mod address;
mod list;
mod remove;
mod update;

pub use add::{Predecessor, add};
pub use list::{Listed, Source, declared_elsewhere, list, reach};
pub use remove::remove;
pub use update::{UpdateDeployment, UpdateSettings, start, terminate, update};

use super::{Context, Error, Result};
use crate::{
    domain::{
        deployment::{DeploymentName, DeploymentSpec},
        routing::Ways,
    },
    store::Change,
};

/// A Deployment as a change leaves it.
#[derive(Debug)]
pub struct Placed {
    pub spec: DeploymentSpec,
    /// The default one then: as [`Declared::default_deployment`](crate::domain::routing::Declared).
    pub default_deployment: Option<DeploymentName>,
}

impl Placed {
    async fn read(context: &Context<'_>, change: &mut Change, spec: DeploymentSpec) -> Result<Self> {
        let stored = change.deployments().await?;
        Ok(Self { spec, default_deployment: context.declared.default_deployment(&stored).cloned() })
    }
}

/// Whether the ways that are new in `after` lead to nobody else. Those it had before stay as they are, so that what another
/// Deployment has taken meanwhile keeps nobody from changing the rest. `before` of `None`: it is added.
async fn own_ways(
    context: &Context<'_>,
    change: &mut Change,
    before: Option<&DeploymentSpec>,
    after: &DeploymentSpec,
) -> Result<()> {
    let mut stored = change.deployments().await?;
    stored.retain(|spec| spec.name != after.name);
    let ways = Ways::new(context.declared, &stored);
    let had = before.map(|before| context.declared.rules.ways_of(before)).unwrap_or_default();
    let taken = ways.taken(after).find(|taken| !had.contains(&taken.way));
    taken.map_or(Ok(()), |taken| Err(Error::TakenWay(taken)))
}
