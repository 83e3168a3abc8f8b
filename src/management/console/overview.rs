//! The front page: traffic of the last hour or day. Members see that of their own tokens, as the API tells them.

use std::collections::{BTreeMap, HashSet};

use askama::Template;
use axum::{extract::Query, http::StatusCode};
use serde::Deserialize;

use super::{
    charts::{self, Bars, Line, Share},
    page::rendered,
    rejection::PageResult,
    shell::Shell,
    visitor::SignedIn,
    words::{exact, number},
};
use crate::{
    domain::{timestamp::Timestamp, token::TokenUid, usage::Traffic},
    management::error::ApiError,
    telemetry::traffic::{self, FAILED, LATENCY, LATENCY_CLASSES, REFUSED, REQUESTS, TOKEN},
};

/// Rows of a list.
const MOST: usize = 8;

#[derive(Template)]
#[template(path = "console/overview.html")]
struct OverviewPage {
    shell: Shell,
    day: bool,
    requests: String,
    bars: Bars,
    /// `None`: the visitor is no admin.
    whole: Option<Whole>,
    tokens: Vec<Share>,
    quiet: bool,
}

/// What concerns everybody's requests.
struct Whole {
    failed: String,
    refused: String,
    median: String,
    lines: Vec<Line>,
    /// The upper end of the latency chart.
    slowest: String,
    refusals: Vec<Share>,
    deployments: Vec<Share>,
}

#[derive(Deserialize, Default)]
pub struct Range {
    #[serde(default)]
    range: String,
}

pub async fn show(visitor: SignedIn, Query(range): Query<Range>) -> PageResult {
    let day = range.range == "day";
    let (minutes, step) = if day { (24 * 60, 30) } else { (60, 2) };
    let last = traffic::minute(visitor.now).div_euclid(step) * step;
    let first = last - minutes + step;
    let sums = visitor.store().traffic(first, step).await?;
    let slots: Vec<i64> = (0..minutes / step).map(|at| first + at * step).collect();

    let tokens = tokens(&visitor, &sums).await?;
    // Of members' requests only that is known by whom they were: what their tokens have sent.
    let own: HashSet<String> = tokens.iter().map(|(uid, ..)| uid.to_string()).collect();
    let admin = visitor.is_admin();
    let is_seen = |sum: &&Traffic| if admin { sum.metric == REQUESTS } else { own.contains(&sum.subject) };
    let seen: Vec<&Traffic> = sums.iter().filter(is_seen).collect();
    let requests_at = |slot: &i64| -> u64 { seen.iter().filter(|sum| sum.minute == *slot).map(|sum| sum.total).sum() };
    let label = |slot: i64| exact(Timestamp::from_millis(slot * 60_000));
    let requests: u64 = seen.iter().map(|sum| sum.total).sum();
    let refused: u64 = sums.iter().filter(|sum| admin && sum.metric.starts_with(REFUSED)).map(|sum| sum.total).sum();
    let page = OverviewPage {
        shell: Shell::new(&visitor, "overview"),
        day,
        quiet: requests + refused == 0,
        requests: number(requests),
        bars: charts::bars(slots.iter().map(|slot| (label(*slot), requests_at(slot))).collect()),
        whole: admin.then(|| Whole::of(&sums, &slots, refused)),
        tokens: largest(tokens.into_iter().map(|(uid, name, total)| (name, format!("/api_tokens/{uid}"), total))),
    };
    Ok(rendered(StatusCode::OK, &page))
}

impl Whole {
    fn of(sums: &[Traffic], slots: &[i64], refused: u64) -> Self {
        let latencies: Vec<[u64; LATENCY_CLASSES]> = slots.iter().map(|slot| classes(sums, Some(*slot))).collect();
        let series =
            |share: f64| -> Vec<Option<f64>> { latencies.iter().map(|classes| percentile(classes, share)).collect() };
        let (median, slow) = (series(0.5), series(0.95));
        let slowest = slow.iter().flatten().copied().fold(0.0, f64::max);
        Self {
            failed: number(of(sums, FAILED).map(|sum| sum.total).sum()),
            refused: number(refused),
            median: percentile(&classes(sums, None), 0.5).map_or_else(|| "–".to_owned(), millis),
            lines: vec![charts::line("p95", "slow", &slow, slowest), charts::line("p50", "median", &median, slowest)],
            slowest: millis(slowest),
            refusals: refusals(sums),
            deployments: top(sums, REQUESTS, |name| (name.to_owned(), format!("/deployments/{name}"))),
        }
    }
}

fn of<'a>(sums: &'a [Traffic], metric: &'a str) -> impl Iterator<Item = &'a Traffic> {
    sums.iter().filter(move |sum| sum.metric == metric)
}

/// How many requests were in each class of latency. `slot` of `None`: of the whole range.
fn classes(sums: &[Traffic], slot: Option<i64>) -> [u64; LATENCY_CLASSES] {
    let mut classes = [0; LATENCY_CLASSES];
    for sum in sums.iter().filter(|sum| slot.is_none_or(|slot| sum.minute == slot)) {
        let class = sum.metric.strip_prefix(LATENCY).and_then(|class| class.parse::<usize>().ok());
        if let Some(class) = class.and_then(|class| classes.get_mut(class)) {
            *class += sum.total;
        }
    }
    classes
}

/// Milliseconds, interpolated within its class. `None`: there were no requests.
fn percentile(classes: &[u64; LATENCY_CLASSES], share: f64) -> Option<f64> {
    let all: u64 = classes.iter().sum();
    let rank = all as f64 * share;
    let mut before = 0;
    for (class, total) in classes.iter().enumerate().filter(|(_, total)| **total > 0) {
        if (before + total) as f64 >= rank {
            let (low, high) =
                (if class == 0 { 0.0 } else { f64::from(1_u32 << (class - 1)) }, f64::from(1_u32 << class));
            return Some(low + (high - low) * ((rank - before as f64) / *total as f64).clamp(0.0, 1.0));
        }
        before += total;
    }
    None
}

fn millis(millis: f64) -> String {
    match millis {
        millis if millis < 10.0 => format!("{millis:.1} ms"),
        millis if millis < 1000.0 => format!("{millis:.0} ms"),
        millis => format!("{:.1} s", millis / 1000.0),
    }
}

fn top(sums: &[Traffic], metric: &str, name: impl Fn(&str) -> (String, String)) -> Vec<Share> {
    let mut totals: BTreeMap<&str, u64> = BTreeMap::new();
    for sum in of(sums, metric) {
        *totals.entry(&sum.subject).or_default() += sum.total;
    }
    largest(totals.into_iter().map(|(subject, total)| {
        let (name, link) = name(subject);
        (name, link, total)
    }))
}

fn refusals(sums: &[Traffic]) -> Vec<Share> {
    let mut totals: BTreeMap<&str, u64> = BTreeMap::new();
    for (reason, total) in sums.iter().filter_map(|sum| Some((sum.metric.strip_prefix(REFUSED)?, sum.total))) {
        *totals.entry(reason).or_default() += total;
    }
    largest(totals.into_iter().map(|(reason, total)| (reason.replace('_', " "), String::new(), total)))
}

fn largest(rows: impl Iterator<Item = (String, String, u64)>) -> Vec<Share> {
    let mut rows: Vec<_> = rows.collect();
    rows.sort_by_key(|(_, _, total)| std::cmp::Reverse(*total));
    rows.truncate(MOST);
    charts::shares(rows)
}

/// The tokens that the visitor may see, with their names and requests.
async fn tokens(visitor: &SignedIn, sums: &[Traffic]) -> Result<Vec<(TokenUid, String, u64)>, ApiError> {
    let mut totals: BTreeMap<TokenUid, u64> = BTreeMap::new();
    for (uid, total) in of(sums, TOKEN).filter_map(|sum| Some((sum.subject.parse().ok()?, sum.total))) {
        *totals.entry(uid).or_default() += total;
    }
    let uids: Vec<TokenUid> = totals.keys().copied().collect();
    let owner = (!visitor.is_admin()).then_some(visitor.user.id);
    let mut names = visitor.store().names_of(&uids, owner).await?;
    Ok(totals.into_iter().filter_map(|(uid, total)| Some((uid, names.remove(&uid)?, total))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_lie_within_their_class() {
        let mut classes = [0; LATENCY_CLASSES];
        assert_eq!(percentile(&classes, 0.5), None);
        classes[3] = 10;
        assert_eq!(percentile(&classes, 0.5), Some(6.0));
        classes[6] = 1;
        assert!((32.0..=64.0).contains(&percentile(&classes, 0.95).unwrap()));
        assert_eq!((millis(0.25), millis(12.3), millis(2500.0)), ("0.2 ms".into(), "12 ms".into(), "2.5 s".into()));
    }
}
