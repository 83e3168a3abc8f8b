//! What to do about an error, for whoever runs the command line. A command in a hint works when it is pasted, but for the
//! names in capitals: a test parses each.

use crate::{
    service::Error,
    store::{Conflict, StoreError},
};

/// `None`: the error's text says it.
pub fn hint(error: &Error) -> Option<String> {
    let hint = match error {
        Error::UnknownDeployment(name) => {
            return Some(format!(
                "`bento-gateway deployment list` shows the Deployments that exist; if {name} is declared in a \
                 configuration file, give this command the same --config, or start the gateway with it first"
            ));
        }
        Error::DeclaredElsewhere(name) => {
            return Some(format!(
                "choose another name; or, once no gateway declares it, let tokens with the scope deployment:{name} open \
                 the new one: `bento-gateway deployment add {name} --was-declared --upstream URL`"
            ));
        }
        Error::UserDisabled(email) => return Some(format!("enable it first: `bento-gateway user enable {email}`")),
        Error::TokenNotFound(_) | Error::Unknown { noun: "API token", .. } => {
            "`bento-gateway token list` shows the tokens that exist"
        }
        Error::TokenRevoked(_) | Error::TokenExpired { .. } => "create a new one: `bento-gateway token create NAME`",
        Error::UserNotFound(_) => "`bento-gateway user list` shows the users that exist",
        Error::NoAdmin => {
            "start the gateway once (`bento-gateway serve`), which makes a first admin, or make one: `bento-gateway user \
             create --admin --email EMAIL --name NAME`"
        }
        Error::DeploymentNotFound(_) => "`bento-gateway deployment list` shows the Deployments that exist",
        Error::Store(store) => return store_hint(store).map(str::to_owned).or_else(|| error.advice()),
        _ => return error.advice(),
    };
    Some(hint.to_owned())
}

fn store_hint(error: &StoreError) -> Option<&'static str> {
    Some(match error {
        StoreError::Conflict(Conflict::TokenName) => {
            "choose another name, or revoke that token first; `bento-gateway token list` shows it"
        }
        StoreError::Conflict(Conflict::DeploymentName) => {
            "choose another name, or remove that Deployment first; `bento-gateway deployment list` shows it"
        }
        StoreError::Conflict(Conflict::Email) => "`bento-gateway user list` shows it",
        StoreError::Unavailable(_) => {
            "check store.url (`bento-gateway config print`), and that the database is running"
        }
        StoreError::Unusable(_) => "check store.url, its user and that user's rights (`bento-gateway config print`)",
        _ => return None,
    })
}
