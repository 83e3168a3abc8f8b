//! The data plane: callers' traffic only. Nothing here writes to the index, and no thread of it waits for the store: what a
//! browser's sign-in asks of the store, a background thread does.
//!
//! [`pipeline`] is the path of a request, top to bottom. [`request`], [`permit`], [`upstream_request`], [`forward`] and
//! [`reply`] are its stages. [`worker`] and [`connection`] are around it: threads, listeners, connections.

mod client_login;
pub mod connection;
mod connection_clock;
pub mod connection_state;
pub mod cors;
pub mod credential;
pub mod deadlines;
mod denied;
mod downstream_io;
mod expiry_field;
pub mod explain;
pub mod forward;
mod forward_auth;
mod frame_heads;
pub mod headers;
mod identity_fields;
pub mod local_executor;
mod metering;
mod override_fields;
mod own_paths;
pub mod pages;
pub mod permit;
pub mod pipeline;
pub mod queue;
mod rate_fields;
mod readyz_tarpit;
pub mod record;
pub mod rejection;
pub mod reply;
pub mod request;
mod request_body;
pub mod request_id;
pub mod state;
mod streams;
pub mod target;
mod unheard;
pub mod upstream;
pub mod upstream_request;
pub mod websocket;
mod websocket_frames;
pub mod worker;
