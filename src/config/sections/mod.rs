//! Reads each section of the file into its part of [`Config`], and checks the rules that hold between sections.

mod cross_checks;
mod deployments;
mod forward_auth;
mod log;
mod management;
mod proxy;
mod store;
mod telemetry;
mod tokens;
mod upstream_access;
mod usage;

pub(super) use self::store::store_url;
use super::{
    Config, own_listeners,
    reader::{Invalid, Section, Validation},
};
use crate::domain::{
    routing::{Declared, RouteRules},
    upstream_access::UpstreamAccess,
};

/// `None`: a setting is invalid, and the report has the problem.
pub(super) fn read(root: Section<'_>, validation: &Validation<'_>) -> Option<Config> {
    let organization = root.parsed("organization", organization);
    let proxy_section = root.section("proxy");
    let settings = deployments::defaults(proxy_section.section("deployment_defaults"));
    let proxy = proxy::read(proxy_section, settings.clone());
    let management = management::read(root.section("management"));
    let forward_auth = forward_auth::read(root.section("forward_auth"));
    let telemetry = telemetry::read(root.section("telemetry"));
    let store = store::read(root.section("store"));
    let tokens = tokens::read(root.section("tokens"));
    let usage = usage::read(root.section("usage"));
    let log = log::read(root.section("log"));
    let deployments = deployments::read(&root.section("deployments"), &settings.unwrap_or_default());
    root.finish();
    cross_checks::check(validation, tokens.as_ref(), usage.as_ref(), &deployments);
    let (proxy, management, forward_auth, telemetry) = (proxy?, management?, forward_auth?, telemetry?);
    let rules = RouteRules {
        base_domain: proxy.base_domain.clone(),
        path_prefix: proxy.path_prefix,
        default_deployment: proxy.default_deployment.clone(),
        public_host: proxy.public_url.as_ref().map(|url| url.host().clone()),
        listeners: own_listeners(&proxy, &management, &forward_auth, &telemetry),
    };
    let access = deployments.iter().filter_map(|declared| {
        let said = Some(&declared.access).filter(|access| **access != UpstreamAccess::default())?;
        Some((declared.spec.as_ref()?.name.clone(), said.clone()))
    });
    let access = access.collect();
    let upstream_files = deployments.iter().flat_map(|declared| declared.upstream_files.clone()).collect();
    let deployments = deployments.into_iter().map(|declared| declared.spec).collect::<Option<_>>()?;
    Some(Config {
        organization: organization?,
        proxy,
        management,
        forward_auth,
        telemetry,
        store: store?,
        tokens: tokens?,
        usage: usage?,
        log: log?,
        declared: Declared { deployments, access, rules },
        upstream_files,
    })
}

fn organization(text: &str) -> Result<String, Invalid> {
    let text = text.trim();
    if (1..=100).contains(&text.chars().count()) && !text.chars().any(char::is_control) {
        Ok(text.to_owned())
    } else {
        Err(Invalid {
            message: "is not the name of an organization".to_owned(),
            fix: "write 1 to 100 characters without control characters".to_owned(),
        })
    }
}
