//! What [`super::permit`] answers where it gives no permit.

use super::credential::{BadCredential, Presented};
use crate::{
    domain::{decision::Reason, token::TokenUid},
    index::{
        freshness::NotFresh,
        verify::{NotProven, VerifyError},
    },
};

/// Why a request may not pass, or cannot be decided about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denied {
    NoCredential,
    Credential(BadCredential),
    /// The token is unknown or its secret is wrong: the caller is not told which.
    InvalidToken,
    /// The token has ended, and how was not looked at since too many such were asked about: the caller is told what strangers
    /// are.
    Ended {
        /// A browser's session shows it.
        session: bool,
    },
    /// The secret was proven, hence the caller may be told the reason.
    Refused {
        reason: Reason,
        token: TokenUid,
    },
    /// The browser's session has ended, or was never one of this Deployment.
    SessionOver,
    /// The request carries nothing but a browser's session, and a page of another site made it.
    CrossSite,
    /// `bentoml cloud login` was given the address of the proxy.
    LoginElsewhere,
    /// An operator has stopped the Deployment, until somebody starts it again.
    Terminated,
    Unavailable(Unavailable),
}

/// Why the gateway cannot decide: never a 401, since the caller can do nothing about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unavailable {
    /// The store was never reached.
    NeverLoaded,
    /// The store was not reached for `store.max_staleness`.
    Stale,
    /// The index does not know the token, and the store that would know cannot be asked.
    StoreAway,
    /// Too many first verifications are waiting.
    Overloaded,
    /// The stored hash cannot be checked; the log says why.
    Internal,
}

impl Denied {
    /// A session that is not known has ended: nobody at a browser can mend a cookie.
    pub fn not_proven(reason: NotProven, presented: Presented<'_>) -> Self {
        match (reason, presented) {
            (NotProven::Invalid, Presented::Session { .. }) => Self::SessionOver,
            (NotProven::Invalid, _) => Self::InvalidToken,
            (NotProven::Ended, presented) => Self::Ended { session: matches!(presented, Presented::Session { .. }) },
            (NotProven::StoreAway, _) => Self::Unavailable(Unavailable::StoreAway),
            (NotProven::Unavailable(VerifyError::Overloaded), _) => Self::Unavailable(Unavailable::Overloaded),
            (NotProven::Unavailable(error @ VerifyError::Broken(_)), _) => {
                tracing::error!(%error, "a token could not be verified");
                Self::Unavailable(Unavailable::Internal)
            }
        }
    }

    /// Whether the token would open other routes of the Deployment.
    pub fn is_for_its_route(self) -> bool {
        matches!(self, Self::Refused { reason: Reason::RouteOutOfScope, .. })
    }

    /// Whether it passes while the Deployment is not enforced. Nobody passes from whom somebody has taken the right away, and
    /// our own trouble is no reason to ask for less.
    pub fn is_let_through(self) -> bool {
        match self {
            Self::NoCredential | Self::Credential(_) | Self::InvalidToken | Self::SessionOver => true,
            Self::Refused { reason, .. } => {
                matches!(reason, Reason::Expired | Reason::OutOfScope | Reason::RouteOutOfScope)
            }
            Self::Ended { .. } | Self::CrossSite | Self::LoginElsewhere | Self::Terminated | Self::Unavailable(_) => {
                false
            }
        }
    }
}

impl From<NotFresh> for Denied {
    fn from(reason: NotFresh) -> Self {
        Self::Unavailable(match reason {
            NotFresh::NeverLoaded => Unavailable::NeverLoaded,
            NotFresh::Stale => Unavailable::Stale,
        })
    }
}
