//! What the proxy and the management listener share: the index and what is asked of it, the settings in force, the store.

use std::{
    pin::{Pin, pin},
    sync::{Arc, OnceLock, atomic::AtomicBool},
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use ipnet::IpNet;
use tokio::runtime::Handle;

use crate::{
    config::{LimitConfig, ManagementConfig, TokenConfig},
    domain::{
        explanation::{Explanation, InvalidQuestion, Question},
        identity_fields::IdentityFields,
        origin::Origin,
        token::TokenUid,
        user::UserId,
    },
    http::{lane::Lane, limit::Limit, network::Network},
    index::{follow::Index, usage::Usage, verify::Verifier},
    service::{
        self,
        receipt::{Receipt, Receipts},
        refusals::Refusals,
    },
    store::{Committed, Priority, SharedStore, Store},
    telemetry::change_metrics::ChangeMetrics,
};

/// What the proxy would decide about a request, which nobody makes.
pub type Explain = for<'a> fn(
    &'a Gateway,
    Question<'a>,
    Network,
) -> Pin<Box<dyn Future<Output = Result<Explanation, InvalidQuestion>> + Send + 'a>>;

/// What all workers read.
pub struct Gateway {
    pub index: Arc<Index>,
    pub verifier: Verifier,
    pub usage: Usage,
    /// The proxy's: whoever else is asked why a request is refused has no rules of its own.
    pub explain: Explain,
    pub settings: ArcSwap<Settings>,
    /// Empty until the store was reached for the first time. Of the proxy, only a browser's sign-in asks for it.
    pub opened: OnceLock<SharedStore>,
    /// Runs what waits for the store.
    pub background: Handle,
    pub sign_ins: SignIns,
    /// Until they are written down.
    pub refusals: Refusals,
    pub changes: ChangeMetrics,
    pub receipts: Receipts,
    /// Whether the configuration that was read last has a problem, so that an older one is in effect.
    pub reload_failed: AtomicBool,
}

impl Gateway {
    /// Opens what was committed once every gateway decides by it, this one first. `None`: nothing was changed, or the
    /// receipt could not be had; the change is made all the same, unless the store has lost it, which the log says.
    pub async fn settle<T>(&self, store: &Store, committed: Committed<T>) -> (T, Option<Receipt>) {
        let (value, point) = committed.into_parts();
        let Some(point) = point else { return (value, None) };
        let started = Instant::now();
        self.index.poll_now();
        let store = store.at(Priority::Urgent);
        let receipt = async { self.receipts.of(&store, &point).await };
        let (mut receipt, mut applied) = (pin!(receipt), pin!(self.index.applied_up_to(point.seq)));
        let receipt = tokio::select! {
            biased;
            () = &mut applied => {
                self.changes.applied.observe(started.elapsed());
                receipt.await
            }
            receipt = &mut receipt => receipt,
        };
        let settled = match &receipt {
            Ok(receipt) if receipt.missing.is_empty() => &self.changes.settled,
            Ok(_) => &self.changes.unsettled,
            Err(_) => &self.changes.failed,
        };
        settled.observe(started.elapsed());
        let receipt = receipt.inspect_err(|error| tracing::warn!(%error, "no receipt of a change could be had"));
        (value, receipt.ok())
    }
}

/// Bounds what callers of the proxy make the store do, which is signing browsers in and out.
pub struct SignIns {
    pub signing_in: Lane<Network>,
    /// Apart from those: nobody is kept signed in because others sign in.
    pub signing_out: Lane<Network>,
    of_token: Limit<TokenUid>,
    of_person: Limit<UserId>,
}

impl SignIns {
    /// Whether a browser may sign in with this token now.
    ///
    /// # Errors
    /// [`service::Error::SignInTooOften`].
    pub fn allow(&self, token: TokenUid) -> service::Result<()> {
        if self.of_token.allows(token) { Ok(()) } else { Err(service::Error::SignInTooOften) }
    }

    /// The same for somebody who is signed in at the console.
    ///
    /// # Errors
    /// [`service::Error::SignInTooOften`].
    pub fn allow_person(&self, user: UserId) -> service::Result<()> {
        if self.of_person.allows(user) { Ok(()) } else { Err(service::Error::SignInTooOften) }
    }
}

impl Default for SignIns {
    fn default() -> Self {
        Self {
            signing_in: Lane::new(8, 4),
            signing_out: Lane::new(8, 4),
            of_token: Limit::per_minute(6, 30),
            of_person: Limit::per_minute(6, 30),
        }
    }
}

/// The part of the configuration that a reload may change, as the proxy needs it.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The organization's name, which challenges name.
    pub realm: String,
    pub trusted_proxies: Vec<IpNet>,
    /// Their connections to the proxy listener begin with the PROXY protocol.
    pub proxy_protocol: bool,
    pub limits: LimitConfig,
    /// Shared with what outlives a reload.
    pub identity_fields: Arc<IdentityFields>,
    pub http2: bool,
    /// How long an idle connection to an upstream is kept.
    pub upstream_keep_alive: Duration,
    /// As [`TokenConfig::expiry_notice`].
    pub expiry_notice: Option<Duration>,
    pub browser: BrowserSettings,
}

/// What a browser's sign-in needs of the configuration.
#[derive(Clone, Debug)]
pub struct BrowserSettings {
    pub tokens: TokenConfig,
    pub session_lifetime: Duration,
    pub management: ManagementConfig,
    /// How browsers reach the common listener, as configured. `None`: by its address.
    pub public_url: Option<Origin>,
    /// As [`ProxyConfig::path_prefix_sessions`](crate::config::ProxyConfig::path_prefix_sessions).
    pub path_prefix_sessions: bool,
}
