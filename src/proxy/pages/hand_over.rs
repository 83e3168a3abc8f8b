//! Signing in by way of the console: there and back again, with a code that only this browser can use.

use std::net::IpAddr;

use bytes::Bytes;
use http::{Response, StatusCode};

use super::{OwnPage, redirect, return_path};
use crate::{
    domain::{
        code::{Nonce, OneTimeCode, Purpose},
        deployment::DeploymentName,
        origin::Origin,
        timestamp::Timestamp,
    },
    http::{
        cookie::{self, NONCE},
        form::FormFields,
    },
    service::{
        self, browser_sessions,
        deployments::address::{self, Address},
    },
    system,
};

/// How long somebody may take to sign in to the console on the way, seconds.
const NONCE_LIFETIME: u64 = 600;

impl OwnPage<'_> {
    /// To the console, which sends the browser back with a code that only this browser can use.
    pub(super) fn to_console(&self) -> Response<Bytes> {
        let (Some(console), Ok(nonce)) = (self.console(), system::new_nonce()) else {
            let text = "The console cannot be reached from here. Sign in with an API token.";
            return self.message(StatusCode::NOT_FOUND, "Console unavailable", text);
        };
        let at = Address { origin: self.origin(), prefix: self.prefix().to_owned() }.to_string();
        let to = self.to();
        let query = serde_urlencoded::to_string([("at", &*at), ("to", &*to), ("nonce", nonce.hash().as_str())]);
        let location = format!("{console}/open?{}", query.unwrap_or_default());
        redirect(&location, Some(cookie::set(self.forwarding.https, NONCE, &nonce.expose(), NONCE_LIFETIME)))
    }

    /// Back from the console.
    pub(super) async fn hand_over(&self) -> Response<Bytes> {
        let query = self.query();
        let to = return_path(query.text("to"));
        let Some((code, nonce, name)) = self.handed(&query) else {
            return self.denied_text(&service::Error::SignInOver.to_string(), StatusCode::BAD_REQUEST, to);
        };
        let lifetime = self.settings.browser.session_lifetime;
        let deployment = name.clone();
        let place = self.gateway.sign_ins.signing_in.enter(self.network());
        let begun = self.in_store(place, async move |store| {
            browser_sessions::redeem(&store.context(), &code, &nonce, &deployment, lifetime).await
        });
        self.begun(begun.await, &name, to)
    }

    /// The code that the browser brings, its nonce, and the Deployment here. `None`: the code was invented, is over, or is
    /// another browser's or Deployment's. The store is not asked: neither its state nor its time shows whether there is a
    /// Deployment.
    fn handed(&self, query: &FormFields) -> Option<(OneTimeCode, Nonce, DeploymentName)> {
        let codes = self.gateway.opened.get()?.codes();
        let nonce = cookie::get(&self.head.headers, self.forwarding.https, NONCE).and_then(Nonce::parse)?;
        let deployment = self.route.deployment.as_ref()?.spec.name.clone();
        let until = Timestamp::from_millis(query.text("until").parse().ok()?);
        let purpose = Purpose::HandOver { deployment: &deployment, nonce: &nonce.hash(), until };
        let code = codes.open(purpose, query.text("code")).filter(|_| until > system::now())?;
        Some((code, nonce, deployment))
    }

    /// Where this browser reaches the console. `None`: it listens on another machine's loopback, as far as we know.
    pub(in crate::proxy) fn console(&self) -> Option<Origin> {
        let management = &self.settings.browser.management;
        let host = &self.target.authority;
        let on_loopback = management.public_url.is_none() && management.listen.ip().is_loopback();
        if on_loopback && !is_local(&host.host, self.forwarding.client) {
            return None;
        }
        Some(address::management(management, Some(&host.host_name())))
    }
}

fn is_local(host: &str, client: IpAddr) -> bool {
    client.is_loopback() || matches!(host, "localhost" | "127.0.0.1" | "[::1]")
}
