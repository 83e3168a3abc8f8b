//! Sign-ins that failed, and changes that somebody may not make. Strangers make as many as they like: so they are added up in
//! memory, and come into the audit trail as few events.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::{Mutex, PoisonError},
};

use serde_json::json;

use super::{Context, Result, audit::SIGN_INS_KEPT};
use crate::domain::{
    audit::{Action, Actor, AuditEvent},
    timestamp::Timestamp,
    user::UserId,
};

/// How many are told apart until they are written; all others of a kind are one.
const MOST: usize = 50;
/// Addresses that are named of each.
const MOST_ADDRESSES: usize = 10;

/// What was refused.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Refused {
    /// Signing in, by this method.
    SignIn(&'static str),
    /// A change: the method of the request, and the path of the operation or form.
    Change(String),
}

/// Since they were last written.
#[derive(Debug, Default)]
pub struct Refusals(Mutex<BTreeMap<Key, Attempts>>);

/// `None`: nobody whom the gateway knows, or one of too many.
type Key = (Refused, Option<UserId>);

#[derive(Clone, Debug)]
struct Attempts {
    count: u64,
    first: Timestamp,
    addresses: BTreeSet<IpAddr>,
}

impl Refusals {
    /// `who`: the account that somebody wanted to sign in to, or that wanted to make the change.
    pub fn note(&self, refused: Refused, who: Option<UserId>, from: IpAddr, at: Timestamp) {
        let attempts = Attempts { count: 1, first: at, addresses: BTreeSet::from([from]) };
        self.add((refused, who), attempts);
    }

    pub fn is_empty(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    fn add(&self, key: Key, more: Attempts) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let key = if all.len() < MOST || all.contains_key(&key) { key } else { (key.0.any(), None) };
        let attempts = all.entry(key).or_insert(Attempts { count: 0, ..more.clone() });
        attempts.count += more.count;
        attempts.first = attempts.first.min(more.first);
        for address in more.addresses {
            if attempts.addresses.len() < MOST_ADDRESSES {
                attempts.addresses.insert(address);
            }
        }
    }

    fn take(&self) -> BTreeMap<Key, Attempts> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Refused {
    /// Its kind, whatever else it is.
    fn any(self) -> Self {
        match self {
            Self::SignIn(_) => self,
            Self::Change(_) => Self::Change(String::new()),
        }
    }
}

/// Writes all that was refused into the audit trail, and forgets there what is old. What cannot be written waits.
///
/// # Errors
/// The store's.
pub async fn record(context: &Context<'_>, refusals: &Refusals) -> Result<()> {
    let taken = refusals.take();
    let recorded = write(context, &taken).await;
    if recorded.is_err() {
        taken.into_iter().for_each(|(key, attempts)| refusals.add(key, attempts));
    }
    recorded
}

async fn write(context: &Context<'_>, taken: &BTreeMap<Key, Attempts>) -> Result<()> {
    let events: Vec<AuditEvent> =
        taken.iter().map(|(key, attempts)| event(context, key, attempts)).collect::<Result<_>>()?;
    let Some((last, others)) = events.split_last() else { return Ok(()) };
    let mut change = context.change().await?;
    change.forget_sign_ins(context.now.saturating_sub(SIGN_INS_KEPT)).await?;
    for event in others {
        change.record(event).await?;
    }
    // No replica decides by it.
    change.commit(last).await?.unsettled();
    Ok(())
}

fn event(context: &Context<'_>, (refused, who): &Key, attempts: &Attempts) -> Result<AuditEvent> {
    let Attempts { count, first, addresses } = attempts;
    match refused {
        Refused::SignIn(method) => {
            let detail = json!({ "method": method, "attempts": count, "since": first, "addresses": addresses });
            let target = who.map(|UserId(id)| id.to_string()).unwrap_or_default();
            context.event(Action::SignInRefused, target, detail)
        }
        Refused::Change(what) => {
            let detail = json!({ "attempts": count, "since": first, "addresses": addresses });
            let actor = who.map_or(Actor::System, Actor::User);
            Context { actor, ..*context }.event(Action::ChangeRefused, what, detail)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use uuid::Uuid;

    use super::*;

    fn user(number: u128) -> Option<UserId> {
        Some(UserId(Uuid::from_u128(number)))
    }

    #[test]
    fn however_many_there_are_they_are_few() {
        let refusals = Refusals::default();
        let note = |refused: Refused, who, address: u32| {
            refusals.note(refused, who, Ipv4Addr::from_bits(address).into(), Timestamp::from_millis(address.into()));
        };
        (5..1000).for_each(|address| note(Refused::SignIn("password"), user(1), address));
        note(Refused::SignIn("password"), None, 1);
        (0..1000).for_each(|number| note(Refused::Change(format!("POST /{number}")), user(2), 1));
        let taken = refusals.take();
        assert!(refusals.is_empty() && taken.len() == MOST + 1);
        let of_one = &taken[&(Refused::SignIn("password"), user(1))];
        assert_eq!(
            (of_one.count, of_one.first, of_one.addresses.len()),
            (995, Timestamp::from_millis(5), MOST_ADDRESSES)
        );
        assert_eq!(taken[&(Refused::Change(String::new()), None)].count, 1000 - (MOST as u64 - 2));
    }
}
