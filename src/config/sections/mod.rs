//! The sections of the file, each read into its part of [`Config`]; then the rules that hold between them.

mod contradictions;
mod deployments;
mod others;
mod proxy;

use super::{
    Config,
    reader::{Report, Section},
};

/// `None`: something is wrong, and noted in the report.
pub(super) fn read(root: Section<'_>, report: &Report<'_>) -> Option<Config> {
    let organization = root.parsed("organization", others::organization);
    let proxy_section = root.section("proxy");
    let settings = deployments::defaults(proxy_section.section("deployment_defaults"));
    let proxy = proxy::read(proxy_section, settings.clone());
    let management = others::management(root.section("management"));
    let store = others::store(root.section("store"));
    let tokens = others::tokens(root.section("tokens"));
    let log = others::log(root.section("log"));
    let deployments = deployments::read(&root.section("deployments"), &settings.unwrap_or_default());
    root.finish();
    contradictions::find(report, tokens.as_ref(), &deployments);
    Some(Config {
        organization: organization?,
        proxy: proxy?,
        management: management?,
        store: store?,
        tokens: tokens?,
        log: log?,
        deployments: deployments.into_iter().map(|declared| declared.spec).collect::<Option<_>>()?,
    })
}
