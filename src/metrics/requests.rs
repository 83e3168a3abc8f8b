//! Requests of callers, by OpenTelemetry's conventions where they have a name for it.

use std::{borrow::Cow, collections::BTreeMap, fmt, sync::Arc};

use super::exposition::{Exposition, Labels, Metric};
use crate::{
    index::routes::RoutingTable,
    telemetry::{
        counter::Counter,
        histogram::{Counted, REQUEST, WORK},
        line::{Answered, RequestOutcome},
        request_metrics::{End, RequestMetrics},
        worker::WorkerTelemetry,
    },
};

const DURATION: Metric =
    Metric::seconds("http_server_request_duration", "From the complete head of a request to the end of its response.");
const ACTIVE: Metric = Metric::new("http_server_active_requests", "Requests under way.");
const FIRST_BYTE: Metric = Metric::seconds(
    "bento_gateway_time_to_first_byte",
    "From the complete head of a request to the head of the response of the service, on its way to the caller.",
);
const OVERHEAD: Metric = Metric::seconds(
    "bento_gateway_overhead",
    "The part of the time to the first byte in which the gateway did not wait for the service.",
);
const REJECTIONS: Metric = Metric::new(
    "bento_gateway_rejections",
    "Requests that the gateway answered in place of the service, by reason code.",
);
const LET_THROUGH: Metric = Metric::new(
    "bento_gateway_let_through",
    "Requests that passed and would be refused if the Deployment were enforced already (enforce_from), by reason code.",
);
const BYTES_IN: Metric =
    Metric::bytes("bento_gateway_request_body", "Bytes of the bodies of requests that have ended.");
const BYTES_OUT: Metric =
    Metric::bytes("bento_gateway_response_body", "Bytes of the bodies of responses that have ended.");

/// By the labels that stand for requests that have ended alike.
type Ends<'a> = BTreeMap<(&'a str, &'static str, Option<u16>, Cow<'static, str>), Counted>;

/// What all workers have counted of a Deployment; the name is empty for what was permitted to none.
struct Served<'a> {
    name: &'a str,
    by_worker: Vec<&'a RequestMetrics>,
}

pub fn write(out: &mut Exposition<'_>, routes: &RoutingTable, workers: &[Arc<WorkerTelemetry>]) -> fmt::Result {
    let refused = Served { name: "", by_worker: workers.iter().map(|worker| &worker.refused).collect() };
    let deployments: Vec<Served<'_>> = routes
        .served()
        .into_iter()
        .map(|deployment| Served {
            name: deployment.spec.name.as_str(),
            by_worker: deployment.metrics.iter().collect(),
        })
        .collect();
    let all = || deployments.iter().chain([&refused]);

    let (mut ends, mut rejections) = (Ends::new(), BTreeMap::<_, u64>::new());
    for served in all() {
        for (method, end, histogram) in served.by_worker.iter().flat_map(|metrics| metrics.ends()) {
            ends.entry((served.name, method, end.status, error_type(end))).or_default().add(histogram);
            if let Answered::Rejected(reason) = Answered::of(end.reason) {
                let mut counted = Counted::default();
                counted.add(histogram);
                *rejections.entry((served.name, reason)).or_default() += counted.count();
            }
        }
    }
    let series = ends.into_iter().map(|((name, method, status, error), counted)| {
        let status = status.map_or_else(String::new, |status| status.to_string());
        let labels = [
            ("http_request_method", method.into()),
            ("http_response_status_code", status.into()),
            ("error_type", error),
            ("deployment", name.into()),
        ];
        (labels.to_vec(), counted)
    });
    out.histograms(&DURATION, REQUEST, series)?;
    let active = workers.iter().fold(0, |sum: u64, worker| sum.wrapping_add(worker.active.get()));
    out.gauge(&ACTIVE, active)?;
    out.counters(&REJECTIONS, by_reason(rejections))?;

    let mut let_through = BTreeMap::<_, u64>::new();
    for served in all() {
        for (reason, count) in served.by_worker.iter().flat_map(|metrics| metrics.let_through()) {
            *let_through.entry((served.name, reason)).or_default() += count.get();
        }
    }
    out.counters(&LET_THROUGH, by_reason(let_through))?;

    let first_byte = deployments.iter().map(|served| {
        let mut counted = Counted::default();
        served.by_worker.iter().for_each(|metrics| counted.add(&metrics.first_byte));
        (of(served.name), counted)
    });
    out.histograms(&FIRST_BYTE, REQUEST, first_byte)?;
    let mut overhead = Counted::default();
    workers.iter().for_each(|worker| overhead.add(&worker.overhead));
    out.histograms(&OVERHEAD, WORK, [(Labels::new(), overhead)])?;
    let bytes = |counter: fn(&RequestMetrics) -> &Counter| {
        let sum = move |served: &Served<'_>| served.by_worker.iter().map(|metrics| counter(metrics).get()).sum::<u64>();
        all().map(move |served| (of(served.name), sum(served)))
    };
    out.counters(&BYTES_IN, bytes(|metrics| &metrics.bytes_in))?;
    out.counters(&BYTES_OUT, bytes(|metrics| &metrics.bytes_out))
}

/// By Deployment and reason code.
fn by_reason<'a>(counts: BTreeMap<(&'a str, &'static str), u64>) -> impl Iterator<Item = (Labels<'a>, u64)> {
    let labels = |name: &'a str, reason| vec![("reason", Cow::from(reason)), ("deployment", name.into())];
    counts.into_iter().map(move |((name, reason), count)| (labels(name, reason), count))
}

fn of(deployment: &str) -> Labels<'_> {
    vec![("deployment", deployment.into())]
}

/// As the conventions define it: what has failed on the server's side, which a 4xx is not. Empty: nothing.
fn error_type(end: End) -> Cow<'static, str> {
    let failed = end.status.is_none_or(|status| status >= 500);
    match end {
        End { outcome: RequestOutcome::Complete | RequestOutcome::Tunnel, .. } if !failed => "".into(),
        End { outcome: RequestOutcome::Complete | RequestOutcome::Tunnel, reason: "", status } => {
            status.map_or_else(String::new, |status| status.to_string()).into()
        }
        End { outcome: RequestOutcome::Complete | RequestOutcome::Tunnel, reason, .. } => reason.into(),
        End { outcome, .. } => outcome.as_str().into(),
    }
}
