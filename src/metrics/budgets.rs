//! What is used of the budgets of Deployments, over all gateways.

use std::fmt;

use super::exposition::{Exposition, Labels, Metric};
use crate::index::routes::RoutingTable;

const USED: Metric = Metric::new(
    "bento_gateway_budget_used_ratio",
    "The part of a budget that is used in the present day or month: of all callers, and of the token that has used most of its own.",
);
const NEARLY: Metric =
    Metric::new("bento_gateway_budget_tokens_near_limit", "Tokens that have used 80% or more of their budget.");
const EXHAUSTED: Metric =
    Metric::new("bento_gateway_budget_tokens_exhausted", "Tokens that have used up their budget.");

/// A Deployment without a budget has no series.
pub fn write(out: &mut Exposition<'_>, routes: &RoutingTable) -> fmt::Result {
    let limited: Vec<_> = routes
        .served()
        .into_iter()
        .filter_map(|deployment| {
            let budgets = deployment.budgets.as_ref()?;
            Some((deployment.spec.name.as_str(), budgets, budgets.spent()))
        })
        .collect();
    let parts = limited.iter().flat_map(|(name, budgets, spent)| {
        let all = budgets.all.map(|_| (of("all", name), spent.part));
        all.into_iter().chain(budgets.of_token.map(|_| (of("token", name), spent.highest_part)))
    });
    out.gauges(&USED, parts)?;
    let tokens = |least: f64| {
        let with_budget = limited.iter().filter(|(_, budgets, _)| budgets.of_token.is_some());
        with_budget.map(move |(name, _, spent)| {
            let labels: Labels<'static> = vec![("deployment", (*name).to_owned().into())];
            (labels, spent.tokens.values().filter(|part| **part >= least).count())
        })
    };
    out.gauges(&NEARLY, tokens(0.0))?;
    out.gauges(&EXHAUSTED, tokens(1.0))
}

fn of(whose: &'static str, deployment: &str) -> Labels<'static> {
    vec![("of", whose.into()), ("deployment", deployment.to_owned().into())]
}
