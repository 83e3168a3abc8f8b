//! Creating tokens, and what is done with those that exist.

mod create;
mod expiry;
mod leaked;
mod list;
mod revoke;
mod rotate;
mod update;

pub use create::{CreateToken, CreateTokenError, create};
pub use expiry::{Expiry, InvalidExpiry, RefusedExpiry};
pub use leaked::{LeakedError, revoke_leaked};
pub use list::{get, list};
pub use revoke::revoke;
pub use rotate::{RotateError, rotate};
pub use update::{UpdateToken, UpdateTokenError, update};

use super::{Kind, Refusal};
use crate::{domain::token::TokenUid, store::StoreError, system::NoEntropy};

#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    #[error("there is no token {0}")]
    NotFound(TokenUid),
    #[error(transparent)]
    NoEntropy(#[from] NoEntropy),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Refusal for TokenError {
    fn kind(&self) -> Kind {
        match self {
            Self::NotFound(_) => Kind::NotFound,
            Self::NoEntropy(error) => error.kind(),
            Self::Store(error) => error.kind(),
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::NotFound(_) => Some("`bento-gateway token list` shows the tokens there are".to_owned()),
            Self::NoEntropy(_) => None,
            Self::Store(error) => error.hint(),
        }
    }
}
