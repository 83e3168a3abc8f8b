//! `/api_tokens?code=…`: approving a login of the command line.

use askama::Template;
use axum::http::StatusCode;

use super::{
    form::CsrfForm,
    page::{self, rendered},
    rejection::PageResult,
    shell::Shell,
    visitor::SignedIn,
    words::Moment,
};
use crate::{
    domain::{
        code::{OneTimeCode, Purpose},
        deployment_scope::{DeploymentPattern, DeploymentScope},
        scope::{Scope, ScopeSet},
        units::format_duration,
    },
    management::error::ApiError,
    service::{self, device_login},
};

#[derive(Template)]
#[template(path = "console/approve.html")]
struct ApprovePage {
    shell: Shell,
    code: String,
    asked_from: String,
    asked_with: String,
    asked: Moment,
    ends: Moment,
    /// Of the new token. `None`: it does not expire.
    lifetime: Option<String>,
}

/// Showing the page decides nothing.
pub async fn show(visitor: &SignedIn, text: &str) -> PageResult {
    let code = read(visitor, text)?;
    let login = device_login::waiting(&visitor.context(), &code).await?;
    let page = ApprovePage {
        shell: Shell::new(visitor, "tokens"),
        code: code.expose(),
        asked_from: login.asked_from,
        asked_with: login.asked_with,
        asked: Moment::new(login.created_at, visitor.now),
        ends: Moment::new(login.expires_at, visitor.now),
        lifetime: visitor.config.tokens.default_lifetime.map(format_duration),
    };
    Ok(rendered(StatusCode::OK, &page))
}

pub async fn decide(CsrfForm { visitor, fields }: CsrfForm<SignedIn>) -> PageResult {
    let code = read(&visitor, fields.text("code"))?;
    if fields.text("decision") != "approve" {
        device_login::refuse(&visitor.context(), &code, &visitor.user).await?;
        let text = "The command line did not get a token. You can close this page.";
        return Ok(page::message(StatusCode::OK, "Login denied", text));
    }
    let all = Some(Scope::Deployment(DeploymentScope::of(DeploymentPattern::All))).filter(|_| fields.on("endpoints"));
    let scopes = ScopeSet::new([Scope::Api].into_iter().chain(all));
    let scopes = scopes.map_err(|error| ApiError::invalid(error.to_string()))?;
    device_login::approve(&visitor.context(), &code, &visitor.user, scopes).await?;
    let text = "Return to your terminal. You can close this page.";
    Ok(page::message(StatusCode::OK, "Login approved", text))
}

fn read(visitor: &SignedIn, text: &str) -> service::Result<OneTimeCode> {
    visitor.store().codes().open(Purpose::DeviceLogin, text).ok_or(service::Error::DeviceLoginOver)
}
