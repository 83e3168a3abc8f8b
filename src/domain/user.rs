//! A person who owns tokens.

use std::{fmt, str::FromStr};

use serde::Serialize;
use uuid::Uuid;

use super::timestamp::Timestamp;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct UserId(pub Uuid);

/// What a user may manage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Everything.
    Admin,
    /// Their own tokens.
    Member,
}

/// The address that a user signs in with, lower-cased. Only its form is checked; it need not receive mail.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Email(Box<str>);

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not an e-mail address; expected something like ada@example.com")]
pub struct InvalidEmail {
    text: String,
}

#[derive(Clone, Debug, Serialize)]
pub struct User {
    pub id: UserId,
    pub name: String,
    pub email: Email,
    pub role: Role,
    /// Argon2id PHC string. `None`: cannot sign in with a password.
    #[serde(skip)]
    pub password_hash: Option<String>,
    /// A provider of single sign-on has vouched for them. Whether they may have a password beside it,
    /// [`User::may_have_password`] says.
    pub single_sign_on: bool,
    pub created_at: Timestamp,
    /// `None`: enabled. All tokens of a disabled user are disabled, too.
    pub disabled_at: Option<Timestamp>,
}

/// What single sign-on means for passwords.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SingleSignOn {
    /// There is none: passwords are the only way.
    Off,
    /// People for whom the provider has vouched have no password: otherwise somebody whom it vouches for no more could go on
    /// with one.
    WithoutPasswords,
    /// They may have both.
    BesidePasswords,
}

impl User {
    pub fn may_have_password(&self, sign_on: SingleSignOn) -> bool {
        !self.single_sign_on || sign_on != SingleSignOn::WithoutPasswords
    }

    /// `false`: nobody can be this user, as long as no password is set.
    pub fn can_sign_in(&self, sign_on: SingleSignOn) -> bool {
        let by_password = self.password_hash.is_some() && self.may_have_password(sign_on);
        self.disabled_at.is_none() && (by_password || (self.single_sign_on && sign_on != SingleSignOn::Off))
    }
}

impl Role {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Member => "member",
        }
    }

    /// Reads what [`Role::as_str`] gave.
    pub fn from_stored(text: &str) -> Option<Self> {
        match text {
            "admin" => Some(Self::Admin),
            "member" => Some(Self::Member),
            _ => None,
        }
    }
}

impl Email {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Email {
    type Err = InvalidEmail;

    fn from_str(text: &str) -> Result<Self, InvalidEmail> {
        let plain = text.len() <= 254 && text.bytes().all(|byte| byte.is_ascii_graphic());
        match text.split_once('@') {
            Some((local, domain)) if plain && !local.is_empty() && !domain.is_empty() && !domain.contains('@') => {
                Ok(Self(text.to_ascii_lowercase().into()))
            }
            _ => Err(InvalidEmail { text: text.to_owned() }),
        }
    }
}

impl fmt::Display for Email {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        assert_eq!("Ada@Example.com".parse::<Email>().unwrap().as_str(), "ada@example.com");
        for text in ["", "ada", "@", "ada@", "@b", "a@b@c", "a b@c", "ä@b"] {
            assert!(text.parse::<Email>().is_err(), "{text:?}");
        }
    }
}
