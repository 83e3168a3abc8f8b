//! A gateway's follower and its index in small. What a look asks for is decided by the product's own `Step::of`.

use bento_gateway::index::history::Step;

use super::{
    rules::{Broken, Rules},
    server::{Ask, At, HOLDS, Rows, Server, Tokens, point},
};

/// A look at the store that has begun. It may freeze between any two of its steps.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Look {
    pub head: At,
    pub step: Ask,
    pub asked: u8,
    pub rows: Option<Rows>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Gateway {
    /// Given at each start.
    pub replica: u8,
    pub applied: Option<At>,
    pub tokens: Tokens,
    /// The marks of all changes that it decides by.
    pub seen: u32,
    pub look: Option<Look>,
    /// What is not in the index does not exist.
    pub current: bool,
    /// `None`: never loaded. Else the last tick at which it decides.
    pub fresh_until: Option<u8>,
    /// `None`: it has not announced itself.
    pub beaten: Option<u8>,
    /// A beat that was begun and is not written yet.
    pub beat: Option<Option<At>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    Admitted,
    /// 503.
    Ours,
    /// 401.
    Refused,
}

impl Gateway {
    /// It was loaded and is fresh.
    pub fn decides(&self, now: u8) -> bool {
        self.fresh_until.is_some_and(|until| now <= until)
    }

    pub fn answer(&self, token: usize, now: u8) -> Answer {
        if !self.decides(now) {
            return Answer::Ours;
        }
        match self.tokens[token] {
            None if !self.current => Answer::Ours,
            Some(change) if !change.revokes => Answer::Admitted,
            None | Some(_) => Answer::Refused,
        }
    }

    pub fn is_rebuilding(&self) -> bool {
        self.applied.is_some() && self.look.as_ref().is_some_and(|look| look.step == Ask::Everything)
    }

    pub fn begin_look(&mut self, store: &Server, now: u8, rules: Rules) {
        let applied = self.applied.map(point);
        let step = match Step::of(applied.as_ref(), &rules.seen_by_follower(store.head(self.applied), &applied)) {
            Step::Nothing => Ask::Nothing,
            Step::Changes { since } => Ask::Since(u8::try_from(since).unwrap()),
            Step::Everything => Ask::Everything,
        };
        let rows =
            (!rules.broken(Broken::ReadsApart) && !rules.broken(Broken::ReadsApartConfirmed)).then(|| store.rows(step));
        self.look = Some(Look { head: store.latest(), step, asked: now, rows });
        if self.is_rebuilding() && !rules.broken(Broken::CurrentInRebuild) {
            self.current = false;
        }
        if self.is_rebuilding() && rules.broken(Broken::EmptiesFirst) {
            self.tokens = Tokens::default();
        }
    }

    pub fn lose_look(&mut self) {
        self.look = None;
        self.current = false;
    }

    pub fn apply(&mut self, look: Look, rows: Rows, now: u8, rules: Rules) {
        if look.step == Ask::Everything {
            (self.tokens, self.seen) = (Tokens::default(), 0);
        }
        rows.rows.into_iter().for_each(|change| self.tokens[change.token] = Some(change));
        self.seen |= rows.marks;
        self.applied = Some(look.head);
        self.current = true;
        let known_at = if rules.broken(Broken::FreshFromTheEnd) { now } else { look.asked };
        self.fresh_until = Some(known_at + HOLDS);
    }
}
