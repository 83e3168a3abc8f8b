//! A Deployment: a named upstream with its hosts and settings.

use std::{collections::BTreeSet, fmt, net::SocketAddr, num::NonZeroU32, str::FromStr, time::Duration};

use serde::{Deserialize, Serialize};

use super::{
    as_text::as_text,
    budget::{Budget, Measure},
    cors_origin::CorsOrigin,
    host::HostName,
    preset::Preset,
    probing::{ProbePath, Probing},
    rate::Rate,
    timestamp::Timestamp,
    units::LONGEST,
    wake_url::WakeUrl,
    weighted_url::WeightedUrl,
};

/// Longest name: it must fit a DNS label, because `NAME.<base_domain>` reaches the Deployment.
const MAX_NAME_LEN: usize = 63;

/// `[a-z0-9]([a-z0-9-]*[a-z0-9])?`, at most 63 characters.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct DeploymentName(Box<str>);

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a Deployment name; expected 1 to 63 lower-case letters, digits and inner hyphens")]
pub struct InvalidDeploymentName {
    text: String,
}

/// Everything that is configured about one Deployment. A field that a later release has stored is ignored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeploymentSpec {
    pub name: DeploymentName,
    /// Custom host names, in addition to `NAME.<base_domain>`.
    #[serde(default)]
    pub hosts: BTreeSet<HostName>,
    /// The address of a listener that serves only this Deployment. `None`: requests reach it by host or path.
    #[serde(default)]
    pub listen: Option<SocketAddr>,
    /// At least one.
    pub upstreams: Vec<WeightedUrl>,
    #[serde(default = "yes")]
    pub protected: bool,
    /// The gateway forwards nothing to it until somebody starts it again.
    #[serde(default)]
    pub terminated: bool,
    #[serde(default)]
    pub settings: DeploymentSettings,
}

/// How the gateway handles requests to a Deployment. The defaults stand in `[proxy.deployment_defaults]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct DeploymentSettings {
    /// Passes `Authorization` on to the upstream.
    pub forward_authorization: bool,
    /// Allows content types that name pickle, and `Payload-*` headers (CVE-2025-27520, CVE-2025-32375).
    pub allow_pickle: bool,
    /// Which of its routes are closed.
    pub preset: Preset,
    /// Probes of platforms need no token, where the preset says they ask.
    pub public_probes: bool,
    /// Limit from the start of the attempt until the connection to the upstream is established, with TLS if it has any.
    #[serde(with = "millis", rename = "connect_timeout_ms")]
    pub connect_timeout: Duration,
    /// Limit from the end of the request until the first byte of the response.
    #[serde(with = "millis", rename = "first_byte_timeout_ms")]
    pub first_byte_timeout: Duration,
    /// Limit of the time without a byte in either direction, during the response and while a request body is awaited.
    #[serde(with = "millis", rename = "idle_timeout_ms")]
    pub idle_timeout: Duration,
    /// Largest request body in bytes. `None`: no limit.
    pub max_body_bytes: Option<u64>,
    /// Pages of these origins may call it and read the responses (CORS). Empty: the upstream decides.
    pub cors_origins: BTreeSet<CorsOrigin>,
    /// How many requests of this gateway may be under way at once. `None`: any number.
    pub max_in_flight: Option<NonZeroU32>,
    /// How many requests may wait until it is their turn.
    pub max_queue: u32,
    /// Limit of the time that one waits.
    #[serde(with = "millis", rename = "queue_timeout_ms")]
    pub queue_timeout: Duration,
    /// How often each token may ask; each network where no token is asked for. `None`: as often as it likes.
    pub rate_limit: Option<Rate>,
    /// What may be used of it in all. `None`: any amount.
    pub budget: Option<Budget>,
    /// What each token may use of it. `None`: any amount.
    pub token_budget: Option<Budget>,
    /// Looks for the tokens of a language model that responses say they have cost.
    pub count_llm_tokens: bool,
    /// How long after an answer its upstreams are asked again whether they are ready. `None`: they are not asked.
    #[serde(with = "optional_millis", rename = "probe_interval_ms")]
    pub probe_interval: Option<Duration>,
    /// What they are asked for.
    pub probe_path: ProbePath,
    /// Limit of connection and answer together.
    #[serde(with = "millis", rename = "probe_timeout_ms")]
    pub probe_timeout: Duration,
    /// How many answers in a row it takes until one counts as ready again.
    pub probe_rise: NonZeroU32,
    /// Until it counts as not ready.
    pub probe_fall: NonZeroU32,
    /// Until then requests pass that the decision would refuse. `None`: none does.
    pub enforce_from: Option<Timestamp>,
    /// Time in which the share of an upstream that was away grows to all of it. Zero: it has all of it at once.
    #[serde(with = "millis", rename = "slow_start_ms")]
    pub slow_start: Duration,
    /// How many requests may wait while the service is not there. 0: they get an error at once.
    pub hold: u32,
    /// Limit of the time that one waits for it.
    #[serde(with = "millis", rename = "hold_timeout_ms")]
    pub hold_timeout: Duration,
    /// What is called so that somebody starts the service, once requests wait for it. `None`: nothing.
    pub wake_url: Option<WakeUrl>,
}

/// How many requests a Deployment takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Concurrency {
    pub max_in_flight: NonZeroU32,
    pub max_queue: u32,
}

impl Default for DeploymentSettings {
    fn default() -> Self {
        Self {
            forward_authorization: false,
            allow_pickle: false,
            preset: Preset::Raw,
            public_probes: false,
            connect_timeout: Duration::from_secs(5),
            first_byte_timeout: Duration::from_secs(600),
            idle_timeout: Duration::from_secs(600),
            max_body_bytes: None,
            cors_origins: BTreeSet::new(),
            max_in_flight: None,
            max_queue: 100,
            queue_timeout: Duration::from_secs(60),
            rate_limit: None,
            budget: None,
            token_budget: None,
            count_llm_tokens: false,
            probe_interval: None,
            probe_path: ProbePath::default(),
            probe_timeout: Duration::from_secs(5),
            probe_rise: TWICE,
            probe_fall: TWICE,
            enforce_from: None,
            slow_start: Duration::from_secs(10),
            hold: 0,
            hold_timeout: Duration::from_secs(120),
            wake_url: None,
        }
    }
}

impl DeploymentSettings {
    /// The setting of a budget that would never end, since nobody counts what it is of. `None`: there is none.
    pub fn uncounted_budget(&self) -> Option<&'static str> {
        let uncounted =
            |budget: Option<Budget>| !self.count_llm_tokens && budget.is_some_and(|it| it.of == Measure::LlmTokens);
        [("budget", self.budget), ("token_budget", self.token_budget)]
            .into_iter()
            .find_map(|(setting, budget)| uncounted(budget).then_some(setting))
    }

    /// `None`: it takes any number of requests.
    pub fn concurrency(&self) -> Option<Concurrency> {
        self.max_in_flight.map(|max_in_flight| Concurrency { max_in_flight, max_queue: self.max_queue })
    }

    /// `None`: its upstreams are not asked.
    pub fn probing(&self) -> Option<Probing> {
        let (path, timeout) = (self.probe_path.clone(), self.probe_timeout);
        let (rise, fall) = (self.probe_rise, self.probe_fall);
        self.probe_interval.map(|interval| Probing { interval, path, timeout, rise, fall })
    }

    /// Whether a page of `origin`, as browsers write it, may call the Deployment.
    pub fn allows_origin(&self, origin: &str) -> bool {
        let one = || CorsOrigin::one(origin).is_some_and(|origin| self.cors_origins.contains(&origin));
        self.cors_origins.contains(&CorsOrigin::Any) || one()
    }
}

impl DeploymentSpec {
    /// Whether the preset closes `path`, which has no prefix of the Deployment any more: at any upstream, since none is chosen
    /// yet.
    pub fn closes(&self, path: &str) -> bool {
        let preset = self.settings.preset;
        preset != Preset::Raw && self.upstreams.iter().any(|upstream| preset.closes(upstream.url.base_path(), path))
    }
}

impl DeploymentName {
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether a name can begin with `text`.
    pub fn is_name_prefix(text: &str) -> bool {
        !text.starts_with('-') && (1..=MAX_NAME_LEN).contains(&text.len()) && text.bytes().all(is_name_byte)
    }
}

fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-'
}

fn yes() -> bool {
    true
}

const TWICE: NonZeroU32 = NonZeroU32::MIN.saturating_add(1);

/// Durations as whole milliseconds, in the store and in the API.
mod millis {
    use super::*;

    pub fn serialize<S: serde::Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
    }

    pub fn deserialize<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        // What an earlier release has stored may be longer.
        u64::deserialize(deserializer).map(|millis| Duration::from_millis(millis).min(LONGEST))
    }
}

/// The same of one that there may be.
mod optional_millis {
    use super::*;

    pub fn serialize<S: serde::Serializer>(duration: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
        duration.map(|duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)).serialize(serializer)
    }

    pub fn deserialize<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
        let millis = Option::<u64>::deserialize(deserializer)?;
        Ok(millis.map(|millis| Duration::from_millis(millis).min(LONGEST)))
    }
}

// === text ===

impl FromStr for DeploymentName {
    type Err = InvalidDeploymentName;

    fn from_str(text: &str) -> Result<Self, InvalidDeploymentName> {
        if Self::is_name_prefix(text) && !text.ends_with('-') {
            Ok(Self(text.into()))
        } else {
            Err(InvalidDeploymentName { text: text.to_owned() })
        }
    }
}

as_text!(DeploymentName);

impl fmt::Display for DeploymentName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_dns_labels() {
        for name in ["a", "0", "summarization", "a-b", "a--b", &"a".repeat(63)] {
            assert_eq!(name.parse::<DeploymentName>().unwrap().as_str(), name);
        }
        for name in ["", "-a", "a-", "A", "a_b", "a.b", "a b", "ä", "a*", &"a".repeat(64)] {
            assert!(name.parse::<DeploymentName>().is_err(), "{name:?}");
        }
    }

    #[test]
    fn a_spec_survives_the_store() {
        let spec = DeploymentSpec {
            name: "summarization".parse().unwrap(),
            hosts: BTreeSet::from(["bento.example.com".parse().unwrap()]),
            listen: Some("127.0.0.1:9000".parse().unwrap()),
            upstreams: vec!["http://127.0.0.1:3000".parse().unwrap()],
            protected: false,
            terminated: false,
            settings: DeploymentSettings { max_body_bytes: Some(7), ..DeploymentSettings::default() },
        };
        let text = serde_json::to_string(&spec).unwrap();
        assert_eq!(serde_json::from_str::<DeploymentSpec>(&text).unwrap(), spec);
    }
}
