//! File descriptors: the gateway takes as many as it may have, and divides them so that no listener can use up another's.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tracing::{info, warn};

use crate::config::Config;

/// What the process itself needs: files, runtimes, listeners, resolving names, connections of the telemetry listener.
const RESERVE: usize = 64;
/// What a connection from a caller can need: its own, and one to an upstream.
const PER_CALLER: usize = 2;
/// The management listener's share of a limit that is too low, as a divisor.
const MANAGEMENT_SHARE: usize = 8;
/// A share never falls below this, or the gateway could not be operated at all.
const LEAST: usize = 4;

/// How many connections each may have open.
#[derive(Debug, PartialEq, Eq)]
pub struct Shares {
    /// From callers, over all workers.
    pub proxy: usize,
    /// To upstreams, over all workers, idle ones included: one for each caller, and what nobody else is given. An HTTP/2 caller
    /// can use a hundred.
    pub upstreams: usize,
    pub management: usize,
}

/// Raises the soft limit of open files to the hard one, as any process may. What it is then; `usize::MAX`: unlimited.
pub fn raise() -> usize {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current != maximum
        && let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })
    {
        warn!(%error, "the limit of open files could not be raised");
    }
    number(getrlimit(Resource::Nofile).current)
}

/// As far as [`raise`] could raise it in a process that is started as this one is. Nothing is changed.
pub fn reachable() -> usize {
    number(getrlimit(Resource::Nofile).maximum)
}

/// `None`: unlimited.
fn number(limit: Option<u64>) -> usize {
    limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX))
}

/// Divides `limit`, and says how. Nothing is taken from what is configured as long as it fits.
pub fn share(limit: usize, config: &Config) -> Shares {
    let shares = of(limit, config);
    info!(
        open_files = limit,
        callers = shares.proxy,
        upstreams = shares.upstreams,
        management = shares.management,
        "connections that may be open"
    );
    if !shares.are_as_configured(config) {
        warn!(
            open_files = limit,
            proxy = shares.proxy,
            management = shares.management,
            "the limit of open files is too low for proxy.limits.max_connections and management.limits.max_connections, \
             which are lowered to what fits; raise the limit (LimitNOFILE=, ulimit -Hn)"
        );
    }
    shares
}

/// The same, without a word.
pub fn of(limit: usize, config: &Config) -> Shares {
    let (proxy, management) = (config.proxy.limits.max_connections, config.management.limits.max_connections);
    divide(limit, proxy, management, usize::try_from(config.store.max_connections).unwrap_or(usize::MAX))
}

impl Shares {
    /// Whether nothing had to be lowered.
    pub fn are_as_configured(&self, config: &Config) -> bool {
        let (proxy, management) = (&config.proxy.limits, &config.management.limits);
        (self.proxy, self.management) == (proxy.max_connections, management.max_connections)
    }
}

/// `proxy` and `management` are what is configured.
fn divide(limit: usize, proxy: usize, management: usize, store: usize) -> Shares {
    let management = management.min((limit / MANAGEMENT_SHARE).max(LEAST));
    let rest = limit.saturating_sub(management).saturating_sub(store).saturating_sub(RESERVE);
    let proxy = proxy.min((rest / PER_CALLER).max(LEAST));
    Shares { proxy, upstreams: rest.saturating_sub(proxy).max(LEAST), management }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_leaves_the_others_their_descriptors() {
        for (limit, proxy, upstreams, management) in [
            (usize::MAX, 10_000, usize::MAX - 10_330, 256),
            (65_536, 10_000, 55_206, 256),
            (20_330, 10_000, 10_000, 256),
            (16_384, 8_027, 8_027, 256),
            (1024, 411, 411, 128),
            (256, 75, 75, 32),
            (16, 4, 4, 4),
        ] {
            let shares = divide(limit, 10_000, 256, 10);
            assert_eq!(shares, Shares { proxy, upstreams, management }, "{limit}");
            assert!(limit < 100 || proxy + upstreams + management + 10 + RESERVE <= limit);
        }
    }
}
