//! Listing tokens, and reading one.

use schemars::JsonSchema;
use serde::Deserialize;

use super::ViewContext;
use crate::{
    domain::units::parse_duration,
    management::{
        caller::Caller,
        error::{ApiError, invalid_value},
        operation::{ApiRequest, CLIENT_VERSION},
        views::{List, TokenView},
    },
    service::lookup,
    store::{TokenFilter, TokenOrder, Within},
};

/// Most tokens in one response, whatever `count` says.
const MAX_COUNT: u32 = 1000;
/// Most tokens in one response without `count`.
const DEFAULT_COUNT: u32 = 100;

#[derive(Deserialize, JsonSchema)]
pub struct ListTokens {
    /// How many to skip.
    start: Option<u32>,
    /// How many to return at most; 100 if not given, never more than 1000.
    count: Option<u32>,
    /// A part of the name, the description or the uid, or the 12 characters behind `bgw_` of its text, in any case.
    search: Option<String>,
    /// Only the tokens of this user, by email address. Only an admin may name another user.
    owner: Option<String>,
    /// Include revoked tokens.
    revoked: Option<bool>,
    /// Only tokens that are in force and expire within this time, for example `7d`.
    expires_within: Option<String>,
}

pub async fn list(call: ApiRequest<Caller, ListTokens>) -> Result<List<TokenView>, ApiError> {
    let viewer = call.caller.viewer();
    let owner = match &call.query.owner {
        Some(email) => Some(lookup::user(&call.store, viewer, email).await?.id),
        None if viewer.is_admin() => None,
        None => Some(viewer.user),
    };
    let within = call.query.expires_within.as_deref().map(parse_duration).transpose();
    let within = within.map_err(invalid_value("expires_within"))?;
    // The stock client asks for one page of 100 and never for the next.
    let cannot_page = call.headers.contains_key(CLIENT_VERSION) && call.query.start.unwrap_or(0) == 0;
    let count = if cannot_page { MAX_COUNT } else { call.query.count.unwrap_or(DEFAULT_COUNT).min(MAX_COUNT) };
    let filter = TokenFilter {
        search: call.query.search.clone(),
        owner,
        revoked: call.query.revoked.unwrap_or(false),
        expiring: within.map(|within| Within::next(within, call.now)),
        order: TokenOrder::Newest,
        offset: call.query.start.unwrap_or(0),
        limit: count,
    };
    let page = call.store.list_tokens(&filter).await?;
    let context = ViewContext::read(&call, page.items.iter().map(|record| record.owner)).await?;
    let mut items = page.items.iter().map(|record| context.view(record)).collect::<Result<Vec<_>, _>>()?;
    if cannot_page && page.total > items.len() as u64 {
        items.extend(items.last().map(|last| left_out(last, page.total.saturating_sub(items.len() as u64))));
    }
    Ok(List { start: filter.offset.into(), count: count.into(), total: page.total, items })
}

/// The stock client prints the tokens and never asks for the next page, so a last line says how many are missing.
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

/// To the `bentoml` client a deleted token is gone.
pub async fn get(call: ApiRequest<Caller>) -> Result<TokenView, ApiError> {
    let record = lookup::live_token(&call.context(), call.caller.viewer(), &call.param).await?;
    ViewContext::read(&call, [record.owner]).await?.view(&record)
}
