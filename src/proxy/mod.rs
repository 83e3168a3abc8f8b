//! The data plane: callers' traffic only. The management listener is elsewhere, and nothing here writes to the index or
//! waits for the store.
//!
//! [`pipeline`] is the path of a request, top to bottom; every other file is one of its steps. [`worker`] is around it:
//! threads, listeners, connections.

pub mod connection;
pub mod cors;
pub mod credential;
pub mod deadlines;
pub mod headers;
pub mod pages;
pub mod permit;
pub mod pipeline;
pub mod readyz_tarpit;
pub mod record;
pub mod rejection;
pub mod target;
pub mod tls;
pub mod upstream;
pub mod websocket;
pub mod worker;
