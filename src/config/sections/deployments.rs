//! `[deployments.NAME]`, and the defaults that they share.

use std::{
    collections::BTreeSet, net::SocketAddr, num::NonZeroU32, ops::RangeInclusive, path::PathBuf, time::Duration,
};

use config::{Map, Value, ValueKind};

use crate::{
    config::{
        reader::{Invalid, Section, expect},
        sections::upstream_access,
    },
    domain::{
        budget::Budget,
        cors_origin::CorsOrigin,
        deployment::{DeploymentName, DeploymentSettings, DeploymentSpec},
        host::HostName,
        preset::Preset,
        probing::{ProbePath, SHORTEST_INTERVAL},
        rate::Rate,
        timestamp::{InvalidTime, Timestamp},
        units::LARGEST,
        upstream_access::UpstreamAccess,
        wake_url::{InvalidWakeUrl, WakeUrl},
        weighted_url::{self, InvalidWeightedUrl, WeightedUrl},
    },
};

const MILLISECOND: Duration = Duration::from_millis(1);
/// More than a gateway has connections for.
const IN_FLIGHT: RangeInclusive<u32> = 1..=1_000_000;
const QUEUED: RangeInclusive<u32> = 0..=1_000_000;
/// What a list of them may hold, with an example.
const UPSTREAMS: (&str, &str) = (
    "a list of URLs, or of tables with url and weight",
    "[\"http://10.0.0.7:3000\", { url = \"http://10.0.0.8:3000\", weight = 3 }]",
);
/// Answers in a row.
const IN_A_ROW: RangeInclusive<u32> = 1..=100;
const UPSTREAM_EXAMPLE: &str = "write for example upstream = \"http://127.0.0.1:3000\"";

/// `[proxy.deployment_defaults]`.
pub fn defaults(section: Section<'_>) -> Option<DeploymentSettings> {
    let settings = settings(&section, None);
    section.finish();
    settings
}

/// A declared Deployment. Even if parts of it are invalid, the others take part in the rules between Deployments.
pub struct Declared {
    /// As it is written, which may not be a valid name.
    pub key: String,
    pub hosts: Vec<HostName>,
    pub listen: Option<SocketAddr>,
    /// Without what has a problem, which was reported.
    pub access: UpstreamAccess,
    /// The files that it stands in.
    pub upstream_files: Vec<PathBuf>,
    /// `None`: it has a problem, which was reported.
    pub spec: Option<DeploymentSpec>,
}

pub fn read(section: &Section<'_>, defaults: &DeploymentSettings) -> Vec<Declared> {
    let names = section.names();
    names.into_iter().map(|key| one(section, key, defaults)).collect()
}

pub fn name(text: &str) -> Result<DeploymentName, Invalid> {
    text.parse().map_err(|_| Invalid {
        message: "is not a Deployment name".to_owned(),
        fix: "write 1 to 63 lower-case letters, digits and inner hyphens".to_owned(),
    })
}

fn one(parent: &Section<'_>, key: &str, defaults: &DeploymentSettings) -> Declared {
    let section = parent.section(key);
    let name = name(key).map_err(|invalid| parent.report(key, invalid.message, invalid.fix)).ok();
    let hosts = or(&section, "hosts", Some(Vec::new()), || section.list("hosts", host));
    let listen = or(&section, "listen", Some(None), || {
        section.optional("listen", expect("an address with a port", "127.0.0.1:8090"))
    });
    let upstreams = upstreams(&section, parent, key);
    let protected = or(&section, "protected", Some(true), || section.boolean("protected"));
    let settings = settings(&section, Some(defaults));
    let forwards = settings.as_ref().is_some_and(|settings| settings.forward_authorization);
    let by_tls = upstreams.as_ref().is_none_or(|all| all.iter().any(|upstream| upstream.url.tls_name().is_some()));
    let (access, upstream_files) = upstream_access::read(&section, forwards, by_tls);
    section.finish();
    let (known_hosts, known_listen) = (hosts.clone().unwrap_or_default(), listen.flatten());
    let spec = || {
        Some(DeploymentSpec {
            name: name?,
            hosts: BTreeSet::from_iter(hosts?),
            listen: listen?,
            upstreams: upstreams?,
            protected: protected?,
            terminated: false,
            settings: settings?,
        })
    };
    let spec = spec();
    Declared { key: key.to_owned(), hosts: known_hosts, listen: known_listen, access, upstream_files, spec }
}

fn upstreams(section: &Section<'_>, parent: &Section<'_>, key: &str) -> Option<Vec<WeightedUrl>> {
    let url = |text: &str| {
        let refused = |error: InvalidWeightedUrl| format!("is refused: {error}");
        text.parse().map_err(|error| Invalid { message: refused(error), fix: UPSTREAM_EXAMPLE.to_owned() })
    };
    // `has` asks for both, so that both are known keys.
    let urls = match (section.has("upstream"), section.has("upstreams")) {
        (true, true) => {
            section.report("upstream", "is given beside upstreams", "keep one of them");
            None
        }
        (true, false) => section.parsed("upstream", url).map(|url| vec![url]),
        (false, true) => {
            let urls = section.list_of("upstreams", UPSTREAMS, weighted, url)?;
            if urls.is_empty() {
                section.report("upstreams", "is empty", UPSTREAM_EXAMPLE);
                return None;
            }
            Some(urls)
        }
        (false, false) => {
            parent.report(key, "has no upstream", UPSTREAM_EXAMPLE);
            None
        }
    }?;
    if !weighted_url::take_requests(&urls) {
        parent.report(key, "has no upstream with a weight above 0", "give one a weight, or take the Deployment out");
        return None;
    }
    Some(urls)
}

/// `{ url = "…", weight = N }`. `None`: it is something else.
fn weighted(table: &Map<String, Value>) -> Option<String> {
    let (ValueKind::String(url), others) = (&table.get("url")?.kind, table.len() - 1) else { return None };
    match table.get("weight").map(|weight| &weight.kind) {
        None if others == 0 => Some(url.clone()),
        Some(weight @ (ValueKind::I64(_) | ValueKind::String(_))) if others == 1 => {
            Some(weighted_url::text_of(url, &weight.to_string()))
        }
        _ => None,
    }
}

/// `defaults` of `None`: every setting has to be written.
fn settings(section: &Section<'_>, defaults: Option<&DeploymentSettings>) -> Option<DeploymentSettings> {
    let boolean = |key, default| or(section, key, default, || section.boolean(key));
    let duration = |key, default| or(section, key, default, || section.duration(key, MILLISECOND));
    let in_a_row = |key, default: Option<NonZeroU32>| {
        or(section, key, default.map(NonZeroU32::get), || section.integer(key, IN_A_ROW))
    };
    let forward_authorization =
        boolean("forward_authorization", defaults.map(|defaults| defaults.forward_authorization));
    let allow_pickle = boolean("allow_pickle", defaults.map(|defaults| defaults.allow_pickle));
    let preset = or(section, "preset", defaults.map(|defaults| defaults.preset), || section.parsed("preset", preset));
    let public_probes = boolean("public_probes", defaults.map(|defaults| defaults.public_probes));
    let connect_timeout = duration("connect_timeout", defaults.map(|defaults| defaults.connect_timeout));
    let first_byte_timeout = duration("first_byte_timeout", defaults.map(|defaults| defaults.first_byte_timeout));
    let idle_timeout = duration("idle_timeout", defaults.map(|defaults| defaults.idle_timeout));
    let max_body_bytes = or(section, "max_body_bytes", defaults.map(|defaults| defaults.max_body_bytes), || {
        section.optional_size("max_body_bytes", 0..=LARGEST)
    });
    let cors_origins =
        or(section, "cors_origins", defaults.map(|defaults| Vec::from_iter(defaults.cors_origins.clone())), || {
            section.list("cors_origins", origin)
        });
    let max_in_flight =
        or(section, "max_in_flight", defaults.map(|defaults| defaults.max_in_flight.map(NonZeroU32::get)), || {
            section.optional_integer("max_in_flight", IN_FLIGHT)
        });
    let max_queue =
        or(section, "max_queue", defaults.map(|defaults| defaults.max_queue), || section.integer("max_queue", QUEUED));
    let queue_timeout = duration("queue_timeout", defaults.map(|defaults| defaults.queue_timeout));
    let rate_limit = or(section, "rate_limit", defaults.map(|defaults| defaults.rate_limit), || {
        section.optional("rate_limit", rate)
    });
    let budgets = ["budget", "token_budget"].map(|key| {
        let of = |defaults: &DeploymentSettings| if key == "budget" { defaults.budget } else { defaults.token_budget };
        or(section, key, defaults.map(of), || section.optional(key, budget))
    });
    let count_llm_tokens = boolean("count_llm_tokens", defaults.map(|defaults| defaults.count_llm_tokens));
    let enforce_from = or(section, "enforce_from", defaults.map(|defaults| defaults.enforce_from), || {
        section.optional("enforce_from", time)
    });
    let probe_interval = or(section, "probe_interval", defaults.map(|defaults| defaults.probe_interval), || {
        section.optional_duration("probe_interval", SHORTEST_INTERVAL)
    });
    let probe_path = or(section, "probe_path", defaults.map(|defaults| defaults.probe_path.clone()), || {
        section.parsed("probe_path", probe_path)
    });
    let probe_timeout = duration("probe_timeout", defaults.map(|defaults| defaults.probe_timeout));
    let probe_rise = in_a_row("probe_rise", defaults.map(|defaults| defaults.probe_rise));
    let probe_fall = in_a_row("probe_fall", defaults.map(|defaults| defaults.probe_fall));
    let slow_start = or(section, "slow_start", defaults.map(|defaults| defaults.slow_start), || {
        section.duration("slow_start", Duration::ZERO)
    });
    let hold = or(section, "hold", defaults.map(|defaults| defaults.hold), || section.integer("hold", QUEUED));
    let hold_timeout = duration("hold_timeout", defaults.map(|defaults| defaults.hold_timeout));
    let wake_url = or(section, "wake_url", defaults.map(|defaults| defaults.wake_url.clone()), || {
        section.optional("wake_url", wake_url)
    });
    let [budget, token_budget] = budgets;
    Some(DeploymentSettings {
        forward_authorization: forward_authorization?,
        allow_pickle: allow_pickle?,
        preset: preset?,
        public_probes: public_probes?,
        connect_timeout: connect_timeout?,
        first_byte_timeout: first_byte_timeout?,
        idle_timeout: idle_timeout?,
        max_body_bytes: max_body_bytes?,
        cors_origins: BTreeSet::from_iter(cors_origins?),
        max_in_flight: max_in_flight?.and_then(NonZeroU32::new),
        max_queue: max_queue?,
        queue_timeout: queue_timeout?,
        rate_limit: rate_limit?,
        budget: budget?,
        token_budget: token_budget?,
        count_llm_tokens: count_llm_tokens?,
        enforce_from: enforce_from?,
        probe_interval: probe_interval?,
        probe_path: probe_path?,
        probe_timeout: probe_timeout?,
        probe_rise: NonZeroU32::new(probe_rise?)?,
        probe_fall: NonZeroU32::new(probe_fall?)?,
        slow_start: slow_start?,
        hold: hold?,
        hold_timeout: hold_timeout?,
        wake_url: wake_url?,
    })
}

fn wake_url(text: &str) -> Result<WakeUrl, Invalid> {
    text.parse().map_err(|error: InvalidWakeUrl| Invalid {
        message: format!("is refused: {error}"),
        fix: "write for example wake_url = \"https://scaler.example.com/wake\"".to_owned(),
    })
}

fn probe_path(text: &str) -> Result<ProbePath, Invalid> {
    text.parse().map_err(|_| Invalid {
        message: "is not a path to ask for".to_owned(),
        fix: "write for example probe_path = \"/readyz\"".to_owned(),
    })
}

fn preset(text: &str) -> Result<Preset, Invalid> {
    text.parse().map_err(|_| Invalid {
        message: "is not a preset".to_owned(),
        fix: "write preset = \"raw\", \"bentoml\", \"vllm\" or \"openai\"".to_owned(),
    })
}

fn rate(text: &str) -> Result<Rate, Invalid> {
    text.parse().map_err(|_| Invalid {
        message: "is not a rate".to_owned(),
        fix: "write REQUESTS/PERIOD of 1 s to 1 day, for example rate_limit = \"600/1m\"".to_owned(),
    })
}

fn budget(text: &str) -> Result<Budget, Invalid> {
    text.parse().map_err(|_| Invalid {
        message: "is not a budget".to_owned(),
        fix: "write AMOUNT requests, upstream_seconds or llm_tokens per day or month, for example \"100000 requests/day\""
            .to_owned(),
    })
}

fn time(text: &str) -> Result<Timestamp, Invalid> {
    text.parse().map_err(|invalid: InvalidTime| Invalid {
        message: invalid.to_string(),
        fix: "write for example enforce_from = \"2026-12-24\" or \"2026-12-24T18:00:00Z\"".to_owned(),
    })
}

fn origin(text: &str) -> Result<CorsOrigin, Invalid> {
    text.parse().map_err(|error| Invalid {
        message: format!("is refused: {error}"),
        fix: "write for example cors_origins = [\"https://app.example.com\"]".to_owned(),
    })
}

fn host(text: &str) -> Result<HostName, Invalid> {
    text.parse().map_err(|error| Invalid {
        message: format!("holds {text:?}, which is {error}"),
        fix: "write for example hosts = [\"bento.example.com\"]".to_owned(),
    })
}

/// The default, if there is one, where the key is not written.
fn or<T>(section: &Section<'_>, key: &str, default: Option<T>, read: impl FnOnce() -> Option<T>) -> Option<T> {
    match default {
        Some(default) if !section.has(key) => Some(default),
        _ => read(),
    }
}
