//! The rules of the feed, each of which can be broken, and how far the search goes.

use bento_gateway::store::{Head, Point};

/// A rule that is left out. With each of these the search finds a way to do harm, so it would find one in the product.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Broken {
    /// The follower compares numbers only, not marks.
    ComparesNumbersOnly,
    /// Head and rows are read by several statements.
    ReadsApart,
    /// The same, and the head's mark is asked for again in the end.
    ReadsApartConfirmed,
    /// A rebuild begins by emptying the index.
    EmptiesFirst,
    /// During a rebuild, what is not in the index counts as not existing.
    CurrentInRebuild,
    /// The index counts as fresh from the end of a look, however long ago it began.
    FreshFromTheEnd,
    /// A gateway says that it has applied what it is just reading.
    BeatsBeforeItApplies,
    /// The store believes the number of a beat without its mark.
    BeatsWithoutMark,
    /// A gateway reads the store before it has said that it is there.
    ReadsUnannounced,
    /// The store forgets a gateway that is silent, though it may still decide.
    ForgetsAtOnce,
    /// A receipt counts whoever has applied the change's number, whatever change that is by now.
    ReceiptByNumber,
    /// No rule of ours, but a limit: a gateway whose looks succeed and whose beats do not.
    BeatsFail,
    /// A limit, too: a gateway that began after the standby's last word, until its next beat.
    ForgottenByFailOver,
}

#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// The two changes that the world begins with included.
    pub changes: u8,
    pub fail_overs: u8,
    pub restarts: u8,
    pub ticks: u8,
}

#[derive(Clone, Copy, Debug)]
pub struct Rules {
    broken: Option<Broken>,
    pub bounds: Bounds,
}

impl Rules {
    pub fn sound() -> Self {
        Self { broken: None, bounds: Bounds { changes: 255, fail_overs: 255, restarts: 255, ticks: 0 } }
    }

    pub fn within(bounds: Bounds) -> Self {
        Self { broken: None, bounds }
    }

    pub fn without(self, broken: Broken) -> Self {
        Self { broken: Some(broken), ..self }
    }

    pub fn broken(self, rule: Broken) -> bool {
        self.broken == Some(rule)
    }

    /// A follower that looks at numbers only takes every mark for its own.
    pub fn seen_by_follower(self, head: Head, applied: &Option<Point>) -> Head {
        if !self.broken(Broken::ComparesNumbersOnly) {
            return head;
        }
        Head { mark_then: applied.as_ref().and_then(|applied| applied.mark.clone()), ..head }
    }
}
