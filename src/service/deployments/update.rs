//! Changing a Deployment of the store, stopping it and starting it again.

use std::{collections::BTreeSet, net::SocketAddr, num::NonZeroU32, time::Duration};

use super::{Placed, commit, expect_counted, own_ways, recorded};
use crate::{
    domain::{
        audit::Action,
        budget::Budget,
        cors_origin::CorsOrigin,
        deployment::{DeploymentName, DeploymentSettings, DeploymentSpec},
        host::HostName,
        preset::Preset,
        probing::ProbePath,
        rate::Rate,
        timestamp::Timestamp,
        wake_url::WakeUrl,
        weighted_url::{self, WeightedUrl},
    },
    service::{Context, Error, Result, Version},
    store::{Change, Committed, Current},
};

/// `None` leaves it as it is.
#[derive(Clone, Debug, Default)]
pub struct UpdateDeployment {
    pub hosts: Option<BTreeSet<HostName>>,
    pub upstreams: Option<Vec<WeightedUrl>>,
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
    pub preset: Option<Preset>,
    pub public_probes: Option<bool>,
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
    /// `Some(None)`: any amount.
    pub budget: Option<Option<Budget>>,
    /// `Some(None)`: any amount.
    pub token_budget: Option<Option<Budget>>,
    pub count_llm_tokens: Option<bool>,
    /// `Some(None)`: it is enforced.
    pub enforce_from: Option<Option<Timestamp>>,
    /// `Some(None)`: upstreams are not asked any more.
    pub probe_interval: Option<Option<Duration>>,
    pub probe_path: Option<ProbePath>,
    pub probe_timeout: Option<Duration>,
    pub probe_rise: Option<NonZeroU32>,
    pub probe_fall: Option<NonZeroU32>,
    pub slow_start: Option<Duration>,
    pub hold: Option<u32>,
    pub hold_timeout: Option<Duration>,
    /// `Some(None)`: nothing is called any more.
    pub wake_url: Option<Option<WakeUrl>>,
}

impl UpdateSettings {
    pub fn apply(self, settings: DeploymentSettings) -> DeploymentSettings {
        DeploymentSettings {
            forward_authorization: self.forward_authorization.unwrap_or(settings.forward_authorization),
            allow_pickle: self.allow_pickle.unwrap_or(settings.allow_pickle),
            preset: self.preset.unwrap_or(settings.preset),
            public_probes: self.public_probes.unwrap_or(settings.public_probes),
            connect_timeout: self.connect_timeout.unwrap_or(settings.connect_timeout),
            first_byte_timeout: self.first_byte_timeout.unwrap_or(settings.first_byte_timeout),
            idle_timeout: self.idle_timeout.unwrap_or(settings.idle_timeout),
            max_body_bytes: self.max_body_bytes.unwrap_or(settings.max_body_bytes),
            cors_origins: self.cors_origins.unwrap_or(settings.cors_origins),
            max_in_flight: self.max_in_flight.unwrap_or(settings.max_in_flight),
            max_queue: self.max_queue.unwrap_or(settings.max_queue),
            queue_timeout: self.queue_timeout.unwrap_or(settings.queue_timeout),
            rate_limit: self.rate_limit.unwrap_or(settings.rate_limit),
            budget: self.budget.unwrap_or(settings.budget),
            token_budget: self.token_budget.unwrap_or(settings.token_budget),
            count_llm_tokens: self.count_llm_tokens.unwrap_or(settings.count_llm_tokens),
            enforce_from: self.enforce_from.unwrap_or(settings.enforce_from),
            probe_interval: self.probe_interval.unwrap_or(settings.probe_interval),
            probe_path: self.probe_path.unwrap_or(settings.probe_path),
            probe_timeout: self.probe_timeout.unwrap_or(settings.probe_timeout),
            probe_rise: self.probe_rise.unwrap_or(settings.probe_rise),
            probe_fall: self.probe_fall.unwrap_or(settings.probe_fall),
            slow_start: self.slow_start.unwrap_or(settings.slow_start),
            hold: self.hold.unwrap_or(settings.hold),
            hold_timeout: self.hold_timeout.unwrap_or(settings.hold_timeout),
            wake_url: self.wake_url.unwrap_or(settings.wake_url),
        }
    }
}

impl From<DeploymentSettings> for UpdateSettings {
    /// All of them are given.
    fn from(settings: DeploymentSettings) -> Self {
        Self {
            forward_authorization: Some(settings.forward_authorization),
            allow_pickle: Some(settings.allow_pickle),
            preset: Some(settings.preset),
            public_probes: Some(settings.public_probes),
            connect_timeout: Some(settings.connect_timeout),
            first_byte_timeout: Some(settings.first_byte_timeout),
            idle_timeout: Some(settings.idle_timeout),
            max_body_bytes: Some(settings.max_body_bytes),
            cors_origins: Some(settings.cors_origins),
            max_in_flight: Some(settings.max_in_flight),
            max_queue: Some(settings.max_queue),
            queue_timeout: Some(settings.queue_timeout),
            rate_limit: Some(settings.rate_limit),
            budget: Some(settings.budget),
            token_budget: Some(settings.token_budget),
            count_llm_tokens: Some(settings.count_llm_tokens),
            enforce_from: Some(settings.enforce_from),
            probe_interval: Some(settings.probe_interval),
            probe_path: Some(settings.probe_path),
            probe_timeout: Some(settings.probe_timeout),
            probe_rise: Some(settings.probe_rise),
            probe_fall: Some(settings.probe_fall),
            slow_start: Some(settings.slow_start),
            hold: Some(settings.hold),
            hold_timeout: Some(settings.hold_timeout),
            wake_url: Some(settings.wake_url),
        }
    }
}

/// The Deployment as it is afterwards.
///
/// # Errors
/// [`Error::Declared`], [`Error::DeploymentNotFound`], [`Error::NoUpstream`], [`Error::ChangedMeanwhile`],
/// [`Error::UncountedBudget`], [`Error::Forbidden`], [`Error::TakenWay`].
pub async fn update(
    context: &Context<'_>,
    name: &DeploymentName,
    update: UpdateDeployment,
) -> Result<Committed<Placed>> {
    let Begun { change, stored, mut spec } = begin(context, name).await?;
    let before = DeploymentSpec::clone(&spec);
    Version::of_deployment(&spec).expect_seen(update.seen)?;
    if let Some(hosts) = update.hosts {
        spec.hosts = hosts;
    }
    if let Some(upstreams) = update.upstreams {
        if !weighted_url::take_requests(&upstreams) {
            return Err(Error::NoUpstream(name.clone()));
        }
        spec.upstreams = upstreams;
    }
    spec.listen = update.listen.unwrap_or(spec.listen);
    spec.protected = update.protected.unwrap_or(spec.protected);
    spec.settings = update.settings.apply(spec.settings.clone());
    expect_counted(&spec)?;
    context.grantor.shape(Some(&before), &spec)?;
    own_ways(context, &stored, Some(&before), &spec)?;
    write(context, Begun { change, stored, spec }, Action::DeploymentUpdated).await
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
    let mut begun = begin(context, name).await?;
    if begun.spec.terminated == terminated {
        let default_deployment = context.declared.default_deployment(&begun.stored).cloned();
        return Ok(begun.change.unchanged(Placed { spec: begun.spec.into_inner(), default_deployment }));
    }
    begun.spec.terminated = terminated;
    write(context, begun, action).await
}

/// A change, and what it finds.
struct Begun {
    change: Change,
    /// All Deployments of the store.
    stored: Vec<DeploymentSpec>,
    /// The one to change.
    spec: Current<DeploymentSpec>,
}

async fn begin(context: &Context<'_>, name: &DeploymentName) -> Result<Begun> {
    if context.declared.declares(name) {
        return Err(Error::Declared(name.clone()));
    }
    let mut change = context.urgent_change().await?;
    let spec = change.deployment(name).await?.ok_or_else(|| Error::DeploymentNotFound(name.clone()))?;
    Ok(Begun { stored: change.deployments().await?, change, spec })
}

async fn write(context: &Context<'_>, begun: Begun, action: Action) -> Result<Committed<Placed>> {
    let Begun { mut change, stored, spec } = begun;
    let event = context.event(action, &spec.name, recorded(&spec))?;
    change.update_deployment(&spec).await?;
    let committed = commit(context, change, &stored, &event).await?;
    Ok(committed.map(|default_deployment| Placed { spec: spec.into_inner(), default_deployment }))
}
