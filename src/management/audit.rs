//! `/api/v1/audit_events`: the audit trail, for admins.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{caller::Caller, error::ApiError, openapi::Empty, operation::ApiRequest, parsed};
use crate::{
    service::{
        audit::{self, EventView, VerificationView},
        lookup,
        usage::Moment,
    },
    store::EventFilter,
};

/// Most events in one response, whatever `count` says.
const MAX_COUNT: u32 = 1000;
/// Most events in one response without `count`.
const DEFAULT_COUNT: u32 = 100;

#[derive(Deserialize, JsonSchema)]
pub struct ListEvents {
    /// Only actions that begin so, for example `token.`.
    action: Option<String>,
    /// Only what this user did, by uid or email address.
    actor: Option<String>,
    /// Only what was done to this: a uid, or the name of a Deployment.
    target: Option<String>,
    /// From when on: a date, a time, or how long ago: 2026-12-24, 2026-12-24T18:00:00Z, 7d.
    since: Option<String>,
    /// Until when.
    until: Option<String>,
    /// Only what is older than the event with this id.
    before: Option<String>,
    /// How many to return at most; 100 if not given, never more than 1000.
    count: Option<u32>,
}

/// A part of the audit trail, newest first.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "AuditEvents")]
pub struct EventsView {
    items: Vec<EventView>,
    /// The `before` that continues. Null: there is nothing older.
    next: Option<String>,
}

#[derive(Deserialize, JsonSchema)]
pub struct VerifyTrail {
    /// A checkpoint that was kept elsewhere.
    checkpoint: Option<String>,
}

pub async fn list(call: ApiRequest<Caller, ListEvents>) -> Result<EventsView, ApiError> {
    let asked = &call.query;
    let count = asked.count.unwrap_or(DEFAULT_COUNT).clamp(1, MAX_COUNT);
    let actor = match &asked.actor {
        Some(name) => Some(lookup::user(&call.store, call.caller.viewer(), name).await?.id),
        None => None,
    };
    let at = |moment: Option<Moment>| moment.map(|moment| moment.at(call.now));
    let filter = EventFilter {
        action: asked.action.clone().unwrap_or_default(),
        actor,
        target: asked.target.clone().unwrap_or_default(),
        before: parsed::<Uuid>("before", asked.before.as_deref())?,
        since: at(parsed("since", asked.since.as_deref())?),
        until: at(parsed("until", asked.until.as_deref())?),
        limit: count + 1,
    };
    let mut events = call.store.events(&filter).await?;
    let more = events.len() > count as usize;
    events.truncate(count as usize);
    let next = events.last().filter(|_| more).map(|last| last.facts.id.to_string());
    let emails = audit::emails(&call.store).await?;
    Ok(EventsView { items: events.into_iter().map(|event| EventView::new(event, &emails)).collect(), next })
}

/// One at a time: it reads the whole trail.
pub async fn verify(call: ApiRequest<Caller, VerifyTrail, Empty>) -> Result<VerificationView, ApiError> {
    let kept = Vec::from_iter(parsed("checkpoint", call.query.checkpoint.as_deref())?);
    let _place = call.management.limits.verifying.enter(()).ok_or_else(ApiError::busy)?;
    Ok(audit::verify(&call.store, call.now, &kept).await?.into())
}
