//! The permission to forward one request, which only this file can give.
//!
//! Forwarding takes a [`Permit`] and its fields are private here: a path that forgets to ask does not compile.

use std::{borrow::Cow, sync::Arc, time::Instant};

mod kept;
mod limits;
mod running;
mod start;

use self::kept::ShownFor;
pub use self::kept::other_routes;
use super::credential::Presented;
pub use super::denied::{Denied, Unavailable};
use crate::{
    domain::{
        decision::{self, Reason},
        deployment::DeploymentSpec,
        preset::Preset,
        timestamp::Timestamp,
        token::TokenUid,
        token_text::PresentedToken,
        upstream_credential::UpstreamCredential,
    },
    gateway::Gateway,
    http::network::Network,
    index::{
        entry::Entry,
        follow::Index,
        routes::{Deployment, Route},
        upstream::Upstream,
        usage::Usage,
        verify::{ProvenToken, Verifier},
    },
    system::{self, clock::ClockReading},
    telemetry::request_metrics::DeploymentMetrics,
};

/// Allowed: this request to this Deployment, by this token or because none is asked for.
#[derive(Clone)]
pub struct Permit {
    deployment: Arc<Deployment>,
    grant: Grant,
    /// The preset that closes the route, which a scope of the token opens. `None`: it is open.
    closed_by: Option<Preset>,
    prefix_len: usize,
}

/// Why a request may pass.
#[derive(Clone)]
enum Grant {
    /// The Deployment is public.
    Public,
    /// It asks for the health of the service, which takes no token.
    Probe,
    Token(ProvenToken),
    /// The token opens some routes only, and this is one.
    Narrow(Arc<ShownFor>),
    /// It would be refused if the Deployment were enforced already. Boxed, as it is rare and large.
    LetThrough(Box<LetThrough>),
}

#[derive(Clone)]
struct LetThrough {
    reason: Denied,
    /// Whom the credential has shown, which nobody is told: whether somebody takes the right away is asked as long as the
    /// request runs. `None`: nobody who is known.
    shown: Option<Arc<ShownFor>>,
}

/// What is asked in order to decide.
pub struct Gate<'a> {
    index: &'a Index,
    verifier: &'a Verifier,
    usage: &'a Usage,
}

/// Why there is no decision that permits, at once.
enum Stop<'p> {
    Denied(Denied),
    /// This token's secret was never proven in this process.
    Unproven(PresentedToken<'p>),
}

/// Whom the credential shows.
struct Shown<T> {
    token: T,
    /// `Some`: a browser's session, and whether it can be one of the Deployment that was asked for.
    session: Option<bool>,
}

/// What the table says to a request that may pass.
struct Ruled<'r, T> {
    deployment: &'r Arc<Deployment>,
    /// `None`: no token is asked for.
    token: Option<T>,
    /// Whether the token opens some routes only.
    narrow: bool,
}

/// What the decision permits, for whoever only wants to know.
pub struct Ruling {
    pub deployment: Arc<Deployment>,
    /// `None`: no token is asked for.
    pub token: Option<Arc<Entry>>,
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
        self.once_proven(route, presented, from, |route| self.decide(route, presented, ClockReading::now())).await
    }

    /// The same for a request to the Deployment: until it is enforced, those pass that would be refused. Nothing is said of
    /// who they are.
    ///
    /// # Errors
    /// [`Denied`].
    pub async fn admit_or_let_through(
        &self,
        route: &mut Route<'_>,
        presented: Presented<'_>,
        from: Network,
    ) -> Result<Permit, Denied> {
        let reason = match self.admit(route, presented, from).await {
            Ok(permit) => return Ok(permit),
            Err(reason) => reason,
        };
        let Some(deployment) = &route.deployment else { return Err(reason) };
        if !reason.is_let_through() || route.closed_by().is_some() || !deployment.enforcement.lets_through(system::now)
        {
            return Err(reason);
        }
        let deployment = Arc::clone(running(deployment)?);
        let shown = self.shown(presented, system::now()).ok();
        let shown = shown.map(|shown| Arc::new(ShownFor::new(shown.token, route.asked())));
        let grant = Grant::LetThrough(Box::new(LetThrough { reason, shown }));
        Ok(Permit { deployment, grant, closed_by: None, prefix_len: route.prefix_len })
    }

    /// What [`Gate::admit`] would decide at `at`, by what is known now. Nothing is counted and no use is noted.
    ///
    /// # Errors
    /// [`Denied`].
    pub async fn explain(
        &self,
        route: &mut Route<'_>,
        presented: Presented<'_>,
        at: Timestamp,
        from: Network,
    ) -> Result<Ruling, Denied> {
        let decided = |route: &Route<'_>| {
            self.index.freshness.check().map_err(Denied::from)?;
            let Ruled { deployment, token, .. } = self.rule(route, at, || self.shown(presented, at))?;
            let token = token.map(|token: ProvenToken| token.shared_entry());
            Ok(Ruling { deployment: Arc::clone(deployment), token })
        };
        self.once_proven(route, presented, from, decided).await
    }

    /// The same for the newest secret of a token, which nobody shows. `token` of `None`: the index does not know it.
    ///
    /// # Errors
    /// [`Denied`].
    pub fn explain_token(&self, route: &Route<'_>, token: Option<Arc<Entry>>, at: Timestamp) -> Result<Ruling, Denied> {
        self.index.freshness.check()?;
        let unknown = || match self.index.freshness.is_current() {
            true => Denied::InvalidToken,
            false => Denied::Unavailable(Unavailable::StoreAway),
        };
        let shown = || Ok::<_, Denied>(Shown { token: token.ok_or_else(unknown)?, session: None });
        let Ruled { deployment, token, .. } = self.rule(route, at, shown)?;
        Ok(Ruling { deployment: Arc::clone(deployment), token })
    }

    /// Decides once the token has been verified, if it has to be.
    async fn once_proven<'p, R>(
        &self,
        route: &mut Route<'_>,
        presented: Presented<'p>,
        from: Network,
        decide: impl Fn(&Route<'_>) -> Result<R, Stop<'p>>,
    ) -> Result<R, Denied> {
        loop {
            match decide(route) {
                Ok(decided) => return Ok(decided),
                Err(Stop::Denied(reason)) => return Err(reason),
                Err(Stop::Unproven(token)) => {
                    // Boxed, as it is rare and large.
                    let proven = Box::pin(self.verifier.prove(&self.index.tokens, token, from)).await;
                    *route = self.index.route(route.key);
                    proven.map_err(|reason| Denied::not_proven(reason, presented))?;
                }
            }
        }
    }

    fn decide<'p>(&self, route: &Route<'_>, presented: Presented<'p>, now: ClockReading) -> Result<Permit, Stop<'p>> {
        self.index.freshness.check_at(now).map_err(Denied::from)?;
        let now = now.wall;
        let Ruled { deployment, token, narrow } = self.rule(route, now, || self.shown(presented, now))?;
        let deployment = Arc::clone(deployment);
        if let Some(token) = &token {
            self.usage.note(token, now);
        }
        // Nobody asks it of what needs no token.
        let closed_by = token.as_ref().and_then(|_| route.closed_by());
        let grant = match token {
            Some(token) if narrow => Grant::Narrow(Arc::new(ShownFor::new(token, route.asked()))),
            Some(token) => Grant::Token(token),
            None if deployment.spec.protected => Grant::Probe,
            None => Grant::Public,
        };
        Ok(Permit { deployment, grant, closed_by, prefix_len: route.prefix_len })
    }

    /// The decision table of `docs/architecture.md`, row by row. It never waits: what it reads is what holds now. `shown` is
    /// asked only where a token is needed.
    fn rule<'r, T: AsRef<Entry>, E: From<Denied>>(
        &self,
        route: &'r Route<'_>,
        now: Timestamp,
        shown: impl FnOnce() -> Result<Shown<T>, E>,
    ) -> Result<Ruled<'r, T>, E> {
        if let Some(deployment) = route.public_deployment() {
            return Ok(Ruled { deployment: running(deployment)?, token: None, narrow: false });
        }
        let Shown { token, session } = shown()?;
        let entry = token.as_ref();
        if let Some(counts) = session
            && !(counts && is_session_at(entry, route, now))
        {
            return Err(Denied::SessionOver.into());
        }
        let refused = |reason| Denied::Refused { reason, token: entry.uid };
        let scope = decision::decide(entry.holder(), route.destination(), route.asked(), now).map_err(refused)?;
        let narrow = scope.is_narrow();
        // The decision has refused what leads nowhere.
        let Some(deployment) = &route.deployment else { return Err(refused(Reason::NoSuchDeployment).into()) };
        Ok(Ruled { deployment: running(deployment)?, token: Some(token), narrow })
    }

    /// What was asked for, and what the token opens of the Deployment in its place. `None`: none is shown that counts.
    pub fn other_routes(&self, route: &Route<'_>, presented: Presented<'_>) -> Option<Box<str>> {
        let shown = self.shown(presented, system::now()).ok()?;
        Some(other_routes(shown.token.entry(), route))
    }

    /// Whom the credential of a request shows.
    fn shown<'p>(&self, presented: Presented<'p>, now: Timestamp) -> Result<Shown<ProvenToken>, Stop<'p>> {
        let (token, session) = match presented {
            Presented::Bad(bad) => return Err(Denied::Credential(bad).into()),
            Presented::Nothing => return Err(Denied::NoCredential.into()),
            Presented::Session { cross_site: true, .. } => return Err(Denied::CrossSite.into()),
            Presented::Session { session, .. } => (session.token, Some(session.counts)),
            Presented::Token(token) => (token, None),
        };
        let proven = self.verifier.authenticate_now(self.index, token, now);
        match proven.map_err(|reason| Denied::not_proven(reason, presented))? {
            Some(token) => Ok(Shown { token, session }),
            None => Err(Stop::Unproven(token)),
        }
    }
}

impl From<Denied> for Stop<'_> {
    fn from(reason: Denied) -> Self {
        Self::Denied(reason)
    }
}

fn running(deployment: &Arc<Deployment>) -> Result<&Arc<Deployment>, Denied> {
    if deployment.spec.terminated { Err(Denied::Terminated) } else { Ok(deployment) }
}

/// Whether the session is one of this very Deployment and has not run out. Whatever else ended it has its own reason.
fn is_session_at(entry: &Entry, route: &Route<'_>, now: Timestamp) -> bool {
    let here = |deployment: &Arc<Deployment>| entry.is_session_of(&deployment.spec.name);
    let over = decision::alive(&entry.holder(), now) == Err(Reason::Rotated);
    route.deployment.as_ref().is_some_and(here) && !over
}

impl Permit {
    pub fn spec(&self) -> &DeploymentSpec {
        &self.deployment.spec
    }

    pub fn metrics(&self) -> &DeploymentMetrics {
        &self.deployment.metrics
    }

    /// Where the request may go, in the order in which it is tried.
    pub fn upstreams(&self) -> Cow<'_, [Arc<Upstream>]> {
        self.deployment.upstreams.in_order(Instant::now)
    }

    /// `None`: no token is asked for, or the Deployment is not enforced yet and the caller would be refused.
    pub fn token_uid(&self) -> Option<TokenUid> {
        self.token().map(|token| token.entry().uid)
    }

    /// Whether it asks for the service's health, which takes no token. Nobody pays for it: it counts for no budget, takes no slot,
    /// and waits for no start.
    pub fn is_probe(&self) -> bool {
        matches!(self.grant, Grant::Probe)
    }

    fn token(&self) -> Option<&ProvenToken> {
        match &self.grant {
            Grant::Token(token) => Some(token),
            Grant::Narrow(shown) => Some(&shown.token),
            Grant::Public | Grant::Probe | Grant::LetThrough(_) => None,
        }
    }

    /// Whether its token opens some routes only, so that the request must not ask the service for another one. Where it would
    /// pass without a token, it may.
    pub fn is_bound_to_route(&self) -> bool {
        let passes_anyway = || self.closed_by.is_none() && self.deployment.enforcement.lets_through(system::now);
        matches!(self.grant, Grant::Narrow(_)) && !passes_anyway()
    }

    /// What the upstream is shown. `None`: nothing.
    pub fn upstream_credential(&self) -> Option<&Arc<UpstreamCredential>> {
        self.deployment.access.credential.as_ref()
    }

    /// Whether the caller has shown nothing but a browser's cookie.
    pub fn is_of_session(&self) -> bool {
        self.token().is_some_and(|token| token.entry().is_session_of(&self.deployment.spec.name))
    }

    /// When the API token that was shown ends by itself, or its secret, which a newer one replaces. `None`: never, or none was
    /// shown.
    pub fn token_ends(&self) -> Option<Timestamp> {
        if self.is_of_session() { None } else { self.token()?.entry().ends() }
    }

    /// Bytes of the path that named the Deployment, to be taken off.
    pub fn prefix_len(&self) -> usize {
        self.prefix_len
    }

    /// Why it would be refused if the Deployment were enforced already. `None`: it would not.
    pub fn let_through(&self) -> Option<Denied> {
        match &self.grant {
            Grant::LetThrough(passed) => Some(passed.reason),
            Grant::Public | Grant::Probe | Grant::Token(_) | Grant::Narrow(_) => None,
        }
    }
}
