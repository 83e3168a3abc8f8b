//! Deployments: listed, looked at, added, changed, terminated and started, removed.

mod add;
mod fields;
mod form;
mod list;
mod remove;
mod row;
mod show;
mod update;

pub use add::{add, new};
pub use list::list;
pub use remove::{confirm_remove, remove};
pub use show::show;
pub use update::{edit, start, terminate, update};

use super::visitor::Admin;
use crate::{
    management::error::ApiError,
    service::{
        self,
        deployments::{Listed, Source},
        lookup,
    },
};

/// A Deployment that can be changed here.
///
/// # Errors
/// 404, and 409 for one of the configuration.
async fn editable(admin: &Admin, name: &str) -> Result<Listed, ApiError> {
    let listed = lookup::deployment(&admin.context(), name).await?;
    match listed.source {
        Source::Store => Ok(listed),
        Source::Configuration => Err(service::Error::Declared(listed.spec.name).into()),
    }
}
