//! Opening a Deployment signed in: the browser comes from the Deployment's own sign-in page, or from a button here that
//! leads there first, and goes back with a code that only it can use.

use axum::{extract::Query, http::StatusCode};
use serde::Deserialize;

use super::{
    page::{message, redirect},
    rejection::PageResult,
    visitor::SignedIn,
};
use crate::{
    domain::{code::CodeHash, deployment::DeploymentSpec, host::HostName, origin::Origin},
    service::{
        browser_sessions,
        deployments::{
            self,
            address::{self, Address},
        },
    },
};

#[derive(Deserialize)]
pub struct Asked {
    /// Where the Deployment is, as the browser sees it.
    #[serde(default)]
    at: String,
    #[serde(default)]
    to: String,
    /// BLAKE3 of what the browser has in a cookie there.
    #[serde(default)]
    nonce: String,
}

pub async fn open(visitor: SignedIn, Query(asked): Query<Asked>) -> PageResult {
    let Some(nonce) = CodeHash::parse(&asked.nonce) else {
        return Ok(message(StatusCode::BAD_REQUEST, "Invalid link", "Open the Deployment itself and sign in there."));
    };
    let listed = deployments::list(&visitor.context()).await?;
    let served = listed.iter().filter(|listed| !listed.shadowed);
    let address = |spec| address::asked(&visitor.config.proxy, spec, visitor.here(), &asked.at);
    let found = served.filter_map(|listed| Some((&listed.spec, address(&listed.spec)?))).next();
    let Some((spec, address)) = found else {
        let text = "There is no Deployment at the address that you came from. If the gateway is behind a reverse proxy or load \
                    balancer, set proxy.public_url to the address that browsers use.";
        return Ok(message(StatusCode::NOT_FOUND, "Deployment not found", text));
    };
    let code = browser_sessions::hand_over(&visitor.context(), &visitor.user, spec.name.clone(), nonce).await?;
    let query = serde_urlencoded::to_string([("code", code.expose()), ("to", asked.to)]).unwrap_or_default();
    Ok(redirect(&format!("{address}/-/hand-over?{query}")))
}

impl SignedIn {
    /// Where this browser reaches a Deployment. `None`: nowhere, as configured.
    pub fn deployment_url(&self, spec: &DeploymentSpec) -> Option<Address> {
        address::deployment(&self.config.proxy, spec, self.here())
    }

    /// The console, as this browser reaches it.
    pub fn console_url(&self) -> Origin {
        self.origin.clone().unwrap_or_else(|| address::management(&self.config.management, None))
    }

    /// The host by which this browser reaches the machine.
    pub fn here(&self) -> Option<&HostName> {
        self.origin.as_ref().map(Origin::host)
    }
}
