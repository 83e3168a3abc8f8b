//! What to do about an error, for whoever reads an answer of the API: a user of the `bentoml` client, perhaps far from the
//! machine of the gateway, whose commands they do not have.

use crate::{
    service::Error,
    store::{Conflict, StoreError},
};

/// `None`: the error's text says it.
pub fn hint(error: &Error) -> Option<String> {
    let hint = match error {
        Error::UnknownDeployment(_) => "`bentoml deployment list` shows the Deployments that exist",
        Error::DeclaredElsewhere(_) => "choose another name",
        Error::UserDisabled(_) => "an admin can enable it on the console's page Users",
        Error::TokenRevoked(_) | Error::TokenExpired { .. } => "create a new one: `bentoml api-token create NAME`",
        Error::Store(StoreError::Conflict(Conflict::TokenName)) => {
            "choose another name, or delete that token first: `bentoml api-token delete NAME`"
        }
        Error::Store(StoreError::Conflict(Conflict::DeploymentName)) => {
            "choose another name, or remove that Deployment first: `bentoml deployment delete NAME`"
        }
        _ => return error.advice(),
    };
    Some(hint.to_owned())
}
