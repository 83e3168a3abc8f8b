//! The store in small.

use bento_gateway::store::{Head, Point};

use super::rules::{Broken, Rules};

/// Made first and never changed: whoever refuses it refuses a good token.
pub const GOOD: usize = 0;
pub const TOKENS: usize = 3;
/// `store.max_staleness`, in ticks of the clock.
pub const HOLDS: u8 = 1;
/// For how long after its last beat a gateway's looks at the store may succeed. What lies in between is the store's to
/// add when it forgets a gateway.
pub const GRACE: u8 = 1;

/// A number of the feed with its mark. No mark is given twice, on whatever server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct At {
    pub seq: u8,
    pub mark: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Change {
    pub at: At,
    pub token: usize,
    pub revokes: bool,
}

/// What an index knows of each token: the last change of it.
pub type Tokens = [Option<Change>; TOKENS];

/// What a gateway says of itself. Its clock is the store's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Beat {
    pub replica: u8,
    pub applied: Option<At>,
    pub beaten: u8,
}

/// A database. A standby or a backup is what it was at some moment, beats included.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Server {
    pub history: Vec<Change>,
    pub beats: Vec<Beat>,
}

/// What the product calls a `Step`, which has no hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ask {
    Nothing,
    Since(u8),
    Everything,
}

/// What a look got. Of a token that was changed twice there is one row, which holds both changes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Rows {
    pub rows: Vec<Change>,
    pub marks: u32,
}

impl Server {
    /// The last change of each token.
    pub fn tokens(&self) -> Tokens {
        let mut tokens = Tokens::default();
        self.history.iter().for_each(|change| tokens[change.token] = Some(*change));
        tokens
    }

    pub fn latest(&self) -> At {
        self.history.last().map_or(At { seq: 0, mark: 0 }, |change| change.at)
    }

    pub fn mark_at(&self, seq: u8) -> Option<u8> {
        self.history.iter().find(|change| change.at.seq == seq).map(|change| change.at.mark)
    }

    pub fn has(&self, at: At) -> bool {
        self.mark_at(at.seq) == Some(at.mark)
    }

    pub fn head(&self, applied: Option<At>) -> Head {
        let mark_then = applied.and_then(|applied| self.mark_at(applied.seq)).map(|mark| mark.to_string());
        Head { latest: point(self.latest()), mark_then }
    }

    /// The rows that a look gets: tokens whose last change is a later one.
    pub fn rows(&self, step: Ask) -> Rows {
        let since = match step {
            Ask::Nothing => return Rows::default(),
            Ask::Since(seq) => seq,
            Ask::Everything => 0,
        };
        let later = |change: &Change| change.at.seq > since;
        let marks = self.history.iter().copied().filter(later).fold(0, |marks, change| marks | 1 << change.at.mark);
        Rows { rows: self.tokens().into_iter().flatten().filter(later).collect(), marks }
    }

    /// Who may decide, and by how many changes; `None`: by a history that this server has lost, or by nothing yet.
    pub fn list(&self, now: u8, rules: Rules) -> Vec<(u8, Option<u8>)> {
        let kept = if rules.broken(Broken::ForgetsAtOnce) { 0 } else { HOLDS + GRACE };
        let heard = self.beats.iter().filter(|beat| now <= beat.beaten + kept);
        let known = |at: &At| rules.broken(Broken::BeatsWithoutMark) || self.has(*at);
        heard.map(|beat| (beat.replica, beat.applied.filter(known).map(|at| at.seq))).collect()
    }

    pub fn take_beat(&mut self, beat: Beat) {
        self.beats.retain(|other| other.replica != beat.replica);
        self.beats.push(beat);
        self.beats.sort_by_key(|beat| beat.replica);
    }
}

pub fn point(at: At) -> Point {
    Point { seq: at.seq.into(), mark: Some(at.mark.to_string()) }
}
