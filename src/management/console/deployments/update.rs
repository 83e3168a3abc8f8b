//! Changing a Deployment, terminating it and starting it again.

use axum::extract::Path;

use super::{
    editable,
    fields::{DeploymentFields, FormValues},
    form::{form_page, form_with_conflict, form_with_error},
    show::deployment_page,
};
use crate::{
    management::{
        console::{
            form::{CsrfForm, FormFields},
            rejection::PageResult,
            visitor::Admin,
            words::receipt_text,
        },
        error::ApiError,
    },
    service::{
        Error, Version,
        deployments::{self, Placed, UpdateDeployment},
    },
    store::Committed,
};

pub async fn edit(admin: Admin, Path(name): Path<String>) -> PageResult {
    let listed = editable(&admin, &name).await?;
    form_page(&admin, false, FormValues::of(&listed.spec))
}

pub async fn update(Path(name): Path<String>, CsrfForm { visitor: admin, fields }: CsrfForm<Admin>) -> PageResult {
    let spec = editable(&admin, &name).await?.spec;
    let update = match read_update(&admin, &fields) {
        Ok(update) => update,
        Err(error) => return form_with_error(&admin, Some(&spec.name), &fields, error),
    };
    match deployments::update(&admin.context(), &spec.name, update).await {
        Ok(updated) => changed_page(admin, updated, "Changes saved.").await,
        Err(Error::ChangedMeanwhile) => {
            let stored = editable(&admin, &name).await?.spec;
            form_with_conflict(&admin, &fields, &stored)
        }
        Err(error) => form_with_error(&admin, Some(&spec.name), &fields, error.into()),
    }
}

fn read_update(admin: &Admin, fields: &FormFields) -> Result<UpdateDeployment, ApiError> {
    let seen = Version::from_form(fields.text("version"));
    let fields = DeploymentFields::read(fields, &admin.config)?;
    Ok(UpdateDeployment {
        hosts: Some(fields.hosts),
        upstreams: Some(fields.upstreams),
        listen: Some(fields.listen),
        protected: Some(fields.protected),
        settings: fields.settings.into(),
        seen,
    })
}

pub async fn terminate(Path(name): Path<String>, CsrfForm { visitor: admin, .. }: CsrfForm<Admin>) -> PageResult {
    let spec = editable(&admin, &name).await?.spec;
    let terminated = deployments::terminate(&admin.context(), &spec.name).await?;
    changed_page(admin, terminated, "Terminated. Callers get 503 until you start it again.").await
}

pub async fn start(Path(name): Path<String>, CsrfForm { visitor: admin, .. }: CsrfForm<Admin>) -> PageResult {
    let spec = editable(&admin, &name).await?.spec;
    let started = deployments::start(&admin.context(), &spec.name).await?;
    changed_page(admin, started, "Started. Requests are forwarded again.").await
}

/// The Deployment's page with what was done, and how far it has come.
async fn changed_page(admin: Admin, committed: Committed<Placed>, done: &str) -> PageResult {
    let (placed, receipt, afterwards) = admin.settle(committed).await;
    let show = async |admin: Admin, done| deployment_page(&admin, placed.spec.name.as_str(), Some(done)).await;
    afterwards.page(format!("{done} {}", receipt_text(receipt.as_ref())), show).await
}
