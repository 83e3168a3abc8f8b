//! A Deployment with what is remembered of it from one change to the next.

use std::sync::Arc;

use super::{
    balance::Upstreams,
    budgets::Budgets,
    enforcement::Enforcement,
    hold::Hold,
    rate::RateLimit,
    slots::Slots,
    upstream::{Remembered, Upstream},
};
use crate::{
    domain::{
        deployment::DeploymentSpec, upstream_access::UpstreamAccess, upstream_url::UpstreamUrl,
        weighted_url::WeightedUrl,
    },
    http::upstream_tls,
    telemetry::request_metrics::DeploymentMetrics,
};

/// A Deployment that is served.
#[derive(Debug)]
pub struct Deployment {
    pub spec: DeploymentSpec,
    pub upstreams: Upstreams,
    /// Those of the Deployment of this name before it was changed go on.
    pub metrics: Arc<DeploymentMetrics>,
    /// What its requests share, if it takes only so many at once.
    pub slots: Arc<Slots>,
    /// Who waits while the service is not there, if that may be.
    pub hold: Arc<Hold>,
    /// How often each token may ask. `None`: as often as it likes.
    pub rate_limit: Option<Arc<RateLimit>>,
    pub enforcement: Enforcement,
    /// What may be used of it. `None`: any amount.
    pub budgets: Option<Arc<Budgets>>,
    pub access: UpstreamAccess,
}

impl Deployment {
    /// `earlier`: the one of this name before. What runs goes on to have its slots.
    pub(super) fn new(spec: DeploymentSpec, access: UpstreamAccess, earlier: Option<&Self>) -> Self {
        let metrics = earlier.map(|earlier| Arc::clone(&earlier.metrics)).unwrap_or_default();
        let probed = spec.settings.probe_interval.is_some();
        let remembered = |url: &UpstreamUrl| {
            let same = earlier.and_then(|earlier| earlier.upstreams.iter().find(|upstream| upstream.url == *url));
            let remembered = same.map(|upstream| upstream.remembered()).unwrap_or_default();
            // Who is not asked any more counts as ready.
            if probed { remembered } else { Remembered { health: Arc::default(), ..remembered } }
        };
        let upstream = |upstream: &WeightedUrl| {
            let url = &upstream.url;
            Arc::new(Upstream::new(upstream, upstream_tls::peer(&access, url), remembered(url)))
        };
        let upstreams = Upstreams::new(spec.upstreams.iter().map(upstream).collect(), spec.settings.slow_start);
        let slots = earlier.map(|earlier| Arc::clone(&earlier.slots)).unwrap_or_default();
        let hold = earlier.map(|earlier| Arc::clone(&earlier.hold)).unwrap_or_default();
        let rate_limit = spec.settings.rate_limit.map(|rate| {
            let same = earlier.and_then(|earlier| earlier.rate_limit.as_ref()).filter(|limit| limit.rate == rate);
            same.map_or_else(|| Arc::new(RateLimit::new(rate)), Arc::clone)
        });
        let enforcement = Enforcement::new(spec.settings.enforce_from, earlier.map(|earlier| &earlier.enforcement));
        let budgets = Budgets::of(&spec.settings, earlier.and_then(|earlier| earlier.budgets.as_ref()));
        Self { upstreams, spec, metrics, slots, hold, rate_limit, enforcement, budgets, access }
    }
}
