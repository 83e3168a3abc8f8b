//! The web console: pages for people, made on the server. Scripts help where they are allowed and are never needed.
//!
//! [`visitor`] says whose browser it is, [`form`] that a form is theirs, [`routes()`] that every page asks for one of these.
//! Every other file is a page or a few. What is done is done by [`service`](crate::service), as for the API and the
//! command line.

mod account;
mod activity;
mod afterwards;
mod approve;
mod charts;
mod deployments;
mod explain;
mod form;
mod known_browser;
mod oidc;
mod open;
mod overview;
mod page;
mod recipes;
mod rejection;
mod routes;
mod session_cookie;
mod shell;
mod sign_in;
mod tokens;
mod usage;
mod users;
mod verify;
mod visitor;
mod welcome;
mod words;

use std::sync::Arc;

use axum::{Router, body::Body, http::StatusCode, response::Response, routing::get};

use self::routes::Pages;
pub use self::{oidc::Providers, routes::Page, visitor::Audience};
use super::Management;
use crate::http;

const STYLE: &str = include_str!("../../../assets/console.css");
const ICON: &str = include_str!("../../../assets/icon.svg");
const SCRIPT: &str = include_str!("../../../assets/console.js");

pub fn routes() -> Router<Arc<Management>> {
    let (router, _) = pages().finish();
    router
        // The `bentoml` client names this address where credentials are bad.
        .route("/api-token", get(|| async { page::redirect("/api_tokens") }))
        .route("/assets/console.css", get(async || http::page::asset::<Body>("text/css; charset=utf-8", STYLE)))
        .route("/assets/icon.svg", get(async || http::page::asset::<Body>("image/svg+xml", ICON)))
        .route("/assets/console.js", get(async || http::page::asset::<Body>("text/javascript; charset=utf-8", SCRIPT)))
}

/// Every page and form, and for whom it is.
pub fn table() -> Vec<Page> {
    pages().finish().1
}

fn pages() -> Pages {
    Pages::default()
        .page("/", overview::show)
        .page("/sign-in", sign_in::show)
        .form("/sign-in", sign_in::sign_in)
        .page("/sign-in/oidc", oidc::begin)
        .page("/sign-in/oidc/callback", oidc::finish)
        .form("/sign-out", sign_in::sign_out)
        .page("/welcome", welcome::show)
        .form("/welcome", welcome::accept)
        .page("/account", account::show)
        .form("/account/password", account::change_password)
        .form("/account/sign-out-everywhere", account::sign_out_everywhere)
        .page("/api_tokens", tokens::list)
        .form("/api_tokens", tokens::create)
        .page("/api_tokens/new", tokens::new)
        .form("/api_tokens/approve", approve::decide)
        .page("/api_tokens/{uid}", tokens::show)
        .form("/api_tokens/{uid}", tokens::update)
        .page("/api_tokens/{uid}/edit", tokens::edit)
        .page("/api_tokens/{uid}/rotate", tokens::confirm_rotate)
        .form("/api_tokens/{uid}/rotate", tokens::rotate)
        .page("/api_tokens/{uid}/delete", tokens::confirm_delete)
        .form("/api_tokens/{uid}/delete", tokens::delete)
        .page("/deployments", deployments::list)
        .form("/deployments", deployments::add)
        .page("/deployments/new", deployments::new)
        .page("/deployments/{name}", deployments::show)
        .form("/deployments/{name}", deployments::update)
        .page("/deployments/{name}/edit", deployments::edit)
        .form("/deployments/{name}/terminate", deployments::terminate)
        .form("/deployments/{name}/start", deployments::start)
        .page("/deployments/{name}/remove", deployments::confirm_remove)
        .form("/deployments/{name}/remove", deployments::remove)
        .page("/open", open::open)
        .form("/open/token", open::with_token)
        .page("/users", users::list)
        .form("/users", users::invite)
        .form("/users/{id}/role", users::set_role)
        .form("/users/{id}/link", users::link)
        .form("/users/{id}/disable", users::disable)
        .form("/users/{id}/enable", users::enable)
        .page("/explain", explain::show)
        .form("/explain", explain::explain)
        .page("/usage", usage::show)
        .page("/activity", activity::list)
        .page("/activity/verify", verify::show)
}

pub fn unknown() -> Response {
    page::message(StatusCode::NOT_FOUND, "Page not found", "There is no page at this address.")
}
