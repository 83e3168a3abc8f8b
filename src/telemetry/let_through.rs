//! Whose requests pass Deployments that are not enforced yet: added up from the lines of the access log, until it is written to
//! the store.

use std::{collections::HashMap, net::IpAddr};

use super::line::Line;
use crate::{
    domain::{
        let_through::{LetThrough, StrangeCaller},
        timestamp::Timestamp,
    },
    http::network::Network,
};

/// Networks of each Deployment that are told apart until they are written: the rest of each reason is one. Of tokens there are
/// only so many.
const MOST: usize = 1000;

/// Sums of one writer, by the name of the Deployment.
#[derive(Debug, Default)]
pub struct LetThroughSums(HashMap<Box<str>, Callers>);

#[derive(Debug, Default)]
struct Callers {
    sums: HashMap<(&'static str, StrangeCaller), Sum>,
    networks: usize,
}

#[derive(Clone, Copy, Debug)]
struct Sum {
    requests: u64,
    first: Timestamp,
    last: Timestamp,
}

impl LetThroughSums {
    /// `text` holds the line's texts.
    pub fn count(&mut self, line: &Line, text: &str) {
        let Some(reason) = line.let_through() else { return };
        let network = || line.client.of(text).parse::<IpAddr>().ok().map(|client| Network::of(client).to_string());
        let caller = match line.token {
            Some(uid) => StrangeCaller::Token(uid),
            None => network().map_or(StrangeCaller::Others, StrangeCaller::Network),
        };
        let sum = Sum { requests: 1, first: line.at, last: line.at };
        self.of(line.deployment.of(text)).add((reason, caller), sum);
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn take_from(&mut self, other: &mut Self) {
        for (deployment, callers) in other.0.drain() {
            let all = self.of(&deployment);
            callers.sums.into_iter().for_each(|(key, sum)| all.add(key, sum));
        }
    }

    /// All of them, in no order.
    pub fn take(&mut self) -> Vec<LetThrough> {
        let all = self.0.drain().flat_map(|(deployment, callers)| {
            callers.sums.into_iter().map(move |((reason, caller), Sum { requests, first, last })| LetThrough {
                deployment: deployment.to_string(),
                reason: reason.to_owned(),
                caller,
                requests,
                first,
                last,
            })
        });
        all.collect()
    }

    fn of(&mut self, deployment: &str) -> &mut Callers {
        self.0.entry(deployment.into()).or_default()
    }
}

impl Callers {
    fn add(&mut self, (reason, caller): (&'static str, StrangeCaller), more: Sum) {
        let is_network = matches!(caller, StrangeCaller::Network(_));
        let mut key = (reason, caller);
        if is_network && !self.sums.contains_key(&key) {
            if self.networks < MOST {
                self.networks += 1;
            } else {
                key.1 = StrangeCaller::Others;
            }
        }
        let sum = self.sums.entry(key).or_insert(Sum { requests: 0, ..more });
        sum.requests += more.requests;
        sum.first = sum.first.min(more.first);
        sum.last = sum.last.max(more.last);
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::{domain::token::TokenUid, telemetry::line::Span};

    fn counted(sums: &mut LetThroughSums, client: &str, at: i64) {
        let text = format!("{client}a");
        let (client, deployment) = (Span::new(0, client.len()), Span::new(client.len(), text.len()));
        let at = Timestamp::from_millis(at);
        let line = Line { client, deployment, at, let_through: "credential_missing", ..Line::default() };
        sums.count(&line, &text);
    }

    #[test]
    fn callers_are_told_apart_by_network_and_memory_is_bounded() {
        let mut sums = LetThroughSums::default();
        sums.count(&Line::default(), "");
        assert!(sums.is_empty(), "that one would pass");
        for (client, at) in [("192.0.2.1", 7), ("192.0.2.1", 5), ("2001:db8::1", 1), ("2001:db8::2", 2)] {
            counted(&mut sums, client, at);
        }
        let mut all = LetThroughSums::default();
        all.take_from(&mut sums);
        let mut taken = all.take();
        taken.sort_by_key(|of| of.last);
        let shown: Vec<_> = taken
            .iter()
            .map(|of| (of.caller.clone(), of.requests, of.first.as_millis(), of.last.as_millis()))
            .collect();
        let network = |text: &str| StrangeCaller::Network(text.to_owned());
        assert_eq!(shown, [(network("2001:db8::/64"), 2, 1, 2), (network("192.0.2.1"), 2, 5, 7)]);
        assert!(sums.is_empty() && all.is_empty());

        (0..MOST + 50).for_each(|number| counted(&mut sums, &format!("10.0.{}.{}", number / 256, number % 256), 1));
        let taken = sums.take();
        let others = taken.iter().find(|of| of.caller == StrangeCaller::Others).unwrap();
        assert_eq!((taken.len(), others.requests), (MOST + 1, 50));

        // However many strangers there are, tokens are told apart, and so is who calls another Deployment.
        (0..MOST + 50).for_each(|number| counted(&mut sums, &format!("10.0.{}.{}", number / 256, number % 256), 1));
        let token = Line { token: Some(TokenUid(Uuid::nil())), let_through: "token_expired", ..Line::default() };
        sums.count(&Line { deployment: Span::new(0, 1), ..token }, "a");
        let text = "192.0.2.7b";
        let (client, deployment) = (Span::new(0, 9), Span::new(9, 10));
        sums.count(&Line { client, deployment, let_through: "credential_missing", ..Line::default() }, text);
        let taken = sums.take();
        assert!(taken.iter().any(|of| matches!(of.caller, StrangeCaller::Token(_))));
        assert!(taken.iter().any(|of| of.deployment == "b" && of.caller == network("192.0.2.7")));
    }
}
