//! What the gateway decides by: the store, the index, and how soon changes take effect.

use std::fmt;

use super::{
    Scraped,
    exposition::{Exposition, Labels, Metric},
};
use crate::{index::census::PERIODS, system, telemetry::histogram::WORK};

const STORE_UP: Metric = Metric::new("bento_gateway_store_up", "1 if the last look at the store succeeded; else 0.");
const INDEX_AGE: Metric = Metric::seconds(
    "bento_gateway_index_age",
    "How long ago the store was as the index is. No sample: the store was never reached.",
);
const MAX_STALENESS: Metric = Metric::seconds(
    "bento_gateway_index_max_age",
    "The age at which every request gets 503 (store.max_staleness). No sample: there is no such limit.",
);
const SECRETS: Metric = Metric::new(
    "bento_gateway_index_secrets",
    "Secrets in the index: two of a token in rotation, those of browser sessions, and of tokens that have ended.",
);
const DEPLOYMENTS: Metric = Metric::new("bento_gateway_deployments", "Deployments that are served.");
const TOKENS: Metric = Metric::new("bento_gateway_tokens", "Tokens that have not ended.");
const SESSIONS: Metric =
    Metric::new("bento_gateway_browser_sessions", "Sessions of browsers at Deployments that have not ended.");
const EXPIRING: Metric = Metric::new(
    "bento_gateway_tokens_expiring",
    "Tokens that expire within this time, those of a shorter one included.",
);
const VERIFICATIONS: Metric = Metric::new(
    "bento_gateway_first_verifications_waiting",
    "Token texts whose first verification waits or runs; the room has 1024 places.",
);
const APPLIED: Metric = Metric::seconds(
    "bento_gateway_change_applied",
    "From the commit of a change that was made at this gateway until it decides by it.",
);
const RECEIPT: Metric = Metric::seconds(
    "bento_gateway_change_receipt",
    "From the commit of a change that was made at this gateway until all gateways that run decide by it, or were waited for.",
);
const CONNECTIONS: Metric =
    Metric::new("bento_gateway_store_connections", "Connections to the store, by pool and what they do.");
const MAX_CONNECTIONS: Metric =
    Metric::new("bento_gateway_store_connections_max", "Connections to the store that a pool may have.");
const PENDING: Metric = Metric::new(
    "bento_gateway_store_connections_waiting",
    "Who waits for a connection to the store, making one included.",
);

pub fn write(out: &mut Exposition<'_>, scraped: &Scraped) -> fmt::Result {
    let gateway = &scraped.gateway;
    let index = &gateway.index;
    out.gauge(&STORE_UP, u64::from(index.freshness.is_current()))?;
    let none = Labels::new;
    out.gauges(&INDEX_AGE, index.freshness.age().map(|age| (none(), age.as_secs_f64())))?;
    out.gauges(&MAX_STALENESS, scraped.max_staleness.map(|limit| (none(), limit.as_secs_f64())))?;

    let census = scraped.census.get(&index.tokens, system::now());
    out.gauge(&SECRETS, census.secrets)?;
    out.gauge(&DEPLOYMENTS, index.routes.load().served().len())?;
    out.gauge(&TOKENS, census.tokens)?;
    out.gauge(&SESSIONS, census.sessions)?;
    let expiring = PERIODS.into_iter().zip(census.expiring);
    out.gauges(&EXPIRING, expiring.map(|((name, _), count)| (vec![("within", name.into())], count)))?;
    out.gauge(&VERIFICATIONS, gateway.verifier.waiting())?;

    let changes = &gateway.changes;
    out.histograms(&APPLIED, WORK, [(none(), changes.applied.counted())])?;
    let receipts = [("complete", &changes.settled), ("incomplete", &changes.unsettled), ("unknown", &changes.failed)];
    let receipts = receipts.map(|(outcome, times)| (vec![("outcome", outcome.into())], times.counted()));
    out.histograms(&RECEIPT, WORK, receipts)?;

    let pools = gateway.opened.get().map(|store| store.pools()).unwrap_or_default();
    let of = |pool: &'static str| vec![("pool", pool.into())];
    let states = pools.iter().flat_map(|pool| {
        let of_state = |(state, count): (&'static str, usize)| {
            let mut labels = of(pool.name);
            labels.push(("state", state.into()));
            (labels, count)
        };
        [("idle", pool.idle), ("used", pool.used)].map(of_state)
    });
    out.gauges(&CONNECTIONS, states)?;
    out.gauges(&MAX_CONNECTIONS, pools.iter().map(|pool| (of(pool.name), pool.max)))?;
    out.gauges(&PENDING, pools.iter().map(|pool| (of(pool.name), pool.waiting)))
}
