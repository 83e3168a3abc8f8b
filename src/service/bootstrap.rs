//! The very first start: organization, admin and first token, exactly once however many processes start together. An admin
//! who was made by the command line before is the first one: then there is nothing else to make, and nothing to show.

use std::time::Duration;

use serde_json::json;

use super::{Context, Draft, Issued, Result, tokens::Expiry};
use crate::domain::{
    audit::Action,
    code::{OneTimeCode, Purpose},
    scope::ScopeSet,
    session::Invitation,
    token::SecretRecord,
    user::{Email, Role, User, UserId},
};

/// Has no password, so nobody can sign in with it until one is set.
pub const FIRST_ADMIN: &str = "admin@localhost";
pub const FIRST_TOKEN: &str = "first";

/// What exists in clear for the last time.
#[derive(Debug)]
pub struct FirstStart {
    /// `None`: the configuration wants no first token (`tokens.first_token`).
    pub token: Option<Issued>,
    /// Goes into the link by which the first admin sets their password.
    pub invitation: OneTimeCode,
}

/// What this call has set up. `None`: this or another process has set up the store before, or there is an admin already.
/// `link_lifetime` is that of the admin's link.
///
/// # Errors
/// The store's, and [`Error::Expiry`](super::Error::Expiry) if `tokens.default_lifetime` is not allowed.
pub async fn bootstrap(
    context: &Context<'_>,
    organization: &str,
    link_lifetime: Duration,
) -> Result<Option<FirstStart>> {
    // Argon2, for the first token, is not for every start.
    if context.store.organization().await?.is_some() {
        return Ok(None);
    }
    let admin = User {
        id: UserId(context.system.new_id(context.now)?),
        name: "Admin".to_owned(),
        email: FIRST_ADMIN.parse::<Email>()?,
        role: Role::Admin,
        password_hash: None,
        single_sign_on: false,
        created_at: context.now,
        disabled_at: None,
    };
    let event = context.event(Action::Bootstrapped, organization, json!({ "admin": admin.id }))?;
    let first_token = if context.tokens.first_token { Some(first_token(context, admin.id).await?) } else { None };
    let code = context.new_code(Purpose::Invitation)?;
    let invitation = Invitation {
        code_hash: code.hash(),
        user: admin.id,
        created_at: context.now,
        expires_at: context.now.saturating_add(link_lifetime),
    };

    let mut change = context.change().await?;
    if !change.found(organization, context.now).await? {
        return Ok(None);
    }
    if let Some(there) = change.admins().await?.first() {
        let event = context.event(Action::Bootstrapped, organization, json!({ "admin": there.id }))?;
        change.commit(&event).await?.unsettled();
        return Ok(None);
    }
    change.insert_user(&admin).await?;
    if let Some((issued, secret)) = &first_token {
        change.insert_token(&issued.record).await?;
        change.insert_secret(issued.record.uid, secret).await?;
    }
    change.insert_invitation(&invitation).await?;
    // No gateway decides by this store yet.
    change.commit(&event).await?.unsettled();
    Ok(Some(FirstStart { token: first_token.map(|(issued, _)| issued), invitation: code }))
}

/// The oldest admin, if there is none as whom somebody can sign in: then nobody can manage the gateway by the console.
///
/// # Errors
/// The store's.
pub async fn admin_without_sign_in(context: &Context<'_>) -> Result<Option<Email>> {
    let mut admins = context.store.list_users().await?;
    admins.retain(|user| user.role == Role::Admin && user.disabled_at.is_none());
    let nobody = !admins.iter().any(|admin| admin.can_sign_in(context.sign_on));
    Ok(admins.into_iter().next().filter(|_| nobody).map(|admin| admin.email))
}

/// Its creation has no audit event of its own: it is a part of the set-up.
async fn first_token(context: &Context<'_>, owner: UserId) -> Result<(Issued, SecretRecord)> {
    let draft = Draft {
        uid: context.new_uid()?,
        name: FIRST_TOKEN.to_owned(),
        description: "Made when the store was set up".to_owned(),
        scopes: ScopeSet::parse(["api", "deployment:*"])?,
        owner,
        expires_at: Expiry::Default.resolve(context.now, context.tokens)?,
    };
    let (issued, secret, _) = context.issue(draft).await?;
    Ok((issued, secret))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        config::{Config, Overrides, Sources, load},
        domain::{
            audit::Actor,
            rights::Grantor,
            timestamp::{DAY, Timestamp},
        },
        service::users::{self, CreateUser},
        store::{self, SharedStore, TokenFilter},
        system::Os,
    };

    async fn store(dir: &tempfile::TempDir) -> (Config, SharedStore) {
        let url = format!("sqlite:{}", dir.path().join("gateway.db").display());
        let overrides = Overrides { store: Some(url), ..Overrides::default() };
        let config = load(&Sources { overrides, ..Sources::default() }).unwrap();
        let store = store::open(&config.store).await.unwrap();
        (config, store)
    }

    fn context<'a>(config: &'a Config, store: &'a SharedStore) -> Context<'a> {
        let (tokens, declared) = (&config.tokens, &config.declared);
        let sign_on = config.management.single_sign_on();
        let (actor, grantor) = (Actor::System, Grantor::Operator);
        let now = Timestamp::from_millis(1_000);
        Context { store: store.as_ref(), tokens, declared, sign_on, actor, grantor, request: None, system: &Os, now }
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
    async fn an_admin_who_is_there_stays_the_only_one_and_no_token_is_made() {
        let dir = tempfile::tempdir().unwrap();
        let (config, store) = store(&dir).await;
        let context = context(&config, &store);
        let email: Email = "ada@example.com".parse().unwrap();
        let ada = CreateUser { email: email.clone(), name: "Ada".to_owned(), role: Role::Admin, password: None };
        users::create(&context, ada).await.unwrap().unsettled();
        assert!(bootstrap(&context, "default", DAY).await.unwrap().is_none());
        assert_eq!(store.list_users().await.unwrap().len(), 1);
        assert!(store.organization().await.unwrap().is_some());
        assert_eq!(admin_without_sign_in(&context).await.unwrap(), Some(email));
    }

    #[tokio::test]
    async fn without_a_first_token_there_is_an_admin_and_no_token() {
        let dir = tempfile::tempdir().unwrap();
        let (mut config, store) = store(&dir).await;
        config.tokens.first_token = false;
        let context = context(&config, &store);
        assert!(bootstrap(&context, "default", DAY).await.unwrap().unwrap().token.is_none());
        let filter = TokenFilter::newest(10);
        assert_eq!(store.list_tokens(&filter).await.unwrap().total, 0);
        assert_eq!(store.list_users().await.unwrap()[0].email.as_str(), FIRST_ADMIN);
    }
}
