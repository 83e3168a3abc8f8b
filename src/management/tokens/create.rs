//! Creating a token.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{ChangedTokenView, ViewContext, changed, parse_expiry};
use crate::{
    management::{caller::Caller, error::ApiError, openapi::Empty, operation::ApiRequest, views::Changed},
    service::{
        self, lookup,
        tokens::{self, CreateToken, Expiry, RefusedExpiry},
    },
};

#[derive(Deserialize, JsonSchema)]
pub struct NewToken {
    name: String,
    description: Option<String>,
    /// Null: `api`. `deployment:NAME` and the like may end with `:operations`, methods (`:GET,POST`) and a path with all below it
    /// (`:/v1/models`), in this order.
    scopes: Option<Vec<String>>,
    /// A time, a date, a lifetime (`30d`) or `never`; UTC where it names no zone. Null: `tokens.default_lifetime`.
    expired_at: Option<String>,
    /// The owner's email address, if the caller is an admin. Null: the caller.
    owner: Option<String>,
}

pub async fn create(call: ApiRequest<Caller, Empty, NewToken>) -> Result<ChangedTokenView, ApiError> {
    let NewToken { name, description, scopes, expired_at, owner } = &call.body;
    let owner = match owner {
        Some(email) => lookup::user(&call.store, call.caller.viewer(), email).await?,
        None => call.caller.user().clone(),
    };
    let context = ViewContext::read(&call, [owner.id]).await?;
    let request = CreateToken {
        name: name.clone(),
        description: description.clone().unwrap_or_default(),
        scopes: scopes.clone(),
        expiry: expired_at.as_deref().map_or(Ok(Expiry::Default), parse_expiry)?,
        owner: Some(owner.email),
    };
    let issued = tokens::create(&call.context(), request).await;
    let issued = issued.map_err(|error| explained(error, expired_at.as_deref()))?;
    let (issued, receipt) = call.settle(issued).await;
    let mut view = context.view(&issued.record)?;
    view.token = Some(issued.text.expose().to_owned());
    Ok(Changed { view, receipt })
}

/// Answers a repetition, without the text of the token: only the first response has it.
pub async fn created_before(call: ApiRequest<Caller>, uid: String) -> Result<ChangedTokenView, ApiError> {
    let record = lookup::token(&call.context(), call.caller.viewer(), &uid).await?;
    let context = ViewContext::read(&call, [record.owner]).await?;
    let before = call.store.committed_before(record).await?;
    let mut answer = changed(call, &context, before).await?;
    answer.view.replayed = true;
    Ok(answer)
}

/// The `bentoml` CLI sends times of the local zone without naming it, which can lie in the past, or too far away.
fn explained(error: service::Error, expired_at: Option<&str>) -> ApiError {
    let is_elsewhen =
        matches!(error, service::Error::Expiry(RefusedExpiry::Past { .. } | RefusedExpiry::TooLate { .. }));
    let names_no_zone = expired_at.is_some_and(|text| text.len() > 10 && !text.contains(['Z', '+']));
    let error = ApiError::from(error);
    if is_elsewhen && names_no_zone {
        error.and("the bentoml CLI sends local time without its zone, which is read as UTC: run it with TZ=UTC")
    } else {
        error
    }
}
