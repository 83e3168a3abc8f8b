//! What of the Deployment's limits a request takes.

use super::Permit;
use crate::{
    http::network::Network,
    index::{
        budgets::Exhausted,
        rate::Left,
        slots::{Asked, Flow, Full, Slot},
    },
    system,
};

impl Permit {
    /// Counts a request, if the Deployment limits how often one may ask. `None`: it does not. `from` is whose request it is
    /// where no token is asked for.
    ///
    /// # Errors
    /// [`Left`]: it was one too many.
    pub fn count(&self, from: Network) -> Result<Option<Left>, Left> {
        self.deployment.rate_limit.as_ref().map(|limit| limit.count(self.flow(from))).transpose()
    }

    /// Whether something is left of what may be used of the Deployment.
    ///
    /// # Errors
    /// [`Exhausted`].
    pub fn check_budgets(&self) -> Result<(), Exhausted> {
        let Some(budgets) = self.deployment.budgets.as_ref().filter(|_| !self.is_probe()) else { return Ok(()) };
        budgets.check(self.token_uid(), system::now())
    }

    /// Asks for a slot, if the Deployment takes only so many requests at once. `None`: any number. `from`: as above. `waited`:
    /// what the request has waited for, which was for this Deployment unless that was changed meanwhile.
    ///
    /// # Errors
    /// [`Full`].
    pub fn ask_for_slot(&self, from: Network, waited: Option<Slot>) -> Result<Option<Asked>, Full> {
        let concurrency = self.deployment.spec.settings.concurrency().filter(|_| !self.is_probe());
        let Some(concurrency) = concurrency else { return Ok(None) };
        let slots = &self.deployment.slots;
        match waited.filter(|slot| slot.is_of(slots)) {
            Some(slot) => Ok(Some(Asked::Granted(slot))),
            None => slots.ask(self.flow(from), &concurrency).map(Some),
        }
    }

    /// Whether requests wait until this one gives back its slot.
    pub fn is_waited_for(&self) -> bool {
        self.deployment.spec.settings.concurrency().is_some() && self.deployment.slots.load().1 > 0
    }

    fn flow(&self, from: Network) -> Flow {
        self.token_uid().map_or(Flow::Network(from), Flow::Token)
    }
}
