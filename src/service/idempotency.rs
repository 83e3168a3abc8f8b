//! Requests that their caller has named (`Idempotency-Key`): done once, however often they come.

use super::{Context, Kind, Refusal};
use crate::{domain::audit::Actor, store::StoreError};

#[derive(Debug, thiserror::Error)]
pub enum IdempotencyError {
    #[error("another request has used this Idempotency-Key; give each request one of its own")]
    Reused,
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What the request made when it came before. `None`: it has no name, or comes for the first time.
///
/// # Errors
/// [`IdempotencyError`].
pub async fn earlier_result(context: &Context<'_>) -> Result<Option<String>, IdempotencyError> {
    let (Some(request), Actor::User(user)) = (context.request, context.actor) else { return Ok(None) };
    match context.store.named_request(user, &request.key).await? {
        None => Ok(None),
        Some(earlier) if earlier.hash == request.hash => Ok(Some(earlier.target)),
        Some(_) => Err(IdempotencyError::Reused),
    }
}

impl Refusal for IdempotencyError {
    fn kind(&self) -> Kind {
        match self {
            Self::Reused => Kind::Conflict,
            Self::Store(error) => error.kind(),
        }
    }

    fn hint(&self) -> Option<String> {
        None
    }
}
