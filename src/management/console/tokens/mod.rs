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
