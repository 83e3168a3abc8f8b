//! How often each token, or network, may ask a Deployment.
//!
//! This gateway counts its own requests. Several gateways each let as many through.

use std::time::{Duration, Instant};

use super::slots::Flow;
use crate::{
    domain::rate::Rate,
    http::limit::{Limit, Spent},
};

/// What the requests of each [`Flow`] are counted with.
pub struct RateLimit {
    pub rate: Rate,
    limit: Limit<Flow>,
}

/// What a request leaves of what its token may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Left {
    pub rate: Rate,
    /// How many more may come now.
    pub requests: u32,
    /// Until all of them are given back; of a request that was one too many, until the next one is.
    pub wait: Duration,
}

impl RateLimit {
    pub fn new(rate: Rate) -> Self {
        Self { rate, limit: Limit::new(rate.requests.get(), rate.interval()) }
    }

    /// # Errors
    /// [`Left`] of a request that was one too many, which is not counted.
    pub fn count(&self, flow: Flow) -> Result<Left, Left> {
        let Spent { allowed, left: requests, wait } = self.limit.spend(flow, Instant::now());
        let left = Left { rate: self.rate, requests, wait };
        if allowed { Ok(left) } else { Err(left) }
    }
}

impl std::fmt::Debug for RateLimit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "RateLimit({})", self.rate)
    }
}
