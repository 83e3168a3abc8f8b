//! `/api/v1/explanations`: what would be decided about a request, and by which rule.

use std::net::SocketAddr;

use schemars::JsonSchema;
use serde::Deserialize;

use super::{
    Management,
    caller::{Caller, Principal},
    error::{ApiError, invalid_value},
    openapi::Empty,
    operation::ApiRequest,
};
use crate::{
    domain::{explanation::Question, rights::Permission, timestamp::Timestamp},
    http::network::Network,
    service::{
        Context,
        explain::{self, ExplanationView, TokenOfRequest},
        lookup::Viewer,
    },
};

/// The request that is asked about. A POST, so that no token's text stands in a URL.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AskToExplain {
    /// As a caller would write it: http://HOST/PATH or https://HOST/PATH.
    url: String,
    /// GET if not given.
    method: Option<String>,
    /// The token whose newest secret is shown, by uid, the end of it, or name. Needs the scope read_organization.
    token: Option<String>,
    /// In place of it, the token's text. Needs the scope read_organization.
    token_text: Option<String>,
    /// The Deployment's own listener at which the request comes in, IP:PORT; if not given, the one with the port of the URL, or
    /// else the common one.
    listener: Option<String>,
    /// A date or time (2026-12-24, 2026-12-24T18:00:00Z) for which it is decided, by what is known now; now if not given.
    at: Option<String>,
}

pub async fn explain(call: ApiRequest<Caller, Empty, AskToExplain>) -> Result<ExplanationView, ApiError> {
    // The body may have taken its time, and the caller may have lost the right meanwhile.
    call.store.expect(&call.caller.grantor(), call.now).await?;
    let asked = &call.body;
    let token = match (asked.token.as_deref(), asked.token_text.as_deref()) {
        (None, None) => TokenOfRequest::None,
        (Some(name), None) => TokenOfRequest::Called(name),
        (None, Some(text)) => TokenOfRequest::Text(text),
        (Some(_), Some(_)) => return Err(ApiError::invalid("give token or token_text, not both")),
    };
    if !matches!(token, TokenOfRequest::None) {
        call.caller.rights().allow(Permission::ReadOrganization)?;
    }
    let listener = asked.listener.as_deref().map(str::parse).transpose().map_err(invalid_value("listener"))?;
    let asked = Asked {
        method: asked.method.as_deref().unwrap_or("GET"),
        url: &asked.url,
        listener,
        token,
        at: asked.at.as_deref().map(str::parse).transpose().map_err(invalid_value("at"))?,
    };
    asked.explained(&call.management, &call.context(), call.caller.viewer(), call.network()).await
}

/// What the API and the console ask.
pub struct Asked<'a> {
    pub method: &'a str,
    pub url: &'a str,
    pub listener: Option<SocketAddr>,
    pub token: TokenOfRequest<'a>,
    /// `None`: now.
    pub at: Option<Timestamp>,
}

impl Asked<'_> {
    /// `network`: whose share of the first verifications it takes.
    ///
    /// # Errors
    /// 400 and 404 about what is asked.
    pub async fn explained(
        &self,
        management: &Management,
        context: &Context<'_>,
        viewer: Viewer,
        network: Network,
    ) -> Result<ExplanationView, ApiError> {
        let Self { method, url, listener, .. } = *self;
        let at = self.at.unwrap_or(context.now);
        let token = explain::token(context, Some(viewer), self.token).await?;
        let question = Question { method, url, listener, token, at };
        let gateway = &management.gateway;
        let explanation = (gateway.explain)(gateway, question, network).await?;
        Ok(explain::view(context, Some(viewer), explanation, at).await?)
    }
}
