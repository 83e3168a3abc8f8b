//! Looks at a gateway's surroundings as they are, and says what does not fit: before its first start, while it runs, and when
//! it does not.
//!
//! Nothing is changed or locked, and nothing secret is said. Each check has [`LIMIT`], and what it has not found by then is
//! unknown; what waits for others runs beside the rest.

mod certificates;
mod clocks;
mod descriptors;
mod files;
mod gateway;
mod listeners;
mod store;
mod trusted_proxies;
mod upstreams;

use std::{sync::Arc, time::Duration};

use serde::Serialize;

use crate::{
    config::{Loaded, Sources},
    system::System,
};

/// For each check.
const LIMIT: Duration = Duration::from_secs(5);

/// How something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    Ok,
    /// It cannot be told from here.
    Unknown,
    /// It works, and may not go on to, or lets somebody do more than they should.
    Warn,
    /// It does not work, or somebody can do what nobody should.
    Fail,
}

/// What one check has found of one thing.
#[derive(Clone, Debug, Serialize)]
pub struct Finding {
    /// Which check, of a fixed set of names.
    pub check: &'static str,
    pub status: Status,
    pub found: String,
    /// What to do. `None`: nothing.
    pub advice: Option<String>,
}

impl Finding {
    fn ok(check: &'static str, found: impl Into<String>) -> Self {
        Self { check, status: Status::Ok, found: found.into(), advice: None }
    }

    fn new(check: &'static str, status: Status, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { check, status, found: found.into(), advice: Some(advice.into()) }
    }

    fn unknown(check: &'static str, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self::new(check, Status::Unknown, found, advice)
    }

    fn warn(check: &'static str, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self::new(check, Status::Warn, found, advice)
    }

    fn fail(check: &'static str, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self::new(check, Status::Fail, found, advice)
    }
}

/// Whether something stands in the way of running a gateway here with this configuration. To be called within a runtime with
/// a timer, which is shut down in the background afterwards: a file system that hangs is not waited for.
pub async fn examine(loaded: &Loaded, sources: &Sources, system: Arc<dyn System>) -> Vec<Finding> {
    let config = &loaded.config;
    let certificates = beside("certificate", {
        let (config, now) = (config.clone(), system.now());
        move || certificates::examine(&config, now)
    });
    let files = beside("files", {
        let found = files::Files::of(loaded, sources);
        move || found.examine()
    });
    let ((stored, mut findings), gateway, certificates, files) =
        tokio::join!(store::examine(&config.store, &*system), gateway::examine(config), certificates, files);
    let upstreams = upstreams::examine(&config.declared, &stored).await;
    findings
        .extend([gateway, upstreams, listeners::examine(config, &stored), trusted_proxies::examine(config)].concat());
    findings.extend([vec![descriptors::examine(config)], certificates, files].concat());
    findings
}

/// On a thread of its own: reading a file can hang.
async fn beside(check: &'static str, work: impl FnOnce() -> Vec<Finding> + Send + 'static) -> Vec<Finding> {
    match tokio::time::timeout(LIMIT, tokio::task::spawn_blocking(work)).await {
        Ok(Ok(findings)) => findings,
        Ok(Err(_)) => vec![Finding::unknown(check, "the check itself has failed", "please report this")],
        Err(_) => {
            let found = format!("the files could not be read within {LIMIT:?}");
            vec![Finding::unknown(check, found, "see whether their file system answers")]
        }
    }
}
