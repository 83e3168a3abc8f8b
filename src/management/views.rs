//! What the API answers with, in the form that the `bentoml` client reads (1.4). Every key that it needs is always there,
//! texts are empty rather than null, lists never null. Keys that it does not know are ours.

use schemars::JsonSchema;
use serde::Serialize;

use crate::{
    domain::{
        deployment::{DeploymentSettings, DeploymentSpec},
        scope::{DeploymentPattern, Scope},
        timestamp::Timestamp,
        token::{TokenRecord, TokenStatus},
        user::{Role, User},
    },
    service::deployments::Source,
    store::Organization,
};

/// What BentoML calls its resources.
const TOKEN: &str = "api_token";
const ORGANIZATION: &str = "organization";
const DEPLOYMENT: &str = "deployment";
const REVISION: &str = "deployment_revision";
const CLUSTER: &str = "cluster";

/// A part of a longer list.
#[derive(Serialize, JsonSchema)]
pub struct List<T> {
    /// How many were passed over.
    pub start: u64,
    /// How many were asked for at most.
    pub count: u64,
    /// How many there are in all.
    pub total: u64,
    pub items: Vec<T>,
}

#[derive(Clone, Serialize, JsonSchema)]
#[schemars(rename = "User")]
pub struct UserView {
    pub name: String,
    pub email: String,
    pub first_name: &'static str,
    pub last_name: &'static str,
}

#[derive(Clone, Serialize, JsonSchema)]
#[schemars(rename = "Organization")]
pub struct OrganizationView {
    pub uid: String,
    pub name: String,
    pub resource_type: &'static str,
    pub labels: [String; 0],
    pub description: &'static str,
    pub created_at: String,
    pub updated_at: Option<String>,
    pub deleted_at: Option<String>,
}

/// An API token, without its secret.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "ApiToken")]
pub struct TokenView {
    pub uid: String,
    pub name: String,
    pub resource_type: &'static str,
    pub labels: [String; 0],
    pub description: String,
    /// RFC 3339, UTC, like every time.
    pub created_at: String,
    pub updated_at: Option<String>,
    /// When it was revoked. Null: it was not.
    pub deleted_at: Option<String>,
    pub scopes: Vec<String>,
    /// Its owner.
    pub user: UserView,
    pub organization: OrganizationView,
    /// Null: it does not expire.
    pub expired_at: Option<String>,
    /// Null: never. Some seconds late.
    pub last_used_at: Option<String>,
    pub is_expired: bool,
    pub is_api_token: bool,
    pub is_organization_token: bool,
    /// It opens All Deployments.
    pub is_global_access: bool,
    /// The clear text, in the one answer that shows it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// This request came before and made nothing now; the clear text was in the first answer only.
    pub replayed: bool,
}

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
    /// Its name, which no other one has.
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
    /// A token is asked for.
    pub protected: bool,
    /// `store`, or `configuration`: then it is changed there and not here.
    pub source: &'static str,
    /// Custom host names.
    pub hosts: Vec<String>,
    /// For admins.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upstreams: Option<Vec<String>>,
    /// For admins.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub settings: Option<SettingsView>,
}

/// There is one revision, the present one: its configuration says whether a token is asked for.
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
    pub services: EmptyObject,
}

#[derive(Serialize, JsonSchema)]
pub struct EmptyObject {}

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
    /// Whose pages may call it (CORS). Empty: what the service says counts.
    pub cors_origins: Vec<String>,
}

/// A user as admins see them.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Person")]
pub struct PersonView {
    pub uid: String,
    pub name: String,
    pub email: String,
    /// `admin` or `member`.
    pub role: &'static str,
    pub created_at: String,
    /// Null: enabled. The tokens of a disabled user do not work.
    pub disabled_at: Option<String>,
}

pub fn user(user: &User) -> UserView {
    UserView { name: user.name.clone(), email: user.email.to_string(), first_name: "", last_name: "" }
}

pub fn person(user: &User) -> PersonView {
    PersonView {
        uid: user.id.to_string(),
        name: user.name.clone(),
        email: user.email.to_string(),
        role: user.role.as_str(),
        created_at: user.created_at.to_string(),
        disabled_at: text(user.disabled_at),
    }
}

/// There is one organization, so its name is its uid.
pub fn organization(organization: &Organization) -> OrganizationView {
    OrganizationView {
        uid: organization.name.clone(),
        name: organization.name.clone(),
        resource_type: ORGANIZATION,
        labels: [],
        description: "",
        created_at: organization.created_at.to_string(),
        updated_at: None,
        deleted_at: None,
    }
}

pub fn token(record: &TokenRecord, owner: &User, organized: &Organization, now: Timestamp) -> TokenView {
    let developer = record.scopes.iter().any(|scope| *scope == Scope::Api);
    TokenView {
        uid: record.uid.to_string(),
        name: record.name.clone(),
        resource_type: TOKEN,
        labels: [],
        description: record.description.clone(),
        created_at: record.created_at.to_string(),
        updated_at: None,
        deleted_at: text(record.revoked_at),
        scopes: record.scopes.iter().map(Scope::to_string).collect(),
        user: user(owner),
        organization: organization(organized),
        expired_at: text(record.expires_at),
        last_used_at: text(record.last_used_at),
        is_expired: record.status(now) == TokenStatus::Expired,
        is_api_token: developer,
        is_organization_token: false,
        is_global_access: record.scopes.iter().any(|scope| *scope == Scope::Deployment(DeploymentPattern::All)),
        token: None,
        replayed: false,
    }
}

/// What a Deployment's answer is made of.
pub struct DeploymentParts<'a> {
    pub spec: &'a DeploymentSpec,
    pub source: Source,
    pub created_at: Timestamp,
    pub status: &'static str,
    pub url: Option<String>,
    pub organization: &'a Organization,
    /// Whose gateway it is: nobody in particular has made what the configuration declares.
    pub creator: &'a UserView,
    /// How and where it is forwarded to is for admins.
    pub role: Role,
}

pub fn deployment(parts: DeploymentParts<'_>) -> DeploymentView {
    let DeploymentParts { spec, created_at, .. } = parts;
    let (created, creator) = (created_at.to_string(), parts.creator);
    let admin = parts.role == Role::Admin;
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
        config: TargetConfig { access_authorization: spec.protected, services: EmptyObject {} },
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
        urls: parts.url.into_iter().collect(),
        protected: spec.protected,
        source: parts.source.as_str(),
        hosts: spec.hosts.iter().map(ToString::to_string).collect(),
        upstreams: admin.then(|| spec.upstreams.iter().map(ToString::to_string).collect()),
        settings: admin.then(|| settings(&spec.settings)),
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
    }
}

fn text(at: Option<Timestamp>) -> Option<String> {
    at.map(|at| at.to_string())
}
