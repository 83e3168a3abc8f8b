//! API tokens.

mod create;
mod expire;
pub(super) mod expiry;
mod leaked;
mod revoke;
mod rotate;
mod update;

pub use create::{CreateToken, create};
pub use expire::{GRACE, record_expiry};
pub use expiry::{Expiry, InvalidExpiry, RefusedExpiry};
pub use leaked::revoke_leaked;
pub use revoke::revoke;
pub use rotate::rotate;
pub use update::{UpdateToken, update};
