//! `/api/v2/deployments/{name}/budgets`: what is used of the budgets of a Deployment, for admins.

use super::{caller::Caller, error::ApiError, operation::ApiRequest, views::List};
use crate::service::{
    budgets::{self, StandingView},
    lookup,
};

pub async fn list(call: ApiRequest<Caller>) -> Result<List<StandingView>, ApiError> {
    let listed = lookup::deployment(&call.context(), &call.param).await?;
    let items = budgets::of(&call.context(), &listed.spec).await?;
    let count = items.len() as u64;
    Ok(List { start: 0, count, total: count, items })
}
