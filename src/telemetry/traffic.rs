//! How much went through, for the console's overview: counted by the thread that writes the access log, so that it costs
//! no request anything, and written to the store every few seconds.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use super::line::{Answered, Line};
use crate::domain::{
    timestamp::Timestamp,
    usage::{TokenUse, Traffic},
};

/// Classes of the time until the first byte: class N is at most 2^N milliseconds, the last one more than the one before.
pub const LATENCY_CLASSES: usize = 18;
/// Tokens that are told of in one flush: the busiest.
const MAX_TOKENS: usize = 100;

pub const REQUESTS: &str = "requests";
pub const FAILED: &str = "failed";
pub const TOKEN: &str = "token";
pub const LATENCY: &str = "latency.";
pub const REFUSED: &str = "refused.";

/// Counts since they were last taken.
#[derive(Default)]
pub struct TrafficCounts(Mutex<BTreeMap<i64, Minute>>);

/// By the name of the Deployment. Empty: refused before one was found.
type Minute = HashMap<Box<str>, Counts>;

#[derive(Default)]
struct Counts {
    /// Answered by an upstream.
    requests: u64,
    /// Among those, with a status of 500 or more.
    failed: u64,
    latency: [u64; LATENCY_CLASSES],
    /// By the stable code of our own answer.
    refused: HashMap<&'static str, u64>,
}

impl TrafficCounts {
    pub fn count(&self, line: &Line, deployment: &str) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let minute = all.entry(minute(line.at)).or_default();
        let counts = match minute.get_mut(deployment) {
            Some(counts) => counts,
            None => minute.entry(deployment.into()).or_default(),
        };
        match (line.status, Answered::of(line.reason)) {
            (Some(status), Answered::ByService) => {
                counts.requests += 1;
                counts.failed += u64::from(status >= 500);
                counts.latency[class(line.first_byte.unwrap_or(line.total))] += 1;
            }
            // The caller has left, or the response was no rejection.
            (None, _) | (_, Answered::ByOwnPage) => {}
            // Nobody here knows how long the service takes, or whether it fails.
            (Some(_), Answered::Elsewhere) => counts.requests += 1,
            (Some(_), Answered::Rejected(reason)) => *counts.refused.entry(reason).or_default() += 1,
        }
    }

    /// Everything since the last time, as the store keeps it.
    pub fn take(&self) -> Vec<Traffic> {
        let counts = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        let mut traffic = Vec::new();
        let by_minute = |(minute, counts): (i64, Minute)| counts.into_iter().map(move |counts| (minute, counts));
        for (minute, (deployment, counts)) in counts.into_iter().flat_map(by_minute) {
            let mut add = |metric: String, total: u64| {
                if total > 0 {
                    traffic.push(Traffic { minute, metric, subject: deployment.to_string(), total });
                }
            };
            add(REQUESTS.to_owned(), counts.requests);
            add(FAILED.to_owned(), counts.failed);
            for (class, total) in counts.latency.into_iter().enumerate() {
                add(format!("{LATENCY}{class:02}"), total);
            }
            for (reason, total) in counts.refused {
                add(format!("{REFUSED}{reason}"), total);
            }
        }
        traffic
    }
}

/// The busiest tokens of a flush.
pub fn of_tokens(uses: &[TokenUse]) -> Vec<Traffic> {
    let mut busiest: Vec<&TokenUse> = uses.iter().filter(|used| used.requests > 0).collect();
    busiest.sort_by_key(|used| std::cmp::Reverse(used.requests));
    let traffic = |used: &&TokenUse| Traffic {
        minute: minute(used.at),
        metric: TOKEN.to_owned(),
        subject: used.uid.to_string(),
        total: used.requests,
    };
    busiest.iter().take(MAX_TOKENS).map(traffic).collect()
}

/// Sums up what stands for the same, in the order of the store's key.
pub fn merged(mut traffic: Vec<Traffic>) -> Vec<Traffic> {
    traffic.sort_by(|one, other| {
        (one.minute, &one.metric, &one.subject).cmp(&(other.minute, &other.metric, &other.subject))
    });
    traffic.dedup_by(|later, first| {
        let same = later.minute == first.minute && later.metric == first.metric && later.subject == first.subject;
        if same {
            first.total += later.total;
        }
        same
    });
    traffic
}

/// Minutes since 1970-01-01.
pub fn minute(at: Timestamp) -> i64 {
    at.as_millis().div_euclid(60_000)
}

fn class(latency: Duration) -> usize {
    let millis = u64::try_from(latency.as_micros().div_ceil(1000)).unwrap_or(u64::MAX).max(1);
    let class = u64::BITS - (millis - 1).leading_zeros();
    usize::try_from(class).unwrap_or(LATENCY_CLASSES).min(LATENCY_CLASSES - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latency_has_classes() {
        let millis = |millis: u64| class(Duration::from_millis(millis));
        assert_eq!([millis(0), millis(1), millis(2), millis(3), millis(4), millis(5)], [0, 0, 1, 2, 2, 3]);
        assert_eq!(class(Duration::from_micros(1001)), 1);
        assert_eq!(millis(3_600_000), LATENCY_CLASSES - 1);
    }

    #[test]
    fn what_is_counted_is_taken_once() {
        let counts = TrafficCounts::default();
        let at = Timestamp::from_millis(120_000);
        let line = |status, reason| Line { at, status: Some(status), reason, ..Line::default() };
        counts.count(&line(200, ""), "a");
        counts.count(&line(502, ""), "a");
        counts.count(&line(401, "token_expired"), "");
        let mut taken: Vec<(String, String, u64)> =
            counts.take().into_iter().map(|traffic| (traffic.metric, traffic.subject, traffic.total)).collect();
        taken.sort();
        let row = |metric: &str, subject: &str, total| (metric.to_owned(), subject.to_owned(), total);
        let expected = [
            row("failed", "a", 1),
            row("latency.00", "a", 2),
            row("refused.token_expired", "", 1),
            row("requests", "a", 2),
        ];
        assert_eq!(taken, expected);
        assert!(counts.take().is_empty());
    }
}
