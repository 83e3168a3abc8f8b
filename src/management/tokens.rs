//! `/api/v1/api_tokens`: what `bentoml api-token` and `bentoml.api_token` use, and what they lack.

use std::collections::HashMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    caller::Caller,
    error::{ApiError, quoted},
    openapi::Empty,
    operation::{ApiRequest, CLIENT_VERSION, given},
    views::{self, List, TokenView},
};
use crate::{
    domain::{
        token::{TokenRecord, TokenUid},
        units::parse_duration,
        usage::Day,
        user::{User, UserId},
    },
    service::{
        idempotency,
        receipt::Receipt,
        tokens::{self, CreateToken, Expiry, UpdateToken},
    },
    store::{Organization, TokenFilter, TokenOrder},
};

/// What one request lists at most, whatever it asks for.
const MAX_COUNT: u32 = 1000;
/// What a request lists that does not say.
const DEFAULT_COUNT: u32 = 100;
/// How far back usage is told, days.
const USAGE_DAYS: i32 = 90;

#[derive(Deserialize, JsonSchema)]
pub struct ListTokens {
    /// How many to pass over.
    start: Option<u32>,
    /// How many at most; 100 if not given, never more than 1000.
    count: Option<u32>,
    /// A part of the name, the description or the uid, in any case.
    search: Option<String>,
    /// Only this user's, by e-mail address. Others than one's own are for admins.
    owner: Option<String>,
    /// Revoked ones, too.
    revoked: Option<bool>,
}

#[derive(Deserialize, JsonSchema)]
pub struct NewToken {
    name: String,
    description: Option<String>,
    /// Null: `api`.
    scopes: Option<Vec<String>>,
    /// A time, a date, a lifetime (`30d`) or `never`; UTC where it names no zone. Null: `tokens.default_lifetime`.
    expired_at: Option<String>,
    /// Whose it will be, by e-mail address, for admins. Null: the caller's.
    owner: Option<String>,
}

/// What is not given stays as it is.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ChangedToken {
    name: Option<String>,
    description: Option<String>,
    scopes: Option<Vec<String>>,
    /// A time, a date, a lifetime (`30d`) or `never`; null is `never`.
    #[serde(default, deserialize_with = "given")]
    #[schemars(with = "Option<String>")]
    expired_at: Option<Option<String>>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Rotation {
    /// How long the old secret goes on working, for example `24h`; `0s` ends it now. Null: `tokens.rotation_overlap`.
    overlap: Option<String>,
}

/// A token that has changed, and how far the change has come.
#[derive(Serialize, JsonSchema)]
pub struct ChangedTokenView {
    #[serde(flatten)]
    token: TokenView,
    /// Null: it could not be learned; the change is made all the same.
    receipt: Option<Receipt>,
}

#[derive(Serialize, JsonSchema)]
pub struct RotatedTokenView {
    #[serde(flatten)]
    token: TokenView,
    /// Until when the old secret works.
    old_until: String,
    /// Null: it could not be learned; the change is made all the same.
    receipt: Option<Receipt>,
}

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

pub async fn list(call: ApiRequest<Caller, ListTokens>) -> Result<List<TokenView>, ApiError> {
    let owner = match &call.query.owner {
        Some(email) => Some(person(&call, email).await?.id),
        None if call.caller.is_admin() => None,
        None => Some(call.caller.user().id),
    };
    if owner.is_some_and(|owner| !call.caller.manages(owner)) {
        return Err(ApiError::not_found("there is no such user"));
    }
    // The stock client asks for one page of 100 and never for the next.
    let cannot_page = call.headers.contains_key(CLIENT_VERSION) && call.query.start.unwrap_or(0) == 0;
    let count = if cannot_page { MAX_COUNT } else { call.query.count.unwrap_or(DEFAULT_COUNT).min(MAX_COUNT) };
    let filter = TokenFilter {
        search: call.query.search.clone(),
        owner,
        revoked: call.query.revoked.unwrap_or(false),
        order: TokenOrder::Newest,
        offset: call.query.start.unwrap_or(0),
        limit: count,
    };
    let page = call.store.list_tokens(&filter).await?;
    let context = ViewContext::of(&call).await?;
    let mut items: Vec<TokenView> = page.items.iter().filter_map(|record| context.view(record)).collect();
    if cannot_page && page.total > items.len() as u64 {
        items.extend(items.last().map(|last| left_out(last, page.total - items.len() as u64)));
    }
    Ok(List { start: filter.offset.into(), count: count.into(), total: page.total, items })
}

/// The stock client prints what it gets and knows no next page: a last line says what is missing.
fn left_out(last: &TokenView, more: u64) -> TokenView {
    TokenView {
        uid: "...".to_owned(),
        name: format!("and {more} more: narrow the list with --search"),
        resource_type: last.resource_type,
        labels: [],
        description: String::new(),
        created_at: last.created_at.clone(),
        updated_at: None,
        deleted_at: None,
        scopes: Vec::new(),
        user: last.user.clone(),
        organization: last.organization.clone(),
        expired_at: None,
        last_used_at: None,
        is_expired: false,
        is_api_token: false,
        is_organization_token: false,
        is_global_access: false,
        token: None,
        replayed: false,
    }
}

pub async fn create(call: ApiRequest<Caller, Empty, NewToken>) -> Result<ChangedTokenView, ApiError> {
    let owner = match &call.body.owner {
        Some(email) => person(&call, email).await?,
        None => call.caller.user().clone(),
    };
    if !call.caller.manages(owner.id) {
        return Err(ApiError::not_found("there is no such user"));
    }
    if let Some(made) = made_before(&call).await? {
        return Ok(made);
    }
    let request = CreateToken {
        name: call.body.name.clone(),
        description: call.body.description.clone().unwrap_or_default(),
        scopes: call.body.scopes.clone(),
        expiry: call.body.expired_at.as_deref().map_or(Ok(Expiry::Default), expiry)?,
        owner: Some(owner.email.clone()),
    };
    let issued = match tokens::create(&call.context(), request).await {
        Ok(issued) => issued,
        // Perhaps the same request, at the same time.
        Err(error) => return made_before(&call).await?.ok_or_else(|| explained(error.into(), &call.body)),
    };
    let context = ViewContext::of(&call).await?;
    let mut token = context.view(&issued.record).ok_or_else(|| unknown(&issued.record.uid.to_string()))?;
    token.token = Some(issued.text.expose().to_owned());
    Ok(ChangedTokenView { token, receipt: receipt(&call).await })
}

/// A time in the past is most often one of the caller's own zone.
fn explained(error: ApiError, body: &NewToken) -> ApiError {
    let naive = body.expired_at.as_deref().is_some_and(|text| text.len() > 10 && !text.contains(['Z', '+']));
    if naive && error.text().contains("not after now") {
        error.and("the bentoml CLI sends local time without its zone, which is read as UTC: run it with TZ=UTC")
    } else {
        error
    }
}

async fn made_before(call: &ApiRequest<Caller, Empty, NewToken>) -> Result<Option<ChangedTokenView>, ApiError> {
    let Some(uid) = idempotency::earlier_result(&call.context()).await? else { return Ok(None) };
    let record = visible(call, &uid).await?;
    let context = ViewContext::of(call).await?;
    let mut token = context.view(&record).ok_or_else(|| unknown(&uid))?;
    token.replayed = true;
    Ok(Some(ChangedTokenView { token, receipt: receipt(call).await }))
}

pub async fn get(call: ApiRequest<Caller>) -> Result<TokenView, ApiError> {
    let record = live(&call).await?;
    ViewContext::of(&call).await?.view(&record).ok_or_else(|| unknown(&call.param))
}

pub async fn update(call: ApiRequest<Caller, Empty, ChangedToken>) -> Result<ChangedTokenView, ApiError> {
    let record = live(&call).await?;
    let expiry = match &call.body.expired_at {
        None => None,
        Some(None) => Some(Expiry::Never),
        Some(Some(text)) => Some(expiry(text)?),
    };
    let ChangedToken { name, description, scopes, .. } = &call.body;
    let change = UpdateToken { name: name.clone(), description: description.clone(), scopes: scopes.clone(), expiry };
    let record = tokens::update(&call.context(), record.uid, change).await?;
    changed(&call, &record).await
}

pub async fn rotate(call: ApiRequest<Caller, Empty, Rotation>) -> Result<RotatedTokenView, ApiError> {
    let record = live(&call).await?;
    let overlap = call.body.overlap.as_deref().map(parse_duration).transpose();
    let overlap = overlap.map_err(|error| ApiError::invalid(format!("overlap: {error}")))?;
    let (issued, old_until) = tokens::rotate(&call.context(), record.uid, overlap).await?;
    let mut token = ViewContext::of(&call).await?.view(&issued.record).ok_or_else(|| unknown(&call.param))?;
    token.token = Some(issued.text.expose().to_owned());
    Ok(RotatedTokenView { token, old_until: old_until.to_string(), receipt: receipt(&call).await })
}

/// What `bentoml api-token delete` calls deleting.
pub async fn revoke(call: ApiRequest<Caller>) -> Result<ChangedTokenView, ApiError> {
    let record = live(&call).await?;
    let record = tokens::revoke(&call.context(), record.uid).await?;
    changed(&call, &record).await
}

pub async fn usage(call: ApiRequest<Caller>) -> Result<UsageView, ApiError> {
    let record = visible(&call, &call.param).await?;
    usage_of(&call, &record).await
}

// === what the holder of any token may ===

/// The token that was presented, and what it may do.
#[derive(Serialize, JsonSchema)]
pub struct WhoamiView {
    token: TokenView,
    /// `admin` or `member`.
    role: &'static str,
}

pub async fn whoami(call: ApiRequest<Caller>) -> Result<WhoamiView, ApiError> {
    let token = own(&call).await?;
    Ok(WhoamiView { token, role: call.caller.user().role.as_str() })
}

pub async fn own_usage(call: ApiRequest<Caller>) -> Result<UsageView, ApiError> {
    usage_of(&call, call.caller.token()).await
}

pub async fn revoke_own(call: ApiRequest<Caller>) -> Result<ChangedTokenView, ApiError> {
    let record = tokens::revoke(&call.context(), call.caller.token().uid).await?;
    changed(&call, &record).await
}

async fn own(call: &ApiRequest<Caller>) -> Result<TokenView, ApiError> {
    let record = call.caller.token();
    ViewContext::of(call).await?.view(record).ok_or_else(|| unknown(&record.uid.to_string()))
}

// === what they have in common ===

/// What every token is shown with.
struct ViewContext {
    owners: HashMap<UserId, User>,
    organization: Organization,
    now: crate::domain::timestamp::Timestamp,
}

impl ViewContext {
    async fn of<Q, B>(call: &ApiRequest<Caller, Q, B>) -> Result<Self, ApiError> {
        let owners = call.store.list_users().await?.into_iter().map(|user| (user.id, user)).collect();
        Ok(Self { owners, organization: super::organization(&call.store).await?, now: call.now })
    }

    /// `None`: its owner is not in the store, which the store rules out.
    fn view(&self, record: &TokenRecord) -> Option<TokenView> {
        let owner = self.owners.get(&record.owner)?;
        Some(views::token(record, owner, &self.organization, self.now))
    }
}

async fn changed<Q, B>(call: &ApiRequest<Caller, Q, B>, record: &TokenRecord) -> Result<ChangedTokenView, ApiError> {
    let token = ViewContext::of(call).await?.view(record).ok_or_else(|| unknown(&call.param))?;
    Ok(ChangedTokenView { token, receipt: receipt(call).await })
}

async fn receipt<P, Q, B>(call: &ApiRequest<P, Q, B>) -> Option<Receipt> {
    call.management.gateway.wait_until_applied(&call.store).await
}

/// A token that is the caller's to see. Whether another one exists is nobody's business, so that is the same answer.
async fn visible<Q, B>(call: &ApiRequest<Caller, Q, B>, uid: &str) -> Result<TokenRecord, ApiError> {
    let parsed: TokenUid = uid.parse().map_err(|_| unknown(uid))?;
    let record = call.store.token(parsed).await?.filter(|record| call.caller.manages(record.owner));
    record.ok_or_else(|| unknown(uid))
}

/// One that was not deleted: to the `bentoml` client a deleted one is gone.
async fn live<Q, B>(call: &ApiRequest<Caller, Q, B>) -> Result<TokenRecord, ApiError> {
    let record = visible(call, &call.param).await?;
    if record.revoked_at.is_none() { Ok(record) } else { Err(unknown(&call.param)) }
}

fn unknown(uid: &str) -> ApiError {
    ApiError::not_found(format!("there is no API token {}", quoted(uid)))
}

async fn usage_of<Q, B>(call: &ApiRequest<Caller, Q, B>, record: &TokenRecord) -> Result<UsageView, ApiError> {
    let Day(today) = Day::from(call.now);
    let days = call.store.token_usage(record.uid, Day(today - USAGE_DAYS)).await?;
    Ok(UsageView {
        uid: record.uid.to_string(),
        last_used_at: record.last_used_at.map(|at| at.to_string()),
        total: days.iter().map(|day| day.requests).sum(),
        days: days.iter().map(|day| DayView { day: day.day.to_string(), requests: day.requests }).collect(),
    })
}

/// The user of that address, if the caller may know of them.
async fn person<Q, B>(call: &ApiRequest<Caller, Q, B>, email: &str) -> Result<User, ApiError> {
    let unknown = || ApiError::not_found("there is no such user");
    let email = email.parse().map_err(|_| unknown())?;
    let user = call.store.user_by_email(&email).await?;
    user.filter(|user| call.caller.manages(user.id)).ok_or_else(unknown)
}

fn expiry(text: &str) -> Result<Expiry, ApiError> {
    text.parse().map_err(|error| ApiError::invalid(format!("expired_at: {error}")))
}
