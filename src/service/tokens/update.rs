//! Changing what is said of a token and what it may do. Its secret stays.

use serde_json::json;

use super::{
    Expiry, RefusedExpiry,
    create::{MAX_DESCRIPTION_CHARS, unknown_deployment},
};
use crate::{
    domain::{
        audit::Action,
        deployment::DeploymentName,
        rights::Forbidden,
        scope::{InvalidScopeSet, ScopeSet},
        timestamp::Timestamp,
        token::{TokenRecord, TokenUid},
    },
    service::{Context, Kind, MAX_NAME_CHARS, Refusal, tidy_name},
    store::StoreError,
    system::NoEntropy,
};

/// `None` leaves it as it is.
#[derive(Clone, Debug, Default)]
pub struct UpdateToken {
    pub name: Option<String>,
    pub description: Option<String>,
    pub scopes: Option<Vec<String>>,
    pub expiry: Option<Expiry>,
}

#[derive(Debug, thiserror::Error)]
pub enum UpdateTokenError {
    #[error("there is no token {0}")]
    NotFound(TokenUid),
    #[error("the token expired at {0}; a token that is over stays over, make a new one")]
    Expired(Timestamp),
    #[error("{0:?} cannot be a token's name; expected 1 to {MAX_NAME_CHARS} characters, none a control character")]
    Name(String),
    #[error("the description has {0} characters; expected at most {MAX_DESCRIPTION_CHARS}")]
    Description(usize),
    #[error(transparent)]
    Scopes(#[from] InvalidScopeSet),
    #[error("there is no Deployment {0}, which the scope deployment:{0} names")]
    UnknownDeployment(DeploymentName),
    #[error(transparent)]
    Forbidden(#[from] Forbidden),
    #[error(transparent)]
    Expiry(#[from] RefusedExpiry),
    #[error(transparent)]
    NoEntropy(#[from] NoEntropy),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The token as it is afterwards. `tokens.max_lifetime` counts from now.
///
/// # Errors
/// [`UpdateTokenError`].
pub async fn update(
    context: &Context<'_>,
    uid: TokenUid,
    change: UpdateToken,
) -> Result<TokenRecord, UpdateTokenError> {
    let known = context.store.token(uid).await?.filter(|token| token.revoked_at.is_none());
    let mut token = known.ok_or(UpdateTokenError::NotFound(uid))?;
    if let Some(at) = token.expires_at.filter(|at| *at <= context.now) {
        return Err(UpdateTokenError::Expired(at));
    }
    // A longer life is a grant, too.
    context.grantor.grant(&token.scopes)?;
    if let Some(name) = change.name {
        token.name = tidy_name(&name).ok_or(UpdateTokenError::Name(name))?;
    }
    if let Some(description) = change.description {
        let chars = description.chars().count();
        if chars > MAX_DESCRIPTION_CHARS {
            return Err(UpdateTokenError::Description(chars));
        }
        token.description = description;
    }
    if let Some(texts) = change.scopes {
        let scopes = ScopeSet::parse(texts)?;
        context.grantor.grant(&scopes)?;
        if let Some(unknown) = unknown_deployment(context, &scopes).await? {
            return Err(UpdateTokenError::UnknownDeployment(unknown));
        }
        token.scopes = scopes;
    }
    if let Some(expiry) = change.expiry {
        token.expires_at = expiry.resolve(context.now, context.tokens)?;
    }
    let detail = json!({ "name": token.name, "scopes": token.scopes, "expires_at": token.expires_at });
    let event = context.event(Action::TokenUpdated, uid, detail)?;
    // Revoked by somebody else since it was read.
    let updated = context.store.update_token(&token, &event).await?;
    if updated { Ok(token) } else { Err(UpdateTokenError::NotFound(uid)) }
}

impl Refusal for UpdateTokenError {
    fn kind(&self) -> Kind {
        match self {
            Self::NotFound(_) => Kind::NotFound,
            Self::Expired(_) => Kind::Conflict,
            Self::Name(_) | Self::Description(_) | Self::Scopes(_) | Self::UnknownDeployment(_) | Self::Expiry(_) => {
                Kind::Invalid
            }
            Self::Forbidden(lack) => lack.kind(),
            Self::NoEntropy(error) => error.kind(),
            Self::Store(error) => error.kind(),
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Store(error) => error.hint(),
            _ => None,
        }
    }
}
