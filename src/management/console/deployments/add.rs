//! Adding a Deployment.

use super::{
    fields::{DeploymentFields, FormValues, invalid},
    form::{form_page, form_with_error},
    show::deployment_page,
};
use crate::{
    domain::deployment::{DeploymentName, DeploymentSpec},
    management::{
        console::{
            form::{CsrfForm, FormFields},
            page::redirect,
            rejection::PageResult,
            visitor::Admin,
        },
        error::ApiError,
    },
    service::deployments::{self, Placed, Predecessor},
};

pub async fn new(admin: Admin) -> PageResult {
    form_page(&admin, true, FormValues::of_settings(&admin.config.proxy.deployment_defaults))
}

pub async fn add(CsrfForm { visitor: admin, fields }: CsrfForm<Admin>) -> PageResult {
    let before = deployments::reach(&admin.context(), &admin.config.proxy).await?;
    let added = async {
        let spec = read_spec(&admin, &fields)?;
        Ok::<_, ApiError>(deployments::add(&admin.context(), &spec, Predecessor::None).await?)
    };
    match added.await {
        Ok(added) => {
            let common = before.common(admin.here());
            let (Placed { spec: DeploymentSpec { name, .. }, default_deployment }, _, afterwards) =
                admin.settle(added).await;
            let Some(lost) = before.lost_default(default_deployment.as_ref(), &name) else {
                return Ok(redirect(&format!("/deployments/{name}")));
            };
            let text = format!(
                "Added. {lost} was reached at {common} as the only Deployment, and is no longer. Give it a hostname, or set \
                 proxy.default_deployment = \"{lost}\" in the configuration."
            );
            let show = async |admin: Admin, text| deployment_page(&admin, name.as_str(), Some(text)).await;
            afterwards.page(text, show).await
        }
        Err(error) => form_with_error(&admin, None, &fields, error),
    }
}

fn read_spec(admin: &Admin, fields: &FormFields) -> Result<DeploymentSpec, ApiError> {
    let name: DeploymentName = fields.text("name").parse().map_err(invalid("Name"))?;
    let DeploymentFields { upstreams, hosts, listen, protected, settings } =
        DeploymentFields::read(fields, &admin.config)?;
    Ok(DeploymentSpec { name, hosts, listen, upstreams, protected, terminated: false, settings })
}
