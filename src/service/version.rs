//! What somebody has seen of a thing before they change it, so that two people with the same form do not undo each other's
//! work.

use std::fmt;

use serde::Serialize;

use super::{Error, Result};
use crate::domain::{deployment::DeploymentSpec, token::TokenRecord};

/// Hexadecimal digits that a page carries: an accident is to be noticed, and nobody gains by forging one.
const DIGITS: usize = 32;

/// A digest of all that may be changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version(String);

impl Version {
    pub fn of_token(token: &TokenRecord) -> Self {
        Self::of(&(&token.name, &token.description, &token.scopes, token.expires_at))
    }

    pub fn of_deployment(spec: &DeploymentSpec) -> Self {
        Self::of(spec)
    }

    /// What a form has carried. `None`: it has carried none.
    pub fn from_form(text: &str) -> Option<Self> {
        (!text.is_empty()).then(|| Self(text.to_owned()))
    }

    fn of(value: &impl Serialize) -> Self {
        // None of these values fails to be written as JSON.
        let text = serde_json::to_vec(value).unwrap_or_default();
        Self(blake3::hash(&text).to_hex()[..DIGITS].to_owned())
    }

    /// # Errors
    /// [`Error::ChangedMeanwhile`] if the caller has seen another version. `None`: they do not say.
    pub(super) fn expect_seen(&self, seen: Option<Self>) -> Result<()> {
        match seen {
            Some(seen) if seen != *self => Err(Error::ChangedMeanwhile),
            _ => Ok(()),
        }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
