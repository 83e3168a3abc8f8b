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
        connect_timeout_ms: millis(settings.connect_timeout),
        first_byte_timeout_ms: millis(settings.first_byte_timeout),
        idle_timeout_ms: millis(settings.idle_timeout),
        max_body_bytes: settings.max_body_bytes,
        cors_origins: settings.cors_origins.iter().map(ToString::to_string).collect(),
        max_in_flight: settings.max_in_flight,
        max_queue: settings.max_queue,
        queue_timeout_ms: millis(settings.queue_timeout),
        rate_limit: settings.rate_limit.map(String::from),
    }
}
