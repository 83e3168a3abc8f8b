//! Who has signed in to the console, and the links by which people come to an account.

use super::{code::CodeHash, deployment::DeploymentName, timestamp::Timestamp, user::UserId};

/// A person's browser that has signed in to the console.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsoleSession {
    /// Of what is in the cookie.
    pub id_hash: CodeHash,
    pub user: UserId,
    pub created_at: Timestamp,
    pub expires_at: Timestamp,
    /// Where it was begun.
    pub address: String,
    /// What the browser called itself.
    pub client: String,
}

/// A link by which somebody sets their name and password, once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invitation {
    pub code_hash: CodeHash,
    pub user: UserId,
    pub created_at: Timestamp,
    pub expires_at: Timestamp,
}

/// What a console session gives a Deployment's sign-in page: good once, for the browser that asked for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HandOver {
    pub code_hash: CodeHash,
    /// Of what that browser has in a cookie of the Deployment's host: a link that somebody else has sent is of no use.
    pub nonce_hash: CodeHash,
    pub user: UserId,
    pub deployment: DeploymentName,
    pub expires_at: Timestamp,
}

/// Who somebody is to a provider of single sign-on: its issuer and the subject there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    pub issuer: String,
    pub subject: String,
}
