//! The data plane: callers' traffic only. The management listener is elsewhere, and nothing here writes to the index or
//! waits for the store.
//!
//! [`pipeline`] is the path of a request, top to bottom; every other file is one of its steps. [`worker`] is around it:
//! threads, listeners, connections.

pub mod connection;
pub mod credential;
pub mod forwarding;
pub mod headers;
pub mod permit;
pub mod pipeline;
pub mod record;
pub mod refusal;
pub mod restraint;
pub mod target;
pub mod tls;
pub mod upstream;
pub mod watch;
pub mod websocket;
pub mod worker;

use std::{sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use ipnet::IpNet;

use crate::{
    config::LimitConfig,
    index::{follow::Index, usage::Usage, verify::Verifier},
};

/// What all workers read.
pub struct Gateway {
    pub index: Arc<Index>,
    pub verifier: Verifier,
    pub usage: Usage,
    pub settings: ArcSwap<Settings>,
}

/// The part of the configuration that a reload may change, as the proxy needs it.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The organization's name, which challenges name.
    pub realm: String,
    pub trusted_proxies: Vec<IpNet>,
    pub limits: LimitConfig,
    pub http2: bool,
    /// How long an idle connection to an upstream is kept.
    pub upstream_keep_alive: Duration,
}
