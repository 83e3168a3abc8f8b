//! Deployments, with the cluster and the revision that the client expects of them.

use std::num::NonZeroU32;

use schemars::JsonSchema;
use serde::Serialize;

use super::UserView;
use crate::{
    domain::{
        deployment::{DeploymentSettings, DeploymentSpec},
        timestamp::Timestamp,
        user::Role,
    },
    management::openapi::Empty,
    service::deployments::Source,
    store::Organization,
};

/// What the caller of the API can do about a Deployment that nobody can reach.
const NO_ADDRESS: &str = "it has no address yet: PATCH it with hosts or with a listener of its own (listen), or set \
                          proxy.base_domain, proxy.path_prefix or proxy.default_deployment in the gateway's configuration";

/// What BentoML calls its resources.
const DEPLOYMENT: &str = "deployment";
const REVISION: &str = "deployment_revision";
const CLUSTER: &str = "cluster";

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Cluster")]
pub struct ClusterView {
    pub uid: &'static str,
    pub name: &'static str,
    pub resource_type: &'static str,
    pub labels: [String; 0],
    pub description: &'static str,
    pub created_at: String,
    pub updated_at: Option<String>,
    pub deleted_at: Option<String>,
    pub organization_name: String,
    pub creator: UserView,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Deployment")]
pub struct DeploymentView {
    /// The name, which is unique.
    pub uid: String,
    pub name: String,
    pub resource_type: &'static str,
    pub labels: [String; 0],
    pub created_at: String,
    pub updated_at: Option<String>,
    pub deleted_at: Option<String>,
    /// `running`, `unhealthy` if no upstream says that it is ready, or `terminated`.
    pub status: &'static str,
    pub kube_namespace: &'static str,
    pub creator: UserView,
    pub cluster: ClusterView,
    pub latest_revision: RevisionView,
    /// Where callers reach it; empty if this gateway's configuration gives it no address.
    pub urls: Vec<String>,
    /// What to do so that callers can reach it, or another one that it took the address from. Left out: nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub notice: Option<String>,
    /// Callers need a token.
    pub protected: bool,
    /// `store`, or `configuration`: then it is changed there and not by this API.
    pub source: &'static str,
    /// Custom hostnames.
    pub hosts: Vec<String>,
    /// Only for admins.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upstreams: Option<Vec<String>>,
    /// Only for admins.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub settings: Option<SettingsView>,
}

/// There is one revision, the current one: its configuration says whether callers need a token.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Revision")]
pub struct RevisionView {
    pub uid: String,
    pub name: &'static str,
    pub resource_type: &'static str,
    pub labels: [String; 0],
    pub status: &'static str,
    pub created_at: String,
    pub updated_at: Option<String>,
    pub deleted_at: Option<String>,
    pub creator: UserView,
    pub targets: [TargetView; 1],
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "RevisionTarget")]
pub struct TargetView {
    pub uid: String,
    pub name: &'static str,
    pub resource_type: &'static str,
    pub labels: [String; 0],
    pub created_at: String,
    pub updated_at: Option<String>,
    pub deleted_at: Option<String>,
    pub creator: UserView,
    /// Always null: the gateway knows where a Bento answers, not what it is.
    pub bento: Option<String>,
    pub config: TargetConfig,
}

#[derive(Serialize, JsonSchema)]
pub struct TargetConfig {
    pub access_authorization: bool,
    pub services: Empty,
}

/// How requests of a Deployment are handled.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "DeploymentSettings")]
pub struct SettingsView {
    pub forward_authorization: bool,
    pub allow_pickle: bool,
    /// Which server it is, so that its operators' paths are closed: `raw` (none), `bentoml`, `vllm` or `openai`.
    pub preset: &'static str,
    /// Whether platforms may ask it for its health without a token.
    pub public_probes: bool,
    pub connect_timeout_ms: u64,
    pub first_byte_timeout_ms: u64,
    pub idle_timeout_ms: u64,
    /// Null: no limit.
    pub max_body_bytes: Option<u64>,
    /// Origins whose pages may call it (CORS). Empty: the service decides.
    pub cors_origins: Vec<String>,
    /// How many requests of each gateway may be under way at once. Null: any number.
    pub max_in_flight: Option<NonZeroU32>,
    /// How many may wait until it is their turn.
    pub max_queue: u32,
    /// How long one may wait.
    pub queue_timeout_ms: u64,
    /// How often each token may ask, for example `600/1m`. Null: as often as it likes.
    pub rate_limit: Option<String>,
    /// What may be used of it in all, for example `100000 requests/day`. Null: any amount.
    pub budget: Option<String>,
    /// What each token may use of it. Null: any amount.
    pub token_budget: Option<String>,
    /// Whether the tokens of a language model are counted that responses say they have cost.
    pub count_llm_tokens: bool,
    /// Until then requests pass that would be refused for their credential. Null: they are refused.
    pub enforce_from: Option<String>,
    /// How long after an answer each upstream is asked again whether it is ready. Null: they are not asked.
    pub probe_interval_ms: Option<u64>,
    pub probe_path: String,
    pub probe_timeout_ms: u64,
    /// How many answers in a row it takes until an upstream counts as ready again.
    pub probe_rise: NonZeroU32,
    /// Until it counts as not ready.
    pub probe_fall: NonZeroU32,
    /// How long the share of an upstream grows that was away.
    pub slow_start_ms: u64,
    /// How many requests may wait at each gateway while the service is not there. 0: they get an error at once.
    pub hold: u32,
    /// How long one may wait for it.
    pub hold_timeout_ms: u64,
    /// What is called so that somebody starts the service, once requests wait for it. Null: nothing.
    pub wake_url: Option<String>,
}

/// What the view of a Deployment is made of.
pub struct DeploymentParts<'a> {
    pub spec: &'a DeploymentSpec,
    pub source: Source,
    pub created_at: Timestamp,
    pub status: &'static str,
    pub url: Option<String>,
    pub organization: &'a Organization,
    /// The caller: a Deployment of the configuration has no creator, and the client requires one.
    pub creator: &'a UserView,
    /// The role of the caller: only admins see upstreams and settings.
    pub role: Role,
}

/// What only admins may know of a Deployment, wherever it is shown.
pub struct Internals<'a> {
    pub upstreams: Vec<String>,
    pub settings: &'a DeploymentSettings,
}

/// `None`: it is not for this role.
pub fn internals(spec: &DeploymentSpec, role: Role) -> Option<Internals<'_>> {
    let upstreams = || spec.upstreams.iter().map(ToString::to_string).collect();
    (role == Role::Admin).then(|| Internals { upstreams: upstreams(), settings: &spec.settings })
}

pub fn deployment(parts: DeploymentParts<'_>) -> DeploymentView {
    let DeploymentParts { spec, created_at, .. } = parts;
    let (created, creator) = (created_at.to_string(), parts.creator);
    let (upstreams, settings) = internals(spec, parts.role)
        .map_or((None, None), |internals| (Some(internals.upstreams), Some(settings(internals.settings))));
    let target = TargetView {
        uid: spec.name.to_string(),
        name: "main",
        resource_type: REVISION,
        labels: [],
        created_at: created.clone(),
        updated_at: None,
        deleted_at: None,
        creator: creator.clone(),
        bento: None,
        config: TargetConfig { access_authorization: spec.protected, services: Empty {} },
    };
    DeploymentView {
        uid: spec.name.to_string(),
        name: spec.name.to_string(),
        resource_type: DEPLOYMENT,
        labels: [],
        created_at: created.clone(),
        updated_at: None,
        deleted_at: None,
        status: parts.status,
        kube_namespace: "",
        creator: creator.clone(),
        cluster: ClusterView {
            uid: "default",
            name: "default",
            resource_type: CLUSTER,
            labels: [],
            description: "",
            created_at: parts.organization.created_at.to_string(),
            updated_at: None,
            deleted_at: None,
            organization_name: parts.organization.name.clone(),
            creator: creator.clone(),
        },
        latest_revision: RevisionView {
            uid: spec.name.to_string(),
            name: "1",
            resource_type: REVISION,
            labels: [],
            status: if spec.terminated { "inactive" } else { "active" },
            created_at: created,
            updated_at: None,
            deleted_at: None,
            creator: creator.clone(),
            targets: [target],
        },
        notice: parts.url.is_none().then(|| NO_ADDRESS.to_owned()),
        urls: parts.url.into_iter().collect(),
        protected: spec.protected,
        source: parts.source.as_str(),
        hosts: spec.hosts.iter().map(ToString::to_string).collect(),
        upstreams,
        settings,
    }
}

fn settings(settings: &DeploymentSettings) -> SettingsView {
    let millis = |duration: std::time::Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    SettingsView {
        forward_authorization: settings.forward_authorization,
        allow_pickle: settings.allow_pickle,
        preset: settings.preset.as_str(),
        public_probes: settings.public_probes,
        connect_timeout_ms: millis(settings.connect_timeout),
        first_byte_timeout_ms: millis(settings.first_byte_timeout),
        idle_timeout_ms: millis(settings.idle_timeout),
        max_body_bytes: settings.max_body_bytes,
        cors_origins: settings.cors_origins.iter().map(ToString::to_string).collect(),
        max_in_flight: settings.max_in_flight,
        max_queue: settings.max_queue,
        queue_timeout_ms: millis(settings.queue_timeout),
        rate_limit: settings.rate_limit.map(String::from),
        budget: settings.budget.map(String::from),
        token_budget: settings.token_budget.map(String::from),
        count_llm_tokens: settings.count_llm_tokens,
        enforce_from: settings.enforce_from.map(|at| at.to_string()),
        probe_interval_ms: settings.probe_interval.map(millis),
        probe_path: settings.probe_path.to_string(),
        probe_timeout_ms: millis(settings.probe_timeout),
        probe_rise: settings.probe_rise,
        probe_fall: settings.probe_fall,
        slow_start_ms: millis(settings.slow_start),
        hold: settings.hold,
        hold_timeout_ms: millis(settings.hold_timeout),
        wake_url: settings.wake_url.as_ref().map(ToString::to_string),
    }
}
