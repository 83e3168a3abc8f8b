//! A login of the command line that a person approves in a browser.

use std::fmt;

use super::{scope::ScopeSet, timestamp::Timestamp, user::UserId};

/// Random bytes of a code: whoever sees the link holds it, and nobody may guess it.
pub const CODE_BYTES: usize = 20;
/// Characters of a code: two hexadecimal digits a byte.
const CODE_LEN: usize = 2 * CODE_BYTES;

/// What ties the waiting command line to the page. It cannot be printed or serialised by accident.
pub struct LoginCode([u8; CODE_BYTES]);

/// BLAKE3 of a code in hexadecimal. The code has 160 random bits, so a fast hash is enough.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LoginCodeHash(Box<str>);

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Login {
    pub code_hash: LoginCodeHash,
    /// The address that asked for the code.
    pub asked_from: String,
    /// What it called itself (`User-Agent`). Anybody can write anything there.
    pub asked_with: String,
    pub created_at: Timestamp,
    pub expires_at: Timestamp,
    pub decision: Option<LoginDecision>,
    /// `None`: its token has not been made.
    pub claimed_at: Option<Timestamp>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LoginDecision {
    Refused,
    Approved { by: UserId, scopes: ScopeSet },
}

/// What may be done with a login now. From the clock, never stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LoginState<'a> {
    /// Nobody has decided yet.
    Waiting,
    /// The token may be made, once.
    Approved { by: UserId, scopes: &'a ScopeSet },
    /// Refused, claimed or run out: it will never be anything else.
    Over,
}

impl Login {
    pub fn state(&self, now: Timestamp) -> LoginState<'_> {
        match &self.decision {
            _ if self.claimed_at.is_some() || self.expires_at <= now => LoginState::Over,
            None => LoginState::Waiting,
            Some(LoginDecision::Refused) => LoginState::Over,
            Some(LoginDecision::Approved { by, scopes }) => LoginState::Approved { by: *by, scopes },
        }
    }
}

impl LoginCode {
    pub fn from_random(random: [u8; CODE_BYTES]) -> Self {
        Self(random)
    }

    /// `None`: no code of ours looks like this.
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() != CODE_LEN || !text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
            return None;
        }
        let mut bytes = [0; CODE_BYTES];
        for (byte, at) in bytes.iter_mut().zip((0..CODE_LEN).step_by(2)) {
            *byte = u8::from_str_radix(text.get(at..at + 2)?, 16).ok()?;
        }
        Some(Self(bytes))
    }

    /// The clear text, for who asked for it and for the page.
    pub fn expose(&self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    pub fn hash(&self) -> LoginCodeHash {
        LoginCodeHash(blake3::hash(&self.0).to_hex().as_str().into())
    }
}

impl LoginCodeHash {
    /// What [`LoginCodeHash::as_str`] gave.
    pub fn from_stored(text: String) -> Self {
        Self(text.into())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for LoginCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LoginCode([redacted])")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_reads_back() {
        let code = LoginCode::from_random([0xa7; CODE_BYTES]);
        let text = code.expose();
        assert_eq!(LoginCode::parse(&text).unwrap().hash(), code.hash());
        for wrong in ["", "a7", &text.to_uppercase(), &format!("{text}0"), &text.replace('a', "é")] {
            assert!(LoginCode::parse(wrong).is_none(), "{wrong:?}");
        }
    }

    #[test]
    fn a_login_is_decided_and_claimed_once() {
        let now = Timestamp::from_millis(1_000);
        let scopes = ScopeSet::parse(["api"]).unwrap();
        let by = UserId(uuid::Uuid::nil());
        let login = Login {
            code_hash: LoginCode::from_random([1; CODE_BYTES]).hash(),
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
            Login { decision: Some(LoginDecision::Approved { by, scopes: scopes.clone() }), ..login.clone() };
        assert_eq!(approved.state(now), LoginState::Approved { by, scopes: &scopes });
        assert_eq!(approved.state(login.expires_at), LoginState::Over);
        assert_eq!(Login { claimed_at: Some(now), ..approved }.state(now), LoginState::Over);
        assert_eq!(Login { decision: Some(LoginDecision::Refused), ..login }.state(now), LoginState::Over);
    }
}
