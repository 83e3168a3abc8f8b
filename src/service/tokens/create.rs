//! Creating a token.

use super::Expiry;
use crate::{
    domain::{
        clean::Unclean,
        scope::{Scope, ScopeSet},
        user::Email,
    },
    service::{Context, Draft, Error, Issued, MAX_DESCRIPTION_CHARS, Result, tidy_name, users},
    store::{Change, Committed},
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
/// The caller's: [`Error::TokenName`], [`Error::LongDescription`], [`Error::UncleanDescription`], [`Error::Scopes`],
/// [`Error::UnknownDeployment`], [`Error::Forbidden`], [`Error::Expiry`], [`Error::UserNotFound`],
/// [`Error::UserDisabled`], [`Error::NoAdmin`], and the store's conflict if the owner has a live token of that name.
pub async fn create(context: &Context<'_>, request: CreateToken) -> Result<Committed<Issued>> {
    let name = tidy_name(&request.name).ok_or(Error::TokenName(request.name))?;
    let description = checked_description(&request.description)?;
    let scopes = match request.scopes {
        None => ScopeSet::new([Scope::Api])?,
        Some(texts) => ScopeSet::parse(texts)?,
    };
    let expires_at = context.grantor.limit(request.expiry.resolve(context.now, context.tokens)?);
    let (text, secret) = context.new_secret().await?;

    let mut change = context.change().await?;
    grant(context, &mut change, &scopes).await?;
    let owner = users::owner(&mut change, request.owner.as_ref()).await?.id;
    let draft = Draft { uid: context.new_uid()?, name, description, scopes, owner, expires_at };
    let (record, event) = context.new_token(draft)?;
    change.insert_token(&record).await?;
    change.insert_secret(record.uid, &secret).await?;
    Ok(change.commit(&event).await?.with(Issued { record, text }))
}

/// It may have lines, whose ends become line feeds, and tabs.
pub(super) fn checked_description(text: &str) -> Result<String> {
    let text = text.replace("\r\n", "\n");
    let chars = text.chars().count();
    if chars > MAX_DESCRIPTION_CHARS {
        return Err(Error::LongDescription(chars));
    }
    match text.chars().find(|c| c.is_control() && !['\n', '\t'].contains(c)) {
        Some(hidden) => Err(Error::UncleanDescription(Unclean::Hidden(hidden))),
        None => Ok(text),
    }
}

/// Whether the grantor may grant `scopes`, and they name Deployments that exist at the moment of the change.
pub(super) async fn grant(context: &Context<'_>, change: &mut Change, scopes: &ScopeSet) -> Result<()> {
    context.grantor.grant(scopes)?;
    for name in scopes.exact_deployments() {
        let declared = context.declared.declares(name);
        if !declared && !change.knows_deployment(name).await? {
            return Err(Error::UnknownDeployment(name.clone()));
        }
    }
    Ok(())
}
