//! Creating a token.

use serde_json::json;

use super::{Expiry, RefusedExpiry};
use crate::{
    domain::{
        audit::Action,
        deployment::DeploymentName,
        rights::Forbidden,
        scope::{InvalidScopeSet, Scope, ScopeSet},
        token::{TokenRecord, TokenUid},
        user::Email,
    },
    secret_hash::HashError,
    service::{
        Context, Issued, Kind, MAX_NAME_CHARS, Refusal, tidy_name,
        users::{self, OwnerError},
    },
    store::StoreError,
    system::{self, NoEntropy},
};

pub const MAX_DESCRIPTION_CHARS: usize = 1000;

#[derive(Clone, Debug, Default)]
pub struct CreateToken {
    pub name: String,
    pub description: String,
    /// `None`: Developer Operations Access (`api`), as the stock `bentoml` CLI without `--scope` means it.
    pub scopes: Option<Vec<String>>,
    pub expiry: Expiry,
    /// `None`: the first admin.
    pub owner: Option<Email>,
}

#[derive(Debug, thiserror::Error)]
pub enum CreateTokenError {
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
    Owner(#[from] OwnerError),
    #[error(transparent)]
    Hash(#[from] HashError),
    #[error(transparent)]
    NoEntropy(#[from] NoEntropy),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The clear text is in the answer and nowhere else.
///
/// # Errors
/// [`CreateTokenError`]; all but the last three are the caller's to mend.
pub async fn create(context: &Context<'_>, request: CreateToken) -> Result<Issued, CreateTokenError> {
    let name = tidy_name(&request.name).ok_or(CreateTokenError::Name(request.name))?;
    let description_chars = request.description.chars().count();
    if description_chars > MAX_DESCRIPTION_CHARS {
        return Err(CreateTokenError::Description(description_chars));
    }
    let scopes = match request.scopes {
        None => ScopeSet::new([Scope::Api])?,
        Some(texts) => ScopeSet::parse(texts)?,
    };
    context.grantor.grant(&scopes)?;
    if let Some(unknown) = unknown_deployment(context, &scopes).await? {
        return Err(CreateTokenError::UnknownDeployment(unknown));
    }
    let expires_at = request.expiry.resolve(context.now, context.tokens)?;
    let owner = users::owner(context.store, request.owner.as_ref()).await?;

    let (text, secret) = context.new_secret()?;
    let record = TokenRecord {
        uid: TokenUid(system::new_id(context.now)?),
        name,
        description: request.description,
        scopes,
        owner: owner.id,
        created_at: context.now,
        expires_at,
        revoked_at: None,
        last_used_at: None,
    };
    let detail = json!({
        "name": record.name, "scopes": record.scopes, "expires_at": record.expires_at, "owner": record.owner
    });
    let event = context.event(Action::TokenCreated, record.uid, detail)?;
    context.store.insert_token(&record, &secret, &event).await?;
    Ok(Issued { record, text })
}

/// A Deployment that `scopes` name and that nobody knows: most likely a typing error.
///
/// # Errors
/// The store's.
pub(super) async fn unknown_deployment(
    context: &Context<'_>,
    scopes: &ScopeSet,
) -> Result<Option<DeploymentName>, StoreError> {
    for name in scopes.exact_deployments() {
        let declared = context.declared.iter().any(|spec| spec.name == *name);
        if !declared && !context.store.knows_deployment(name).await? {
            return Ok(Some(name.clone()));
        }
    }
    Ok(None)
}

impl Refusal for CreateTokenError {
    fn kind(&self) -> Kind {
        match self {
            Self::Name(_) | Self::Description(_) | Self::Scopes(_) | Self::UnknownDeployment(_) | Self::Expiry(_) => {
                Kind::Invalid
            }
            Self::Forbidden(lack) => lack.kind(),
            Self::Owner(error) => error.kind(),
            Self::Hash(error) => error.kind(),
            Self::NoEntropy(error) => error.kind(),
            Self::Store(error) => error.kind(),
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::UnknownDeployment(name) => Some(format!(
                "`bento-gateway deployment list` shows those there are; a gateway that was started with {name} in \
                 its file or flags makes it known, or give this command the same --config"
            )),
            Self::Expiry(RefusedExpiry::Past { .. }) => Some("ask for a time to come, for example 30d".to_owned()),
            Self::Expiry(_) => Some("ask for a shorter lifetime, or raise tokens.max_lifetime".to_owned()),
            Self::Owner(error) => error.hint(),
            Self::Store(error) => error.hint(),
            _ => None,
        }
    }
}
