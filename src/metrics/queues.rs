//! The queues of Deployments that take only so many requests at once.

use std::fmt;

use super::exposition::{Exposition, Labels, Metric};
use crate::{
    index::routes::{Deployment, RoutingTable},
    telemetry::histogram::{Counted, REQUEST},
};

const DEPTH: Metric = Metric::new("bento_gateway_queue_depth", "Requests that wait for a slot.");
const WAIT: Metric = Metric::seconds(
    "bento_gateway_queue_wait",
    "How long requests waited for a slot that had to, also those that did not get one.",
);
const TAKEN: Metric = Metric::new("bento_gateway_slots_taken", "Requests that have a slot.");
const SLOTS: Metric = Metric::new("bento_gateway_slots", "Requests that may have a slot at once (max_in_flight).");

/// A Deployment without a limit has no slots, and no series.
pub fn write(out: &mut Exposition<'_>, routes: &RoutingTable) -> fmt::Result {
    let limited: Vec<(&Deployment, u32)> = routes
        .served()
        .into_iter()
        .filter_map(|deployment| {
            let concurrency = deployment.spec.settings.concurrency()?;
            Some((deployment, concurrency.max_in_flight.get()))
        })
        .collect();
    let of =
        |deployment: &Deployment| -> Labels<'static> { vec![("deployment", deployment.spec.name.to_string().into())] };
    let all = || limited.iter().map(|(deployment, limit)| (of(deployment), deployment, *limit));
    out.gauges(&DEPTH, all().map(|(labels, deployment, _)| (labels, deployment.slots.load().1)))?;
    let waits = all().map(|(labels, deployment, _)| {
        let mut counted = Counted::default();
        deployment.metrics.iter().for_each(|metrics| counted.add(&metrics.queued));
        (labels, counted)
    });
    out.histograms(&WAIT, REQUEST, waits)?;
    out.gauges(&TAKEN, all().map(|(labels, deployment, _)| (labels, deployment.slots.load().0)))?;
    out.gauges(&SLOTS, all().map(|(labels, _, limit)| (labels, limit)))
}
