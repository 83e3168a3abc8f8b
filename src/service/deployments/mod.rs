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

use serde_json::{Map, Value, json};

use super::{Context, Error, Result};
use crate::{
    domain::{
        audit::AuditEvent,
        deployment::{DeploymentName, DeploymentSettings, DeploymentSpec},
        routing::Ways,
    },
    store::{Change, Committed},
};

/// A Deployment as a change leaves it.
#[derive(Debug)]
pub struct Placed {
    pub spec: DeploymentSpec,
    /// The default one then: as [`Declared::default_deployment`](crate::domain::routing::Declared).
    pub default_deployment: Option<DeploymentName>,
}

/// What the audit trail keeps of a Deployment: all that its boundary is made of, and every setting that is not the default.
fn recorded(spec: &DeploymentSpec) -> Value {
    let settings = |settings: &DeploymentSettings| match json!(settings) {
        Value::Object(settings) => settings,
        _ => Map::new(),
    };
    let (mut said, defaults) = (settings(&spec.settings), settings(&DeploymentSettings::default()));
    said.retain(|name, value| defaults.get(name) != Some(value));
    let DeploymentSpec { upstreams, hosts, listen, protected, .. } = spec;
    json!({ "upstreams": upstreams, "hosts": hosts, "listen": listen, "protected": protected, "settings": said })
}

/// The last that a verb does here. `before`: all of the store as the change found them. Any change can make another
/// Deployment the default one, removing a Deployment or its addresses, too: that is allowed here, or by nobody.
///
/// What is default then, as in [`Placed`].
async fn commit(
    context: &Context<'_>,
    mut change: Change,
    before: &[DeploymentSpec],
    event: &AuditEvent,
) -> Result<Committed<Option<DeploymentName>>> {
    let (declared, after) = (context.declared, change.deployments().await?);
    context.grantor.redirect(declared.serves_the_rest(before), declared.serves_the_rest(&after))?;
    let default = declared.default_deployment(&after).cloned();
    Ok(change.commit(event).await?.with(default))
}

/// # Errors
/// [`Error::UncountedBudget`].
fn expect_counted(spec: &DeploymentSpec) -> Result<()> {
    spec.settings.uncounted_budget().map_or(Ok(()), |setting| Err(Error::UncountedBudget(setting)))
}

/// Whether the ways that are new in `after` lead to nobody else. Those it had before stay as they are, so that what another
/// Deployment has taken meanwhile keeps nobody from changing the rest. `before` of `None`: it is added. `stored`: all of
/// the store.
fn own_ways(
    context: &Context<'_>,
    stored: &[DeploymentSpec],
    before: Option<&DeploymentSpec>,
    after: &DeploymentSpec,
) -> Result<()> {
    let ways = Ways::new(context.declared, stored.iter().filter(|spec| spec.name != after.name));
    let had = before.map(|before| context.declared.rules.ways_of(before)).unwrap_or_default();
    let taken = ways.taken(after).find(|taken| !had.contains(&taken.way));
    taken.map_or(Ok(()), |taken| Err(Error::TakenWay(taken)))
}
