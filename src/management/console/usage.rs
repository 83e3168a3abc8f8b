//! What tokens have used of Deployments. Members see what their own have.

use askama::Template;
use axum::{extract::Query, http::StatusCode};
use serde::Deserialize;

use super::{
    charts::{self, Bars},
    page::rendered,
    rejection::{PageResult, about_the_form},
    shell::Shell,
    visitor::SignedIn,
    words::{date, exact, number, sentence},
};
use crate::{
    domain::{
        timestamp::{DAY, Timestamp},
        units::format_duration,
    },
    management::error::ApiError,
    service::usage::{self, Grouping, Moment, Period, Step, UsageQuery, UsageRow, UsedView},
};

/// Rows of the table. The command line and the API have all.
const MOST: u32 = 200;
/// The periods: what the query says, their labels and days.
const PERIODS: [(&str, &str, u32); 4] = [
    ("day", "Last 24 hours", 1),
    ("week", "Last 7 days", 7),
    ("month", "Last 30 days", 30),
    ("quarter", "Last 90 days", 90),
];
/// What has a row of its own: what the query says, and labels.
const GROUPINGS: [(&str, &str); 5] = [
    ("token,deployment", "Token and Deployment"),
    ("token", "Token"),
    ("deployment", "Deployment"),
    ("day,token,deployment", "Day, token and Deployment"),
    ("day", "Day"),
];

#[derive(Template)]
#[template(path = "console/usage.html")]
struct UsagePage {
    shell: Shell,
    periods: Vec<(&'static str, &'static str, bool)>,
    groupings: Vec<(&'static str, &'static str, bool)>,
    token: String,
    deployment: String,
    /// Why the filter finds nothing. `None`: it does, or there is nothing.
    problem: Option<String>,
    bars: Bars,
    columns: Vec<&'static str>,
    rows: Vec<Row>,
    /// Rows that are not shown.
    more: Option<String>,
    /// How long usage is kept. `None`: for ever.
    kept: Option<String>,
}

struct Row {
    keys: Vec<Key>,
    sums: Vec<(&'static str, String)>,
}

/// What the sums of a row are of.
struct Key {
    label: &'static str,
    text: String,
    /// The page that shows it. `None`: there is none.
    link: Option<String>,
}

#[derive(Deserialize, Default)]
pub struct Filter {
    #[serde(default)]
    period: String,
    #[serde(default)]
    by: String,
    #[serde(default)]
    token: String,
    #[serde(default)]
    deployment: String,
}

pub async fn show(visitor: SignedIn, Query(filter): Query<Filter>) -> PageResult {
    let (period, _, days) = *PERIODS.iter().find(|(value, ..)| *value == filter.period).unwrap_or(&PERIODS[1]);
    let (by, _) = *GROUPINGS.iter().find(|(value, _)| *value == filter.by).unwrap_or(&GROUPINGS[0]);
    let grouping: Grouping = by.parse().unwrap_or_default();
    let step = if days == 1 { Step::Hour } else { Step::Day };
    // Whole steps, the present one among them.
    let since = visitor.now.saturating_sub(days * DAY - step.length());
    let period_of = Period { since: Some(Moment::At(since)), until: None };
    let found = read(&visitor, &filter, period_of, grouping, step).await;
    let (found, problem) = match found {
        Ok(found) => (found, None),
        Err(error) => (Found::default(), Some(sentence(about_the_form(error)?.text()))),
    };
    let page = UsagePage {
        shell: Shell::new(&visitor, "usage"),
        periods: PERIODS.iter().map(|(value, label, _)| (*value, *label, *value == period)).collect(),
        groupings: GROUPINGS.iter().map(|(value, label)| (*value, *label, *value == by)).collect(),
        token: filter.token.trim().to_owned(),
        deployment: filter.deployment.trim().to_owned(),
        problem,
        bars: charts::bars(series(&found.steps, since, visitor.now, step)),
        columns: columns(grouping),
        rows: found.rows.iter().map(|row| shown(row, grouping)).collect(),
        more: Some(found.total.saturating_sub(found.rows.len() as u64)).filter(|more| *more > 0).map(number),
        kept: visitor.config.usage.retention.map(format_duration),
    };
    Ok(rendered(StatusCode::OK, &page))
}

/// What the filter finds.
#[derive(Default)]
struct Found {
    rows: Vec<UsageRow>,
    /// Of rows.
    total: u64,
    /// For the chart.
    steps: Vec<UsageRow>,
}

async fn read(
    visitor: &SignedIn,
    filter: &Filter,
    period: Period,
    grouping: Grouping,
    step: Step,
) -> Result<Found, ApiError> {
    let given = |text: &str| Some(text.trim().to_owned()).filter(|text| !text.is_empty());
    let deployment = given(&filter.deployment).map(|name| name.parse()).transpose();
    let query = UsageQuery {
        period,
        token: given(&filter.token),
        deployment: deployment.map_err(|error| ApiError::invalid(format!("Deployment: {error}")))?,
        grouping,
        offset: 0,
        limit: MOST,
    };
    let (context, viewer) = (visitor.context(), Some(visitor.viewer()));
    let found = usage::report(&context, viewer, &query).await?.rows;
    let by_step = Grouping { time: Some(step), token: false, deployment: false };
    let steps = usage::report(&context, viewer, &UsageQuery { grouping: by_step, ..query }).await?.rows;
    Ok(Found { rows: found.items, total: found.total, steps: steps.items })
}

/// Requests of each step, also of those without any.
fn series(steps: &[UsageRow], since: Timestamp, now: Timestamp, step: Step) -> Vec<(String, u64)> {
    let length = i64::try_from(step.length().as_millis()).unwrap_or(i64::MAX);
    let start = |at: Timestamp| at.as_millis().div_euclid(length);
    let at = |number: i64| Timestamp::from_millis(number * length);
    let requests = |at: Timestamp| steps.iter().find(|row| row.start == Some(at)).map_or(0, |row| row.used.requests);
    (start(since)..=start(now)).map(|number| (exact(at(number)), requests(at(number)))).collect()
}

fn columns(Grouping { time, token, deployment }: Grouping) -> Vec<&'static str> {
    let keys = [(time.is_some(), "Day"), (token, "Token"), (deployment, "Deployment")];
    keys.into_iter().filter(|(told_apart, _)| *told_apart).map(|(_, label)| label).collect()
}

fn shown(row: &UsageRow, Grouping { time, token, deployment }: Grouping) -> Row {
    let key = |label, text, link| Key { label, text, link };
    let of_time = time.map(|_| key("Day", row.start.map(date).unwrap_or_default(), None));
    let of_token = token.then(|| {
        let name = row.token_name.clone().or(row.token.map(|uid| uid.to_string()));
        key("Token", name.unwrap_or_else(|| "None".to_owned()), row.token.map(|uid| format!("/api_tokens/{uid}")))
    });
    let of_deployment = deployment.then(|| {
        let link = row.deployment.as_ref().map(|name| format!("/deployments/{name}"));
        key("Deployment", row.deployment.clone().unwrap_or_else(|| "None (denied)".to_owned()), link)
    });
    let UsedView { requests, refused, bytes_in, bytes_out, upstream_seconds, .. } = row.used;
    Row {
        keys: [of_time, of_token, of_deployment].into_iter().flatten().collect(),
        sums: vec![
            ("Requests", number(requests)),
            ("Denied", number(refused)),
            ("Bytes in", number(bytes_in)),
            ("Bytes out", number(bytes_out)),
            ("Upstream time", format!("{upstream_seconds:.1} s")),
            ("Events", number(row.used.events)),
            ("Prompt tokens", number(row.used.prompt_tokens)),
            ("Completion tokens", number(row.used.completion_tokens)),
        ],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_step_has_a_bar() {
        let at = |text: &str| Timestamp::parse(text).unwrap();
        let used = UsedView::from(crate::domain::usage::Used { requests: 7, ..Default::default() });
        let row = UsageRow { start: Some(at("2026-11-29")), token: None, token_name: None, deployment: None, used };
        let days = series(&[row], at("2026-11-28T11:00:00Z"), at("2026-11-30T10:00:00Z"), Step::Day);
        assert_eq!(days.iter().map(|(_, requests)| *requests).collect::<Vec<_>>(), [0, 7, 0]);
    }
}
