//! Changing a Deployment, terminating it and starting it again.

use axum::extract::Path;

use super::{
    editable,
    fields::{DeploymentFields, FormValues},
    form::{form_page, form_with_error},
    show::deployment_page,
};
use crate::{
    management::{
        console::{form::CsrfForm, rejection::PageResult, visitor::Admin},
        error::ApiError,
    },
    service::deployments::{self, UpdateDeployment},
};

pub async fn edit(admin: Admin, Path(name): Path<String>) -> PageResult {
    let listed = editable(&admin, &name).await?;
    form_page(&admin, false, FormValues::of(&listed.spec))
}

pub async fn update(Path(name): Path<String>, CsrfForm { visitor: admin, fields }: CsrfForm<Admin>) -> PageResult {
    let spec = editable(&admin, &name).await?.spec;
    let updated = async {
        let fields = DeploymentFields::read(&fields, &admin.config)?;
        let change = UpdateDeployment {
            hosts: Some(fields.hosts),
            upstreams: Some(fields.upstreams),
            listen: Some(fields.listen),
            protected: Some(fields.protected),
            settings: Some(fields.settings),
        };
        Ok::<_, ApiError>(deployments::update(&admin.context(), &spec.name, change).await?)
    };
    match updated.await {
        Ok(_) => {
            admin.management.gateway.wait_until_applied(&admin.store).await;
            deployment_page(&admin, &name, Some("Changes saved.".to_owned())).await
        }
        Err(error) => form_with_error(&admin, false, &fields, &error),
    }
}

pub async fn terminate(Path(name): Path<String>, CsrfForm { visitor: admin, .. }: CsrfForm<Admin>) -> PageResult {
    let spec = editable(&admin, &name).await?.spec;
    deployments::terminate(&admin.context(), &spec.name).await?;
    admin.management.gateway.wait_until_applied(&admin.store).await;
    deployment_page(&admin, &name, Some("Terminated. Callers get 503 until you start it again.".to_owned())).await
}

pub async fn start(Path(name): Path<String>, CsrfForm { visitor: admin, .. }: CsrfForm<Admin>) -> PageResult {
    let spec = editable(&admin, &name).await?.spec;
    deployments::start(&admin.context(), &spec.name).await?;
    admin.management.gateway.wait_until_applied(&admin.store).await;
    deployment_page(&admin, &name, Some("Started. Requests are forwarded again.".to_owned())).await
}
