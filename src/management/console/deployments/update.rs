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
        deployments::{self, UpdateDeployment},
    },
};

pub async fn edit(admin: Admin, Path(name): Path<String>) -> PageResult {
    let listed = editable(&admin, &name).await?;
    form_page(&admin, false, FormValues::of(&listed.spec))
}

pub async fn update(Path(name): Path<String>, CsrfForm { visitor: admin, fields }: CsrfForm<Admin>) -> PageResult {
    let spec = editable(&admin, &name).await?.spec;
    let update = match read_update(&admin, &fields) {
        Ok(update) => update,
        Err(error) => return form_with_error(&admin, false, &fields, &error),
    };
    match deployments::update(&admin.context(), &spec.name, update).await {
        Ok(updated) => {
            let (_, receipt) = admin.settle(updated).await;
            deployment_page(&admin, &name, Some(format!("Changes saved. {}", receipt_text(receipt.as_ref())))).await
        }
        Err(Error::ChangedMeanwhile) => {
            let stored = editable(&admin, &name).await?.spec;
            form_with_conflict(&admin, &fields, &stored)
        }
        Err(error) => form_with_error(&admin, false, &fields, &error.into()),
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
    let (_, receipt) = admin.settle(deployments::terminate(&admin.context(), &spec.name).await?).await;
    let done = format!("Terminated. Callers get 503 until you start it again. {}", receipt_text(receipt.as_ref()));
    deployment_page(&admin, &name, Some(done)).await
}

pub async fn start(Path(name): Path<String>, CsrfForm { visitor: admin, .. }: CsrfForm<Admin>) -> PageResult {
    let spec = editable(&admin, &name).await?.spec;
    let (_, receipt) = admin.settle(deployments::start(&admin.context(), &spec.name).await?).await;
    let done = format!("Started. Requests are forwarded again. {}", receipt_text(receipt.as_ref()));
    deployment_page(&admin, &name, Some(done)).await
}
