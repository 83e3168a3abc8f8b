//! What people do with a gateway, one verb a file: checks the request, writes one change to the store, answers.
//!
//! Shared by the command line and the HTTP API, so nothing here prints or knows of either. The time is an argument.

pub mod bootstrap;
pub mod browser_sessions;
pub mod deployments;
pub mod device_login;
pub mod idempotency;
pub mod invitations;
pub mod oidc;
pub mod receipt;
pub mod refusal;
pub mod sessions;
pub mod tokens;
pub mod users;

pub use refusal::{Kind, Refusal};

use serde_json::Value;

use crate::{
    config::TokenConfig,
    domain::{
        audit::{Action, Actor, AuditEvent, RequestKey},
        deployment::{DeploymentName, DeploymentSpec},
        rights::Grantor,
        timestamp::Timestamp,
        token::{SecretRecord, TokenRecord},
        token_text::TokenText,
    },
    secret_hash::{HashError, SecretHasher},
    store::Store,
    system::{self, NoEntropy},
};

/// What a verb works with and on whose behalf.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    pub store: &'a dyn Store,
    pub tokens: &'a TokenConfig,
    /// Deployments of this process's file and flags.
    pub declared: &'a [DeploymentSpec],
    pub actor: Actor,
    /// On whose word scopes are granted: no verb makes a token that may do more than its maker.
    pub grantor: Grantor<'a>,
    /// The caller's name for the request. `None`: it has none.
    pub request: Option<&'a RequestKey>,
    pub now: Timestamp,
}

/// A token whose secret exists in clear for the last time.
#[derive(Debug)]
pub struct Issued {
    pub record: TokenRecord,
    pub text: TokenText,
}

impl Context<'_> {
    fn event(&self, action: Action, target: impl ToString, detail: Value) -> Result<AuditEvent, NoEntropy> {
        let id = system::new_id(self.now)?;
        let request = self.request.cloned();
        Ok(AuditEvent { id, at: self.now, action, actor: self.actor, target: target.to_string(), detail, request })
    }

    fn new_secret(&self) -> Result<(TokenText, SecretRecord), HashError> {
        let text = system::new_token_text()?;
        let record = self.hashed(&text)?;
        Ok((text, record))
    }

    /// The secret of a browser session.
    fn new_session_secret(
        &self,
        deployment: &DeploymentName,
        until: Timestamp,
    ) -> Result<(TokenText, SecretRecord), HashError> {
        let text = system::new_session_text()?;
        let record = self.hashed(&text)?;
        Ok((text, SecretRecord { retires_at: Some(until), session: Some(deployment.clone()), ..record }))
    }

    fn hashed(&self, text: &TokenText) -> Result<SecretRecord, HashError> {
        let hasher = SecretHasher::for_tokens(self.tokens.argon2, self.tokens.pepper.clone())?;
        let hash = hasher.hash_token(text.presented())?;
        Ok(SecretRecord { lookup_id: text.presented().lookup_id(), hash, retires_at: None, session: None })
    }
}

/// A name of a token or user: trimmed, 1 to 100 characters, none of them a control character.
fn tidy_name(text: &str) -> Option<String> {
    let text = text.trim();
    let fits = (1..=MAX_NAME_CHARS).contains(&text.chars().count());
    (fits && !text.chars().any(char::is_control)).then(|| text.to_owned())
}

const MAX_NAME_CHARS: usize = 100;

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
