//! Creating a token.

use super::Expiry;
use crate::{
    domain::{
        scope::{Scope, ScopeSet},
        user::Email,
    },
    service::{Context, Draft, Error, Issued, MAX_DESCRIPTION_CHARS, Result, tidy_name, users},
};

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

/// The token, with its text in clear, which exists nowhere else.
///
/// # Errors
/// The caller's: [`Error::TokenName`], [`Error::Description`], [`Error::Scopes`], [`Error::UnknownDeployment`],
/// [`Error::Forbidden`], [`Error::Expiry`], [`Error::UserNotFound`], [`Error::UserDisabled`], [`Error::NoAdmin`], and the
/// store's conflict if the owner has a live token of that name.
pub async fn create(context: &Context<'_>, request: CreateToken) -> Result<Issued> {
    let draft = Draft {
        uid: context.new_uid()?,
        name: tidy_name(&request.name).ok_or(Error::TokenName(request.name))?,
        description: checked_description(request.description)?,
        scopes: match request.scopes {
            None => granted(context, ScopeSet::new([Scope::Api])?).await?,
            Some(texts) => granted(context, ScopeSet::parse(texts)?).await?,
        },
        expires_at: request.expiry.resolve(context.now, context.tokens)?,
        owner: users::owner(context.store, request.owner.as_ref()).await?.id,
    };
    let (issued, secret, event) = context.issue(draft)?;
    context.store.insert_token(&issued.record, &secret, &event).await?;
    Ok(issued)
}

pub(super) fn checked_description(text: String) -> Result<String> {
    match text.chars().count() {
        chars if chars > MAX_DESCRIPTION_CHARS => Err(Error::Description(chars)),
        _ => Ok(text),
    }
}

/// `scopes`, if the grantor may grant them and they name Deployments that exist.
pub(super) async fn granted(context: &Context<'_>, scopes: ScopeSet) -> Result<ScopeSet> {
    context.grantor.grant(&scopes)?;
    for name in scopes.exact_deployments() {
        let declared = context.declared.iter().any(|spec| spec.name == *name);
        if !declared && !context.store.knows_deployment(name).await? {
            return Err(Error::UnknownDeployment(name.clone()));
        }
    }
    Ok(scopes)
}
