//! The one integration binary: each module tests one promise through the public interface, `harness` has what they
//! share. A module of its own per promise, not a binary: linking is what takes the time.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test fails by panicking and reports what it measured, in its helpers, too"
)]

mod bento;
mod cli;
mod config;
mod durability;
mod first_verification;
mod harness;
mod outage;
mod propagation;
mod proxy_decision;
mod proxy_framing;
mod proxy_headers;
mod proxy_routing;
mod proxy_streaming;
mod reload;
mod secrecy;
mod start_up;
mod store_contract;
mod usage;
