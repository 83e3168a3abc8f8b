//! Changing a Deployment of the store, stopping it and starting it again.

use std::{collections::BTreeSet, net::SocketAddr};

use serde_json::json;

use crate::{
    domain::{
        audit::Action,
        deployment::{DeploymentName, DeploymentSettings, DeploymentSpec, UpstreamUrl},
        host::HostName,
    },
    service::{Context, Error, Result},
};

/// `None` leaves it as it is.
#[derive(Clone, Debug, Default)]
pub struct UpdateDeployment {
    pub hosts: Option<BTreeSet<HostName>>,
    pub upstreams: Option<Vec<UpstreamUrl>>,
    /// `Some(None)`: no address of its own any more.
    pub listen: Option<Option<SocketAddr>>,
    pub protected: Option<bool>,
    pub settings: Option<DeploymentSettings>,
}

/// The Deployment as it is afterwards.
///
/// # Errors
/// [`Error::Declared`], [`Error::DeploymentNotFound`], [`Error::NoUpstream`], and the store's conflict over a host.
pub async fn update(context: &Context<'_>, name: &DeploymentName, change: UpdateDeployment) -> Result<DeploymentSpec> {
    let mut spec = stored(context, name).await?;
    if let Some(hosts) = change.hosts {
        spec.hosts = hosts;
    }
    if let Some(upstreams) = change.upstreams {
        if upstreams.is_empty() {
            return Err(Error::NoUpstream(name.clone()));
        }
        spec.upstreams = upstreams;
    }
    spec.listen = change.listen.unwrap_or(spec.listen);
    spec.protected = change.protected.unwrap_or(spec.protected);
    spec.settings = change.settings.unwrap_or(spec.settings);
    write(context, spec, Action::DeploymentUpdated).await
}

/// Stops forwarding to the Deployment; requests under way may end. Terminating it twice is no error.
///
/// # Errors
/// [`Error::Declared`], [`Error::DeploymentNotFound`].
pub async fn terminate(context: &Context<'_>, name: &DeploymentName) -> Result<DeploymentSpec> {
    set_terminated(context, name, true, Action::DeploymentTerminated).await
}

/// Forwards to a terminated Deployment again.
///
/// # Errors
/// [`Error::Declared`], [`Error::DeploymentNotFound`].
pub async fn start(context: &Context<'_>, name: &DeploymentName) -> Result<DeploymentSpec> {
    set_terminated(context, name, false, Action::DeploymentStarted).await
}

async fn set_terminated(
    context: &Context<'_>,
    name: &DeploymentName,
    terminated: bool,
    action: Action,
) -> Result<DeploymentSpec> {
    let spec = stored(context, name).await?;
    if spec.terminated == terminated {
        return Ok(spec);
    }
    write(context, DeploymentSpec { terminated, ..spec }, action).await
}

async fn stored(context: &Context<'_>, name: &DeploymentName) -> Result<DeploymentSpec> {
    if context.declared.iter().any(|declared| declared.name == *name) {
        return Err(Error::Declared(name.clone()));
    }
    let all = context.store.list_deployments().await?;
    let found = all.into_iter().find(|stored| stored.spec.name == *name);
    found.map(|stored| stored.spec).ok_or_else(|| Error::DeploymentNotFound(name.clone()))
}

async fn write(context: &Context<'_>, spec: DeploymentSpec, action: Action) -> Result<DeploymentSpec> {
    let detail = json!({ "upstreams": spec.upstreams, "hosts": spec.hosts, "protected": spec.protected });
    let event = context.event(action, &spec.name, detail)?;
    let written = context.store.update_deployment(&spec, &event).await?;
    // `false`: somebody has removed it since it was read.
    if written { Ok(spec) } else { Err(Error::DeploymentNotFound(spec.name)) }
}
