//! The list of Deployments.

use askama::Template;
use axum::http::StatusCode;

use super::row::{Row, rows};
use crate::{
    management::console::{page::rendered, rejection::PageResult, shell::Shell, visitor::SignedIn},
    service::deployments,
};

#[derive(Template)]
#[template(path = "console/deployments.html")]
struct DeploymentsPage {
    shell: Shell,
    rows: Vec<Row>,
    /// Names of Deployments in the configuration of other gateways.
    elsewhere: Vec<String>,
}

pub async fn list(visitor: SignedIn) -> PageResult {
    let mut listed = deployments::list(&visitor.context()).await?;
    let mut elsewhere = deployments::declared_elsewhere(&visitor.context(), &listed).await?;
    // What this gateway does not serve is for those who could change that.
    if !visitor.is_admin() {
        listed.retain(|listed| !listed.shadowed);
        elsewhere.clear();
    }
    let page = DeploymentsPage {
        shell: Shell::new(&visitor, "deployments"),
        rows: rows(&visitor, &listed).await?,
        elsewhere: elsewhere.iter().map(ToString::to_string).collect(),
    };
    Ok(rendered(StatusCode::OK, &page))
}
