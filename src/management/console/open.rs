//! Opening a Deployment signed in: the browser comes from the Deployment's own sign-in page, or from a button here that
//! leads there first, and goes back with a code that only it can use.

use axum::{extract::Query, http::StatusCode, response::Response};
use serde::Deserialize;

use super::{
    form::CsrfForm,
    page::{self, ContinuePage, OPEN, message, redirect},
    rejection::PageResult,
    sign_in,
    visitor::{Anonymous, SignedIn},
};
use crate::{
    domain::{
        code::CodeHash,
        decision::{self, Destination, Reason},
        deployment::DeploymentSpec,
        host::HostName,
        narrowing::Asked as AskedRoute,
        origin::Origin,
        timestamp::Timestamp,
        token_text::PresentedToken,
    },
    index::verify::{ProvenToken, Shown},
    management::error::ApiError,
    service::{
        self, Context,
        browser_sessions::{self, Handed},
        deployments::{
            self,
            address::{self, Address},
        },
    },
};

#[derive(Default, Deserialize)]
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
    let Some(nonce) = CodeHash::parse(&asked.nonce) else { return Ok(invalid_link()) };
    visitor.management.gateway.sign_ins.allow_person(visitor.user.id)?;
    let Some((spec, address)) = asked_for(&visitor, &visitor.context(), &asked.at).await? else { return Ok(nowhere()) };
    let handed = browser_sessions::hand_over(&visitor.context(), visitor.user.id, spec.name, nonce).await?;
    Ok(redirect(&way_back(&address, &handed, &asked.to)))
}

/// The same with a pasted token in place of an account. It is typed here because the Deployment's own scripts could read it
/// at its address.
pub async fn with_token(CsrfForm { visitor, fields }: CsrfForm<Anonymous>) -> PageResult {
    let asked = Asked::of_next(fields.text("next"));
    let Some(nonce) = CodeHash::parse(&asked.nonce) else { return Ok(invalid_link()) };
    let limits = &visitor.management.limits;
    limits.sign_ins.allow(visitor.network())?;
    let inside = visitor.enter(&limits.signing_in, visitor.network())?;
    let refused = |problem: ApiError| {
        visitor.refused_sign_in("token", None);
        Ok(sign_in::refused_token(&visitor, fields.text("next"), problem))
    };
    // Before anything is looked up: who has no token learns nothing of Deployments, and costs the store nothing.
    let proven = match proven(&visitor, fields.text("token")).await {
        Ok(proven) => proven,
        Err(problem) => return refused(problem),
    };
    let found = asked_for(&visitor, &inside.context(), &asked.at).await?;
    if let Err(reason) = opens(&proven, found.as_ref().map(|(spec, _)| spec), visitor.now) {
        return if reason == Reason::NoSuchDeployment { Ok(nowhere()) } else { refused(refusal(reason)) };
    }
    let Some((spec, address)) = found else { return Ok(nowhere()) };
    let token = proven.entry().uid;
    visitor.management.gateway.sign_ins.allow(token)?;
    let handed = browser_sessions::hand_over_of(&inside.context(), token, spec.name, nonce).await?;
    Ok(page::rendered(StatusCode::OK, &ContinuePage { next: &way_back(&address, &handed, &asked.to) }))
}

async fn proven(visitor: &Anonymous, pasted: &str) -> Result<ProvenToken, ApiError> {
    let not_a_token = "This is not an API token. API tokens start with bgw_ and have 66 characters.";
    let token = PresentedToken::parse(pasted.as_bytes()).map_err(|_| ApiError::invalid(not_a_token))?;
    let gateway = &visitor.management.gateway;
    let shown = Shown { from: visitor.network(), at: visitor.now };
    Ok(gateway.verifier.authenticate(&gateway.index, token, shown).await?)
}

/// Whether the token opens what is at the address. `None`: nothing is. As at the proxy, the scope decides before existence
/// does.
fn opens(proven: &ProvenToken, found: Option<&DeploymentSpec>, now: Timestamp) -> Result<(), Reason> {
    let destination = match found {
        Some(spec) => Destination::Deployment(spec.name.as_str()),
        None => Destination::Unknown(None),
    };
    // The browser may open what the token opens of it.
    decision::decide(proven.entry().holder(), destination, AskedRoute::Anything, now).map(drop)
}

fn refusal(reason: Reason) -> ApiError {
    match reason {
        Reason::OutOfScope => ApiError::new(
            StatusCode::FORBIDDEN,
            "insufficient_scope",
            "this API token does not open the Deployment that you came from",
        ),
        _ => ApiError::unauthorized("token_over", "this API token was revoked or has expired"),
    }
}

/// The Deployment at the address that the browser comes from. `None`: there is none.
async fn asked_for(
    visitor: &Anonymous,
    context: &Context<'_>,
    at: &str,
) -> service::Result<Option<(DeploymentSpec, Address)>> {
    let listed = deployments::list(context).await?;
    let reach = deployments::reach(context, &visitor.config.proxy).await?;
    let mut served = listed.into_iter().filter(|listed| !listed.shadowed).map(|listed| listed.spec);
    Ok(served.find_map(|spec| reach.asked(&spec, visitor.here(), at).map(|at| (spec, at))))
}

fn way_back(address: &Address, Handed { code, until }: &Handed, to: &str) -> String {
    let until = until.as_millis().to_string();
    let query = [("code", &*code.expose()), ("until", &*until), ("to", to)];
    let query = serde_urlencoded::to_string(query).unwrap_or_default();
    format!("{address}/-/hand-over?{query}")
}

fn invalid_link() -> Response {
    message(StatusCode::BAD_REQUEST, "Invalid link", "Open the Deployment itself and sign in there.")
}

fn nowhere() -> Response {
    let text = "There is no Deployment at the address that you came from. If the gateway is behind a reverse proxy or load \
                balancer, set proxy.public_url to the address that browsers use.";
    message(StatusCode::NOT_FOUND, "Deployment not found", text)
}

impl Asked {
    /// Of a link to this page; empty if it is none.
    fn of_next(next: &str) -> Self {
        let query = next.strip_prefix(OPEN).unwrap_or_default();
        serde_urlencoded::from_str(query).unwrap_or_default()
    }
}

impl Anonymous {
    /// The console, as this browser reaches it.
    pub fn console_url(&self) -> Origin {
        self.origin.clone().unwrap_or_else(|| address::management(&self.config.management, None))
    }

    /// The host by which this browser reaches the machine.
    pub fn here(&self) -> Option<&HostName> {
        self.origin.as_ref().map(Origin::host)
    }
}
