//! What tokens use of Deployments, by hour: added up from the lines of the access log, until it is written to the store.

use std::{
    collections::HashMap,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use super::{let_through::LetThroughSums, line::Line};
use crate::domain::{
    let_through::LetThrough,
    token::TokenUid,
    usage::{Hour, HourlyUse, Used},
};

/// Sums that may wait for the store: about 10 MB.
const MAX_SUMS: usize = 50_000;

/// Of one Deployment.
type SumsOfTokens = HashMap<(Hour, Option<TokenUid>), Used>;

/// Sums of one writer.
#[derive(Debug, Default)]
pub struct UsageSums {
    /// By the name of the Deployment.
    sums: HashMap<Box<str>, SumsOfTokens>,
    /// Over all Deployments.
    len: usize,
    /// Requests that found no room.
    lost: u64,
    let_through: LetThroughSums,
}

/// Sums since they were last taken.
#[derive(Debug, Default)]
pub struct UsageCounts {
    sums: Mutex<UsageSums>,
    /// Requests that are in no sum.
    lost: AtomicU64,
}

impl UsageSums {
    /// Counts for the hour in which the request has ended, so that hours which are over stay as they are.
    /// `text` holds the line's texts.
    pub fn count(&mut self, line: &Line, text: &str) {
        let deployment = line.deployment.of(text);
        self.let_through.count(line, text);
        if let Some(used) = used(line, deployment) {
            self.add(deployment, Hour::from(line.at.saturating_add(line.total)), line.token, used);
        }
    }

    fn add(&mut self, deployment: &str, hour: Hour, token: Option<TokenUid>, used: Used) {
        let of_deployment = self.sums.get_mut(deployment);
        if let Some(sum) = of_deployment.and_then(|sums| sums.get_mut(&(hour, token))) {
            *sum += used;
        } else if self.len < MAX_SUMS {
            self.len += 1;
            self.sums.entry(deployment.into()).or_default().insert((hour, token), used);
        } else {
            self.lost += used.requests + used.refused;
        }
    }

    fn take_from(&mut self, other: &mut Self) {
        for (deployment, sums) in other.sums.drain() {
            for ((hour, token), used) in sums {
                self.add(&deployment, hour, token, used);
            }
        }
        other.len = 0;
        self.let_through.take_from(&mut other.let_through);
        self.lost += std::mem::take(&mut other.lost);
    }
}

impl UsageCounts {
    /// Takes all that `sums` has.
    pub fn add(&self, sums: &mut UsageSums) {
        if sums.len == 0 && sums.lost == 0 && sums.let_through.is_empty() {
            return;
        }
        let mut all = self.sums.lock().unwrap_or_else(PoisonError::into_inner);
        all.take_from(sums);
        let lost = std::mem::take(&mut all.lost);
        drop(all);
        if lost > 0 {
            tracing::warn!(requests = lost, "the usage of requests was not counted: too much waits for the store");
            self.lost.fetch_add(lost, Relaxed);
        }
    }

    /// At most so many sums, in no order.
    pub fn take(&self, most: usize) -> Vec<HourlyUse> {
        let mut all = self.sums.lock().unwrap_or_else(PoisonError::into_inner);
        let UsageSums { sums, len, .. } = &mut *all;
        let taken = sums.iter_mut().flat_map(|(deployment, sums)| {
            let of_deployment =
                move |((hour, token), used)| HourlyUse { hour, token, deployment: deployment.to_string(), used };
            sums.extract_if(|_, _| true).map(of_deployment)
        });
        let taken: Vec<_> = taken.take(most).collect();
        *len -= taken.len();
        sums.retain(|_, sums| !sums.is_empty());
        taken
    }

    /// All callers that have passed what will refuse them.
    pub fn take_let_through(&self) -> Vec<LetThrough> {
        self.sums.lock().unwrap_or_else(PoisonError::into_inner).let_through.take()
    }

    /// These requests are in no sum, and never will be.
    pub fn lose(&self, uses: &[HourlyUse]) {
        let requests = uses.iter().map(|of| of.used.requests + of.used.refused).sum();
        self.lost.fetch_add(requests, Relaxed);
    }

    /// Requests whose usage was not counted, since the start.
    pub fn lost(&self) -> u64 {
        self.lost.load(Relaxed)
    }
}

/// `None`: nobody's usage. No token is known, and no Deployment was open.
fn used(line: &Line, deployment: &str) -> Option<Used> {
    let refused = line.is_refusal();
    if line.probe || (deployment.is_empty() && (line.token.is_none() || !refused)) {
        return None;
    }
    Some(Used {
        requests: u64::from(!refused),
        refused: u64::from(refused),
        bytes_in: line.bytes_in,
        bytes_out: line.bytes_out,
        upstream: line.upstream.unwrap_or_default(),
        events: line.metered.events.into(),
        prompt_tokens: line.metered.prompt_tokens.into(),
        completion_tokens: line.metered.completion_tokens.into(),
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use uuid::Uuid;

    use super::*;
    use crate::{
        domain::timestamp::Timestamp,
        telemetry::line::{FORWARD_AUTH, OWN_PAGE, Span},
    };

    const HOUR: i64 = 3_600_000;

    fn token(number: u128) -> Option<TokenUid> {
        Some(TokenUid(Uuid::from_u128(number)))
    }

    fn forwarded(token: Option<TokenUid>) -> Line {
        let upstream = Some(Duration::from_millis(5));
        Line { token, status: Some(200), upstream, bytes_in: 1, bytes_out: 2, ..Line::default() }
    }

    /// Its text is the Deployment's name.
    fn at(line: &Line, deployment: &str) -> Line {
        Line { deployment: Span::new(0, deployment.len()), method: line.method.clone(), ..*line }
    }

    fn counted(lines: &[(Line, &str)]) -> Vec<HourlyUse> {
        let (counts, mut sums) = (UsageCounts::default(), UsageSums::default());
        lines.iter().for_each(|(line, deployment)| sums.count(&at(line, deployment), deployment));
        counts.add(&mut sums);
        let mut taken = counts.take(usize::MAX);
        assert!(counts.take(usize::MAX).is_empty(), "what is taken is gone");
        taken.sort_by(|one, other| {
            (&one.deployment, one.token, one.hour).cmp(&(&other.deployment, other.token, other.hour))
        });
        taken
    }

    #[test]
    fn what_is_whose() {
        let refused = |reason| Line { token: token(1), status: Some(403), reason, ..Line::default() };
        let all = counted(&[
            (forwarded(token(1)), "a"),
            (forwarded(token(1)), "a"),
            (forwarded(token(2)), "a"),
            (forwarded(None), "public"),
            (refused("rate_limited"), "a"),
            (refused("insufficient_scope"), ""),
            // Answered by the gateway, after the upstream was asked.
            (Line { status: Some(504), reason: "upstream_timeout", ..forwarded(token(2)) }, "a"),
            // Another proxy forwards it.
            (Line { token: token(2), status: Some(200), reason: FORWARD_AUTH, ..Line::default() }, "a"),
            // A stranger, a page of ours, and somebody who has left while waiting.
            (Line { status: Some(401), reason: "token_invalid", ..Line::default() }, ""),
            (Line { token: token(1), status: Some(200), reason: OWN_PAGE, ..Line::default() }, ""),
            (Line { token: token(2), ..Line::default() }, "a"),
        ]);
        let shown: Vec<_> =
            all.iter().map(|of| (&*of.deployment, of.token, of.used.requests, of.used.refused)).collect();
        let expected = [("", token(1), 0, 1), ("a", token(1), 2, 1), ("a", token(2), 4, 0), ("public", None, 1, 0)];
        assert_eq!(shown, expected);
        let of_first = all[1].used;
        assert_eq!((of_first.bytes_in, of_first.bytes_out, of_first.upstream), (2, 4, Duration::from_millis(10)));
    }

    #[test]
    fn a_request_counts_for_the_hour_of_its_end() {
        let line =
            Line { at: Timestamp::from_millis(HOUR - 1), total: Duration::from_secs(7200), ..forwarded(token(1)) };
        assert_eq!(counted(&[(line, "a")])[0].hour, Hour(2));
    }

    #[test]
    fn memory_is_bounded_and_what_is_lost_is_counted() {
        let (counts, mut sums) = (UsageCounts::default(), UsageSums::default());
        let lines = |from: u128, to: u128| (from..to).map(|number| forwarded(token(number)));
        let most = MAX_SUMS as u128;
        lines(0, most + 3).for_each(|line| sums.count(&at(&line, "a"), "a"));
        counts.add(&mut sums);
        assert_eq!(counts.lost(), 3);
        // Who has a sum is still counted; who has none waits until the store takes some.
        lines(most - 1, most + 1).for_each(|line| sums.count(&at(&line, "a"), "a"));
        counts.add(&mut sums);
        assert_eq!(counts.lost(), 4);
        assert_eq!(counts.take(MAX_SUMS - 1).len(), MAX_SUMS - 1);
        lines(most, most + 1).for_each(|line| sums.count(&at(&line, "b"), "b"));
        counts.add(&mut sums);
        assert_eq!((counts.lost(), counts.take(usize::MAX).len()), (4, 2));
    }
}
