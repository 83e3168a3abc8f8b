//! All Deployments that this process knows, and where each comes from.

use serde::Serialize;

use super::address::Reach;
use crate::{
    config::ProxyConfig,
    domain::{
        deployment::{DeploymentName, DeploymentSpec},
        timestamp::Timestamp,
    },
    service::Context,
    store::{StoreError, StoredDeployment},
};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// The configuration file, a variable or a flag.
    Configuration,
    Store,
}

#[derive(Clone, Debug, Serialize)]
pub struct Listed {
    pub source: Source,
    /// A declared Deployment has the same name and takes precedence, so this one is not served.
    pub shadowed: bool,
    /// `None`: it is declared, and nobody records when.
    #[serde(skip)]
    pub created_at: Option<Timestamp>,
    #[serde(flatten)]
    pub spec: DeploymentSpec,
}

/// By name, the declared one first.
///
/// # Errors
/// The store's.
pub async fn list(context: &Context<'_>) -> Result<Vec<Listed>, StoreError> {
    let stored = context.store.list_deployments().await?.into_iter().map(|StoredDeployment { spec, created_at }| {
        let shadowed = context.declared.declares(&spec.name);
        Listed { source: Source::Store, shadowed, created_at: Some(created_at), spec }
    });
    let declared = context.declared.deployments.iter().cloned();
    let declared =
        declared.map(|spec| Listed { source: Source::Configuration, shadowed: false, created_at: None, spec });
    let mut all: Vec<Listed> = declared.chain(stored).collect();
    all.sort_by(|one, other| one.spec.name.cmp(&other.spec.name));
    Ok(all)
}

/// How callers reach the Deployments of a gateway with this configuration, by what the store has now.
///
/// # Errors
/// The store's.
pub async fn reach(context: &Context<'_>, proxy: &ProxyConfig) -> Result<Reach, StoreError> {
    let stored = context.store.list_deployments().await?;
    let default = context.declared.default_deployment(stored.iter().map(|stored| &stored.spec));
    Ok(Reach::new(proxy, default.cloned()))
}

/// Names that another gateway has declared from its own file or flags. This process knows nothing else about them.
///
/// # Errors
/// The store's.
pub async fn declared_elsewhere(context: &Context<'_>, listed: &[Listed]) -> Result<Vec<DeploymentName>, StoreError> {
    let mut names = context.store.declared_deployments().await?;
    names.retain(|name| !listed.iter().any(|listed| listed.spec.name == *name));
    Ok(names)
}

impl Source {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Configuration => "configuration",
            Self::Store => "store",
        }
    }
}
