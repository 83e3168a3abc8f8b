//! Waiting until the running gateways decide by a change, and saying so in the same words after every command.

use super::{environment::OpenStore, error::CliError, exit::ExitStatus, output::Printer};
use crate::{
    service::receipt::{NoReceipt, Receipt, receipt},
    store::{Committed, Point},
};

/// What it means that a gateway decides without the change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// It refuses what it could allow: no matter, if that gateway has ended.
    Grants,
    /// It may allow what it should refuse, and so may one that nobody has heard of since.
    Withdraws,
}

impl OpenStore {
    /// Prints what was made, then waits. In this order, because a secret is shown once, whatever comes of the waiting. It
    /// takes the store: what is printed besides is read before the change, since no error may deny it.
    ///
    /// # Errors
    /// Those of `print`, after the waiting; [`ExitStatus::Unconfirmed`] if a gateway does not answer that `effect`
    /// matters to. The change is made in any case.
    pub fn settle<T>(
        self,
        committed: Committed<T>,
        effect: Effect,
        printer: &mut Printer<'_>,
        print: impl FnOnce(&T, &mut Printer<'_>) -> Result<(), CliError>,
    ) -> Result<(), CliError> {
        self.print_and_wait(committed, effect, printer, print).1
    }

    /// As [`Self::settle`]. Then `look` shows what the store has now, if it can be read.
    ///
    /// # Errors
    /// As [`Self::settle`].
    pub fn settle_and_look<T>(
        self,
        committed: Committed<T>,
        effect: Effect,
        printer: &mut Printer<'_>,
        print: impl FnOnce(&T, &mut Printer<'_>) -> Result<(), CliError>,
        look: impl FnOnce(&Self, &T, &mut Printer<'_>) -> Result<(), CliError>,
    ) -> Result<(), CliError> {
        let (value, settled) = self.print_and_wait(committed, effect, printer, print);
        if look(&self, &value, printer).is_err() {
            printer.note("The change is made. What the store has now could not be read.");
        }
        settled
    }

    fn print_and_wait<T>(
        &self,
        committed: Committed<T>,
        effect: Effect,
        printer: &mut Printer<'_>,
        print: impl FnOnce(&T, &mut Printer<'_>) -> Result<(), CliError>,
    ) -> (T, Result<(), CliError>) {
        let (value, point) = committed.into_parts();
        let printed = print(&value, printer);
        let waited = point.map_or(Ok(()), |point| self.wait(&point, effect, printer));
        (value, printed.and(waited))
    }

    fn wait(&self, point: &Point, effect: Effect, printer: &mut Printer<'_>) -> Result<(), CliError> {
        let receipt = match self.runtime.block_on(receipt(self.context().store, point)) {
            Ok(receipt) => receipt,
            Err(lost @ NoReceipt::Lost) => return Err(unconfirmed(&lost.to_string(), "make the change again")),
            Err(NoReceipt::Store(_)) => {
                let message = "the change is made, but the store could not be asked which gateways have applied it";
                return Err(unconfirmed(
                    message,
                    "running gateways apply it as soon as they have read the store again",
                ));
            }
        };
        let Receipt { replicas, acknowledged, took_ms, missing } = receipt;
        if replicas == 0 {
            printer.note("No gateway is running on this store; those that start will apply the change.");
        } else {
            printer.note(&format!(
                "{acknowledged} of {replicas} running gateways have applied the change, after {took_ms} ms."
            ));
        }
        if missing.is_empty() {
            return Ok(());
        }
        let (names, all_running) = (missing.join(", "), acknowledged == replicas);
        if all_running && effect == Effect::Grants {
            printer.note(&format!("Not heard of lately, and taken to have ended: {names}."));
            return Ok(());
        }
        let message = format!("the change is made, but not applied by {names}, which may still decide without it");
        let name = missing.first().map_or("NAME", String::as_str);
        let hint = format!(
            "`bento-gateway replica list` shows when a gateway was last heard of. Once you know that it has ended, as after a \
             restart of its machine, `bento-gateway replica remove {name}` takes it off the list"
        );
        Err(unconfirmed(&message, &hint))
    }
}

fn unconfirmed(message: &str, hint: &str) -> CliError {
    CliError::new(ExitStatus::Unconfirmed, message, hint)
}
