//! A Deployment as the list and its own page show it.

use std::collections::HashMap;

use crate::{
    domain::deployment::DeploymentSpec,
    management::{
        console::{
            visitor::SignedIn,
            words::{Moment, number},
        },
        error::ApiError,
        views::internals,
    },
    service::deployments::{self, Listed, Source},
    telemetry::traffic,
};

/// Requests are counted over so many minutes.
const MINUTES: i64 = 60;

pub struct Row {
    pub name: String,
    pub status: &'static str,
    /// The class that the status is shown by.
    pub class: &'static str,
    pub protected: bool,
    /// Who would be refused passes until then. `None`: it is enforced, or the visitor is no admin.
    pub unenforced_until: Option<Moment>,
    /// `None`: it has no address, as configured.
    pub url: Option<String>,
    pub hosts: Vec<String>,
    /// Only for admins.
    pub upstreams: Option<Vec<String>>,
    pub from_file: bool,
    pub shadowed: bool,
    /// Everybody's requests of the last hour. Only for admins.
    pub requests: Option<String>,
}

/// Asks each Deployment for its status.
pub async fn rows(visitor: &SignedIn, listed: &[Listed]) -> Result<Vec<Row>, ApiError> {
    let specs: Vec<DeploymentSpec> = listed.iter().map(|listed| listed.spec.clone()).collect();
    let statuses = visitor.management.statuses(&specs).await;
    let reach = deployments::reach(&visitor.context(), &visitor.config.proxy).await?;
    let since = traffic::minute(visitor.now) - MINUTES;
    let sums = visitor.store().traffic(since, i64::MAX).await?;
    let requests: HashMap<&str, u64> = sums
        .iter()
        .filter(|sum| sum.metric == traffic::REQUESTS)
        .map(|sum| (sum.subject.as_str(), sum.total))
        .collect();
    let row = |(listed, status): (&Listed, &'static str)| {
        let spec = &listed.spec;
        let requests = || number(requests.get(spec.name.as_str()).copied().unwrap_or(0));
        Row {
            name: spec.name.to_string(),
            status,
            class: class(status),
            protected: spec.protected,
            unenforced_until: unenforced_until(spec, visitor),
            url: reach.deployment(spec, visitor.here()).map(|url| url.to_string()),
            hosts: spec.hosts.iter().map(ToString::to_string).collect(),
            upstreams: internals(spec, visitor.user.role).map(|internals| internals.upstreams),
            from_file: listed.source == Source::Configuration,
            shadowed: listed.shadowed,
            requests: visitor.is_admin().then(requests),
        }
    };
    Ok(listed.iter().zip(statuses).map(row).collect())
}

fn unenforced_until(spec: &DeploymentSpec, visitor: &SignedIn) -> Option<Moment> {
    let until = internals(spec, visitor.user.role)?.settings.enforce_from?;
    (spec.protected && visitor.now < until).then(|| Moment::new(until, visitor.now))
}

fn class(status: &str) -> &'static str {
    match status {
        "running" => "good",
        "terminated" => "off",
        _ => "bad",
    }
}
