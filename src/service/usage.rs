//! What tokens have used of Deployments, for whoever may see it.

use std::{collections::HashMap, str::FromStr, time::Duration};

use schemars::JsonSchema;
use serde::Serialize;

use super::{
    Context, Error, Result,
    lookup::{self, Viewer},
};
use crate::{
    domain::{
        deployment::DeploymentName,
        timestamp::{DAY, Timestamp},
        token::TokenUid,
        units::parse_duration,
        usage::{Hour, Used},
    },
    store::{Page, UsageFilter, UsageSum},
};

const HOURS_OF_A_DAY: i32 = 24;
const HOUR: Duration = Duration::from_secs(60 * 60);
/// The period where none is asked for.
const DEFAULT_PERIOD: Duration = DAY.saturating_mul(7);

/// What is asked for.
#[derive(Clone, Debug, Default)]
pub struct UsageQuery {
    pub period: Period,
    /// As people name it. `None`: all.
    pub token: Option<String>,
    /// `None`: all.
    pub deployment: Option<DeploymentName>,
    pub grouping: Grouping,
    pub offset: u32,
    pub limit: u32,
}

/// A period of whole hours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Period {
    /// `None`: seven days before its end.
    pub since: Option<Moment>,
    /// `None`: now.
    pub until: Option<Moment>,
}

/// A time, or how long ago it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    At(Timestamp),
    Ago(Duration),
}

/// What has sums of its own; the rest is added up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grouping {
    /// `None`: the whole period.
    pub time: Option<Step>,
    pub token: bool,
    pub deployment: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    Hour,
    Day,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a time; expected a date (2026-12-24), a time (2026-12-24T18:00:00Z), or how long ago (7d)")]
pub struct InvalidMoment {
    text: String,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} cannot be grouped by; expected hour or day, token and deployment, separated by commas")]
pub struct InvalidGrouping {
    text: String,
}

/// What was used by or of all that is the same here.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[schemars(rename = "Usage")]
pub struct UsageRow {
    /// The first moment of the hour or day, UTC. Null: not grouped by time.
    #[schemars(with = "Option<String>")]
    pub start: Option<Timestamp>,
    /// Its uid. Null: not grouped by token, or the Deployment is public and asks for none.
    #[schemars(with = "Option<String>")]
    pub token: Option<TokenUid>,
    pub token_name: Option<String>,
    /// Null: not grouped by Deployment, or the token was refused before any was open to it.
    pub deployment: Option<String>,
    #[serde(flatten)]
    pub used: UsedView,
}

/// What was used, in the units in which it is shown.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, JsonSchema)]
pub struct UsedView {
    /// Requests that were let through to the Deployment.
    pub requests: u64,
    /// Requests that the gateway has answered in the service's place.
    pub refused: u64,
    /// Of requests' bodies.
    pub bytes_in: u64,
    /// Of responses' bodies.
    pub bytes_out: u64,
    /// How long upstreams were busy with the requests, one after the other.
    pub upstream_seconds: f64,
    /// Events of text/event-stream responses.
    pub events: u64,
    /// Tokens of language models in what was asked, as their services say.
    pub prompt_tokens: u64,
    /// The same in what was answered.
    pub completion_tokens: u64,
}

/// Sums of one period.
pub struct UsageReport {
    pub since: Timestamp,
    pub until: Timestamp,
    pub rows: Page<UsageRow>,
}

/// `viewer`: who looks; everybody but an admin sees what their own tokens have used. `None`: the operator at the store.
///
/// # Errors
/// [`Error::Period`]; [`Error::Unknown`], also for a token of somebody else's; [`Error::AmbiguousToken`].
pub async fn report(context: &Context<'_>, viewer: Option<Viewer>, query: &UsageQuery) -> Result<UsageReport> {
    let (since, until) = query.period.hours(context.now)?;
    let token = match (&query.token, viewer) {
        (None, _) => None,
        (Some(token), Some(viewer)) => Some(lookup::token(context, viewer, token).await?.uid),
        (Some(token), None) => Some(lookup::any_token(context, token).await?.uid),
    };
    let filter = UsageFilter {
        since,
        until,
        token,
        deployment: query.deployment.as_ref().map(|name| name.as_str().to_owned()),
        owner: viewer.filter(|viewer| !viewer.is_admin()).map(|viewer| viewer.user),
        hours: query.grouping.time.map(Step::hours),
        by_token: query.grouping.token,
        by_deployment: query.grouping.deployment,
        offset: query.offset,
        limit: query.limit,
    };
    let Page { items, total } = context.store.usage(&filter).await?;
    let uids: Vec<TokenUid> = items.iter().filter_map(|sum| sum.token).collect();
    let names = context.store.names_of(&uids, None).await?;
    let items = items.into_iter().map(|sum| row(sum, &names)).collect();
    Ok(UsageReport { since: since.start(), until: until.start(), rows: Page { items, total } })
}

fn row(sum: UsageSum, names: &HashMap<TokenUid, String>) -> UsageRow {
    UsageRow {
        start: sum.first.map(Hour::start),
        token: sum.token,
        token_name: sum.token.and_then(|uid| names.get(&uid).cloned()),
        deployment: sum.deployment,
        used: sum.used.into(),
    }
}

impl From<Used> for UsedView {
    fn from(used: Used) -> Self {
        Self {
            requests: used.requests,
            refused: used.refused,
            bytes_in: used.bytes_in,
            bytes_out: used.bytes_out,
            upstream_seconds: used.upstream.as_micros() as f64 / 1e6,
            events: used.events,
            prompt_tokens: used.prompt_tokens,
            completion_tokens: used.completion_tokens,
        }
    }
}

impl Period {
    /// The first hour, and the one behind the last. Hours of which a part lies within count as a whole.
    fn hours(self, now: Timestamp) -> Result<(Hour, Hour)> {
        let until = self.until.map_or(now, |moment| moment.at(now));
        let since = self.since.map_or(until.saturating_sub(DEFAULT_PERIOD), |moment| moment.at(now));
        if since >= until {
            return Err(Error::Period { since, until });
        }
        // Its last millisecond: an hour that it only touches is none of it.
        let Hour(last) = Hour::from(until.saturating_sub(Duration::from_millis(1)));
        Ok((Hour::from(since), Hour(last.saturating_add(1))))
    }
}

impl Moment {
    pub fn at(self, now: Timestamp) -> Timestamp {
        match self {
            Self::At(at) => at,
            Self::Ago(ago) => now.saturating_sub(ago),
        }
    }
}

impl Step {
    fn hours(self) -> i32 {
        match self {
            Self::Hour => 1,
            Self::Day => HOURS_OF_A_DAY,
        }
    }

    pub fn length(self) -> Duration {
        HOUR * self.hours().unsigned_abs()
    }
}

impl Default for Grouping {
    fn default() -> Self {
        Self { time: None, token: true, deployment: true }
    }
}

impl FromStr for Moment {
    type Err = InvalidMoment;

    fn from_str(text: &str) -> std::result::Result<Self, InvalidMoment> {
        let at = Timestamp::parse(text).filter(|at| *at <= Timestamp::MAX && at.as_millis() >= 0).map(Self::At);
        let ago = || parse_duration(text).ok().map(Self::Ago);
        at.or_else(ago).ok_or_else(|| InvalidMoment { text: text.to_owned() })
    }
}

impl FromStr for Grouping {
    type Err = InvalidGrouping;

    /// For example `day,token`.
    fn from_str(text: &str) -> std::result::Result<Self, InvalidGrouping> {
        let mut grouping = Self { time: None, token: false, deployment: false };
        for word in text.split(',') {
            match (word.trim(), grouping) {
                ("hour", Self { time: None, .. }) => grouping.time = Some(Step::Hour),
                ("day", Self { time: None, .. }) => grouping.time = Some(Step::Day),
                ("token", Self { token: false, .. }) => grouping.token = true,
                ("deployment", Self { deployment: false, .. }) => grouping.deployment = true,
                _ => return Err(InvalidGrouping { text: text.to_owned() }),
            }
        }
        Ok(grouping)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        Timestamp::parse(text).unwrap()
    }

    #[test]
    fn what_is_grouped_by() {
        let by = |time, token, deployment| Ok(Grouping { time, token, deployment });
        assert_eq!("day, token".parse(), by(Some(Step::Day), true, false));
        assert_eq!("deployment".parse(), by(None, false, true));
        assert_eq!("token,deployment".parse(), Ok(Grouping::default()));
        for text in ["", "week", "hour,day", "token,token", "token,"] {
            assert!(text.parse::<Grouping>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_period_has_whole_hours() {
        let now = at("2026-11-30T10:30:00Z");
        let hours = |since: Option<&str>, until: Option<&str>| {
            let moment = |text: Option<&str>| text.map(|text| text.parse().unwrap());
            let (since, until) = Period { since: moment(since), until: moment(until) }.hours(now)?;
            Ok::<_, Error>((since.start().to_string()[..16].to_owned(), until.start().to_string()[..16].to_owned()))
        };
        let from_to = |from: &str, to: &str| (from.to_owned(), to.to_owned());
        assert_eq!(hours(None, None).unwrap(), from_to("2026-11-23T10:00", "2026-11-30T11:00"));
        assert_eq!(hours(Some("90m"), None).unwrap(), from_to("2026-11-30T09:00", "2026-11-30T11:00"));
        let month = hours(Some("2026-10-01"), Some("2026-11-01")).unwrap();
        assert_eq!(month, from_to("2026-10-01T00:00", "2026-11-01T00:00"));
        assert_eq!(hours(None, Some("2026-11-01")).unwrap().0, "2026-10-25T00:00");
        assert!(hours(Some("1d"), Some("2d")).is_err() && hours(Some("0s"), None).is_err());
        for text in ["", "tomorrow", "7", "-1d", "1969-12-31"] {
            assert!(text.parse::<Moment>().is_err(), "{text:?}");
        }
    }
}
