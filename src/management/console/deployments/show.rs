//! One Deployment's page.

use askama::Template;
use axum::{extract::Path, http::StatusCode};

use super::row::{Row, rows};
use crate::{
    domain::{
        deployment::{DeploymentName, DeploymentSettings, DeploymentSpec},
        scope::Scope,
        token::TokenRecord,
        units::format_duration,
    },
    management::{
        console::{
            page::rendered,
            recipes::{Calls, Credential, Recipe},
            rejection::PageResult,
            shell::Shell,
            tokens::scope_label,
            visitor::SignedIn,
            words::{Moment, number},
        },
        error::ApiError,
        views::internals,
    },
    service::lookup,
    store::Page,
};

/// Tokens that a Deployment's page names.
const MAX_TOKENS: u32 = 20;

#[derive(Template)]
#[template(path = "console/deployment.html")]
struct DeploymentPage {
    shell: Shell,
    row: Row,
    /// It can be changed here, by this visitor.
    editable: bool,
    terminated: bool,
    /// Only for admins, as the settings.
    listen: Option<String>,
    settings: Vec<(&'static str, String)>,
    created: Option<Moment>,
    recipes: Vec<Recipe>,
    tokens: Vec<TokenLine>,
    more_tokens: u64,
    done: Option<String>,
}

struct TokenLine {
    uid: String,
    name: String,
    scopes: String,
}

pub async fn show(visitor: SignedIn, Path(name): Path<String>) -> PageResult {
    deployment_page(&visitor, &name, None).await
}

pub async fn deployment_page(visitor: &SignedIn, name: &str, done: Option<String>) -> PageResult {
    let listed = lookup::deployment(&visitor.context(), name).await?;
    let spec = &listed.spec;
    let row = rows(visitor, std::slice::from_ref(&listed)).await?.pop();
    let row = row.ok_or_else(|| lookup::unknown_deployment(name))?;
    let tokens = tokens_opening(visitor, &spec.name).await?;
    let internals = internals(spec, visitor.user.role);
    let page = DeploymentPage {
        shell: Shell::new(visitor, "deployments"),
        editable: visitor.is_admin() && !row.from_file,
        terminated: spec.terminated,
        listen: internals.as_ref().and(spec.listen).map(|address| address.to_string()),
        settings: internals.map(|internals| settings(internals.settings)).unwrap_or_default(),
        created: listed.created_at.map(|at| Moment::new(at, visitor.now)),
        recipes: recipes_of(visitor, spec, row.url.as_deref()).await,
        more_tokens: tokens.total - tokens.items.len() as u64,
        tokens: tokens.items.iter().map(token_line).collect(),
        row,
        done,
    };
    Ok(rendered(StatusCode::OK, &page))
}

/// `url` of `None`: it has no address, and so no recipes.
async fn recipes_of(visitor: &SignedIn, spec: &DeploymentSpec, url: Option<&str>) -> Vec<Recipe> {
    let Some(url) = url else { return Vec::new() };
    let api = visitor.management.service_apis.of(spec).await;
    let credential = if spec.protected { Credential::Variable } else { Credential::None };
    Calls { url, credential, api: api.as_deref() }.recipes()
}

async fn tokens_opening(visitor: &SignedIn, name: &DeploymentName) -> Result<Page<TokenRecord>, ApiError> {
    let owner = (!visitor.is_admin()).then_some(visitor.user.id);
    Ok(visitor.store().tokens_opening(name, owner, visitor.now, MAX_TOKENS).await?)
}

fn token_line(token: &TokenRecord) -> TokenLine {
    let endpoint = token.scopes.iter().filter(|scope| matches!(scope, Scope::Deployment(_)));
    let labels: Vec<String> = endpoint.map(scope_label).collect();
    TokenLine { uid: token.uid.to_string(), name: token.name.clone(), scopes: labels.join(", ") }
}

fn concurrency(settings: &DeploymentSettings) -> String {
    let Some(limit) = settings.max_in_flight else { return "No limit".to_owned() };
    let (queue, longest) = (number(settings.max_queue.into()), format_duration(settings.queue_timeout));
    format!("{} of each gateway; {queue} more may wait, for {longest}", number(limit.get().into()))
}

fn settings(settings: &DeploymentSettings) -> Vec<(&'static str, String)> {
    let yes_if = |on: bool, text: &str| if on { text.to_owned() } else { "No".to_owned() };
    let origins: Vec<String> = settings.cors_origins.iter().map(ToString::to_string).collect();
    let origins = if origins.is_empty() { "Decided by the service".to_owned() } else { origins.join(", ") };
    let max_body =
        settings.max_body_bytes.map_or_else(|| "No limit".to_owned(), |bytes| format!("{} bytes", number(bytes)));
    vec![
        ("Allowed origins (CORS)", origins),
        ("Connect timeout", format_duration(settings.connect_timeout)),
        ("First byte timeout", format_duration(settings.first_byte_timeout)),
        ("Idle timeout", format_duration(settings.idle_timeout)),
        ("Maximum request body", max_body),
        ("Requests at once", concurrency(settings)),
        ("Requests of each token", settings.rate_limit.map_or_else(|| "No limit".to_owned(), String::from)),
        ("Forward Authorization", yes_if(settings.forward_authorization, "Yes: the service sees its callers' tokens")),
        ("Allow pickle", yes_if(settings.allow_pickle, "Yes: callers can run code in the service")),
    ]
}
