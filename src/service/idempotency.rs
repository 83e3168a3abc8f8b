//! Requests with an `Idempotency-Key`: done once, however often they come.

use super::{Context, Error, Result};
use crate::domain::audit::Actor;

/// The uid, name or id of what the same request made when it came before. `None`: it comes for the first time, or has no
/// key.
///
/// # Errors
/// [`Error::IdempotencyKeyReused`] if the user has sent another request with this key.
pub async fn earlier_result(context: &Context<'_>) -> Result<Option<String>> {
    let (Some(request), Actor::User(user)) = (context.request, context.actor) else { return Ok(None) };
    match context.store.named_request(user, &request.key).await? {
        None => Ok(None),
        Some(earlier) if earlier.hash == request.hash => Ok(Some(earlier.target)),
        Some(_) => Err(Error::IdempotencyKeyReused),
    }
}
