//! The arguments of `deployment`.

use std::{net::SocketAddr, num::NonZeroU32, str::FromStr, time::Duration};

use clap::{ArgGroup, Args, Subcommand};

use crate::domain::{
    budget::Budget,
    cors_origin::CorsOrigin,
    deployment::DeploymentName,
    host::HostName,
    preset::Preset,
    probing::{ProbePath, SHORTEST_INTERVAL},
    rate::Rate,
    timestamp::Timestamp,
    units::{parse_duration, parse_size},
    wake_url::WakeUrl,
    weighted_url::WeightedUrl,
};

#[derive(Debug, Subcommand)]
pub enum DeploymentCommand {
    /// Add a Deployment to the store, and print its address
    ///
    /// The only Deployment of a gateway is reached at the gateway's own address. Several need an address each: a host, a
    /// listener, or proxy.base_domain in the configuration, which gives one to all.
    Add(Box<AddDeployment>),
    /// Change where a Deployment of the store is reached, where it leads, what is closed, and from when on it is enforced
    ///
    /// What is not given stays as it is.
    Update(UpdateDeployment),
    /// List Deployments from the configuration and the store
    List,
    /// Stop forwarding to a Deployment; its callers get 503
    Terminate { name: DeploymentName },
    /// Resume forwarding to a terminated Deployment
    Start { name: DeploymentName },
    /// List who passes a Deployment before its --enforce-from, and will be refused then
    ///
    /// Those with most requests first, by token or by address (IPv6: /64). Gateways write it every few seconds
    /// (tokens.usage_interval).
    LetThrough {
        name: DeploymentName,
        /// Maximum number of callers
        #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
        limit: u32,
    },
    /// Show what is used of the budgets of a Deployment, or of all
    ///
    /// In the present day or month of UTC, by what gateways have written (tokens.usage_interval). Tokens with most first.
    Budgets { name: Option<DeploymentName> },
    /// Remove a Deployment from the store, and the scopes that name it from all tokens
    Remove { name: DeploymentName },
}

/// Settings without a flag take their current values in [proxy.deployment_defaults].
#[derive(Debug, Args)]
pub struct AddDeployment {
    /// Lower-case letters, digits and hyphens; starts and ends with a letter or digit
    pub name: DeploymentName,
    /// URL at which the Bento listens; can be repeated for replicas. `#weight=3` behind it gives it three
    /// times the requests of the others, `#weight=0` none
    #[arg(long = "upstream", value_name = "URL", required = true)]
    pub upstreams: Vec<WeightedUrl>,
    /// Custom host name; can be repeated
    #[arg(long = "host", value_name = "HOST")]
    pub hosts: Vec<HostName>,
    /// Let everybody call it, without a token
    #[arg(long)]
    pub public: bool,
    /// Address of a listener of its own
    #[arg(long, value_name = "IP:PORT")]
    pub listen: Option<SocketAddr>,
    /// Longest wait for the connection to the upstream
    #[arg(long, value_name = "DURATION", value_parser = positive_duration)]
    pub connect_timeout: Option<Duration>,
    /// Longest wait for the first byte of the response
    #[arg(long, value_name = "DURATION", value_parser = positive_duration)]
    pub first_byte_timeout: Option<Duration>,
    /// Longest time without a byte in either direction
    #[arg(long, value_name = "DURATION", value_parser = positive_duration)]
    pub idle_timeout: Option<Duration>,
    /// Maximum size of a request body, for example 10MiB
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    pub max_body: Option<u64>,
    /// How many requests of each gateway may be under way at once; the others wait, and tokens share the time equally
    #[arg(long, value_name = "NUMBER")]
    pub max_in_flight: Option<NonZeroU32>,
    /// How many requests may wait until it is their turn
    #[arg(long, value_name = "NUMBER")]
    pub max_queue: Option<u32>,
    /// Longest time that a request waits until it is its turn
    #[arg(long, value_name = "DURATION", value_parser = positive_duration)]
    pub queue_timeout: Option<Duration>,
    /// How often each token may ask, for example 600/1m
    #[arg(long, value_name = "REQUESTS/PERIOD")]
    pub rate_limit: Option<Rate>,
    /// What may be used of it in all, in a day or month of UTC: AMOUNT requests, upstream_seconds or llm_tokens, for
    /// example "100000 requests/day"
    #[arg(long, value_name = "BUDGET")]
    pub budget: Option<Budget>,
    /// What each token may use of it, likewise
    #[arg(long, value_name = "BUDGET")]
    pub token_budget: Option<Budget>,
    /// Count the tokens of a language model, as its OpenAI-style responses say
    #[arg(long)]
    pub count_llm_tokens: bool,
    /// A date or time until which requests pass that would be refused for their credential; they are counted
    #[arg(long, value_name = "WHEN")]
    pub enforce_from: Option<Timestamp>,
    /// How long after an answer each upstream is asked again whether it is ready; without it they are not asked
    #[arg(long, value_name = "DURATION", value_parser = probe_interval)]
    pub probe_interval: Option<Duration>,
    /// What they are asked for, for example /readyz
    #[arg(long, value_name = "PATH")]
    pub probe_path: Option<ProbePath>,
    /// Longest wait for that answer
    #[arg(long, value_name = "DURATION", value_parser = positive_duration)]
    pub probe_timeout: Option<Duration>,
    /// How many answers in a row it takes until an upstream counts as ready again
    #[arg(long, value_name = "NUMBER")]
    pub probe_rise: Option<NonZeroU32>,
    /// How many it takes until it counts as not ready
    #[arg(long, value_name = "NUMBER")]
    pub probe_fall: Option<NonZeroU32>,
    /// How long the share of an upstream grows that was away
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    pub slow_start: Option<Duration>,
    /// How many requests may wait at each gateway while the service is not there
    #[arg(long, value_name = "NUMBER")]
    pub hold: Option<u32>,
    /// Longest time that a request waits for the service
    #[arg(long, value_name = "DURATION", value_parser = positive_duration)]
    pub hold_timeout: Option<Duration>,
    /// URL to call so that somebody starts the service, once requests wait for it; it must hold no secret
    #[arg(long, value_name = "URL")]
    pub wake_url: Option<WakeUrl>,
    /// Pass the caller's Authorization header on to the upstream
    #[arg(long)]
    pub forward_authorization: bool,
    /// Let pages of this origin call it and read the responses (CORS); can be repeated
    #[arg(long = "cors-origin", value_name = "ORIGIN")]
    pub cors_origins: Vec<CorsOrigin>,
    /// Allow pickle request bodies, which can run any code in the upstream
    #[arg(long)]
    pub allow_pickle: bool,
    /// Which server it is: raw, bentoml, vllm or openai; its operators' paths then take the scope deployment:NAME:operations
    #[arg(long, value_name = "PRESET")]
    pub preset: Option<Preset>,
    /// Let platforms ask for its health (/livez and /readyz; vLLM: /health and /ping) without a token
    #[arg(long)]
    pub public_probes: bool,
    /// Take over a name that a gateway's configuration declared before, with the tokens whose scopes name it
    #[arg(long)]
    pub was_declared: bool,
}

#[derive(Debug, Args)]
#[command(group(ArgGroup::new("change").required(true).multiple(true).args(["upstreams", "hosts", "listen", "enforce_from", "budget", "token_budget", "preset"])))]
pub struct UpdateDeployment {
    pub name: DeploymentName,
    /// URL at which the Bento listens, in place of those before; can be repeated for replicas. `#weight=3` behind it gives it three
    /// times the requests of the others, `#weight=0` none
    #[arg(long = "upstream", value_name = "URL")]
    pub upstreams: Vec<WeightedUrl>,
    /// Custom host name, in place of those before; can be repeated
    #[arg(long = "host", value_name = "HOST")]
    pub hosts: Vec<HostName>,
    /// Address of a listener of its own
    #[arg(long, value_name = "IP:PORT")]
    pub listen: Option<SocketAddr>,
    /// A date or time until which requests pass that would be refused for their credential; "" to refuse them
    #[arg(long, value_name = "WHEN")]
    pub enforce_from: Option<Maybe<Timestamp>>,
    /// Which server it is: raw, bentoml, vllm or openai; its operators' paths then take the scope deployment:NAME:operations
    #[arg(long, value_name = "PRESET")]
    pub preset: Option<Preset>,
    /// What may be used of it in all, for example "100000 requests/day"; "" for any amount
    #[arg(long, value_name = "BUDGET")]
    pub budget: Option<Maybe<Budget>>,
    /// What each token may use of it; "" for any amount
    #[arg(long, value_name = "BUDGET")]
    pub token_budget: Option<Maybe<Budget>>,
}

/// Given, or taken away by an empty text.
#[derive(Clone, Copy, Debug)]
pub struct Maybe<T>(pub Option<T>);

impl<T: FromStr> FromStr for Maybe<T> {
    type Err = T::Err;

    fn from_str(text: &str) -> Result<Self, T::Err> {
        Some(text).filter(|text| !text.is_empty()).map(str::parse).transpose().map(Self)
    }
}

fn positive_duration(text: &str) -> Result<Duration, String> {
    match parse_duration(text).map_err(|invalid| invalid.to_string())? {
        Duration::ZERO => Err("must be longer than 0s".to_owned()),
        duration => Ok(duration),
    }
}

fn probe_interval(text: &str) -> Result<Duration, String> {
    match parse_duration(text).map_err(|invalid| invalid.to_string())? {
        interval if interval < SHORTEST_INTERVAL => Err("must be at least 100ms".to_owned()),
        interval => Ok(interval),
    }
}
