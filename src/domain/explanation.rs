//! What would be decided about a request, and by which rule. Nobody makes the request for it.

use std::net::SocketAddr;

use super::{deployment::DeploymentName, routing::RoutedBy, scope::Scope, timestamp::Timestamp, token::TokenUid};

/// The request that is asked about.
#[derive(Clone, Copy)]
pub struct Question<'a> {
    pub method: &'a str,
    /// With scheme and host, as a caller would write it.
    pub url: &'a str,
    /// The Deployment's own listener at which it comes in. `None`: the one with the port of `url`, or else the common one.
    pub listener: Option<SocketAddr>,
    pub token: AskedToken<'a>,
    pub at: Timestamp,
}

/// What the request shows.
#[derive(Clone, Copy)]
pub enum AskedToken<'a> {
    None,
    /// The token's text.
    Text(&'a str),
    /// The newest secret of that token.
    Of(TokenUid),
}

/// Why it cannot be asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidQuestion {
    #[error("the method is not one of HTTP; expected a word like GET or POST")]
    Method,
    #[error("the URL is malformed; expected http://HOST/PATH or https://HOST/PATH, as a caller would write it")]
    Url,
    #[error("the token's text is malformed; expected one word of visible ASCII")]
    Token,
    #[error("no Deployment has the listener {0}")]
    Listener(SocketAddr),
    #[error("several Deployments have a listener on port {0}: say which one, as ADDRESS:{0}")]
    Listeners(u16),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    pub verdict: Verdict,
    /// Where it leads. `None`: it is refused before that is asked.
    pub routed: Option<Routed>,
    /// The token that is proven, or was named. `None`: there is none, or it was not asked for.
    pub token: Option<TokenUid>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Routed {
    pub by: RoutedBy,
    /// Of [`RoutedBy::Listener`].
    pub listener: Option<SocketAddr>,
    /// The Deployment, or the name of one that does not exist. `None`: the request names none, and there is no default one.
    pub deployment: Option<DeploymentName>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Anyone may call the Deployment.
    Public,
    /// The path is one by which platforms ask for its health, and the Deployment asks for no token there.
    PublicProbe,
    /// By this scope of the token.
    Allowed(Scope),
    /// The gateway answers it itself: its path begins with `/-/`.
    OwnPage,
    /// It passes, because the Deployment is enforced only from then on.
    LetThrough(Timestamp, Refusal),
    Refused(Refusal),
}

/// What the caller would be answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub status: u16,
    /// Of `docs/errors.md`.
    pub code: &'static str,
    pub sentence: String,
}
