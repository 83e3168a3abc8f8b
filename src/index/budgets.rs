//! Who has used up what may be used of a Deployment in a day or month. A background task adds up what all gateways have written;
//! requests only look at what it has left here.

use std::{collections::HashMap, sync::Arc, time::Duration};

use arc_swap::ArcSwap;

use crate::domain::{budget::Budget, deployment::DeploymentSettings, timestamp::Timestamp, token::TokenUid};

#[derive(Debug)]
pub struct Budgets {
    /// Of all callers together. `None`: any amount.
    pub all: Option<Budget>,
    /// Of each token. `None`: any amount.
    pub of_token: Option<Budget>,
    spent: ArcSwap<Spent>,
}

/// What was found when it was added up last.
#[derive(Debug, Default)]
pub struct Spent {
    /// Until then nobody passes. `None`: something is left.
    pub all_until: Option<Timestamp>,
    /// Tokens that have used most of theirs, with the part of it: those with all of it do not pass until `tokens_until`.
    pub tokens: HashMap<TokenUid, f64>,
    pub tokens_until: Option<Timestamp>,
    /// Which part of the budget is used in all, and by the token that has used most.
    pub part: f64,
    pub highest_part: f64,
}

/// A request that is beyond a budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exhausted {
    pub budget: Budget,
    /// It is that of each token.
    pub of_token: bool,
    /// Until the next period begins.
    pub wait: Duration,
    /// How long the present one is.
    pub period: Duration,
}

impl Budgets {
    /// `None`: there is none. `earlier`: those of the Deployment before it was changed.
    pub fn of(settings: &DeploymentSettings, earlier: Option<&Arc<Self>>) -> Option<Arc<Self>> {
        let (all, of_token) = (settings.budget, settings.token_budget);
        if all.is_none() && of_token.is_none() {
            return None;
        }
        let same = earlier.filter(|earlier| earlier.all == all && earlier.of_token == of_token);
        Some(same.map_or_else(|| Arc::new(Self { all, of_token, spent: ArcSwap::default() }), Arc::clone))
    }

    /// Whether a request may be made now. `token` of `None`: no token is asked for.
    ///
    /// # Errors
    /// [`Exhausted`].
    pub fn check(&self, token: Option<TokenUid>, now: Timestamp) -> Result<(), Exhausted> {
        let spent = self.spent.load();
        let over = |budget: Option<Budget>, until: Option<Timestamp>, of_token| {
            let (budget, until) = budget.zip(until).filter(|(_, until)| now < *until)?;
            Some(Exhausted { budget, of_token, wait: until.since(now), period: budget.per.length(now) })
        };
        let all = over(self.all, spent.all_until, false);
        let is_spent = || token.and_then(|token| spent.tokens.get(&token)).is_some_and(|part| *part >= 1.0);
        let exhausted = all.or_else(|| over(self.of_token, spent.tokens_until.filter(|_| is_spent()), true));
        exhausted.map_or(Ok(()), Err)
    }

    pub fn spent(&self) -> Arc<Spent> {
        self.spent.load_full()
    }

    /// For the one task that adds up.
    pub fn is_spent(&self, spent: Spent) {
        self.spent.store(Arc::new(spent));
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn what_is_used_up_ends_with_its_period() {
        let settings = DeploymentSettings {
            budget: Some("10 requests/day".parse().unwrap()),
            token_budget: Some("5 requests/month".parse().unwrap()),
            ..DeploymentSettings::default()
        };
        let at = |text: &str| Timestamp::parse(text).unwrap();
        let [one, other] = [1, 2].map(|number| Some(TokenUid(Uuid::from_u128(number))));
        let budgets = Budgets::of(&settings, None).unwrap();
        assert_eq!(budgets.check(one, at("2026-11-30")), Ok(()));
        budgets.is_spent(Spent {
            tokens: HashMap::from_iter(one.into_iter().map(|one| (one, 1.0)).chain(other.map(|other| (other, 0.9)))),
            tokens_until: Some(at("2026-12-01")),
            ..Spent::default()
        });
        let exhausted = budgets.check(one, at("2026-11-30T23:59:00Z")).unwrap_err();
        assert_eq!((exhausted.of_token, exhausted.wait), (true, Duration::from_secs(60)));
        assert_eq!(exhausted.period, Duration::from_secs(30 * 24 * 60 * 60));
        assert_eq!((budgets.check(other, at("2026-11-30")), budgets.check(None, at("2026-11-30"))), (Ok(()), Ok(())));
        assert_eq!(budgets.check(one, at("2026-12-01")), Ok(()), "also if nobody has added up since");

        budgets.is_spent(Spent { all_until: Some(at("2026-12-01")), ..Spent::default() });
        for token in [one, other, None] {
            assert!(!budgets.check(token, at("2026-11-30")).unwrap_err().of_token);
        }
        // Another setting was changed, and then the budget itself.
        let again = Budgets::of(&settings, Some(&budgets)).unwrap();
        assert!(again.check(None, at("2026-11-30")).is_err());
        let more = DeploymentSettings { budget: Some("20 requests/day".parse().unwrap()), ..settings };
        assert_eq!(Budgets::of(&more, Some(&again)).unwrap().check(None, at("2026-11-30")), Ok(()));
        assert!(Budgets::of(&DeploymentSettings::default(), Some(&again)).is_none());
    }
}
