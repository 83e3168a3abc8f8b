//! The very first start: organization, admin and first token, exactly once however many processes start together.

use std::time::Duration;

use serde_json::json;

use super::{
    Context, Issued, Kind, Refusal,
    tokens::{Expiry, RefusedExpiry},
};
use crate::{
    domain::{
        audit::Action,
        code::OneTimeCode,
        scope::{InvalidScopeSet, ScopeSet},
        session::Invitation,
        token::{TokenRecord, TokenUid},
        user::{Email, InvalidEmail, Role, User, UserId},
    },
    secret_hash::HashError,
    store::{Bootstrap, StoreError},
    system::{self, NoEntropy},
};

/// Has no password, so nobody can sign in with it until one is set.
pub const FIRST_ADMIN: &str = "admin@localhost";
pub const FIRST_TOKEN: &str = "first";

#[derive(Debug, thiserror::Error)]
pub enum BootstrapError {
    #[error(transparent)]
    Expiry(#[from] RefusedExpiry),
    #[error(transparent)]
    Hash(#[from] HashError),
    #[error(transparent)]
    NoEntropy(#[from] NoEntropy),
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The constants above are wrong.
    #[error(transparent)]
    Email(#[from] InvalidEmail),
    #[error(transparent)]
    Scopes(#[from] InvalidScopeSet),
}

/// What exists in clear for the last time.
#[derive(Debug)]
pub struct FirstStart {
    /// `None`: no first token is wanted (`tokens.first_token`).
    pub token: Option<Issued>,
    /// Of the link by which the first admin sets their password.
    pub invitation: OneTimeCode,
}

/// What this call made, if it did. `None`: the store is set up already, by whomever. `link_lifetime` is that of the
/// admin's link.
///
/// # Errors
/// [`BootstrapError`].
pub async fn bootstrap(
    context: &Context<'_>,
    organization: &str,
    link_lifetime: Duration,
) -> Result<Option<FirstStart>, BootstrapError> {
    let admin = User {
        id: UserId(system::new_id(context.now)?),
        name: "Admin".to_owned(),
        email: FIRST_ADMIN.parse::<Email>()?,
        role: Role::Admin,
        password_hash: None,
        created_at: context.now,
        disabled_at: None,
    };
    let detail = json!({ "admin": admin.id });
    let event = context.event(Action::Bootstrapped, organization, detail)?;
    let (issued, token) = if context.tokens.first_token {
        let (text, secret) = context.new_secret()?;
        let record = first_token(context, admin.id)?;
        (Some(Issued { record: record.clone(), text }), Some((record, secret)))
    } else {
        (None, None)
    };
    let code = system::new_code()?;
    let invitation = Invitation {
        code_hash: code.hash(),
        user: admin.id,
        created_at: context.now,
        expires_at: context.now.saturating_add(link_lifetime),
    };
    let first = Bootstrap { organization: organization.to_owned(), admin, token, invitation, event };
    let made = context.store.bootstrap(&first).await?;
    Ok(made.then_some(FirstStart { token: issued, invitation: code }))
}

fn first_token(context: &Context<'_>, owner: UserId) -> Result<TokenRecord, BootstrapError> {
    Ok(TokenRecord {
        uid: TokenUid(system::new_id(context.now)?),
        name: FIRST_TOKEN.to_owned(),
        description: "Made when the store was set up".to_owned(),
        scopes: ScopeSet::parse(["api", "deployment:*"])?,
        owner,
        created_at: context.now,
        expires_at: Expiry::Default.resolve(context.now, context.tokens)?,
        revoked_at: None,
        last_used_at: None,
    })
}

impl Refusal for BootstrapError {
    fn kind(&self) -> Kind {
        match self {
            Self::Expiry(_) => Kind::Invalid,
            Self::Hash(error) => error.kind(),
            Self::NoEntropy(error) => error.kind(),
            Self::Store(error) => error.kind(),
            Self::Email(_) | Self::Scopes(_) => Kind::Internal,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Expiry(_) => Some("correct tokens.default_lifetime".to_owned()),
            Self::Store(error) => error.hint(),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        config::{Config, Overrides, Sources, load},
        domain::{audit::Actor, rights::Grantor, timestamp::Timestamp},
        store::{self, SharedStore, TokenFilter, TokenOrder},
    };

    const DAY: Duration = Duration::from_secs(86_400);

    async fn store(dir: &tempfile::TempDir) -> (Config, SharedStore) {
        let url = format!("sqlite:{}", dir.path().join("gateway.db").display());
        let overrides = Overrides { store: Some(url), ..Overrides::default() };
        let config = load(&Sources { overrides, ..Sources::default() }).unwrap();
        let store = store::open(&config.store).await.unwrap();
        (config, store)
    }

    fn context<'a>(config: &'a Config, store: &'a SharedStore) -> Context<'a> {
        let (tokens, declared) = (&config.tokens, &config.deployments[..]);
        let (actor, grantor) = (Actor::System, Grantor::Operator);
        let now = Timestamp::from_millis(1_000);
        Context { store: store.as_ref(), tokens, declared, actor, grantor, request: None, now }
    }

    #[tokio::test]
    async fn happens_once() {
        let dir = tempfile::tempdir().unwrap();
        let (config, store) = store(&dir).await;
        let context = context(&config, &store);
        let issued = bootstrap(&context, "default", DAY).await.unwrap().unwrap().token.unwrap();
        assert_eq!(issued.record.scopes.to_string(), "api deployment:*");
        assert!(bootstrap(&context, "default", DAY).await.unwrap().is_none());
        assert_eq!(store.list_users().await.unwrap().len(), 1);
    }

    #[tokio::test]
    async fn without_a_first_token_there_is_an_admin_and_no_token() {
        let dir = tempfile::tempdir().unwrap();
        let (mut config, store) = store(&dir).await;
        config.tokens.first_token = false;
        let context = context(&config, &store);
        assert!(bootstrap(&context, "default", DAY).await.unwrap().unwrap().token.is_none());
        let filter =
            TokenFilter { search: None, owner: None, revoked: true, order: TokenOrder::Newest, offset: 0, limit: 10 };
        assert_eq!(store.list_tokens(&filter).await.unwrap().total, 0);
        assert_eq!(store.list_users().await.unwrap()[0].email.as_str(), FIRST_ADMIN);
    }
}
