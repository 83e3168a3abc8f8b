//! The whole API: what is served where, and who may call it.

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::{Request, State},
    http::{Method, header},
    response::{IntoResponse, Response},
    routing::{any, post},
};

use super::{
    Management, audit, budgets, console, deployments, device_login,
    error::ApiError,
    explain, leaked, let_through,
    openapi::Document,
    operation::{Routes, operation},
    tokens, usage, users,
};
use crate::{
    domain::{quoted::quoted, rights::Permission},
    http::authority,
};

const GET: Method = Method::GET;
const POST: Method = Method::POST;
const PUT: Method = Method::PUT;
const PATCH: Method = Method::PATCH;
const DELETE: Method = Method::DELETE;

/// Everything that a token is asked for, and what is open; with the document that describes it.
#[rustfmt::skip]
pub fn routes() -> (Router<Arc<Management>>, Document) {
    use Permission::{Management as AnyScope, ReadCluster, ReadOrganization, ReadUsers, Token, WriteCluster, WriteOrganization, WriteUsers};
    let (router, document) = Routes::new()
        // Logging in.
        .add(operation(GET, "/api/v1/auth/current", "getCurrentUser", "The owner of the token").requires(AnyScope), device_login::current)
        .add(operation(GET, "/api/v1/current_org", "getOrganization", "The organization").requires(AnyScope), device_login::current_organization)
        .add(operation(GET, "/api/v1/auth/code", "beginLogin", "Start a login in the browser").limited().anonymous(|limits| &limits.logins), device_login::code)
        .add(operation(GET, "/api/v1/auth/token", "claimLogin", "Claim the token of an approved login, once").may_404().limited().anonymous(|limits| &limits.logins), device_login::claim)
        // Tokens.
        .add(operation(GET, "/api/v1/api_tokens", "listApiTokens", "List API tokens, newest first").may_404().requires(ReadOrganization), tokens::list)
        .add_idempotent(operation(POST, "/api/v1/api_tokens", "createApiToken", "Create an API token; its text is in this response only").may_404().requires(WriteOrganization), tokens::create, tokens::created_before)
        .add(operation(GET, "/api/v1/api_tokens/{uid}", "getApiToken", "Get an API token, by uid, the end of it, or name").may_409().requires(ReadOrganization), tokens::get)
        .add(operation(PATCH, "/api/v1/api_tokens/{uid}", "updateApiToken", "Update an API token; its secret stays the same").urgent().may_409().requires(WriteOrganization), tokens::update)
        .add(operation(DELETE, "/api/v1/api_tokens/{uid}", "deleteApiToken", "Revoke an API token").urgent().may_409().requires(WriteOrganization), tokens::revoke)
        .add(operation(POST, "/api/v1/api_tokens/{uid}/revoke", "revokeApiToken", "The same as deleting it").urgent().may_409().requires(WriteOrganization), tokens::revoke)
        .add(operation(POST, "/api/v1/api_tokens/{uid}/rotate", "rotateApiToken", "Rotate an API token's secret; the new text is in this response only").urgent().may_409().requires(WriteOrganization), tokens::rotate)
        .add(operation(GET, "/api/v1/api_tokens/{uid}/usage", "getApiTokenUsage", "Usage of an API token, by day").may_409().requires(ReadOrganization), tokens::usage)
        .add(operation(GET, "/api/v1/usage", "getUsage", "What tokens have used of Deployments; everybody but an admin sees what their own have").may_404().may_409().requires(ReadOrganization), usage::report)
        .add(operation(GET, "/api/v1/audit_events", "listAuditEvents", "The audit trail, newest first").may_404().requires(ReadUsers), audit::list)
        .add(operation(GET, "/api/v1/audit_events/verification", "verifyAuditTrail", "Whether the audit trail is as it was written").requires(ReadUsers), audit::verify)
        // What the holder of any token may.
        .add(operation(GET, "/api/v1/whoami", "whoami", "The presented token").requires(Token), tokens::whoami)
        .add(operation(GET, "/api/v1/whoami/usage", "getOwnUsage", "Usage of the presented token, by day").requires(Token), tokens::own_usage)
        .add(operation(POST, "/api/v1/whoami/revoke", "revokeOwn", "Revoke the presented token").urgent().requires(Token), tokens::revoke_own)
        .add(operation(POST, "/api/v1/leaked_tokens", "reportLeakedTokens", "Revoke leaked tokens").urgent().limited().anonymous(|limits| &limits.reporting), leaked::report)
        // Deployments.
        .add(operation(GET, "/api/v2/deployments", "listDeployments", "List Deployments, by name").requires(ReadCluster), deployments::list)
        .add(operation(POST, "/api/v1/explanations", "explainRequest", "What would be decided about a request, and by which rule; nothing is sent or counted").may_404().may_409().requires(ReadCluster), explain::explain)
        .add_idempotent(operation(POST, "/api/v2/deployments", "createDeployment", "Add a Deployment").requires(WriteCluster), deployments::create, deployments::created_before)
        .add(operation(GET, "/api/v2/deployments/{name}", "getDeployment", "Get a Deployment").requires(ReadCluster), deployments::get)
        .add(operation(PATCH, "/api/v2/deployments/{name}", "updateDeployment", "Update a Deployment").urgent().may_409().requires(WriteCluster), deployments::update)
        .add(operation(PUT, "/api/v2/deployments/{name}", "startDeployment", "Start a terminated Deployment").may_409().requires(WriteCluster), deployments::start)
        .add(operation(POST, "/api/v2/deployments/{name}/terminate", "terminateDeployment", "Terminate a Deployment").urgent().may_409().requires(WriteCluster), deployments::terminate)
        .add(operation(DELETE, "/api/v2/deployments/{name}", "deleteDeployment", "Remove a Deployment, and the token scopes that name it").urgent().may_409().requires(WriteCluster), deployments::delete)
        .add(operation(GET, "/api/v2/deployments/{name}/budgets", "listBudgets", "What is used of the budgets of the Deployment: of all callers, and of each token, those with most first").requires(ReadUsers), budgets::list)
        .add(operation(GET, "/api/v2/deployments/{name}/let_through", "listLetThrough", "Who passes the Deployment before its enforce_from, and will be refused then; those with most requests first").requires(ReadUsers), let_through::report)
        // What the stock client asks for and a gateway has none of.
        .add(operation(GET, "/api/v1/org_secrets", "listSecrets", "Always empty: a gateway keeps no secrets for services").requires(AnyScope), deployments::no_secrets)
        .add(operation(GET, "/api/v1/instance_types", "listInstanceTypes", "Always empty: a gateway runs nothing").requires(AnyScope), deployments::no_instance_types)
        // Users.
        .add(operation(GET, "/api/v1/users", "listUsers", "List users, oldest first").requires(ReadUsers), users::list)
        .add_idempotent(operation(POST, "/api/v1/users", "createUser", "Create a user").requires(WriteUsers), users::create, users::created_before)
        .add(operation(GET, "/api/v1/users/{user}", "getUser", "Get a user, by uid or email address").requires(ReadUsers), users::get)
        .add(operation(PATCH, "/api/v1/users/{user}", "updateUser", "Update a user's name or role").urgent().may_409().requires(WriteUsers), users::update)
        .add(operation(POST, "/api/v1/users/{user}/disable", "disableUser", "Disable a user and all their tokens").urgent().may_409().requires(WriteUsers), users::disable)
        .add(operation(POST, "/api/v1/users/{user}/enable", "enableUser", "Enable a disabled user; their tokens work again unless revoked or expired").may_409().requires(WriteUsers), users::enable)
        .finish();
    let router = router
        .route("/api/v1/bento_repositories/{*rest}", any(|| unsupported(deployments::NO_BENTO)))
        .route("/api/v1/bento_repositories", any(|| unsupported(deployments::NO_BENTO)))
        .route("/api/v1/models/{*rest}", any(|| unsupported(NO_MODEL)))
        .route("/api/v1/model_repositories/{*rest}", any(|| unsupported(NO_MODEL)))
        .route("/api/v1/model_repositories", any(|| unsupported(NO_MODEL)))
        .route("/api/v1/org_secrets", post(|| async { ApiError::wrong_method(NO_SECRETS) }))
        .route("/api/v1/org_secrets/{*rest}", any(|| unsupported(NO_SECRETS)))
        .route("/api/v2/deployments/{name}/{*rest}", any(|| unsupported(NO_INSIDE)))
        .route("/ws/{*rest}", any(|| unsupported(NO_INSIDE)));
    (router, document)
}

const NO_MODEL: &str = "bento-gateway stores no models: keep them where the Bento runs, or in a registry of your own";
const NO_SECRETS: &str = "bento-gateway keeps no secrets for services: give them to the Bento where you start it, as \
                          environment variables or files";
const NO_INSIDE: &str = "bento-gateway runs no Bento and sees none of its files, logs or processes: look where the \
                         Bento runs; the gateway's own log has a line for each request";

async fn unsupported(text: &'static str) -> ApiError {
    ApiError::unsupported(text)
}

/// JSON for whatever is asked of the API that it does not have; a page for who looks at it. A login of the command line
/// whose endpoint has a path that is not there ends, as at its own path.
pub async fn unknown(State(management): State<Arc<Management>>, request: Request) -> Response {
    let (head, _) = request.into_parts();
    let path = head.uri.path();
    if path.ends_with("/api/v1/auth/token") {
        return Json(device_login::over()).into_response();
    }
    let accept = head.headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok());
    if accept.is_some_and(|accept| accept.contains("text/html")) && !path.starts_with("/api/") {
        return console::unknown();
    }
    let error =
        ApiError::not_found(format!("there is nothing at {}; /openapi.json lists the operations", quoted(path)));
    // Somebody who calls a model has taken this port for the proxy's.
    if path.starts_with("/api/") {
        return error.into_response();
    }
    let here = authority::read(&head).ok().map(|asked| asked.host_name());
    error.and(&format!("services are called at {}", management.services(here.as_ref()))).into_response()
}

pub async fn wrong_method() -> ApiError {
    ApiError::wrong_method("this method is not allowed here; /openapi.json lists the operations")
}
