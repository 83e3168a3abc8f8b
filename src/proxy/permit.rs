//! The permission to forward one request, which only this file can give.
//!
//! Forwarding takes a [`Permit`] and its fields are private here: a path that forgets to ask does not compile.

use std::{borrow::Cow, sync::Arc, time::Instant};

use super::credential::{BadCredential, Presented};
use crate::{
    domain::{
        decision::{self, Destination, Reason},
        deployment::DeploymentSpec,
        timestamp::Timestamp,
        token::TokenUid,
        token_text::PresentedToken,
        upstream_credential::UpstreamCredential,
    },
    gateway::Gateway,
    http::network::Network,
    index::{
        follow::Index,
        freshness::NotFresh,
        rate::Left,
        routes::{Deployment, Route},
        slots::{Asked, Flow, Full},
        tokens::TokenIndex,
        upstream::{self, Upstream},
        usage::Usage,
        verify::{NotProven, ProvenToken, Verifier, VerifyError},
    },
    system,
    telemetry::request_metrics::DeploymentMetrics,
};

/// Allowed: this request to this Deployment, by this token or because the Deployment is public.
#[derive(Clone)]
pub struct Permit {
    deployment: Arc<Deployment>,
    /// `None`: the Deployment is public.
    token: Option<ProvenToken>,
    prefix_len: usize,
}

/// Why a request may not pass, or cannot be decided about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denied {
    NoCredential,
    Credential(BadCredential),
    /// The token is unknown or its secret is wrong: the caller is not told which.
    InvalidToken,
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

/// What is asked in order to decide.
pub struct Gate<'a> {
    index: &'a Index,
    verifier: &'a Verifier,
    usage: &'a Usage,
}

/// What the decision says at once.
enum Admission<'a> {
    Permitted(Permit),
    /// Nothing yet: this token's secret was never proven in this process.
    Unproven(PresentedToken<'a>),
}

impl<'g> Gate<'g> {
    pub fn of(gateway: &'g Gateway) -> Self {
        Self { index: &gateway.index, verifier: &gateway.verifier, usage: &gateway.usage }
    }

    /// Decides, after the first verification of the token if there was none yet.
    ///
    /// That verification waits, and a request must not get by with what held before: after it `route` is looked up
    /// anew, and the index and the clock are asked anew. `from` is the caller's network, whose share of the waiting counts.
    /// So no request is admitted against a change that has its receipt.
    ///
    /// # Errors
    /// [`Denied`].
    pub async fn admit(
        &self,
        route: &mut Route<'_>,
        presented: Presented<'_>,
        from: Network,
    ) -> Result<Permit, Denied> {
        loop {
            match self.decide(route, presented, system::now())? {
                Admission::Permitted(permit) => return Ok(permit),
                Admission::Unproven(token) => {
                    // Boxed, as it is rare and large.
                    let proven = Box::pin(self.verifier.prove(&self.index.tokens, token, from)).await;
                    proven.map_err(|reason| not_proven(reason, presented))?;
                    *route = self.index.route(route.key);
                }
            }
        }
    }

    /// The decision table of `docs/architecture.md`, row by row. It never waits: what it reads is what holds now.
    fn decide<'p>(&self, route: &Route<'_>, presented: Presented<'p>, now: Timestamp) -> Result<Admission<'p>, Denied> {
        self.index.freshness.check()?;
        if let Some(deployment) = &route.deployment
            && !deployment.spec.protected
        {
            return Permit::new(deployment, None, route).map(Admission::Permitted);
        }
        let token = match presented {
            Presented::Bad(bad) => return Err(Denied::Credential(bad)),
            Presented::Nothing => return Err(Denied::NoCredential),
            Presented::Session { cross_site: true, .. } => return Err(Denied::CrossSite),
            Presented::Session { session, .. } => session.token,
            Presented::Token(token) => token,
        };
        let proven = self.verifier.authenticate_now(self.index, token, now);
        let Some(proven) = proven.map_err(|reason| not_proven(reason, presented))? else {
            return Ok(Admission::Unproven(token));
        };
        if let Presented::Session { session, .. } = presented
            && !(session.counts && is_session_at(&proven, route, now))
        {
            return Err(Denied::SessionOver);
        }
        let refused = |reason| Denied::Refused { reason, token: proven.entry().uid };
        decision::decide(proven.entry().holder(), route.destination(), now).map_err(refused)?;
        // The decision has refused what leads nowhere.
        let Some(deployment) = &route.deployment else { return Err(refused(Reason::NoSuchDeployment)) };
        let permit = Permit::new(deployment, Some(proven), route)?;
        if let Some(token) = &permit.token {
            self.usage.note(token, now);
        }
        Ok(Admission::Permitted(permit))
    }
}

/// Whether the session is one of this very Deployment and has not run out. Whatever else ended it has its own reason.
fn is_session_at(proven: &ProvenToken, route: &Route<'_>, now: Timestamp) -> bool {
    let here = |deployment: &Arc<Deployment>| proven.entry().is_session_of(&deployment.spec.name);
    let over = decision::alive(&proven.entry().holder(), now) == Err(Reason::Rotated);
    route.deployment.as_ref().is_some_and(here) && !over
}

/// A session that is not known has ended: nobody at a browser can mend a cookie.
fn not_proven(reason: NotProven, presented: Presented<'_>) -> Denied {
    match (reason, presented) {
        (NotProven::Invalid, Presented::Session { .. }) => Denied::SessionOver,
        (NotProven::Invalid, _) => Denied::InvalidToken,
        (NotProven::StoreAway, _) => Denied::Unavailable(Unavailable::StoreAway),
        (NotProven::Unavailable(VerifyError::Overloaded), _) => Denied::Unavailable(Unavailable::Overloaded),
        (NotProven::Unavailable(error @ VerifyError::Broken(_)), _) => {
            tracing::error!(%error, "a token could not be verified");
            Denied::Unavailable(Unavailable::Internal)
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

impl Permit {
    fn new(deployment: &Arc<Deployment>, token: Option<ProvenToken>, route: &Route<'_>) -> Result<Self, Denied> {
        if deployment.spec.terminated {
            return Err(Denied::Terminated);
        }
        Ok(Self { deployment: Arc::clone(deployment), token, prefix_len: route.prefix_len })
    }

    pub fn spec(&self) -> &DeploymentSpec {
        &self.deployment.spec
    }

    pub fn metrics(&self) -> &DeploymentMetrics {
        &self.deployment.metrics
    }

    /// Where the request may go, in the order in which it is tried.
    pub fn upstreams(&self) -> Cow<'_, [Arc<Upstream>]> {
        upstream::in_order(&self.deployment.upstreams, Instant::now)
    }

    /// `None`: the Deployment is public.
    pub fn token_uid(&self) -> Option<TokenUid> {
        self.token.as_ref().map(|token| token.entry().uid)
    }

    /// What the upstream is shown. `None`: nothing.
    pub fn upstream_credential(&self) -> Option<&Arc<UpstreamCredential>> {
        self.deployment.credential.as_ref()
    }

    /// Counts a request, if the Deployment limits how often one may ask. `None`: it does not. `from` is whose request it is
    /// where no token is asked for.
    ///
    /// # Errors
    /// [`Left`]: it was one too many.
    pub fn count(&self, from: Network) -> Result<Option<Left>, Left> {
        self.deployment.rate_limit.as_ref().map(|limit| limit.count(self.flow(from))).transpose()
    }

    /// Asks for a slot, if the Deployment takes only so many requests at once. `None`: any number. `from`: as above.
    ///
    /// # Errors
    /// [`Full`].
    pub fn ask_for_slot(&self, from: Network) -> Result<Option<Asked>, Full> {
        let concurrency = self.deployment.spec.settings.concurrency();
        concurrency.map(|concurrency| self.deployment.slots.ask(self.flow(from), &concurrency)).transpose()
    }

    fn flow(&self, from: Network) -> Flow {
        self.token_uid().map_or(Flow::Network(from), Flow::Token)
    }

    /// Whether the caller has shown nothing but a browser's cookie.
    pub fn is_of_session(&self) -> bool {
        self.token.as_ref().is_some_and(|token| token.entry().is_session_of(&self.deployment.spec.name))
    }

    /// Bytes of the path that named the Deployment, to be taken off.
    pub fn prefix_len(&self) -> usize {
        self.prefix_len
    }

    /// Whether a new request with this token would be admitted now: running work ends with the permission for it.
    ///
    /// # Errors
    /// The [`Reason`] that a new request would get.
    pub fn still_holds(&self, index: &TokenIndex, now: Timestamp) -> Result<(), Reason> {
        let Some(token) = &self.token else { return Ok(()) };
        let destination = Destination::Deployment(self.deployment.spec.name.as_str());
        match index.find(token.lookup_id()) {
            Some(entry) => decision::decide(entry.holder(), destination, now),
            // A browser session that ended long ago, or a token that the store does not have any more.
            None => decision::decide(token.entry().holder(), destination, now).and(Err(Reason::Gone)),
        }
    }
}
