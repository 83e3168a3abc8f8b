//! Deployments that are kept in the store, beside those that the configuration declares.

mod add;
pub mod address;
mod list;
mod remove;
mod update;

pub use add::add;
pub use list::{Listed, Source, declared_elsewhere, list};
pub use remove::remove;
pub use update::{UpdateDeployment, UpdateSettings, start, terminate, update};
