//! Whether a request that runs may go on.

use super::{Denied, Grant, Permit};
use crate::{
    domain::{
        decision::{self, Destination, Reason},
        narrowing::Asked,
        timestamp::Timestamp,
    },
    index::{follow::Index, tokens::TokenIndex, verify::ProvenToken},
};

impl Permit {
    /// Whether a new request like this one would be admitted now, to the Deployment as it is now: running work ends with the
    /// permission for it. A Deployment that is terminated or gone takes no new requests, and what runs goes on.
    ///
    /// # Errors
    /// What a new request would get.
    pub fn still_holds(&self, index: &Index, now: Timestamp) -> Result<(), Denied> {
        let routes = index.routes.load();
        let deployment = routes.named(&self.deployment.spec.name).unwrap_or(&self.deployment);
        let holds = match &self.grant {
            // What it asks for was not kept: its token opened everything.
            Grant::Token(token) => self.holds_for(token, Asked::Everything, &index.tokens, now),
            Grant::Narrow(shown) => self.holds_for(&shown.token, shown.asked(), &index.tokens, now),
            Grant::Public | Grant::Probe | Grant::LetThrough(_) if !deployment.spec.protected => Ok(()),
            Grant::Probe if deployment.spec.settings.public_probes => Ok(()),
            Grant::Public | Grant::Probe => Err(Denied::NoCredential),
            Grant::LetThrough(passed) => match (&passed.shown, passed.reason) {
                (Some(shown), reason) => {
                    let holds = self.holds_for(&shown.token, shown.asked(), &index.tokens, now);
                    if matches!(reason, Denied::Refused { .. }) { holds } else { holds.and(Err(reason)) }
                }
                (None, reason) => Err(reason),
            },
        };
        holds.or_else(|reason| match reason.is_let_through() && deployment.enforcement.lets_through(|| now) {
            true => Ok(()),
            false => Err(reason),
        })
    }

    fn holds_for(
        &self,
        token: &ProvenToken,
        asked: Asked<'_>,
        index: &TokenIndex,
        now: Timestamp,
    ) -> Result<(), Denied> {
        let destination = Destination::route(self.deployment.spec.name.as_str(), self.closed_by);
        let refused = |reason| Denied::Refused { reason, token: token.entry().uid };
        let decided = match index.find(token.lookup_id()) {
            Some(entry) => decision::decide(entry.holder(), destination, asked, now).map(drop),
            // A browser session that ended long ago, or a token that the store does not have any more.
            None => decision::decide(token.entry().holder(), destination, asked, now).and(Err(Reason::Gone)),
        };
        decided.map_err(refused)
    }
}
