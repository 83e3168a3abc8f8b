//! `/api/v1/usage`: what tokens have used of Deployments.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{caller::Caller, error::ApiError, operation::ApiRequest, parsed, views::List};
use crate::service::usage::{self, Period, UsageQuery, UsageRow};

/// Most sums in one response, whatever `count` says.
const MAX_COUNT: u32 = 10_000;
/// Most sums in one response without `count`.
const DEFAULT_COUNT: u32 = 1000;

#[derive(Deserialize, JsonSchema)]
pub struct AskForUsage {
    /// A date, a time, or how long ago: 2026-12-24, 2026-12-24T18:00:00Z, 7d. Whole hours. Seven days before `until` if not given.
    since: Option<String>,
    /// The same; now if not given.
    until: Option<String>,
    /// Only of this token, by uid, the end of it, or name.
    token: Option<String>,
    /// Only of this Deployment, which need not exist any more.
    deployment: Option<String>,
    /// What has sums of its own: hour or day, token and deployment, separated by commas. token,deployment if not given.
    group_by: Option<String>,
    /// How many to skip.
    start: Option<u32>,
    /// How many to return at most; 1000 if not given, never more than 10000.
    count: Option<u32>,
}

/// What was used in a period. An hour is complete some seconds after its end.
#[derive(Serialize, JsonSchema)]
pub struct UsageReportView {
    /// The first moment of the period, UTC.
    since: String,
    /// The first moment behind it.
    until: String,
    #[serde(flatten)]
    list: List<UsageRow>,
}

/// Oldest first, then those with most requests.
pub async fn report(call: ApiRequest<Caller, AskForUsage>) -> Result<UsageReportView, ApiError> {
    let asked = &call.query;
    let (start, count) = (asked.start.unwrap_or(0), asked.count.unwrap_or(DEFAULT_COUNT).min(MAX_COUNT));
    let query = UsageQuery {
        period: Period {
            since: parsed("since", asked.since.as_deref())?,
            until: parsed("until", asked.until.as_deref())?,
        },
        token: asked.token.clone(),
        deployment: parsed("deployment", asked.deployment.as_deref())?,
        grouping: parsed("group_by", asked.group_by.as_deref())?.unwrap_or_default(),
        offset: start,
        limit: count,
    };
    let report = usage::report(&call.context(), Some(call.caller.viewer()), &query).await?;
    let (total, items) = (report.rows.total, report.rows.items);
    let list = List { start: start.into(), count: count.into(), total, items };
    Ok(UsageReportView { since: report.since.to_string(), until: report.until.to_string(), list })
}
