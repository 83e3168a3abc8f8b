//! A login of the command line (`bentoml cloud login`) that a person approves in a browser.

use super::{code::CodeHash, scope::ScopeSet, timestamp::Timestamp, user::UserId};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceLogin {
    pub code_hash: CodeHash,
    /// The address that asked for the code.
    pub asked_from: String,
    /// The client's `User-Agent`, which can be anything.
    pub asked_with: String,
    pub created_at: Timestamp,
    pub expires_at: Timestamp,
    pub decision: Option<LoginDecision>,
    /// `None`: its token has not been made yet.
    pub claimed_at: Option<Timestamp>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LoginDecision {
    Refused,
    Approved { by: UserId, scopes: ScopeSet },
}

/// What may be done with a login now. Computed from the clock, never stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LoginState<'a> {
    /// Nobody has decided yet.
    Waiting,
    /// The token may be made, once.
    Approved { by: UserId, scopes: &'a ScopeSet },
    /// Refused, claimed or expired, for good.
    Over,
}

impl DeviceLogin {
    pub fn state(&self, now: Timestamp) -> LoginState<'_> {
        match &self.decision {
            _ if self.claimed_at.is_some() || self.expires_at <= now => LoginState::Over,
            None => LoginState::Waiting,
            Some(LoginDecision::Refused) => LoginState::Over,
            Some(LoginDecision::Approved { by, scopes }) => LoginState::Approved { by: *by, scopes },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::code::{NONCE_BYTES, Nonce};

    #[test]
    fn a_login_is_decided_and_claimed_once() {
        let now = Timestamp::from_millis(1_000);
        let scopes = ScopeSet::parse(["api"]).unwrap();
        let by = UserId(uuid::Uuid::nil());
        let login = DeviceLogin {
            code_hash: Nonce::from_random([1; NONCE_BYTES]).hash(),
            asked_from: "127.0.0.1".to_owned(),
            asked_with: String::new(),
            created_at: now,
            expires_at: Timestamp::from_millis(2_000),
            decision: None,
            claimed_at: None,
        };
        assert_eq!(login.state(now), LoginState::Waiting);
        assert_eq!(login.state(login.expires_at), LoginState::Over);
        let approved =
            DeviceLogin { decision: Some(LoginDecision::Approved { by, scopes: scopes.clone() }), ..login.clone() };
        assert_eq!(approved.state(now), LoginState::Approved { by, scopes: &scopes });
        assert_eq!(approved.state(login.expires_at), LoginState::Over);
        assert_eq!(DeviceLogin { claimed_at: Some(now), ..approved }.state(now), LoginState::Over);
        assert_eq!(DeviceLogin { decision: Some(LoginDecision::Refused), ..login }.state(now), LoginState::Over);
    }
}
