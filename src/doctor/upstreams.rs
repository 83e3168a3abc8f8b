//! Upstreams: whether they take connections and are ready, and whether somebody reaches them without the gateway.

mod around;

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::Semaphore,
    task::JoinSet,
    time::{Instant, timeout_at},
};

use self::around::{Around, Listening};
use super::{Finding, LIMIT, Status, store::Stored};
use crate::{
    domain::{
        deployment::{DeploymentName, DeploymentSpec},
        probing::ProbePath,
        routing::Declared,
        upstream_access::{TlsPeer, UpstreamAccess},
        upstream_credential::UpstreamCredential,
        upstream_url::UpstreamUrl,
    },
    http::{
        readiness::{NotReady, Question},
        upstream_tls,
    },
};

const CHECK: &str = "upstream";
const AROUND: &str = "direct_access";
const AT_ONCE: usize = 32;
/// For all together, however many there are.
const LIMIT_OF_ALL: Duration = Duration::from_secs(30);

/// An upstream that gets requests.
struct Target {
    deployment: DeploymentName,
    url: UpstreamUrl,
    tls: Option<TlsPeer>,
    credential: Option<Arc<UpstreamCredential>>,
    path: ProbePath,
    timeout: Duration,
    /// Whether requests go elsewhere when it says that it is not ready.
    probed: bool,
    protected: bool,
}

pub async fn examine(declared: &Declared, stored: &Stored) -> Vec<Finding> {
    let mut findings = Vec::new();
    if stored.is_err() {
        let advice = "see what is said of the store";
        findings.push(Finding::unknown(CHECK, "the Deployments of the store are not known", advice));
    }
    let stored = stored.as_deref().unwrap_or_default().iter().filter(|spec| !declared.declares(&spec.name));
    let specs = declared.deployments.iter().chain(stored);
    let targets: Vec<Arc<Target>> = specs.flat_map(|spec| targets(spec, declared)).map(Arc::new).collect();
    if targets.is_empty() && findings.is_empty() {
        let advice = "`bento-gateway deployment add NAME --upstream URL`";
        findings.push(Finding::unknown(CHECK, "there is no Deployment that runs", advice));
    }
    findings.extend(all(&targets).await);
    findings
}

/// None of a Deployment that gets no requests.
fn targets(spec: &DeploymentSpec, declared: &Declared) -> Vec<Target> {
    if spec.terminated {
        return Vec::new();
    }
    let access: UpstreamAccess = declared.access.get(&spec.name).cloned().unwrap_or_default();
    let probing = spec.settings.probing();
    let target = |url: &UpstreamUrl| Target {
        deployment: spec.name.clone(),
        url: url.clone(),
        tls: upstream_tls::peer(&access, url),
        credential: access.credential.clone(),
        path: spec.settings.probe_path.clone(),
        timeout: probing.as_ref().map_or(LIMIT, |probing| probing.timeout.min(LIMIT)),
        probed: probing.is_some(),
        protected: spec.protected,
    };
    spec.upstreams.iter().filter(|upstream| upstream.weight > 0).map(|upstream| target(&upstream.url)).collect()
}

async fn all(targets: &[Arc<Target>]) -> Vec<Finding> {
    let (deadline, places) = (Instant::now() + LIMIT_OF_ALL, Arc::new(Semaphore::new(AT_ONCE)));
    let listening = Arc::new(Listening::read());
    let mut asking = JoinSet::new();
    for (at, target) in targets.iter().enumerate() {
        let (target, places, listening) = (Arc::clone(target), Arc::clone(&places), Arc::clone(&listening));
        asking.spawn(async move {
            let _place = places.acquire().await;
            (at, target.examine(&listening).await)
        });
    }
    let mut found: Vec<Option<Vec<Finding>>> = targets.iter().map(|_| None).collect();
    while let Ok(Some(done)) = timeout_at(deadline, asking.join_next()).await {
        if let Ok((at, findings)) = done {
            found[at] = Some(findings);
        }
    }
    let unasked = |target: &Target| {
        let found = format!("{} was not asked within {LIMIT_OF_ALL:?}, as there are so many", target.named());
        vec![Finding::unknown(CHECK, found, "ask again for it alone, with a configuration that has only this one")]
    };
    let both = targets.iter().zip(found);
    both.flat_map(|(target, found)| found.unwrap_or_else(|| unasked(target))).collect()
}

impl Target {
    fn named(&self) -> String {
        format!("{} of {}", self.url, self.deployment)
    }

    async fn examine(&self, listening: &Listening) -> Vec<Finding> {
        let answer = self.ask(self.credential.as_deref()).await;
        let answers = !matches!(answer, Err(NotReady::NoConnection(_)));
        let mut findings = vec![self.readiness(answer)];
        // A public Deployment is for everybody in any case.
        if self.protected && answers {
            findings.push(self.way_around(listening).await);
        }
        findings
    }

    async fn ask(&self, credential: Option<&UpstreamCredential>) -> Result<(), NotReady> {
        let (url, tls, path) = (&self.url, self.tls.as_ref(), &self.path);
        Question { url, tls, credential, path, timeout: self.timeout }.ask().await
    }

    fn readiness(&self, answer: Result<(), NotReady>) -> Finding {
        let (named, path) = (self.named(), &self.path);
        match answer {
            Ok(()) => Finding::ok(CHECK, format!("{named} is ready ({path})")),
            Err(NotReady::Answer(status)) if !self.probed => {
                let found = format!("{named} answered {} at {path}", status.as_u16());
                let advice = "a Bento says there whether it is ready; of another service, name its path in probe_path";
                Finding::warn(CHECK, found, advice)
            }
            Err(error) => {
                let advice = "see whether the service runs, and whether the Deployment's upstream is right";
                Finding::fail(CHECK, format!("{named} is not ready ({path}): {error}"), advice)
            }
        }
    }

    async fn way_around(&self, listening: &Listening) -> Finding {
        if self.credential.is_some()
            && let Err(NotReady::Answer(status)) = self.ask(None).await
            && [401, 403].contains(&status.as_u16())
        {
            let found = format!("{} answers {} to who does not show its credential", self.named(), status.as_u16());
            return Finding::ok(AROUND, found);
        }
        let named = self.named();
        match listening.way_around(&self.url) {
            Around::ThisMachine => {
                Finding::ok(AROUND, format!("{named} is bound so that only this machine reaches it"))
            }
            Around::Others(address) => {
                let found = format!(
                    "{named} listens at {address}: whoever reaches this machine there needs no token. Whether a firewall \
                     keeps them out was not looked at"
                );
                Finding::warn(AROUND, found, "bind it to 127.0.0.1: bentoml serve --host 127.0.0.1")
            }
            Around::NotHere => {
                let found = format!("{named} is not on this machine: who else reaches it cannot be told from here");
                let advice = "let only the gateway reach it: a firewall, a NetworkPolicy, or upstream_credential_file";
                Finding::new(AROUND, Status::Unknown, found, advice)
            }
        }
    }
}
