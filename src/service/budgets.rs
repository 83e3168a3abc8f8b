//! What is used of the budgets of Deployments, by what gateways have written.

use std::collections::HashMap;

use schemars::JsonSchema;
use serde::Serialize;

use super::{Context, Result, deployments, lookup};
use crate::{
    domain::{
        budget::{Budget, Period},
        deployment::{DeploymentName, DeploymentSpec},
        timestamp::Timestamp,
        token::TokenUid,
        usage::{Hour, Used},
    },
    store::{Page, Store, UsageFilter},
};

/// Tokens of each Deployment that are shown.
const MOST_TOKENS: usize = 1000;

/// Hours that one statement adds up: the store gives a statement little time, and a month of a busy store is large.
const AT_ONCE: i32 = 24;

/// By token; `None`: no token was asked for.
pub type Sums = HashMap<Option<TokenUid>, Used>;

/// What is used of a budget in the present period.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[schemars(rename = "Budget")]
pub struct StandingView {
    pub deployment: String,
    /// The uid of the token whose budget it is. Null: it is that of all callers together.
    #[schemars(with = "Option<String>")]
    pub token: Option<TokenUid>,
    pub token_name: Option<String>,
    /// For example `100000 requests/day`.
    pub budget: String,
    /// In what the budget is counted in.
    pub used: f64,
    /// The part of it that is used: 1 is all of it.
    pub part: f64,
    /// When the next period begins, UTC.
    pub resets_at: String,
}

/// What was used of a Deployment in whole hours, from `since` on and before `until`.
///
/// # Errors
/// The store's.
pub async fn sums(store: &Store, name: &DeploymentName, since: Hour, until: Hour) -> Result<Sums> {
    let mut filter = UsageFilter {
        since,
        until: since,
        token: None,
        deployment: Some(name.to_string()),
        owner: None,
        hours: None,
        by_token: true,
        by_deployment: false,
        offset: 0,
        limit: u32::MAX,
    };
    let mut sums = Sums::new();
    while filter.until < until {
        (filter.since, filter.until) = (filter.until, Hour(filter.until.0.saturating_add(AT_ONCE)).min(until));
        let Page { items, .. } = store.usage(&filter).await?;
        add(&mut sums, items.into_iter().map(|sum| (sum.token, sum.used)));
    }
    Ok(sums)
}

/// The hours of the period that `now` is in, the present one included.
pub fn hours(period: Period, now: Timestamp) -> (Hour, Hour) {
    let Hour(present) = Hour::from(now);
    (Hour::from(period.start(now)), Hour(present.saturating_add(1)))
}

/// Adds to what was summed up before.
pub fn add(all: &mut Sums, more: impl IntoIterator<Item = (Option<TokenUid>, Used)>) {
    more.into_iter().for_each(|(token, used)| *all.entry(token).or_default() += used);
}

pub fn total(sums: &Sums) -> Used {
    let mut total = Used::default();
    sums.values().for_each(|used| total += *used);
    total
}

/// Of one Deployment or of all that have budgets: all callers together first, then tokens, those with most first.
///
/// # Errors
/// [`Error::Unknown`](super::Error::Unknown), and the store's.
pub async fn all(context: &Context<'_>, name: Option<&DeploymentName>) -> Result<Vec<StandingView>> {
    let specs = match name {
        Some(name) => vec![lookup::deployment(context, name.as_str()).await?.spec],
        None => {
            let listed = deployments::list(context).await?;
            listed.into_iter().filter(|listed| !listed.shadowed).map(|listed| listed.spec).collect()
        }
    };
    let mut standings = Vec::new();
    for spec in &specs {
        standings.extend(of(context, spec).await?);
    }
    Ok(standings)
}

/// # Errors
/// The store's.
pub async fn of(context: &Context<'_>, spec: &DeploymentSpec) -> Result<Vec<StandingView>> {
    let mut standings = Vec::new();
    if let Some(budget) = spec.settings.budget {
        let (since, until) = hours(budget.per, context.now);
        let used = total(&sums(context.store, &spec.name, since, until).await?);
        standings.push(standing(context, spec, budget, None, &used));
    }
    let Some(budget) = spec.settings.token_budget else { return Ok(standings) };
    let (since, until) = hours(budget.per, context.now);
    let sums = sums(context.store, &spec.name, since, until).await?;
    let mut of_tokens: Vec<_> = sums
        .into_iter()
        .filter_map(|(token, used)| Some(standing(context, spec, budget, Some(token?), &used)))
        .collect();
    of_tokens.sort_by(|one, other| other.used.total_cmp(&one.used).then(one.token.cmp(&other.token)));
    of_tokens.truncate(MOST_TOKENS);
    let uids: Vec<TokenUid> = of_tokens.iter().filter_map(|standing| standing.token).collect();
    let names = context.store.names_of(&uids, None).await?;
    standings.extend(of_tokens.into_iter().map(|standing| StandingView {
        token_name: standing.token.and_then(|uid| names.get(&uid).cloned()),
        ..standing
    }));
    Ok(standings)
}

fn standing(
    context: &Context<'_>,
    spec: &DeploymentSpec,
    budget: Budget,
    token: Option<TokenUid>,
    used: &Used,
) -> StandingView {
    StandingView {
        deployment: spec.name.to_string(),
        token,
        token_name: None,
        budget: budget.to_string(),
        used: used.amount(budget.of),
        part: used.part(&budget),
        resets_at: budget.per.end(context.now).to_string(),
    }
}
