//! Opening a Deployment signed in: the browser comes from the Deployment's own sign-in page, or from a button here that
//! leads there first, and goes back with a code that only it can use.

use axum::{extract::Query, http::StatusCode};
use serde::Deserialize;

use super::{
    page::{PageResult, message, redirect},
    visit::SignedIn,
};
use crate::{
    domain::{code::CodeHash, deployment::DeploymentSpec, host::Authority},
    service::{
        browser_sessions,
        deployments::{self, address},
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
    let Some(nonce) = hash(&asked.nonce) else {
        return Ok(message(
            StatusCode::BAD_REQUEST,
            "Not understood",
            "Open the Deployment itself, and sign in there.",
        ));
    };
    let listed = deployments::list(&visitor.context()).await?;
    let served = listed.iter().filter(|listed| !listed.shadowed);
    let found = served.filter_map(|listed| Some((&listed.spec, visitor.own_address(&listed.spec, &asked.at)?))).next();
    let Some((spec, address)) = found else {
        let text = "This console knows of no Deployment at the address that you come from. If something stands in front of \
                    the gateway, proxy.public_url must say how browsers reach it.";
        return Ok(message(StatusCode::NOT_FOUND, "No such Deployment", text));
    };
    let code = browser_sessions::hand_over(&visitor.context(), &visitor.user, spec.name.clone(), nonce).await?;
    let query = serde_urlencoded::to_string([("code", code.expose()), ("to", asked.to)]).unwrap_or_default();
    Ok(redirect(&format!("{address}/-/hand-over?{query}")))
}

impl SignedIn {
    /// Where this browser reaches a Deployment. `None`: nowhere, as configured.
    pub fn url(&self, spec: &DeploymentSpec) -> Option<String> {
        let proxy = &self.config.proxy;
        let url = address::url(proxy, spec)?;
        let listen = spec.listen.unwrap_or(proxy.listen);
        // What listens everywhere is reached where the console is.
        let everywhere = listen.ip().is_unspecified() && url.contains(&format!("//{}", address::reachable(listen)));
        let host = Authority::parse(self.host.as_bytes()).ok().map(|authority| authority.host.into_owned());
        match host {
            Some(host) if everywhere => Some(url.replacen(&address::reachable(listen).ip().to_string(), &host, 1)),
            _ => Some(url),
        }
    }

    /// The console, as this browser reaches it.
    pub fn console_url(&self) -> String {
        match &self.config.management.public_url {
            Some(public) => public.origin(),
            None if self.host.is_empty() => address::management(&self.config.management),
            None => format!("{}://{}", if self.https { "https" } else { "http" }, self.host),
        }
    }

    /// `at`, if that is an address of the Deployment and of nobody else: a code is sent there. The scheme is ours to say.
    fn own_address(&self, spec: &DeploymentSpec, at: &str) -> Option<String> {
        let url = self.url(spec)?;
        let (scheme, place) = url.split_once("://")?;
        let (_, asked) = at.split_once("://")?;
        let (authority, path) = place.split_at(place.find('/').unwrap_or(place.len()));
        let port =
            authority.strip_prefix(Authority::parse(authority.as_bytes()).ok()?.host.as_ref()).unwrap_or_default();
        let is_loopback = matches!(authority.strip_suffix(port), Some("127.0.0.1" | "localhost" | "[::1]"));
        let mut places = vec![place.to_owned()];
        if is_loopback {
            places.extend(["127.0.0.1", "localhost"].map(|host| format!("{host}{port}{path}")));
        } else if spec.listen.is_none() && path.is_empty() {
            places.extend(spec.hosts.iter().map(|host| format!("{host}{port}")));
        }
        places.iter().any(|place| place == asked).then(|| format!("{scheme}://{asked}"))
    }
}

/// 64 hexadecimal digits.
fn hash(text: &str) -> Option<CodeHash> {
    let plain = text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    plain.then(|| CodeHash::from_stored(text.to_owned()))
}
