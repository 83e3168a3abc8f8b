//! Removing a Deployment.

use askama::Template;
use axum::{extract::Path, http::StatusCode};

use super::editable;
use crate::{
    management::console::{
        form::CsrfForm, page::rendered, rejection::PageResult, shell::AdminShell, visitor::Admin, words::receipt_text,
    },
    service::deployments,
    store::TouchedToken,
};

#[derive(Template)]
#[template(path = "console/deployment-remove.html")]
struct RemovePage {
    shell: AdminShell,
    name: String,
}

#[derive(Template)]
#[template(path = "console/deployment-removed.html")]
struct RemovedPage {
    shell: AdminShell,
    name: String,
    touched: Vec<TouchedToken>,
    receipt: String,
}

pub async fn confirm_remove(admin: Admin, Path(name): Path<String>) -> PageResult {
    editable(&admin, &name).await?;
    Ok(rendered(StatusCode::OK, &RemovePage { shell: AdminShell::new(&admin, "deployments"), name }))
}

pub async fn remove(Path(name): Path<String>, CsrfForm { visitor: admin, .. }: CsrfForm<Admin>) -> PageResult {
    let spec = editable(&admin, &name).await?.spec;
    let shell = AdminShell::new(&admin, "deployments");
    let removed = deployments::remove(&admin.context(), &spec.name).await?;
    let (touched, receipt, _) = admin.settle(removed).await;
    let receipt = receipt_text(receipt.as_ref());
    Ok(rendered(StatusCode::OK, &RemovedPage { shell, name, touched, receipt }))
}
