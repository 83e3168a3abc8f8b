//! What the form of a Deployment says, and what it shows.

use std::{collections::BTreeSet, fmt::Display, net::SocketAddr, num::NonZeroU32, str::FromStr, time::Duration};

use crate::{
    config::Config,
    domain::{
        deployment::{DeploymentSettings, DeploymentSpec},
        host::HostName,
        preset::Preset,
        probing::SHORTEST_INTERVAL,
        units::{format_duration, parse_duration, parse_size},
        weighted_url::WeightedUrl,
    },
    management::{console::form::FormFields, error::ApiError},
    service::Version,
};

/// All but the name.
pub struct DeploymentFields {
    pub upstreams: Vec<WeightedUrl>,
    pub hosts: BTreeSet<HostName>,
    pub listen: Option<SocketAddr>,
    pub protected: bool,
    pub settings: DeploymentSettings,
}

/// What the fields hold, as they are typed.
#[derive(Default)]
pub struct FormValues {
    pub name: String,
    pub upstreams: String,
    pub hosts: String,
    pub listen: String,
    pub public: bool,
    pub cors_origins: String,
    pub connect_timeout: String,
    pub first_byte_timeout: String,
    pub idle_timeout: String,
    pub max_body: String,
    pub max_in_flight: String,
    pub max_queue: String,
    pub queue_timeout: String,
    pub rate_limit: String,
    pub budget: String,
    pub token_budget: String,
    pub enforce_from: String,
    pub probe_interval: String,
    pub probe_path: String,
    pub probe_timeout: String,
    pub probe_rise: String,
    pub probe_fall: String,
    pub slow_start: String,
    pub hold: String,
    pub hold_timeout: String,
    pub wake_url: String,
    pub preset: String,
    pub public_probes: bool,
    pub forward_authorization: bool,
    pub allow_pickle: bool,
    pub count_llm_tokens: bool,
    /// Of the Deployment that the form shows; empty for a new one.
    pub version: String,
}

impl DeploymentFields {
    /// # Errors
    /// 400, with the label of the field that cannot be read.
    pub fn read(fields: &FormFields, config: &Config) -> Result<Self, ApiError> {
        let defaults = &config.proxy.deployment_defaults;
        let timeout = |name, label, default| read_timeout(fields.text(name), label, default);
        let max_body = Some(fields.text("max_body")).filter(|text| !text.is_empty());
        let settings = DeploymentSettings {
            forward_authorization: fields.on("forward_authorization"),
            allow_pickle: fields.on("allow_pickle"),
            preset: match fields.text("preset") {
                "" => defaults.preset,
                preset => preset.parse().map_err(invalid("Preset"))?,
            },
            public_probes: fields.on("public_probes"),
            connect_timeout: timeout("connect_timeout", "Connect timeout", defaults.connect_timeout)?,
            first_byte_timeout: timeout("first_byte_timeout", "First byte timeout", defaults.first_byte_timeout)?,
            idle_timeout: timeout("idle_timeout", "Idle timeout", defaults.idle_timeout)?,
            max_body_bytes: max_body.map(parse_size).transpose().map_err(invalid("Maximum request body"))?,
            cors_origins: read_words(fields, "cors_origins", "Allowed origins")?,
            max_in_flight: read_number(fields.text("max_in_flight"), "Requests at once", 0).map(NonZeroU32::new)?,
            max_queue: read_number(fields.text("max_queue"), "Requests that may wait", defaults.max_queue)?,
            queue_timeout: timeout("queue_timeout", "Longest wait", defaults.queue_timeout)?,
            rate_limit: read_maybe(fields, "rate_limit", "Requests of each token")?,
            budget: read_maybe(fields, "budget", "Budget")?,
            token_budget: read_maybe(fields, "token_budget", "Budget of each token")?,
            count_llm_tokens: fields.on("count_llm_tokens"),
            enforce_from: read_maybe(fields, "enforce_from", "Enforce from")?,
            probe_interval: read_interval(fields.text("probe_interval"))?,
            probe_path: match fields.text("probe_path") {
                "" => defaults.probe_path.clone(),
                path => path.parse().map_err(invalid("Readiness path"))?,
            },
            probe_timeout: timeout("probe_timeout", "Readiness timeout", defaults.probe_timeout)?,
            probe_rise: read_number(fields.text("probe_rise"), "Ready after", defaults.probe_rise)?,
            probe_fall: read_number(fields.text("probe_fall"), "Not ready after", defaults.probe_fall)?,
            slow_start: match fields.text("slow_start") {
                "" => defaults.slow_start,
                text => parse_duration(text).map_err(invalid("Slow start"))?,
            },
            hold: read_number(fields.text("hold"), "Requests held", defaults.hold)?,
            hold_timeout: timeout("hold_timeout", "Longest hold", defaults.hold_timeout)?,
            wake_url: read_maybe(fields, "wake_url", "Wake URL")?,
        };
        let listen = Some(fields.text("listen")).filter(|text| !text.is_empty());
        Ok(Self {
            upstreams: read_words(fields, "upstreams", "Upstreams")?,
            hosts: read_words(fields, "hosts", "Hostnames")?,
            listen: listen.map(str::parse).transpose().map_err(invalid("Dedicated listener"))?,
            protected: fields.text("access") != "public",
            settings,
        })
    }
}

impl FormValues {
    pub fn of_settings(settings: &DeploymentSettings) -> Self {
        Self {
            cors_origins: lines(&settings.cors_origins),
            connect_timeout: format_duration(settings.connect_timeout),
            first_byte_timeout: format_duration(settings.first_byte_timeout),
            idle_timeout: format_duration(settings.idle_timeout),
            max_body: settings.max_body_bytes.map(|bytes| bytes.to_string()).unwrap_or_default(),
            max_in_flight: settings.max_in_flight.map(|limit| limit.to_string()).unwrap_or_default(),
            max_queue: settings.max_queue.to_string(),
            queue_timeout: format_duration(settings.queue_timeout),
            rate_limit: settings.rate_limit.map(String::from).unwrap_or_default(),
            budget: settings.budget.map(String::from).unwrap_or_default(),
            token_budget: settings.token_budget.map(String::from).unwrap_or_default(),
            enforce_from: settings.enforce_from.map(|at| at.to_string()).unwrap_or_default(),
            probe_interval: settings.probe_interval.map(format_duration).unwrap_or_default(),
            probe_path: settings.probe_path.to_string(),
            probe_timeout: format_duration(settings.probe_timeout),
            probe_rise: settings.probe_rise.to_string(),
            probe_fall: settings.probe_fall.to_string(),
            slow_start: format_duration(settings.slow_start),
            hold: settings.hold.to_string(),
            hold_timeout: format_duration(settings.hold_timeout),
            wake_url: settings.wake_url.as_ref().map(ToString::to_string).unwrap_or_default(),
            preset: settings.preset.to_string(),
            public_probes: settings.public_probes,
            forward_authorization: settings.forward_authorization,
            allow_pickle: settings.allow_pickle,
            count_llm_tokens: settings.count_llm_tokens,
            ..Self::default()
        }
    }

    pub fn of(spec: &DeploymentSpec) -> Self {
        Self {
            name: spec.name.to_string(),
            upstreams: lines(&spec.upstreams),
            hosts: lines(&spec.hosts),
            listen: spec.listen.map(|address| address.to_string()).unwrap_or_default(),
            public: !spec.protected,
            version: Version::of_deployment(spec).to_string(),
            ..Self::of_settings(&spec.settings)
        }
    }

    /// Label and value of each field that holds something else in `other`.
    pub fn differences(&self, other: &Self) -> Vec<(&'static str, String)> {
        let access = |values: &Self| if values.public { "Public" } else { "Protected" }.to_owned();
        let on = |on: bool| if on { "On" } else { "Off" }.to_owned();
        let fields = |values: &Self| {
            [
                ("Upstreams", values.upstreams.clone()),
                ("Access", access(values)),
                ("Hostnames", values.hosts.clone()),
                ("Dedicated listener", values.listen.clone()),
                ("Allowed origins", values.cors_origins.clone()),
                ("Connect timeout", values.connect_timeout.clone()),
                ("First byte timeout", values.first_byte_timeout.clone()),
                ("Idle timeout", values.idle_timeout.clone()),
                ("Maximum request body", values.max_body.clone()),
                ("Requests at once", values.max_in_flight.clone()),
                ("Requests that may wait", values.max_queue.clone()),
                ("Longest wait", values.queue_timeout.clone()),
                ("Requests of each token", values.rate_limit.clone()),
                ("Budget", values.budget.clone()),
                ("Budget of each token", values.token_budget.clone()),
                ("Enforce from", values.enforce_from.clone()),
                ("Ask for readiness", values.probe_interval.clone()),
                ("Readiness path", values.probe_path.clone()),
                ("Readiness timeout", values.probe_timeout.clone()),
                ("Ready after", values.probe_rise.clone()),
                ("Not ready after", values.probe_fall.clone()),
                ("Slow start", values.slow_start.clone()),
                ("Requests held", values.hold.clone()),
                ("Longest hold", values.hold_timeout.clone()),
                ("Wake URL", values.wake_url.clone()),
                ("Preset", values.preset.clone()),
                ("Public probes", on(values.public_probes)),
                ("Forward the Authorization header", on(values.forward_authorization)),
                ("Allow pickle", on(values.allow_pickle)),
                ("Count LLM tokens", on(values.count_llm_tokens)),
            ]
        };
        // A browser sends the lines of a text area with CR and LF.
        let same = |one: &str, other: &str| one.split_whitespace().eq(other.split_whitespace());
        let pairs = fields(self).into_iter().zip(fields(other));
        pairs.filter(|((_, mine), (_, theirs))| !same(mine, theirs)).map(|(mine, _)| mine).collect()
    }

    /// What can be selected, with what it is called.
    pub fn presets(&self) -> [(&'static str, &'static str); 4] {
        Preset::ALL.map(|preset| {
            let label = match preset {
                Preset::Raw => "Raw: nothing is closed",
                Preset::Bentoml => "BentoML",
                Preset::Vllm => "vLLM",
                Preset::Openai => "OpenAI API",
            };
            (preset.as_str(), label)
        })
    }

    pub fn typed(fields: &FormFields) -> Self {
        let text = |name: &str| fields.text(name).to_owned();
        Self {
            name: text("name"),
            upstreams: text("upstreams"),
            hosts: text("hosts"),
            listen: text("listen"),
            public: fields.text("access") == "public",
            cors_origins: text("cors_origins"),
            connect_timeout: text("connect_timeout"),
            first_byte_timeout: text("first_byte_timeout"),
            idle_timeout: text("idle_timeout"),
            max_body: text("max_body"),
            max_in_flight: text("max_in_flight"),
            max_queue: text("max_queue"),
            queue_timeout: text("queue_timeout"),
            rate_limit: text("rate_limit"),
            budget: text("budget"),
            token_budget: text("token_budget"),
            enforce_from: text("enforce_from"),
            probe_interval: text("probe_interval"),
            probe_path: text("probe_path"),
            probe_timeout: text("probe_timeout"),
            probe_rise: text("probe_rise"),
            probe_fall: text("probe_fall"),
            slow_start: text("slow_start"),
            hold: text("hold"),
            hold_timeout: text("hold_timeout"),
            wake_url: text("wake_url"),
            preset: text("preset"),
            public_probes: fields.on("public_probes"),
            forward_authorization: fields.on("forward_authorization"),
            allow_pickle: fields.on("allow_pickle"),
            count_llm_tokens: fields.on("count_llm_tokens"),
            version: text("version"),
        }
    }
}

fn lines<T: Display>(items: impl IntoIterator<Item = T>) -> String {
    items.into_iter().map(|item| item.to_string()).collect::<Vec<_>>().join("\n")
}

fn read_words<T, C>(fields: &FormFields, name: &str, label: &'static str) -> Result<C, ApiError>
where
    T: FromStr<Err: Display>,
    C: FromIterator<T>,
{
    fields.words(name).map(|word| word.parse().map_err(invalid(label))).collect()
}

fn read_timeout(text: &str, label: &'static str, default: Duration) -> Result<Duration, ApiError> {
    match parse_duration(text) {
        _ if text.is_empty() => Ok(default),
        Ok(Duration::ZERO) => Err(ApiError::invalid(format!("{label}: must be longer than 0s"))),
        parsed => parsed.map_err(invalid(label)),
    }
}

/// Empty: upstreams are not asked.
fn read_interval(text: &str) -> Result<Option<Duration>, ApiError> {
    let label = "Ask for readiness";
    match parse_duration(text) {
        _ if text.is_empty() => Ok(None),
        Ok(interval) if interval < SHORTEST_INTERVAL => {
            Err(ApiError::invalid(format!("{label}: must be empty, or at least 100ms")))
        }
        parsed => parsed.map(Some).map_err(invalid(label)),
    }
}

/// `None`: the field is empty.
fn read_maybe<T: FromStr<Err: Display>>(
    fields: &FormFields,
    name: &str,
    label: &'static str,
) -> Result<Option<T>, ApiError> {
    let text = Some(fields.text(name)).filter(|text| !text.is_empty());
    text.map(str::parse).transpose().map_err(invalid(label))
}

/// `default`: of an empty field.
fn read_number<T: FromStr>(text: &str, label: &'static str, default: T) -> Result<T, ApiError> {
    if text.is_empty() {
        return Ok(default);
    }
    text.parse().map_err(|_| ApiError::invalid(format!("{label}: enter a whole number")))
}

pub fn invalid<E: Display>(label: &'static str) -> impl Fn(E) -> ApiError {
    move |error| ApiError::invalid(format!("{label}: {error}"))
}
