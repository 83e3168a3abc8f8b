//! Sessions at the console, and the links and identities by which people sign in.

use super::{code::CodeHash, deployment::DeploymentName, timestamp::Timestamp, token::TokenUid, user::UserId};

/// A person's browser that has signed in to the console.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsoleSession {
    /// Of the code in the cookie.
    pub id_hash: CodeHash,
    pub user: UserId,
    pub created_at: Timestamp,
    pub expires_at: Timestamp,
    /// The client's address when it signed in.
    pub address: String,
    /// The browser's `User-Agent`.
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

/// What the console gives a browser for the sign-in page of a Deployment. It works once, in the browser that asked for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HandOver {
    pub code_hash: CodeHash,
    /// Of the code that this browser has in a cookie of the Deployment's host. A link that somebody else has sent does not
    /// work without it.
    pub nonce_hash: CodeHash,
    pub user: UserId,
    /// The token of the user's that the browser has shown. `None`: the one that is made for browsers.
    pub token: Option<TokenUid>,
    pub deployment: DeploymentName,
    pub expires_at: Timestamp,
}

/// A person as an OpenID Connect provider knows them: its issuer, and their subject there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    pub issuer: String,
    pub subject: String,
}
