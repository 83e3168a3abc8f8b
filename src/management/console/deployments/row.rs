//! A Deployment as the list and its own page show it.

use std::collections::HashMap;

use crate::{
    domain::deployment::DeploymentSpec,
    management::{
        console::{visitor::SignedIn, words::number},
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
    /// `None`: it has no address, as configured.
    pub url: Option<String>,
    pub hosts: Vec<String>,
    /// Only for admins.
    pub upstreams: Option<Vec<String>>,
    pub from_file: bool,
    pub shadowed: bool,
    /// Requests of the last hour.
    pub requests: String,
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
        Row {
            name: spec.name.to_string(),
            status,
            class: class(status),
            protected: spec.protected,
            url: reach.deployment(spec, visitor.here()).map(|url| url.to_string()),
            hosts: spec.hosts.iter().map(ToString::to_string).collect(),
            upstreams: internals(spec, visitor.user.role).map(|internals| internals.upstreams),
            from_file: listed.source == Source::Configuration,
            shadowed: listed.shadowed,
            requests: number(requests.get(spec.name.as_str()).copied().unwrap_or(0)),
        }
    };
    Ok(listed.iter().zip(statuses).map(row).collect())
}

fn class(status: &str) -> &'static str {
    match status {
        "running" => "good",
        "terminated" => "off",
        _ => "bad",
    }
}
