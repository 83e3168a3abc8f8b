//! What the proxy and the management listener share: the index and what is asked of it, the settings in force, the store.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use arc_swap::ArcSwap;
use ipnet::IpNet;
use tokio::runtime::Handle;

use crate::{
    config::{LimitConfig, ManagementConfig, TokenConfig},
    index::{follow::Index, usage::Usage, verify::Verifier},
    service::receipt::{self, Receipt},
    store::SharedStore,
};

/// What all workers read.
pub struct Gateway {
    pub index: Arc<Index>,
    pub verifier: Verifier,
    pub usage: Usage,
    pub settings: ArcSwap<Settings>,
    /// Empty until the store was reached for the first time. Of the proxy, only a browser's sign-in asks for it.
    pub opened: OnceLock<SharedStore>,
    /// Runs what waits for the store.
    pub background: Handle,
}

impl Gateway {
    /// Waits until every gateway decides by what was just committed, this one first. `None`: it could not be learned; the
    /// change is made all the same.
    pub async fn wait_until_applied(&self, store: &SharedStore) -> Option<Receipt> {
        self.index.poll_now();
        let receipt = receipt::receipt(store).await;
        receipt.inspect_err(|error| tracing::warn!(%error, "a change is made, but no receipt could be had")).ok()
    }
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
    pub browser: BrowserSettings,
}

/// What a browser's sign-in needs of the configuration.
#[derive(Clone, Debug)]
pub struct BrowserSettings {
    pub tokens: TokenConfig,
    pub session_lifetime: Duration,
    pub management: ManagementConfig,
}
