//! Who passes a Deployment that is not enforced yet, and will be refused.

use schemars::JsonSchema;
use serde::Serialize;

use super::{Context, Result};
use crate::{
    domain::{deployment::DeploymentName, let_through::StrangeCaller, token::TokenUid},
    store::Page,
};

/// Requests of one caller that have passed, and will be refused once the Deployment is enforced.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "LetThrough")]
pub struct LetThroughView {
    /// Of docs/errors.md: why they will be refused.
    pub reason: String,
    /// The uid of the token that was shown. Null: none was proven.
    #[schemars(with = "Option<String>")]
    pub token: Option<TokenUid>,
    pub token_name: Option<String>,
    /// Where they came from, if no token was proven: an IPv4 address or a /64 of IPv6. Null: also all others, if there are too
    /// many to be told apart.
    pub network: Option<String>,
    pub requests: u64,
    /// The first and the last of them, UTC.
    pub first_at: String,
    pub last_at: String,
}

/// Those with most requests first.
///
/// # Errors
/// The store's.
pub async fn report(context: &Context<'_>, deployment: &DeploymentName, limit: u32) -> Result<Page<LetThroughView>> {
    let Page { items, total } = context.store.let_through(deployment.as_str(), limit).await?;
    let token = |caller: &StrangeCaller| match caller {
        StrangeCaller::Token(uid) => Some(*uid),
        StrangeCaller::Network(_) | StrangeCaller::Others => None,
    };
    let uids: Vec<TokenUid> = items.iter().filter_map(|of| token(&of.caller)).collect();
    let names = context.store.names_of(&uids, None).await?;
    let items = items.into_iter().map(|of| {
        let token = token(&of.caller);
        LetThroughView {
            reason: of.reason,
            token,
            token_name: token.and_then(|uid| names.get(&uid).cloned()),
            network: if let StrangeCaller::Network(network) = of.caller { Some(network) } else { None },
            requests: of.requests,
            first_at: of.first.to_string(),
            last_at: of.last.to_string(),
        }
    });
    Ok(Page { items: items.collect(), total })
}
