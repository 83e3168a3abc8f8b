//! The form by which a Deployment is added or changed.

use askama::Template;
use axum::http::StatusCode;

use super::fields::FormValues;
use crate::management::{
    console::{
        form::FormFields, page::rendered, rejection::PageResult, shell::AdminShell, visitor::Admin, words::sentence,
    },
    error::ApiError,
};

#[derive(Template)]
#[template(path = "console/deployment-form.html")]
struct DeploymentForm {
    shell: AdminShell,
    /// It is to be added.
    new: bool,
    values: FormValues,
    problem: Option<String>,
}

pub fn form_page(admin: &Admin, new: bool, values: FormValues) -> PageResult {
    let page = DeploymentForm { shell: AdminShell::new(admin, "deployments"), new, values, problem: None };
    Ok(rendered(StatusCode::OK, &page))
}

/// The form once more, with what was typed and what is wrong with it.
pub fn form_with_error(admin: &Admin, new: bool, fields: &FormFields, error: &ApiError) -> PageResult {
    let page = DeploymentForm {
        shell: AdminShell::new(admin, "deployments"),
        new,
        values: FormValues::typed(fields),
        problem: Some(sentence(error.text())),
    };
    Ok(rendered(error.status(), &page))
}
