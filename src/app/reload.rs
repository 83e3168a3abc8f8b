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
/// When they are read again after they have: somebody may still be writing.
const SETTLE: Duration = Duration::from_millis(500);

pub struct Reloader {
    sources: Sources,
    /// The one in effect.
    config: Config,
    management: Arc<Management>,
    declared: watch::Sender<Declared>,
    certificates: Certificates,
    hangup: Signal,
    files: Files,
}

/// What was last seen of the files, as fingerprints.
struct Files {
    taken: u64,
    /// `Some`: it was another one when they were read last.
    changed: Option<u64>,
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
        let files = Files { taken: fingerprint(&config::watched_files(config, &sources)), changed: None };
        Ok(Self { sources, config: config.clone(), management, declared, certificates, hangup, files })
    }

    pub async fn run(mut self) {
        loop {
            let pause = if self.files.changed.is_some() { SETTLE } else { RELOAD_POLL };
            let asked = tokio::select! {
                _ = self.hangup.recv() => true,
                () = tokio::time::sleep(pause) => false,
            };
            let seen = fingerprint(&config::watched_files(&self.config, &self.sources));
            if !self.files.are_to_be_taken(seen, asked) {
                continue;
            }
            if !asked && self.is_emptied() {
                error!("the configuration file is empty, and was not reloaded; if that is meant, send SIGHUP");
            } else {
                self.reload();
            }
        }
    }

    /// As if somebody had begun to write it, or the disk were full.
    fn is_emptied(&self) -> bool {
        let content = self.sources.file.as_ref().and_then(|file| std::fs::read(file).ok());
        content.is_some_and(|content| content.trim_ascii().is_empty())
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

impl Files {
    /// Whether what was seen now is to be taken: when somebody asks, or when it is new and was the same the last time. A file
    /// that is being written is another one each time.
    fn are_to_be_taken(&mut self, seen: u64, asked: bool) -> bool {
        let before = self.changed.take();
        if !asked && seen == self.taken {
            return false;
        }
        if !asked && before != Some(seen) {
            self.changed = Some(seen);
            return false;
        }
        self.taken = seen;
        true
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_being_written_is_not_taken() {
        let mut files = Files { taken: 0, changed: None };
        for (seen, taken) in
            [(0, false), (1, false), (2, false), (3, false), (3, true), (3, false), (0, false), (3, false), (4, false)]
        {
            assert_eq!(files.are_to_be_taken(seen, false), taken, "{seen}");
        }
        assert!(files.are_to_be_taken(4, false) && !files.are_to_be_taken(4, false));
        // Whoever sends the signal says that it is whole.
        assert!(files.are_to_be_taken(5, true) && files.are_to_be_taken(5, true) && !files.are_to_be_taken(5, false));
    }
}
