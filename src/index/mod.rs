//! What decisions are made from: the tokens and the routing table, in memory, read without a lock.
//!
//! Request paths only read here. The one writer is [`follow`], which keeps this like the store. Start with
//! [`tokens`], then [`verify`], which alone can say that a secret is proven.

pub mod balance;
pub mod budgets;
pub mod census;
pub mod deployment;
pub mod enforcement;
pub mod entry;
pub mod follow;
pub mod freshness;
pub mod health;
pub mod history;
pub mod hold;
pub mod rate;
pub mod routes;
mod shard;
pub mod slots;
pub mod token_writer;
pub mod tokens;
pub mod upstream;
pub mod usage;
pub mod verify;
mod waiting_room;
pub mod wake_hook;
