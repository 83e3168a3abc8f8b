//! The kill switch: whoever holds a token, wherever they found it, can end it by presenting it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{caller::Anonymous, error::ApiError, openapi::Empty, operation::ApiRequest};
use crate::{
    domain::{decision, token_text::PresentedToken},
    index::verify::{NotProven, Shown},
    service::tokens,
};

/// Most tokens in one report.
const MAX_TOKENS: usize = 500;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Leaked {
    /// The clear texts of the tokens.
    #[schemars(length(min = 1, max = 500))]
    tokens: Vec<String>,
}

/// The same answer for any texts, so that nobody learns which of them were live tokens.
#[derive(Serialize, JsonSchema)]
pub struct Reported {
    /// How many texts were read. Those that were live tokens of this gateway are revoked.
    received: usize,
}

pub async fn report(call: ApiRequest<Anonymous, Empty, Leaked>) -> Result<Reported, ApiError> {
    call.management.limits.leaks.allow(call.network())?;
    let tokens = &call.body.tokens;
    if tokens.is_empty() || tokens.len() > MAX_TOKENS {
        return Err(ApiError::invalid(format!("tokens: expected 1 to {MAX_TOKENS} tokens")));
    }
    let gateway = &call.management.gateway;
    gateway.index.freshness.check().map_err(|_| ApiError::store_away())?;
    let shown = Shown { from: call.network(), at: call.now };
    let mut live = Vec::new();
    for text in tokens {
        let Ok(presented) = PresentedToken::parse(text.trim().as_bytes()) else { continue };
        match gateway.verifier.authenticate(&gateway.index, presented, shown).await {
            // An old secret that a rotation has ended harms nobody, and must not end the new one.
            Ok(proven) if decision::alive(&proven.entry().holder(), call.now).is_ok() => live.push(proven.entry().uid),
            Ok(_) | Err(NotProven::Invalid | NotProven::Ended) => {}
            Err(error) => return Err(error.into()),
        }
    }
    let revoked = tokens::revoke_leaked(&call.context(), &live, &call.address.to_string()).await?;
    let received = tokens.len();
    call.settle(revoked).await;
    Ok(Reported { received })
}
