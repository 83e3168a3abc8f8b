//! The upstreams of each Deployment.

use std::{borrow::Cow, collections::BTreeMap, fmt, sync::atomic::Ordering::Relaxed};

use super::exposition::{Exposition, Labels, Metric};
use crate::{
    index::routes::RoutingTable,
    telemetry::histogram::{Counted, REQUEST},
};

const DURATION: Metric = Metric::seconds(
    "http_client_request_duration",
    "From when the gateway turned to the upstreams to the complete head of the response of this one, connecting included.",
);
const ACTIVE: Metric = Metric::new(
    "http_client_active_requests",
    "Requests under way at an upstream, those that wait for a connection included.",
);
const REACHABLE: Metric = Metric::new(
    "bento_gateway_upstream_reachable",
    "1 if the upstream took the last connection that was tried, or none was tried yet; else 0.",
);
const READY: Metric = Metric::new(
    "bento_gateway_upstream_ready",
    "1 if standing probes hear that the upstream is ready; else 0. Of Deployments with a probe_interval.",
);
const WEIGHT: Metric = Metric::new(
    "bento_gateway_upstream_weight",
    "The share of the requests that an upstream gets, beside those of its sisters. 0: it is drained.",
);
const CONNECT_FAILURES: Metric = Metric::new(
    "bento_gateway_upstream_connect_failures",
    "Attempts to connect to an upstream that failed, or were given up for another one.",
);

#[derive(Default)]
struct Counts {
    answered: Counted,
    active: usize,
    reachable: bool,
    connect_failures: u64,
    weight: u64,
    /// `None`: it is not asked.
    ready: Option<bool>,
}

pub fn write(out: &mut Exposition<'_>, routes: &RoutingTable) -> fmt::Result {
    // A Deployment may name one URL twice.
    let mut all = BTreeMap::<(&str, String), Counts>::new();
    for deployment in routes.served() {
        let mut seen = Vec::new();
        for upstream in deployment.upstreams.iter() {
            let counts = all.entry((deployment.spec.name.as_str(), upstream.url.to_string())).or_default();
            counts.active += upstream.standing.in_flight.load(Relaxed);
            if deployment.spec.settings.probe_interval.is_some() {
                counts.ready = Some(upstream.health.is_ready());
            }
            counts.weight += u64::from(upstream.weight);
            counts.reachable |= upstream.standing.reachability.is_reachable();
            let metrics = std::sync::Arc::as_ptr(&upstream.metrics);
            if !seen.contains(&metrics) {
                seen.push(metrics);
                upstream.metrics.answered.iter().for_each(|histogram| counts.answered.add(histogram));
                counts.connect_failures += upstream.metrics.connect_failures();
            }
        }
    }
    let labels = |(name, url): &(&str, String)| -> Labels<'static> {
        vec![("deployment", Cow::from((*name).to_owned())), ("upstream", url.clone().into())]
    };
    let all = || all.iter().map(|(key, counts)| (labels(key), counts));
    out.histograms(&DURATION, REQUEST, all().map(|(labels, counts)| (labels, counts.answered)))?;
    out.gauges(&ACTIVE, all().map(|(labels, counts)| (labels, counts.active)))?;
    out.gauges(&REACHABLE, all().map(|(labels, counts)| (labels, u64::from(counts.reachable))))?;
    let probed = all().filter_map(|(labels, counts)| Some((labels, u64::from(counts.ready?))));
    out.gauges(&READY, probed)?;
    out.gauges(&WEIGHT, all().map(|(labels, counts)| (labels, counts.weight)))?;
    out.counters(&CONNECT_FAILURES, all().map(|(labels, counts)| (labels, counts.connect_failures)))
}
