//! Adds up what is used of budgets, and leaves with each Deployment who has used one up.
//!
//! Hours that are over do not change any more once gateways have written them, so they are added up once an hour, and only
//! the last two each time.

use std::{collections::HashMap, sync::Arc, time::Duration};

use tracing::{info, warn};

use super::Shutdown;
use crate::{
    domain::{
        budget::{NEARLY, Period},
        deployment::DeploymentName,
        timestamp::Timestamp,
        token::TokenUid,
        usage::Hour,
    },
    gateway::Gateway,
    index::budgets::{Budgets, Spent},
    service::{
        Result,
        budgets::{self, Sums},
    },
    store::SharedStore,
    system::System,
};

/// Tokens that are named in the log each time.
const MOST_NAMED: usize = 10;

pub struct BudgetWatcher {
    pub gateway: Arc<Gateway>,
    pub store: SharedStore,
    pub system: Arc<dyn System>,
    pub interval: Duration,
    pub shutdown: Shutdown,
    pub closed: Closed,
    /// What is used could not be added up the last time.
    pub failing: bool,
}

/// What was used up to the hour before the last one.
#[derive(Default)]
pub struct Closed(HashMap<(DeploymentName, &'static str), Hours>);

struct Hours {
    since: Hour,
    /// The first that is not in `sums`.
    until: Hour,
    sums: Sums,
}

impl BudgetWatcher {
    /// At once, since what was used up before the start is used up, and then every `interval`.
    pub async fn run(mut self) {
        tokio::select! {
            () = self.gateway.index.loaded() => {}
            () = self.shutdown.requested() => return,
        }
        let shutdown = self.shutdown.clone();
        loop {
            // It only reads, and may be left at any point.
            tokio::select! {
                () = self.look() => {}
                () = shutdown.requested() => return,
            }
            tokio::select! {
                () = tokio::time::sleep(self.interval) => {}
                () = shutdown.requested() => return,
            }
        }
    }

    /// While the store is away, what was found before counts until its period is over.
    async fn look(&mut self) {
        let routes = self.gateway.index.routes.load_full();
        let now = self.system.now();
        let served: Vec<_> = routes
            .served()
            .into_iter()
            .filter_map(|deployment| Some((&deployment.spec.name, deployment.budgets.as_ref()?)))
            .collect();
        self.closed.0.retain(|(name, _), _| served.iter().any(|(served, _)| *served == name));
        let mut failure = None;
        for (name, budgets) in served {
            match self.spent(name, budgets, now).await {
                Ok(spent) => {
                    tell(name, budgets, &spent);
                    budgets.is_spent(spent);
                }
                Err(error) => failure = Some((name, error)),
            }
        }
        match (failure, self.failing) {
            (Some((name, error)), false) => {
                self.failing = true;
                warn!(%error, deployment = %name, "what is used of its budget could not be added up; what was found before counts");
            }
            (None, true) => {
                self.failing = false;
                info!("what is used of budgets is added up again");
            }
            (Some(_), true) | (None, false) => {}
        }
    }

    async fn spent(&mut self, name: &DeploymentName, budgets: &Budgets, now: Timestamp) -> Result<Spent> {
        let mut spent = Spent::default();
        if let Some(budget) = budgets.all {
            let sums = self.sums(name, budget.per, now).await?;
            spent.part = budgets::total(&sums).part(&budget);
            spent.all_until = (spent.part >= 1.0).then(|| budget.per.end(now));
        }
        if let Some(budget) = budgets.of_token {
            let sums = self.sums(name, budget.per, now).await?;
            let parts = || sums.iter().filter_map(|(token, used)| Some(((*token)?, used.part(&budget))));
            spent.highest_part = parts().map(|(_, part)| part).fold(0.0, f64::max);
            spent.tokens = parts().filter(|(_, part)| *part >= NEARLY).collect();
            spent.tokens_until = Some(budget.per.end(now));
        }
        Ok(spent)
    }

    /// All that was used in the period that `now` is in.
    async fn sums(&mut self, name: &DeploymentName, period: Period, now: Timestamp) -> Result<Sums> {
        let (since, behind) = budgets::hours(period, now);
        // Gateways write the last hour's rest some seconds after its end.
        let until = Hour(behind.0.saturating_sub(2).max(since.0));
        let key = (name.clone(), period.as_str());
        let known = self.closed.0.get(&key).filter(|known| (known.since, known.until) == (since, until));
        let mut sums = match known {
            Some(known) => known.sums.clone(),
            None => {
                let sums = budgets::sums(&self.store, name, since, until).await?;
                self.closed.0.insert(key, Hours { since, until, sums: sums.clone() });
                sums
            }
        };
        budgets::add(&mut sums, budgets::sums(&self.store, name, until, behind).await?);
        Ok(sums)
    }
}

/// Says once of each budget that most of it is used, and that all of it is.
fn tell(name: &DeploymentName, budgets: &Budgets, spent: &Spent) {
    let before = budgets.spent();
    let crossed = |before: f64, part: f64| [1.0, NEARLY].into_iter().find(|bound| before < *bound && *bound <= part);
    if let Some(budget) = budgets.all
        && let Some(bound) = crossed(before.part, spent.part)
    {
        let percent = bound * 100.0;
        warn!(deployment = %name, %budget, used = spent.part, "{percent}% of the Deployment's budget are used");
    }
    let Some(budget) = budgets.of_token else { return };
    let part_before = |token: &TokenUid| before.tokens.get(token).copied().unwrap_or(0.0);
    let crossing =
        spent.tokens.iter().filter_map(|(token, part)| Some((token, part, crossed(part_before(token), *part)?)));
    let mut more = 0;
    for (number, (token, part, bound)) in crossing.enumerate() {
        if number < MOST_NAMED {
            let percent = bound * 100.0;
            warn!(deployment = %name, %token, %budget, used = part, "{percent}% of the token's budget are used");
        } else {
            more += 1;
        }
    }
    if more > 0 {
        warn!(deployment = %name, %budget, tokens = more, "further tokens have used most of their budget");
    }
}
