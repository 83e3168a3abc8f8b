//! The queues of Deployments that take only so many requests at once, and of those whose service is not there.

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
const HELD: Metric =
    Metric::new("bento_gateway_held_requests", "Requests that wait until the service takes connections (hold).");
const WAKE_CALLS: Metric =
    Metric::new("bento_gateway_wake_calls", "Calls of the wake hook (wake_url): answered with 200 to 299, or failed.");

pub fn write(out: &mut Exposition<'_>, routes: &RoutingTable) -> fmt::Result {
    slots(out, routes)?;
    holds(out, routes)
}

fn of(deployment: &Deployment) -> Labels<'static> {
    vec![("deployment", deployment.spec.name.to_string().into())]
}

/// A Deployment whose requests never wait for it has no series.
fn holds(out: &mut Exposition<'_>, routes: &RoutingTable) -> fmt::Result {
    let holding = || routes.served().into_iter().filter(|deployment| deployment.spec.settings.hold > 0);
    out.gauges(&HELD, holding().map(|deployment| (of(deployment), deployment.hold.waiting())))?;
    let waking = holding().filter(|deployment| deployment.spec.settings.wake_url.is_some());
    let calls = waking.flat_map(|deployment| {
        deployment.hold.hook.calls().map(|(outcome, count)| {
            let mut labels = of(deployment);
            labels.push(("outcome", outcome.into()));
            (labels, count)
        })
    });
    out.counters(&WAKE_CALLS, calls)
}

/// A Deployment without a limit has no slots, and no series.
fn slots(out: &mut Exposition<'_>, routes: &RoutingTable) -> fmt::Result {
    let limited: Vec<(&Deployment, u32)> = routes
        .served()
        .into_iter()
        .filter_map(|deployment| {
            let concurrency = deployment.spec.settings.concurrency()?;
            Some((deployment, concurrency.max_in_flight.get()))
        })
        .collect();
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
