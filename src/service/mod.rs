//! What people do with a gateway, one verb a file: a verb checks the request, writes one change to the store and answers.
//!
//! The command line, the API and the console share the verbs, so nothing here prints or knows of HTTP. What only reads
//! asks the store itself.

pub mod audit;
pub mod bootstrap;
pub mod browser_sessions;
pub mod budgets;
pub mod deployments;
pub mod device_login;
mod error;
pub mod explain;
mod hashing;
pub mod idempotency;
pub mod invitations;
pub mod let_through;
pub mod lookup;
pub mod moving;
pub mod oidc;
pub mod receipt;
pub mod refusals;
pub mod sessions;
pub mod tokens;
pub mod usage;
pub mod users;
mod version;

pub use error::{Error, Kind, Result};
pub use version::Version;

use serde_json::{Value, json};

use crate::{
    config::TokenConfig,
    domain::{
        audit::{Action, Actor, AuditEvent, RequestKey},
        code::{CODE_BYTES, OneTimeCode, Purpose},
        deployment::DeploymentName,
        rights::Grantor,
        routing::Declared,
        scope::ScopeSet,
        timestamp::Timestamp,
        token::{SecretRecord, TokenRecord, TokenUid},
        token_text::TokenText,
        user::{SingleSignOn, UserId},
    },
    secret_hash::SecretHasher,
    store::{Change, Store},
    system::System,
};

/// Longest name of a token or user, characters.
const MAX_NAME_CHARS: usize = 100;
/// Longest description of a token, characters.
pub const MAX_DESCRIPTION_CHARS: usize = 1000;

/// What a verb works with, and for whom.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    pub store: &'a Store,
    pub tokens: &'a TokenConfig,
    /// The Deployments that this process has from its configuration file and flags, and how all are reached.
    pub declared: &'a Declared,
    /// Whether people of the provider may have a password.
    pub sign_on: SingleSignOn,
    /// Who acts, for the audit trail.
    pub actor: Actor,
    /// Who grants scopes: no verb makes a token that may do more than its grantor.
    pub grantor: Grantor<'a>,
    /// The `Idempotency-Key` of the request. `None`: it has none.
    pub request: Option<&'a RequestKey>,
    /// Where ids and secrets come from.
    pub system: &'a dyn System,
    /// One time for the whole verb.
    pub now: Timestamp,
}

impl<'a> Context<'a> {
    /// Of what the gateway does by itself, for nobody.
    pub fn of_gateway(
        store: &'a Store,
        tokens: &'a TokenConfig,
        declared: &'a Declared,
        system: &'a dyn System,
    ) -> Self {
        Self {
            store,
            tokens,
            declared,
            sign_on: SingleSignOn::Off,
            actor: Actor::System,
            grantor: Grantor::Nobody,
            request: None,
            system,
            now: system.now(),
        }
    }
}

/// A token whose secret exists in clear for the last time.
#[derive(Debug)]
pub struct Issued {
    pub record: TokenRecord,
    pub text: TokenText,
}

/// What is decided about a token before it is issued.
struct Draft {
    uid: TokenUid,
    name: String,
    description: String,
    scopes: ScopeSet,
    owner: UserId,
    /// `None`: it does not expire.
    expires_at: Option<Timestamp>,
}

impl Context<'_> {
    fn event(&self, action: Action, target: impl ToString, detail: Value) -> Result<AuditEvent> {
        let id = self.system.new_id(self.now)?;
        let request = self.request.cloned();
        Ok(AuditEvent { id, at: self.now, action, actor: self.actor, target: target.to_string(), detail, request })
    }

    async fn change(&self) -> Result<Change> {
        Ok(self.store.change(&self.grantor, self.now).await?)
    }

    /// For a verb that can take a right away: nobody else's change holds it up.
    async fn urgent_change(&self) -> Result<Change> {
        Ok(self.store.urgent_change(self.actor, &self.grantor, self.now).await?)
    }

    fn new_code(&self, purpose: Purpose<'_>) -> Result<OneTimeCode> {
        let mut random = [0; CODE_BYTES];
        self.system.fill(&mut random)?;
        Ok(self.store.codes().seal(purpose, random))
    }

    fn new_uid(&self) -> Result<TokenUid> {
        Ok(TokenUid(self.system.new_id(self.now)?))
    }

    /// The token, its secret as the store keeps it, and the audit event. The verb writes them, with whatever else its
    /// change consists of.
    async fn issue(&self, draft: Draft) -> Result<(Issued, SecretRecord, AuditEvent)> {
        let (record, event) = self.new_token(draft)?;
        let (text, secret) = self.new_secret().await?;
        Ok((Issued { record, text }, secret, event))
    }

    /// A token's record without a secret of its own, and the audit event.
    fn new_token(&self, draft: Draft) -> Result<(TokenRecord, AuditEvent)> {
        let Draft { uid, name, description, scopes, owner, expires_at } = draft;
        let detail = json!({ "name": name, "scopes": scopes, "expires_at": expires_at, "owner": owner });
        let event = self.event(Action::TokenCreated, uid, detail)?;
        let record = TokenRecord {
            uid,
            name,
            description,
            scopes,
            owner,
            created_at: self.now,
            expires_at,
            expired_at: None,
            revoked_at: None,
            last_used_at: None,
        };
        Ok((record, event))
    }

    async fn new_secret(&self) -> Result<(TokenText, SecretRecord)> {
        self.hashed(self.system.new_token_text()?).await
    }

    /// The secret of a browser session at `deployment`; when it ends is still to be said.
    async fn new_session_secret(&self, deployment: &DeploymentName) -> Result<(TokenText, SecretRecord)> {
        let (text, record) = self.hashed(self.system.new_session_text()?).await?;
        Ok((text, SecretRecord { session: Some(deployment.clone()), ..record }))
    }

    async fn hashed(&self, text: TokenText) -> Result<(TokenText, SecretRecord)> {
        let hasher = SecretHasher::for_tokens(self.tokens.argon2, self.tokens.pepper.clone())?;
        let hashed = move || hasher.hash_token(text.presented()).map(|hash| (text, hash));
        let (text, hash) = hashing::in_turn(&hashing::TOKENS, hashed).await?;
        let lookup_id = text.presented().lookup_id();
        Ok((text, SecretRecord { lookup_id, hash, retires_at: None, session: None }))
    }
}

/// The name of a token or user without white space around it. `None`: it is empty, too long or has control characters.
fn tidy_name(text: &str) -> Option<String> {
    let text = text.trim();
    let fits = (1..=MAX_NAME_CHARS).contains(&text.chars().count());
    (fits && !text.chars().any(char::is_control)).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        assert_eq!(tidy_name("  ci  "), Some("ci".to_owned()));
        assert!(tidy_name(&"ä".repeat(100)).is_some());
        for text in ["", "  ", "a\nb", "a\u{1b}[2J", &"a".repeat(101)] {
            assert_eq!(tidy_name(text), None, "{text:?}");
        }
    }
}
