//! The web console: pages for people, made on the server. Scripts help where they are allowed and are never needed.
//!
//! [`visit`] says who looks at a page and that a form is theirs; every other file is a page or a few. What is done is done
//! by [`service`](crate::service), as for the API and the command line.

mod account;
mod activity;
mod approve;
mod charts;
mod deployments;
mod oidc;
mod open;
mod overview;
mod page;
mod recipes;
mod sign_in;
mod token_form;
mod tokens;
mod users;
mod visit;

use std::sync::Arc;

use axum::{
    Router,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};

use super::Management;

const STYLE: &str = include_str!("../../../assets/console.css");
const ICON: &str = include_str!("../../../assets/icon.svg");
const SCRIPT: &str = include_str!("../../../assets/console.js");

pub fn routes() -> Router<Arc<Management>> {
    Router::new()
        .route("/", get(overview::show))
        .route("/sign-in", get(sign_in::show).post(sign_in::sign_in))
        .route("/sign-in/oidc", get(oidc::begin))
        .route("/sign-in/oidc/callback", get(oidc::finish))
        .route("/sign-out", post(sign_in::sign_out))
        .route("/welcome", get(sign_in::welcome).post(sign_in::accept))
        .route("/account", get(account::show))
        .route("/account/password", post(account::change_password))
        .route("/account/sign-out-everywhere", post(account::sign_out_everywhere))
        .route("/api-token", get(tokens::old_address))
        .route("/api_tokens", get(tokens::list).post(token_form::create))
        .route("/api_tokens/new", get(token_form::new))
        .route("/api_tokens/approve", post(approve::decide))
        .route("/api_tokens/{uid}", get(tokens::show).post(token_form::update))
        .route("/api_tokens/{uid}/edit", get(token_form::edit))
        .route("/api_tokens/{uid}/rotate", get(tokens::ask_rotate).post(tokens::rotate))
        .route("/api_tokens/{uid}/delete", get(tokens::ask_delete).post(tokens::delete))
        .route("/deployments", get(deployments::list).post(deployments::add))
        .route("/deployments/new", get(deployments::new))
        .route("/deployments/{name}", get(deployments::show).post(deployments::update))
        .route("/deployments/{name}/edit", get(deployments::edit))
        .route("/deployments/{name}/terminate", post(deployments::terminate))
        .route("/deployments/{name}/start", post(deployments::start))
        .route("/deployments/{name}/remove", get(deployments::ask_remove).post(deployments::remove))
        .route("/open", get(open::open))
        .route("/users", get(users::list).post(users::invite))
        .route("/users/{id}/role", post(users::set_role))
        .route("/users/{id}/link", post(users::link))
        .route("/users/{id}/disable", post(users::disable))
        .route("/users/{id}/enable", post(users::enable))
        .route("/activity", get(activity::list))
        .route("/assets/console.css", get(|| asset("text/css; charset=utf-8", STYLE)))
        .route("/assets/icon.svg", get(|| asset("image/svg+xml", ICON)))
        .route("/assets/console.js", get(|| asset("text/javascript; charset=utf-8", SCRIPT)))
}

pub fn unknown() -> Response {
    page::message(StatusCode::NOT_FOUND, "There is no such page", "The console has nothing at this address.")
}

async fn asset(content_type: &'static str, text: &'static str) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, content_type), (header::CACHE_CONTROL, "max-age=3600")], text)
}
