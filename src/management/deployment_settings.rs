//! The settings of a Deployment, as the API takes them.

use std::{fmt::Display, num::NonZeroU32, str::FromStr, time::Duration};

use schemars::JsonSchema;
use serde::Deserialize;

use super::{
    error::{ApiError, invalid_value},
    operation::given,
};
use crate::{
    domain::{
        probing::SHORTEST_INTERVAL,
        units::{LARGEST, LONGEST, checked_duration, checked_size},
    },
    service::deployments::UpdateSettings,
};

const LONGEST_MS: u64 = LONGEST.as_secs() * 1000;

/// Times are in milliseconds, sizes in bytes. A setting that is left out has the default of `[proxy.deployment_defaults]`
/// in a new Deployment, and stays unchanged in an existing one.
#[derive(Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    forward_authorization: Option<bool>,
    allow_pickle: Option<bool>,
    /// Which server it is, so that its operators' paths are closed: `raw` (none), `bentoml`, `vllm` or `openai`.
    preset: Option<String>,
    /// Whether platforms may ask it for its health without a token.
    public_probes: Option<bool>,
    #[schemars(range(min = 1, max = LONGEST_MS))]
    connect_timeout_ms: Option<u64>,
    #[schemars(range(min = 1, max = LONGEST_MS))]
    first_byte_timeout_ms: Option<u64>,
    #[schemars(range(min = 1, max = LONGEST_MS))]
    idle_timeout_ms: Option<u64>,
    /// Null: no limit.
    #[serde(default, deserialize_with = "given")]
    #[schemars(with = "Option<u64>", range(max = LARGEST))]
    max_body_bytes: Option<Option<u64>>,
    /// Origins whose pages may call it (CORS), for example `https://app.example.com`, or `*`.
    cors_origins: Option<Vec<String>>,
    /// How many requests of each gateway may be under way at once. Null: any number.
    #[serde(default, deserialize_with = "given")]
    #[schemars(with = "Option<NonZeroU32>")]
    max_in_flight: Option<Option<NonZeroU32>>,
    /// How many may wait until it is their turn.
    max_queue: Option<u32>,
    /// How long one may wait.
    #[schemars(range(min = 1, max = LONGEST_MS))]
    queue_timeout_ms: Option<u64>,
    /// How often each token may ask: REQUESTS/PERIOD, for example `600/1m`. Null: as often as it likes.
    #[serde(default, deserialize_with = "given")]
    #[schemars(with = "Option<String>")]
    rate_limit: Option<Option<String>>,
    /// What may be used of it in all: AMOUNT requests, upstream_seconds or llm_tokens per day or month, for example
    /// `100000 requests/day`. Null: any amount.
    #[serde(default, deserialize_with = "given")]
    #[schemars(with = "Option<String>")]
    budget: Option<Option<String>>,
    /// What each token may use of it, likewise.
    #[serde(default, deserialize_with = "given")]
    #[schemars(with = "Option<String>")]
    token_budget: Option<Option<String>>,
    /// Whether the tokens of a language model are counted that responses say they have cost.
    count_llm_tokens: Option<bool>,
    /// A date or time, until which requests pass that would be refused for their credential. Null: they are refused.
    #[serde(default, deserialize_with = "given")]
    #[schemars(with = "Option<String>")]
    enforce_from: Option<Option<String>>,
    /// How long after an answer each upstream is asked again whether it is ready. Null: they are not asked.
    #[serde(default, deserialize_with = "given")]
    #[schemars(with = "Option<u64>", range(min = 100, max = LONGEST_MS))]
    probe_interval_ms: Option<Option<u64>>,
    /// What they are asked for, for example `/readyz`.
    probe_path: Option<String>,
    #[schemars(range(min = 1, max = LONGEST_MS))]
    probe_timeout_ms: Option<u64>,
    /// How many answers in a row it takes until an upstream counts as ready again.
    probe_rise: Option<NonZeroU32>,
    /// Until it counts as not ready.
    probe_fall: Option<NonZeroU32>,
    /// How long the share of an upstream grows that was away. 0: it has all of it at once.
    #[schemars(range(max = LONGEST_MS))]
    slow_start_ms: Option<u64>,
    /// How many requests may wait at each gateway while the service is not there. 0: they get an error at once.
    hold: Option<u32>,
    /// How long one may wait for it.
    #[schemars(range(min = 1, max = LONGEST_MS))]
    hold_timeout_ms: Option<u64>,
    /// What is called so that somebody starts the service, once requests wait for it, for example
    /// `https://scaler.example.com/wake`. It must hold no secret. Null: nothing.
    #[serde(default, deserialize_with = "given")]
    #[schemars(with = "Option<String>")]
    wake_url: Option<Option<String>>,
}

/// What is given of them.
///
/// # Errors
/// 400.
pub fn settings(given: Option<&Settings>) -> Result<UpdateSettings, ApiError> {
    let Some(given) = given else { return Ok(UpdateSettings::default()) };
    let timer = |key: &'static str, given: Option<u64>| match given {
        Some(0) => Err(ApiError::invalid(format!("{key}: must be greater than 0"))),
        millis => millis.map(Duration::from_millis).map(checked_duration).transpose().map_err(invalid_value(key)),
    };
    let origins = given.cors_origins.as_ref().map(|origins| {
        origins.iter().map(|text| text.parse().map_err(invalid_value("cors_origins"))).collect::<Result<_, ApiError>>()
    });
    let max_body_bytes = given.max_body_bytes.map(|given| given.map(checked_size).transpose()).transpose();
    let slow_start = given.slow_start_ms.map(Duration::from_millis).map(checked_duration).transpose();
    Ok(UpdateSettings {
        forward_authorization: given.forward_authorization,
        allow_pickle: given.allow_pickle,
        preset: given.preset.as_deref().map(str::parse).transpose().map_err(invalid_value("preset"))?,
        public_probes: given.public_probes,
        connect_timeout: timer("connect_timeout_ms", given.connect_timeout_ms)?,
        first_byte_timeout: timer("first_byte_timeout_ms", given.first_byte_timeout_ms)?,
        idle_timeout: timer("idle_timeout_ms", given.idle_timeout_ms)?,
        max_body_bytes: max_body_bytes.map_err(invalid_value("max_body_bytes"))?,
        cors_origins: origins.transpose()?,
        max_in_flight: given.max_in_flight,
        max_queue: given.max_queue,
        queue_timeout: timer("queue_timeout_ms", given.queue_timeout_ms)?,
        rate_limit: maybe("rate_limit", given.rate_limit.as_ref())?,
        budget: maybe("budget", given.budget.as_ref())?,
        token_budget: maybe("token_budget", given.token_budget.as_ref())?,
        count_llm_tokens: given.count_llm_tokens,
        enforce_from: maybe("enforce_from", given.enforce_from.as_ref())?,
        probe_interval: given.probe_interval_ms.map(probe_interval).transpose()?,
        probe_path: given.probe_path.as_deref().map(str::parse).transpose().map_err(invalid_value("probe_path"))?,
        probe_timeout: timer("probe_timeout_ms", given.probe_timeout_ms)?,
        probe_rise: given.probe_rise,
        probe_fall: given.probe_fall,
        slow_start: slow_start.map_err(invalid_value("slow_start_ms"))?,
        hold: given.hold,
        hold_timeout: timer("hold_timeout_ms", given.hold_timeout_ms)?,
        wake_url: maybe("wake_url", given.wake_url.as_ref())?,
    })
}

/// `Some(None)`: it is taken away.
fn maybe<T: FromStr<Err: Display>>(
    key: &'static str,
    given: Option<&Option<String>>,
) -> Result<Option<Option<T>>, ApiError> {
    let read = |text: &Option<String>| text.as_deref().map(str::parse).transpose().map_err(invalid_value(key));
    given.map(read).transpose()
}

/// `None`: upstreams are not asked.
fn probe_interval(millis: Option<u64>) -> Result<Option<Duration>, ApiError> {
    match millis.map(Duration::from_millis) {
        Some(interval) if interval < SHORTEST_INTERVAL => {
            Err(ApiError::invalid("probe_interval_ms: must be null, or at least 100".to_owned()))
        }
        interval => interval.map(checked_duration).transpose().map_err(invalid_value("probe_interval_ms")),
    }
}
