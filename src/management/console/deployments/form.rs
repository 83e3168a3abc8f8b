//! The form by which a Deployment is added or changed.

use askama::Template;
use axum::http::StatusCode;

use super::fields::FormValues;
use crate::{
    domain::deployment::{DeploymentName, DeploymentSpec},
    management::{
        console::{
            form::FormFields,
            page::rendered,
            rejection::{PageResult, about_the_form},
            shell::AdminShell,
            visitor::Admin,
            words::sentence,
        },
        error::ApiError,
    },
};

#[derive(Template)]
#[template(path = "console/deployment-form.html")]
struct DeploymentForm {
    shell: AdminShell,
    /// It is to be added.
    new: bool,
    values: FormValues,
    problem: Option<String>,
    /// What is stored where it differs from what was typed: label and value. Empty: nobody else has changed it.
    stored: Vec<(&'static str, String)>,
}

pub fn form_page(admin: &Admin, new: bool, values: FormValues) -> PageResult {
    let page =
        DeploymentForm { shell: AdminShell::new(admin, "deployments"), new, values, problem: None, stored: Vec::new() };
    Ok(rendered(StatusCode::OK, &page))
}

/// The form once more, with what was typed and what is wrong with it. `changed` of `None`: the Deployment is a new one.
pub fn form_with_error(
    admin: &Admin,
    changed: Option<&DeploymentName>,
    fields: &FormFields,
    error: ApiError,
) -> PageResult {
    let error = about_the_form(error)?;
    let typed = FormValues::typed(fields);
    let page = DeploymentForm {
        shell: AdminShell::new(admin, "deployments"),
        new: changed.is_none(),
        // The name of one that is changed cannot be typed.
        values: FormValues { name: changed.map_or(typed.name, ToString::to_string), ..typed },
        problem: Some(sentence(error.text())),
        stored: Vec::new(),
    };
    Ok(rendered(error.status(), &page))
}

/// The form once more, with what was typed beside what somebody else has stored meanwhile. Saving it replaces that.
pub fn form_with_conflict(admin: &Admin, fields: &FormFields, stored: &DeploymentSpec) -> PageResult {
    let (typed, stored) = (FormValues::typed(fields), FormValues::of(stored));
    let page = DeploymentForm {
        shell: AdminShell::new(admin, "deployments"),
        new: false,
        problem: Some("Someone else has changed this Deployment since you opened the form.".to_owned()),
        stored: stored.differences(&typed),
        values: FormValues { name: stored.name, version: stored.version, ..typed },
    };
    Ok(rendered(StatusCode::CONFLICT, &page))
}
