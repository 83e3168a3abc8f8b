//! Whether a request that may pass has to wait until the service has started.

use std::sync::Arc;

use super::Permit;
use crate::index::{
    follow::Index,
    hold::{Asked, Full, Place},
};

impl Permit {
    /// Asks whether the request may go to the service now. `place`: what it has of an earlier call.
    ///
    /// # Errors
    /// [`Full`].
    pub fn ask_to_go(&self, place: Option<Place>) -> Result<Asked, Full> {
        let deployment = &self.deployment;
        match self.most_held() {
            0 => Ok(Asked::Goes(None)),
            most => deployment.hold.ask(place, deployment.upstreams.none_is_ready(), most),
        }
    }

    /// The request has found nobody at the service. `None`: it gets an error; else the place at which it waits.
    ///
    /// # Errors
    /// [`Full`].
    pub fn found_nobody(&self, place: Option<Place>) -> Result<Option<Place>, Full> {
        match self.most_held() {
            0 => Ok(None),
            most => self.deployment.hold.found_nobody(place, most).map(Some),
        }
    }

    fn most_held(&self) -> u32 {
        if self.is_probe() { 0 } else { self.deployment.spec.settings.hold }
    }

    /// Whether the Deployment is as it was when the permit was given.
    pub fn is_current(&self, index: &Index) -> bool {
        let routes = index.routes.load();
        routes.named(&self.deployment.spec.name).is_some_and(|now| Arc::ptr_eq(now, &self.deployment))
    }
}
