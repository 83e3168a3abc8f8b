//! My API Tokens: listed, looked at, created, changed, given a new secret, deleted.

mod create;
mod delete;
mod form;
mod issued;
mod list;
mod rotate;
mod row;
mod show;
mod update;

pub use create::{create, new};
pub use delete::{confirm_delete, delete};
pub use list::list;
pub use rotate::{confirm_rotate, rotate};
pub use row::scope_label;
pub use show::show;
pub use update::{edit, update};

use crate::service::receipt::Receipt;

/// How far a change has come.
fn receipt_text(receipt: Option<&Receipt>) -> String {
    let Some(Receipt { replicas, acknowledged, took_ms, .. }) = receipt else {
        return "It could not be confirmed that every gateway has applied this change.".to_owned();
    };
    let gateways = if *replicas == 1 { "gateway" } else { "gateways" };
    if acknowledged == replicas {
        format!("Applied on {replicas} {gateways} within {took_ms} ms.")
    } else {
        format!("Applied on {acknowledged} of {replicas} {gateways} within {took_ms} ms.")
    }
}
