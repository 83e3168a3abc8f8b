//! The chains of the audit trail: each event has a number and a hash, which is made of the event and of the hash before. Who
//! removes, alters or moves an event would have to write all behind it anew, and a hash that is kept elsewhere tells then.
//!
//! There are two, since sign-ins are forgotten after a time and changes never are: so what is forgotten is always the
//! beginning of a chain.

use std::{fmt, str::FromStr};

use serde::{Serialize, Serializer};
use serde_json::Value;
use uuid::Uuid;

use super::{
    audit::{Action, AuditEvent, RequestKey},
    timestamp::Timestamp,
    user::UserId,
};

/// Says which hash it is, should there be another one day.
const FORM: &str = "bento-gateway audit 1";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chain {
    Changes,
    /// Who signs in and out, and what is refused: callers make as many of these events as they like.
    SignIns,
}

/// A place in a chain, which tells all that comes before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    pub chain: Chain,
    /// Of an event, from 1 on. 0: before the first.
    pub number: i64,
    /// Hexadecimal. Empty before the first event.
    pub hash: String,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a checkpoint; expected one as `audit checkpoint` prints it, for example changes:12:9f…")]
pub struct InvalidCheckpoint {
    text: String,
}

/// What an event is made of; an older release may have known other actions.
#[derive(Clone, Debug, PartialEq)]
pub struct Facts {
    pub id: Uuid,
    pub at: Timestamp,
    pub action: String,
    /// `cli`, `system` or `user`.
    pub actor_kind: String,
    pub actor: Option<UserId>,
    pub target: String,
    pub detail: Value,
    pub request: Option<RequestKey>,
}

/// What is wrong with the trail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// From the first to the last.
    Missing {
        chain: Chain,
        first: i64,
        last: i64,
    },
    Changed {
        chain: Chain,
        number: i64,
        id: Uuid,
    },
    /// The last event is not the one that was written last.
    OtherEnd {
        chain: Chain,
        number: i64,
    },
    /// Behind the last event.
    Added {
        chain: Chain,
        number: i64,
    },
    /// Events are missing at the beginning that are not old enough to be forgotten.
    ForgottenEarly {
        chain: Chain,
        number: i64,
    },
    /// The whole chain is gone.
    NoChain {
        chain: Chain,
    },
    /// It was kept elsewhere, and the chain does not have it.
    NotAt(Checkpoint),
    /// Events without a number, later than the first one that has one.
    Unchained {
        count: u64,
    },
}

/// Goes along a chain, event by event.
#[derive(Debug)]
pub struct Walk<'c> {
    last: Checkpoint,
    /// An event is missing before the next one.
    gap: bool,
    /// Those kept elsewhere.
    checkpoints: &'c [Checkpoint],
    pub findings: Vec<Finding>,
}

impl Chain {
    pub const ALL: [Self; 2] = [Self::Changes, Self::SignIns];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Changes => "changes",
            Self::SignIns => "sign_ins",
        }
    }

    pub fn of(action: Action) -> Self {
        match action {
            Action::SignedIn
            | Action::SignedOut
            | Action::BrowserSignedIn
            | Action::BrowserSignedOut
            | Action::SignInRefused
            | Action::ChangeRefused => Self::SignIns,
            _ => Self::Changes,
        }
    }
}

impl Checkpoint {
    pub fn start(chain: Chain) -> Self {
        Self { chain, number: 0, hash: String::new() }
    }

    fn read(text: &str) -> Option<Self> {
        let (chain, rest) = text.split_once(':')?;
        let (number, hash) = rest.split_once(':')?;
        let (chain, number) = (chain.parse().ok()?, number.parse().ok()?);
        let is_hash = hash.len() == blake3::OUT_LEN * 2 && hash.bytes().all(|byte| byte.is_ascii_hexdigit());
        let is_whole = if number == 0 { hash.is_empty() } else { number > 0 && is_hash };
        is_whole.then(|| Self { chain, number, hash: hash.to_ascii_lowercase() })
    }

    /// With the event that comes next.
    #[must_use]
    pub fn with(&self, event: &Facts) -> Self {
        let Facts { id, at, action, actor_kind, actor, target, detail, request } = event;
        let request = request.as_ref().map(|request| (&request.key, &request.hash));
        let number = self.number + 1;
        // JSON, whose objects are sorted by their keys: no two events have the same text.
        let of = (FORM, self.chain, number, &self.hash, (id, at, action, actor_kind, actor, target, detail, request));
        let text = serde_json::to_vec(&of).unwrap_or_default();
        Self { chain: self.chain, number, hash: blake3::hash(&text).to_hex().to_string() }
    }
}

impl From<&AuditEvent> for Facts {
    fn from(event: &AuditEvent) -> Self {
        Self {
            id: event.id,
            at: event.at,
            action: event.action.as_str().to_owned(),
            actor_kind: event.actor.kind().to_owned(),
            actor: event.actor.id().map(UserId),
            target: event.target.clone(),
            detail: event.detail.clone(),
            request: event.request.clone(),
        }
    }
}

impl<'c> Walk<'c> {
    /// `forgotten`: what is before the first event.
    pub fn behind(forgotten: Checkpoint, checkpoints: &'c [Checkpoint]) -> Self {
        let mut walk = Self { last: forgotten, gap: false, checkpoints, findings: Vec::new() };
        walk.compare();
        walk
    }

    /// The next event, in the order of numbers, with what is stored with it.
    pub fn step(&mut self, event: &Facts, stored: Checkpoint) {
        let chain = self.last.chain;
        if stored.number > self.last.number + 1 {
            self.findings.push(Finding::Missing { chain, first: self.last.number + 1, last: stored.number - 1 });
            self.gap = true;
        }
        // Behind a gap nobody knows what was before.
        if !std::mem::take(&mut self.gap) && self.last.with(event) != stored {
            self.findings.push(Finding::Changed { chain, number: stored.number, id: event.id });
        }
        self.last = stored;
        self.compare();
    }

    /// `end`: where the chain was when it was written last.
    pub fn finish(mut self, end: &Checkpoint) -> Vec<Finding> {
        let Checkpoint { chain, number, .. } = self.last;
        if number < end.number {
            self.findings.push(Finding::Missing { chain, first: number + 1, last: end.number });
        } else if number > end.number {
            self.findings.push(Finding::Added { chain, number });
        } else if self.last != *end {
            self.findings.push(Finding::OtherEnd { chain, number });
        }
        let beyond = self.checkpoints.iter().filter(|kept| kept.chain == chain && kept.number > number);
        self.findings.extend(beyond.cloned().map(Finding::NotAt));
        self.findings
    }

    fn compare(&mut self) {
        let last = &self.last;
        let other =
            |kept: &&Checkpoint| kept.chain == last.chain && kept.number == last.number && kept.hash != last.hash;
        self.findings.extend(self.checkpoints.iter().filter(other).cloned().map(Finding::NotAt));
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing { chain, first, last } if first == last => write!(f, "event {first} of {chain} is missing"),
            Self::Missing { chain, first, last } => write!(f, "events {first} to {last} of {chain} are missing"),
            Self::Changed { chain, number, id } => write!(
                f,
                "event {number} of {chain} ({id}) is not as it was written, or was not written behind the one before it"
            ),
            Self::OtherEnd { chain, number } => {
                write!(f, "event {number} of {chain}, the last one, is not the one that was written last")
            }
            Self::Added { chain, number } => write!(f, "event {number} of {chain} is behind the end of the chain"),
            Self::ForgottenEarly { chain, number } => {
                write!(f, "the events of {chain} up to {number} were deleted before they were old enough")
            }
            Self::NoChain { chain } => write!(f, "the chain {} is gone", chain.as_str()),
            Self::NotAt(kept) => write!(f, "the trail does not have the checkpoint {kept}"),
            Self::Unchained { count } => {
                write!(
                    f,
                    "{count} events are in no chain: a release before this one has written them, or something else"
                )
            }
        }
    }
}

impl fmt::Display for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for Chain {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl FromStr for Chain {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        Self::ALL.into_iter().find(|chain| chain.as_str() == text).ok_or(())
    }
}

impl fmt::Display for Checkpoint {
    /// `changes:12:9f…`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.chain, self.number, self.hash)
    }
}

impl FromStr for Checkpoint {
    type Err = InvalidCheckpoint;

    fn from_str(text: &str) -> Result<Self, InvalidCheckpoint> {
        Self::read(text.trim()).ok_or_else(|| InvalidCheckpoint { text: text.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn event(number: u128) -> Facts {
        Facts {
            id: Uuid::from_u128(number),
            at: Timestamp::from_millis(1000 + number as i64),
            action: "token.created".to_owned(),
            actor_kind: "user".to_owned(),
            actor: Some(UserId(Uuid::from_u128(7))),
            target: "it".to_owned(),
            detail: json!({ "b": 1, "a": [2, null], "name": "ü\"" }),
            request: None,
        }
    }

    /// Ten events, each with what is stored with it.
    fn chain() -> Vec<(Facts, Checkpoint)> {
        let mut last = Checkpoint::start(Chain::Changes);
        (1..=10)
            .map(|number| {
                let event = event(number);
                last = last.with(&event);
                (event, last.clone())
            })
            .collect()
    }

    fn walked(events: &[(Facts, Checkpoint)], end: &Checkpoint, kept: &[Checkpoint]) -> Vec<Finding> {
        let mut walk = Walk::behind(Checkpoint::start(Chain::Changes), kept);
        events.iter().for_each(|(event, stored)| walk.step(event, stored.clone()));
        walk.finish(end)
    }

    #[test]
    fn what_was_done_to_a_chain_is_found_where_it_was_done() {
        let whole = chain();
        let end = whole[9].1.clone();
        let kept: Vec<_> = [0, 4, 9].map(|at| whole[at].1.clone()).into();
        assert_eq!(walked(&whole, &end, &kept), []);
        let missing = |first, last| Finding::Missing { chain: Chain::Changes, first, last };
        let changed =
            |number: i64| Finding::Changed { chain: Chain::Changes, number, id: Uuid::from_u128(number as u128) };
        for at in 0..10 {
            let number = at as i64 + 1;
            let mut removed = whole.clone();
            removed.remove(at);
            assert_eq!(walked(&removed, &end, &[]), [missing(number, number)]);
            let alterations: [fn(&mut Facts); 8] = [
                |event| event.id = Uuid::from_u128(99),
                |event| event.at = Timestamp::from_millis(0),
                |event| event.action.push('x'),
                |event| event.actor_kind = "cli".to_owned(),
                |event| event.actor = None,
                |event| event.target.clear(),
                |event| event.detail["b"] = json!(2),
                |event| event.request = Some(RequestKey { key: "k".to_owned(), hash: "h".to_owned() }),
            ];
            for alter in alterations {
                let mut altered = whole.clone();
                alter(&mut altered[at].0);
                let found = walked(&altered, &end, &[]);
                assert!(matches!(found[..], [Finding::Changed { number: found, .. }] if found == number), "{found:?}");
            }
        }
        // Two events change their places, with and without their hashes.
        let mut moved = whole.clone();
        let (one, other) = (moved[3].0.clone(), moved[6].0.clone());
        (moved[3].0, moved[6].0) = (other, one);
        assert_eq!(walked(&moved, &end, &[]).len(), 2);
        // Cut off at the end, and the end written anew.
        assert_eq!(walked(&whole[..7], &end, &[]), [missing(8, 10)]);
        let cut = &whole[6].1;
        assert_eq!(walked(&whole[..7], cut, &kept), [Finding::NotAt(end.clone())]);
        // All of it written anew.
        let mut last = Checkpoint::start(Chain::Changes);
        let forged: Vec<_> = (1..=10)
            .map(|number| {
                let event = Facts { target: "other".to_owned(), ..event(number) };
                last = last.with(&event);
                (event, last.clone())
            })
            .collect();
        assert_eq!(walked(&forged, &last, &[]), []);
        assert_eq!(walked(&forged, &last, &kept).len(), 3);
        assert_eq!(walked(&whole, cut, &[]), [Finding::Added { chain: Chain::Changes, number: 10 }]);
        assert_eq!(changed(1), Finding::Changed { chain: Chain::Changes, number: 1, id: Uuid::from_u128(1) });
    }

    #[test]
    fn checkpoints_are_texts() {
        let checkpoint = &chain()[2].1;
        assert_eq!(checkpoint.to_string().parse(), Ok(checkpoint.clone()));
        assert_eq!(
            format!(" {} \n", checkpoint.to_string().to_uppercase().replace("CHANGES", "changes")).parse(),
            Ok(checkpoint.clone())
        );
        assert_eq!("sign_ins:0:".parse(), Ok(Checkpoint::start(Chain::SignIns)));
        let hash = "a".repeat(64);
        for text in [
            "",
            "changes",
            "changes:1:",
            "other:1:a",
            "changes:x:a",
            &format!("changes:-1:{hash}"),
            &format!("changes:1:{hash}:"),
        ] {
            assert!(text.parse::<Checkpoint>().is_err(), "{text:?}");
        }
    }
}
