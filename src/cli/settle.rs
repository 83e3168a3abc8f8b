//! Waiting until the running gateways decide by a change, and saying so in the same words after every command.

use super::{environment::OpenStore, error::CliError, output::Printer};
use crate::{
    service::receipt::{Receipt, receipt},
    store::Committed,
};

impl OpenStore {
    /// Prints what was made, then waits. In this order, because a secret is shown once, whatever comes of the waiting.
    ///
    /// # Errors
    /// Those of `print`. That a gateway does not answer is none: the change is made.
    pub fn settle<T>(
        &self,
        committed: Committed<T>,
        printer: &mut Printer<'_>,
        print: impl FnOnce(&T, &mut Printer<'_>) -> Result<(), CliError>,
    ) -> Result<(), CliError> {
        let (value, seq) = committed.into_parts();
        print(&value, printer)?;
        if let Some(seq) = seq {
            self.wait(seq, printer);
        }
        Ok(())
    }

    fn wait(&self, seq: i64, printer: &mut Printer<'_>) {
        match self.block_on(receipt(self.context().store, seq)) {
            Ok(receipt) if receipt.replicas == 0 && receipt.missing.is_empty() => {
                printer.note("No gateway is running on this store; those that start will apply the change.");
            }
            Ok(Receipt { replicas, acknowledged, took_ms, missing }) => {
                printer.note(&format!(
                    "{acknowledged} of {replicas} running gateways have applied the change, after {took_ms} ms."
                ));
                if !missing.is_empty() {
                    printer.note(&format!(
                        "Not applied by: {}. If one of them runs, it may still decide without the change. Once it has ended, \
                         `bento-gateway replica remove NAME` takes it off the list.",
                        missing.join(", ")
                    ));
                }
            }
            Err(_) => printer.note("Running gateways apply the change as soon as they have read the store again."),
        }
    }
}
