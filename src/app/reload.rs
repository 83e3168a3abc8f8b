//! Takes over a changed configuration while requests go on: all of it, or nothing.
//!
//! On SIGHUP, and when a file changes. The contents of the files are compared, because editors and Kubernetes replace files
//! in ways that file notifications do not show reliably.

use std::{
    collections::hash_map::DefaultHasher,
    hash::{Hash, Hasher},
    io,
    path::PathBuf,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::watch,
};
use tokio_rustls::rustls::ServerConfig;
use tracing::{error, info, warn};

use super::{Certificates, management_certificate, settings};
use crate::{
    config::{self, Config, Sources},
    domain::routing::Declared,
    http::tls,
    management::Management,
};

/// How often the files are read to see whether they have changed.
const RELOAD_POLL: Duration = Duration::from_secs(1);

pub struct Reloader {
    sources: Sources,
    /// The one in effect.
    config: Config,
    management: Arc<Management>,
    declared: watch::Sender<Declared>,
    certificates: Certificates,
    hangup: Signal,
    seen: u64,
}

/// As the files have them. `None`: clear text.
struct NewCertificates {
    proxy: Option<Arc<ServerConfig>>,
    management: Option<Arc<ServerConfig>>,
}

impl Reloader {
    /// # Errors
    /// If SIGHUP cannot be listened for.
    pub fn new(
        config: &Config,
        sources: Sources,
        management: Arc<Management>,
        declared: watch::Sender<Declared>,
        certificates: Certificates,
    ) -> io::Result<Self> {
        let hangup = signal(SignalKind::hangup())?;
        let seen = fingerprint(&config::watched_files(config, &sources));
        Ok(Self { sources, config: config.clone(), management, declared, certificates, hangup, seen })
    }

    pub async fn run(mut self) {
        loop {
            let asked = tokio::select! {
                _ = self.hangup.recv() => true,
                () = tokio::time::sleep(RELOAD_POLL) => false,
            };
            let seen = fingerprint(&config::watched_files(&self.config, &self.sources));
            if asked || seen != self.seen {
                self.seen = seen;
                self.reload();
            }
        }
    }

    fn reload(&mut self) {
        let prepared = self.prepare();
        self.management.gateway.reload_failed.store(prepared.is_err(), Relaxed);
        match prepared {
            Ok((config, kept, NewCertificates { proxy, management })) => {
                for key in kept {
                    warn!(key, "this setting has changed; restart the gateway for it to take effect");
                }
                self.certificates.proxy.store(proxy);
                self.certificates.management.store(management);
                self.management.gateway.settings.store(Arc::new(settings(&config)));
                self.management.config.store(Arc::new(config.clone()));
                self.declared.send_replace(config.declared.clone());
                self.config = config;
                info!(deployments = self.config.declared.deployments.len(), "the configuration was reloaded");
            }
            Err(problems) => error!("the configuration was not reloaded; the old one stays in effect: {problems}"),
        }
    }

    /// Reads and checks everything before anything is replaced. What is fixed at the start is the old one's; the keys are
    /// those of its new values.
    fn prepare(&self) -> Result<(Config, Vec<&'static str>, NewCertificates), String> {
        let new = config::load(&self.sources).map_err(|problems| problems.to_string())?;
        let (config, kept) = self.config.take_over(new);
        let files = config.proxy.tls.as_ref();
        let proxy = files.map(|files| tls::load(&files.certificate, &files.key, config.proxy.http2)).transpose();
        let proxy = proxy.map_err(|error| error.to_string())?;
        let management = management_certificate(&config).map_err(|error| error.to_string())?;
        Ok((config, kept, NewCertificates { proxy, management }))
    }
}

/// A hash of the files' contents. A file that cannot be read counts as empty.
fn fingerprint(files: &[PathBuf]) -> u64 {
    let mut hasher = DefaultHasher::new();
    for file in files {
        std::fs::read(file).unwrap_or_default().hash(&mut hasher);
    }
    hasher.finish()
}
