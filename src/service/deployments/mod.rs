//! Deployments that are kept in the store, beside those that the configuration declares.

mod add;
pub mod address;
mod list;
mod remove;
mod update;

pub use add::add;
pub use list::{Listed, Source, declared_elsewhere, list};
pub use remove::remove;
pub use update::{UpdateDeployment, start, terminate, update};

use super::{Kind, Refusal};
use crate::{domain::deployment::DeploymentName, store::StoreError, system::NoEntropy};

#[derive(Debug, thiserror::Error)]
pub enum DeploymentError {
    #[error("the Deployment {0} needs at least one upstream")]
    NoUpstream(DeploymentName),
    #[error("the Deployment {0} is declared in the configuration, which wins over the store")]
    Declared(DeploymentName),
    #[error("there is no Deployment {0} in the store")]
    NotFound(DeploymentName),
    #[error(transparent)]
    NoEntropy(#[from] NoEntropy),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Refusal for DeploymentError {
    fn kind(&self) -> Kind {
        match self {
            Self::NoUpstream(_) => Kind::Invalid,
            Self::Declared(_) => Kind::Conflict,
            Self::NotFound(_) => Kind::NotFound,
            Self::NoEntropy(error) => error.kind(),
            Self::Store(error) => error.kind(),
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::NoUpstream(_) => Some("give one, for example http://127.0.0.1:3000".to_owned()),
            Self::Declared(name) => Some(format!("change [deployments.{name}] there and reload the gateway")),
            Self::NotFound(_) => Some("`bento-gateway deployment list` shows those there are".to_owned()),
            Self::NoEntropy(_) => None,
            Self::Store(error) => error.hint(),
        }
    }
}
