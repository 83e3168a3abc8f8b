//! Changing a Deployment of the store, stopping it and starting it again.

use std::{collections::BTreeSet, net::SocketAddr, num::NonZeroU32, time::Duration};

use serde_json::json;

use super::{Placed, own_ways};
use crate::{
    domain::{
        audit::Action,
        cors_origin::CorsOrigin,
        deployment::{DeploymentName, DeploymentSettings, DeploymentSpec, UpstreamUrl},
        host::HostName,
        rate::Rate,
    },
    service::{Context, Error, Result, Version},
    store::{Change, Committed, Current},
};

/// `None` leaves it as it is.
#[derive(Clone, Debug, Default)]
pub struct UpdateDeployment {
    pub hosts: Option<BTreeSet<HostName>>,
    pub upstreams: Option<Vec<UpstreamUrl>>,
    /// `Some(None)`: no address of its own any more.
    pub listen: Option<Option<SocketAddr>>,
    pub protected: Option<bool>,
    pub settings: UpdateSettings,
    /// What the caller has seen and means to change. `None`: whatever is there.
    pub seen: Option<Version>,
}

/// `None` leaves it as it is.
#[derive(Clone, Debug, Default)]
pub struct UpdateSettings {
    pub forward_authorization: Option<bool>,
    pub allow_pickle: Option<bool>,
    pub connect_timeout: Option<Duration>,
    pub first_byte_timeout: Option<Duration>,
    pub idle_timeout: Option<Duration>,
    /// `Some(None)`: no limit any more.
    pub max_body_bytes: Option<Option<u64>>,
    pub cors_origins: Option<BTreeSet<CorsOrigin>>,
    /// `Some(None)`: no limit any more.
    pub max_in_flight: Option<Option<NonZeroU32>>,
    pub max_queue: Option<u32>,
    pub queue_timeout: Option<Duration>,
    /// `Some(None)`: no limit any more.
    pub rate_limit: Option<Option<Rate>>,
}

impl UpdateSettings {
    pub fn apply(self, settings: DeploymentSettings) -> DeploymentSettings {
        DeploymentSettings {
            forward_authorization: self.forward_authorization.unwrap_or(settings.forward_authorization),
            allow_pickle: self.allow_pickle.unwrap_or(settings.allow_pickle),
            connect_timeout: self.connect_timeout.unwrap_or(settings.connect_timeout),
            first_byte_timeout: self.first_byte_timeout.unwrap_or(settings.first_byte_timeout),
            idle_timeout: self.idle_timeout.unwrap_or(settings.idle_timeout),
            max_body_bytes: self.max_body_bytes.unwrap_or(settings.max_body_bytes),
            cors_origins: self.cors_origins.unwrap_or(settings.cors_origins),
            max_in_flight: self.max_in_flight.unwrap_or(settings.max_in_flight),
            max_queue: self.max_queue.unwrap_or(settings.max_queue),
            queue_timeout: self.queue_timeout.unwrap_or(settings.queue_timeout),
            rate_limit: self.rate_limit.unwrap_or(settings.rate_limit),
        }
    }
}

impl From<DeploymentSettings> for UpdateSettings {
    /// All of them are given.
    fn from(settings: DeploymentSettings) -> Self {
        Self {
            forward_authorization: Some(settings.forward_authorization),
            allow_pickle: Some(settings.allow_pickle),
            connect_timeout: Some(settings.connect_timeout),
            first_byte_timeout: Some(settings.first_byte_timeout),
            idle_timeout: Some(settings.idle_timeout),
            max_body_bytes: Some(settings.max_body_bytes),
            cors_origins: Some(settings.cors_origins),
            max_in_flight: Some(settings.max_in_flight),
            max_queue: Some(settings.max_queue),
            queue_timeout: Some(settings.queue_timeout),
            rate_limit: Some(settings.rate_limit),
        }
    }
}

/// The Deployment as it is afterwards.
///
/// # Errors
/// [`Error::Declared`], [`Error::DeploymentNotFound`], [`Error::NoUpstream`], [`Error::ChangedMeanwhile`],
/// [`Error::Forbidden`], [`Error::TakenWay`].
pub async fn update(
    context: &Context<'_>,
    name: &DeploymentName,
    update: UpdateDeployment,
) -> Result<Committed<Placed>> {
    let (mut change, mut spec) = begin(context, name).await?;
    let before = DeploymentSpec::clone(&spec);
    Version::of_deployment(&spec).expect_seen(update.seen)?;
    if let Some(hosts) = update.hosts {
        spec.hosts = hosts;
    }
    if let Some(upstreams) = update.upstreams {
        if upstreams.is_empty() {
            return Err(Error::NoUpstream(name.clone()));
        }
        spec.upstreams = upstreams;
    }
    spec.listen = update.listen.unwrap_or(spec.listen);
    spec.protected = update.protected.unwrap_or(spec.protected);
    spec.settings = update.settings.apply(spec.settings.clone());
    context.grantor.shape(Some(&before), &spec)?;
    own_ways(context, &mut change, Some(&before), &spec).await?;
    write(context, change, spec, Action::DeploymentUpdated).await
}

/// Stops forwarding to the Deployment; requests under way may end. Terminating it twice is no error.
///
/// # Errors
/// [`Error::Declared`], [`Error::DeploymentNotFound`].
pub async fn terminate(context: &Context<'_>, name: &DeploymentName) -> Result<Committed<Placed>> {
    set_terminated(context, name, true, Action::DeploymentTerminated).await
}

/// Forwards to a terminated Deployment again.
///
/// # Errors
/// [`Error::Declared`], [`Error::DeploymentNotFound`].
pub async fn start(context: &Context<'_>, name: &DeploymentName) -> Result<Committed<Placed>> {
    set_terminated(context, name, false, Action::DeploymentStarted).await
}

async fn set_terminated(
    context: &Context<'_>,
    name: &DeploymentName,
    terminated: bool,
    action: Action,
) -> Result<Committed<Placed>> {
    let (mut change, mut spec) = begin(context, name).await?;
    if spec.terminated == terminated {
        let placed = Placed::read(context, &mut change, spec.into_inner()).await?;
        return Ok(change.unchanged(placed));
    }
    spec.terminated = terminated;
    write(context, change, spec, action).await
}

/// A change, and the stored Deployment in it.
async fn begin(context: &Context<'_>, name: &DeploymentName) -> Result<(Change, Current<DeploymentSpec>)> {
    if context.declared.declares(name) {
        return Err(Error::Declared(name.clone()));
    }
    let mut change = context.urgent_change().await?;
    let spec = change.deployment(name).await?.ok_or_else(|| Error::DeploymentNotFound(name.clone()))?;
    Ok((change, spec))
}

async fn write(
    context: &Context<'_>,
    mut change: Change,
    spec: Current<DeploymentSpec>,
    action: Action,
) -> Result<Committed<Placed>> {
    let detail = json!({ "upstreams": spec.upstreams, "hosts": spec.hosts, "protected": spec.protected });
    let event = context.event(action, &spec.name, detail)?;
    change.update_deployment(&spec).await?;
    let placed = Placed::read(context, &mut change, spec.into_inner()).await?;
    Ok(change.commit(&event).await?.with(placed))
}
