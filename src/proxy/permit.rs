//! The permission to forward one request, which only this file can give.
//!
//! Forwarding takes a [`Permit`] and its fields are private here: a path that forgets to ask does not compile.

use std::sync::Arc;

use super::{
    credential::{BadCredential, Credential},
    rejection::Denied,
};
use crate::{
    domain::{
        decision::{self, Destination, Reason},
        deployment::DeploymentSpec,
        timestamp::Timestamp,
        token::TokenUid,
    },
    index::{
        follow::Index,
        routes::{Deployment, Route, Upstream},
        tokens::TokenIndex,
        usage::Usage,
        verify::{ProvenToken, Verifier},
    },
    system,
};

/// Allowed: this request to this Deployment, by this token or because the Deployment is public.
#[derive(Clone)]
pub struct Permit {
    deployment: Arc<Deployment>,
    /// `None`: the Deployment is public.
    token: Option<ProvenToken>,
    prefix_len: usize,
}

/// What is asked in order to decide.
pub struct Gate<'a> {
    pub index: &'a Index,
    pub verifier: &'a Verifier,
    pub usage: &'a Usage,
}

impl Gate<'_> {
    /// The decision, after the first verification of a token where there was none yet.
    ///
    /// That one waits, and a request must not get by with what held before: after it the routing table, the index and
    /// the clock are asked anew. So once a change has its receipt, no request is admitted against it.
    ///
    /// # Errors
    /// [`Denied`].
    pub async fn admit(
        &self,
        route: &Route<'_>,
        credential: Result<Option<Credential<'_>>, BadCredential>,
    ) -> Result<Permit, Denied> {
        let mut undecided = match self.decide(route, credential, system::now())? {
            Admission::Permit(permit) => return Ok(permit),
            Admission::Unproven(token) => token,
        };
        loop {
            self.prove(undecided).await?;
            let route = self.index.routes.load().find(route.key);
            match self.decide(&route, credential, system::now())? {
                Admission::Permit(permit) => return Ok(permit),
                // The follower has replaced what was just verified by an entry that has never been.
                Admission::Unproven(token) => undecided = token,
            }
        }
    }

    /// The decision table of `docs/architecture.md`, row by row. It does not wait: what it reads is what holds now.
    fn decide<'c>(
        &self,
        route: &Route<'_>,
        credential: Result<Option<Credential<'c>>, BadCredential>,
        now: Timestamp,
    ) -> Result<Admission<'c>, Denied> {
        self.index.freshness.check().map_err(|reason| Denied::Unavailable(reason.into()))?;
        if let Some(deployment) = &route.deployment
            && !deployment.spec.protected
        {
            if deployment.spec.terminated {
                return Err(Denied::Terminated);
            }
            return Ok(Admission::Permit(Permit::new(deployment, None, route)));
        }
        let credential = credential?.ok_or(Denied::NoCredential)?;
        let Some(proven) = self.authenticate(credential)? else { return Ok(Admission::Unproven(credential)) };
        if let Credential::Session(_) = credential {
            let deployment = route.deployment.as_ref().ok_or(Denied::NoCredential)?;
            let here = proven.entry().is_session_of(&deployment.spec.name);
            let over = decision::alive(&proven.entry().holder(), now) == Err(Reason::Rotated);
            if !here || over {
                return Err(Denied::SessionOver);
            }
        }
        let decided = decision::decide(proven.entry().holder(), route.requested(), now);
        let refused = |reason| Denied::Refused { reason, token: proven.entry().uid };
        match (decided, &route.deployment) {
            (Ok(()), Some(deployment)) if deployment.spec.terminated => Err(Denied::Terminated),
            (Ok(()), Some(deployment)) => {
                self.usage.note(&proven, now);
                Ok(Admission::Permit(Permit::new(deployment, Some(proven), route)))
            }
            (Ok(()), None) => Err(refused(Reason::NoSuchDeployment)),
            (Err(reason), _) => Err(refused(reason)),
        }
    }

    /// `None`: the secret was never proven in this process.
    fn authenticate(&self, credential: Credential<'_>) -> Result<Option<ProvenToken>, Denied> {
        let proven = self.verifier.authenticate_now(self.index, credential.text());
        proven.map_err(|reason| Denied::of(reason, credential))
    }

    async fn prove(&self, credential: Credential<'_>) -> Result<(), Denied> {
        let proven = self.verifier.prove(&self.index.tokens, credential.text()).await;
        proven.map_err(|reason| Denied::of(reason, credential))
    }
}

/// What can be decided at once.
enum Admission<'c> {
    Permit(Permit),
    /// Nothing, before this has been proven.
    Unproven(Credential<'c>),
}

impl Permit {
    fn new(deployment: &Arc<Deployment>, token: Option<ProvenToken>, route: &Route<'_>) -> Self {
        Self { deployment: Arc::clone(deployment), token, prefix_len: route.prefix_len }
    }

    pub fn spec(&self) -> &DeploymentSpec {
        &self.deployment.spec
    }

    /// Where the request may go, least loaded first.
    pub fn upstreams(&self) -> Vec<&Arc<Upstream>> {
        self.deployment.by_load()
    }

    /// `None`: the Deployment is public.
    pub fn token_uid(&self) -> Option<TokenUid> {
        self.token.as_ref().map(|token| token.entry().uid)
    }

    /// Whether nothing but a browser's cookie was shown.
    pub fn is_of_session(&self) -> bool {
        self.token.as_ref().is_some_and(|token| token.entry().is_session_of(&self.deployment.spec.name))
    }

    /// Bytes of the path that named the Deployment, to be taken off.
    pub fn prefix_len(&self) -> usize {
        self.prefix_len
    }

    /// Whether the token could begin this work now: running work ends with the permission for it.
    ///
    /// # Errors
    /// The [`Reason`] that a new request would get.
    pub fn still_holds(&self, index: &TokenIndex, now: Timestamp) -> Result<(), Reason> {
        let Some(token) = &self.token else { return Ok(()) };
        let destination = Destination::Deployment(self.deployment.spec.name.as_str());
        match index.find(token.entry().lookup_id()) {
            Some(entry) => decision::decide(entry.holder(), destination, now),
            None => decision::decide(token.entry().holder(), destination, now),
        }
    }
}
