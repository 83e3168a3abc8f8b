//! Writing down what the clock has ended.

use std::time::Duration;

use serde_json::json;

use crate::{
    domain::audit::Action,
    service::{Context, Result},
    store::Committed,
};

/// How long ago something must have ended. A clock that is wrong for a moment, as at the start of a machine, ends nothing
/// for good.
pub const GRACE: Duration = Duration::from_secs(60);
/// Tokens in one change, which others wait for.
const AT_ONCE: u32 = 500;

/// Writes down which tokens, old secrets and browser sessions ended more than [`GRACE`] ago, and forgets sessions at the
/// console, links and logins that did: a clock that is set back does not revive them then. `false`: there was nothing to write down.
///
/// # Errors
/// The store's.
pub async fn record_expiry(context: &Context<'_>) -> Result<bool> {
    let due = context.now.saturating_sub(GRACE);
    context.store.forget_ended(due).await?;
    if !context.store.has_ended(due).await? {
        return Ok(false);
    }
    let mut change = context.change().await?;
    let tokens = change.end_tokens(due, context.now, AT_ONCE).await?;
    let secrets = change.end_secrets(due, AT_ONCE).await?;
    // Another gateway may have been faster.
    if tokens.is_empty() && secrets == 0 {
        return Ok(false);
    }
    let detail = json!({ "tokens": tokens, "old_secrets": secrets });
    let event = context.event(Action::ExpiryRecorded, tokens.len(), detail)?;
    let committed: Committed = change.commit(&event).await?;
    // By the clock everybody decides so already.
    committed.unsettled();
    Ok(true)
}
