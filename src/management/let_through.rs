//! `/api/v2/deployments/{name}/let_through`: who will be refused once the Deployment is enforced, for admins.

use super::{caller::Caller, error::ApiError, operation::ApiRequest, views::List};
use crate::{
    service::{
        let_through::{self, LetThroughView},
        lookup,
    },
    store::Page,
};

/// Most callers in one response.
pub const MOST: u32 = 1000;

pub async fn report(call: ApiRequest<Caller>) -> Result<List<LetThroughView>, ApiError> {
    let listed = lookup::deployment(&call.context(), &call.param).await?;
    let Page { items, total } = let_through::report(&call.context(), &listed.spec.name, MOST).await?;
    Ok(List { start: 0, count: MOST.into(), total, items })
}
