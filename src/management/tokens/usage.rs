//! What a token was used for.

use schemars::JsonSchema;
use serde::Serialize;

use crate::{
    domain::{token::TokenRecord, usage::Day},
    management::{caller::Caller, error::ApiError, operation::ApiRequest},
    service::lookup,
};

/// How many days of usage an answer has.
const USAGE_DAYS: i32 = 90;

/// What a token was used for.
#[derive(Serialize, JsonSchema)]
pub struct UsageView {
    uid: String,
    /// Null: never.
    last_used_at: Option<String>,
    /// Requests that were let through in the days below.
    total: u64,
    /// Of the last 90 days those with any, oldest first. Some seconds late.
    days: Vec<DayView>,
}

#[derive(Serialize, JsonSchema)]
pub struct DayView {
    /// UTC, for example 2026-12-24.
    day: String,
    requests: u64,
}

pub async fn usage(call: ApiRequest<Caller>) -> Result<UsageView, ApiError> {
    let record = lookup::token(&call.context(), call.caller.viewer(), &call.param).await?;
    usage_of(&call, &record).await
}

/// Of the token that was presented.
pub async fn own_usage(call: ApiRequest<Caller>) -> Result<UsageView, ApiError> {
    usage_of(&call, call.caller.token()).await
}

async fn usage_of(call: &ApiRequest<Caller>, record: &TokenRecord) -> Result<UsageView, ApiError> {
    let Day(today) = Day::from(call.now);
    let days = call.store.token_usage(record.uid, Day(today - USAGE_DAYS)).await?;
    Ok(UsageView {
        uid: record.uid.to_string(),
        last_used_at: record.last_used_at.map(|at| at.to_string()),
        total: days.iter().map(|day| day.requests).sum(),
        days: days.iter().map(|day| DayView { day: day.day.to_string(), requests: day.requests }).collect(),
    })
}
