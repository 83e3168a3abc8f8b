//! The feed in small: a store and the one that may take its place, gateways that follow it, and what can happen to them.

use super::{
    gateway::{Answer, Gateway},
    rules::{Broken, Rules},
    server::{At, Beat, Change, GOOD, GRACE, Server},
};

/// What a receipt said of a revocation.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Promise {
    change: Change,
    /// Whom it counts as deciding by the change.
    applied: Vec<u8>,
    /// It names nobody as missing.
    complete: bool,
    /// Of whom the store could not know, see [`World::is_heard`].
    unheard: Vec<u8>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct World {
    pub store: Server,
    /// What takes the store's place next: a standby, or a backup.
    standby: Server,
    pub gateways: Vec<Gateway>,
    clock: u8,
    marks: u8,
    replicas: u8,
    fail_overs: u8,
    restarts: u8,
    /// All that was committed, on whatever server: somebody waits for the receipt.
    committed: Vec<Change>,
    promise: Option<Promise>,
    /// A receipt that was untrue when it was given.
    untrue: Option<&'static str>,
}

/// What can happen. A notification that is lost, late, repeated or out of order is a look that is made later, again, or
/// not at all: it carries nothing but "look".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Makes the token, or revokes it.
    Change(usize),
    Replicate,
    /// The standby takes over, or the backup is restored.
    FailOver,
    Look(usize),
    Rows(usize),
    Apply(usize),
    /// The connection is lost in mid-look.
    Lose(usize),
    Beat(usize),
    BeatArrives(usize),
    /// `true`: after an orderly end.
    Restart(usize, bool),
    /// Of one of the changes that were committed.
    Receipt(usize),
    Tick,
}

impl World {
    /// Two tokens, and gateways that have just begun and announced themselves.
    pub fn new(gateways: u8) -> Self {
        let mut world = Self {
            store: Server::default(),
            standby: Server::default(),
            gateways: Vec::new(),
            clock: 0,
            marks: 0,
            replicas: 0,
            fail_overs: 0,
            restarts: 0,
            committed: Vec::new(),
            promise: None,
            untrue: None,
        };
        world.change(GOOD);
        world.change(1);
        for _ in 0..gateways {
            world.gateways.push(Gateway::default());
            world.begin(usize::from(world.replicas), Rules::sound());
        }
        world.standby = world.store.clone();
        world.committed.clear();
        world
    }

    /// `false`: it cannot happen now, or lies beyond the bounds.
    pub fn act(&mut self, action: Action, rules: Rules) -> bool {
        match action {
            Action::Change(token) => return self.marks < rules.bounds.changes && self.change(token),
            Action::Replicate if self.fail_overs < rules.bounds.fail_overs => self.standby = self.store.clone(),
            Action::FailOver if self.fail_overs < rules.bounds.fail_overs && self.standby != self.store => {
                self.fail_over()
            }
            Action::Look(at) => return self.look(at, rules),
            Action::Rows(at) => return self.rows(at),
            Action::Apply(at) => return self.apply(at, rules),
            Action::Lose(at) if self.gateways[at].look.is_some() => self.gateways[at].lose_look(),
            Action::Beat(at) if self.gateways[at].beat.is_none() => {
                self.gateways[at].beat = Some(self.says_applied(at, rules));
            }
            Action::BeatArrives(at) => return self.beat_arrives(at),
            Action::Restart(at, orderly) if self.restarts < rules.bounds.restarts => {
                self.restarts += 1;
                if orderly {
                    let replica = self.gateways[at].replica;
                    self.store.beats.retain(|beat| beat.replica != replica);
                }
                self.begin(at, rules);
            }
            Action::Receipt(of) => return self.receipt(of, rules),
            Action::Tick if self.clock < rules.bounds.ticks => self.clock += 1,
            _ => return false,
        }
        true
    }

    fn change(&mut self, token: usize) -> bool {
        let known = self.store.tokens()[token];
        if known.is_some_and(|change| change.revokes) || (token == GOOD && known.is_some()) {
            return false;
        }
        self.marks += 1;
        let at = At { seq: self.store.latest().seq + 1, mark: self.marks };
        let change = Change { at, token, revokes: known.is_some() };
        self.store.history.push(change);
        self.committed.push(change);
        true
    }

    fn fail_over(&mut self) {
        self.fail_overs += 1;
        self.store = self.standby.clone();
        // What a receipt said of a change that is lost is nobody's promise any more.
        self.promise.take_if(|promise| !self.store.has(promise.change.at));
    }

    /// A process begins: it says so before it reads anything.
    fn begin(&mut self, at: usize, rules: Rules) {
        self.replicas += 1;
        self.gateways[at] = Gateway { replica: self.replicas, ..Gateway::default() };
        let beaten = Some(self.clock);
        if !rules.broken(Broken::ReadsUnannounced) {
            self.store.take_beat(Beat { replica: self.replicas, applied: None, beaten: self.clock });
        }
        self.gateways[at].beaten = beaten;
    }

    fn look(&mut self, at: usize, rules: Rules) -> bool {
        let gateway = &mut self.gateways[at];
        let beats =
            gateway.beaten.is_some_and(|beaten| self.clock <= beaten + GRACE) || rules.broken(Broken::BeatsFail);
        let may = gateway.look.is_none() && beats;
        if may {
            gateway.begin_look(&self.store, self.clock, rules);
        }
        may
    }

    fn rows(&mut self, at: usize) -> bool {
        match &mut self.gateways[at].look {
            Some(look) if look.rows.is_none() => look.rows = Some(self.store.rows(look.step)),
            _ => return false,
        }
        true
    }

    fn apply(&mut self, at: usize, rules: Rules) -> bool {
        let gateway = &mut self.gateways[at];
        let Some(look) = gateway.look.take_if(|look| look.rows.is_some()) else { return false };
        let confirmed = !rules.broken(Broken::ReadsApartConfirmed) || self.store.has(look.head);
        match look.rows.clone() {
            Some(rows) if confirmed => gateway.apply(look, rows, self.clock, rules),
            _ => gateway.lose_look(),
        }
        true
    }

    fn says_applied(&self, at: usize, rules: Rules) -> Option<At> {
        let gateway = &self.gateways[at];
        let reading = gateway.look.as_ref().map(|look| look.head);
        reading.filter(|_| rules.broken(Broken::BeatsBeforeItApplies)).or(gateway.applied)
    }

    fn beat_arrives(&mut self, at: usize) -> bool {
        let gateway = &mut self.gateways[at];
        let Some(applied) = gateway.beat.take() else { return false };
        gateway.beaten = Some(self.clock);
        self.store.take_beat(Beat { replica: gateway.replica, applied, beaten: self.clock });
        true
    }

    fn receipt(&mut self, of: usize, rules: Rules) -> bool {
        let Some(&change) = self.committed.get(of) else { return false };
        let lost = !self.store.has(change.at);
        if lost && !rules.broken(Broken::ReceiptByNumber) {
            return false;
        }
        let list = self.store.list(self.clock, rules);
        let (applied, missing): (Vec<_>, Vec<_>) = list.into_iter().partition(|(_, seq)| *seq >= Some(change.at.seq));
        let applied: Vec<u8> = applied.into_iter().map(|(replica, _)| replica).collect();
        let knows = |gateway: &Gateway| gateway.seen & (1 << change.at.mark) != 0;
        if self.gateways.iter().any(|gateway| applied.contains(&gateway.replica) && !knows(gateway)) {
            self.untrue = Some("a receipt counts a gateway that has not applied the change");
        }
        if change.revokes && !lost {
            let unheard = self.gateways.iter().filter(|gateway| !self.is_heard(gateway));
            let unheard = unheard.map(|gateway| gateway.replica).collect();
            self.promise = Some(Promise { change, applied, complete: missing.is_empty(), unheard });
        }
        true
    }

    /// What must never be, and is.
    pub fn violation(&self, rules: Rules) -> Option<&'static str> {
        for gateway in &self.gateways {
            let good = gateway.answer(GOOD, self.clock);
            if good == Answer::Refused || (good == Answer::Ours && gateway.decides(self.clock)) {
                return Some("a good token is not admitted");
            }
            if gateway.is_rebuilding() && gateway.current {
                return Some("a token that is not read yet gets 401");
            }
            let Some(promise) = &self.promise else { continue };
            if gateway.answer(promise.change.token, self.clock) != Answer::Admitted {
                continue;
            }
            if promise.applied.contains(&gateway.replica) {
                return Some("a gateway that the receipt counts admits the revoked token");
            }
            if promise.complete
                && (!promise.unheard.contains(&gateway.replica) || rules.broken(Broken::ForgottenByFailOver))
            {
                return Some("somebody admits the revoked token, and the receipt names nobody");
            }
        }
        self.untrue.or_else(|| self.when_quiet(rules))
    }

    /// What a gateway last said may be lost in a fail-over. Until it speaks again no receipt can name it.
    fn is_heard(&self, gateway: &Gateway) -> bool {
        let said = |beat: &Beat| beat.replica == gateway.replica && Some(beat.beaten) == gateway.beaten;
        self.fail_overs == 0 || self.store.beats.iter().any(said)
    }

    /// Once nothing happens any more and each gateway can look and beat, each is like the store, and the store knows it.
    fn when_quiet(&self, rules: Rules) -> Option<&'static str> {
        let mut quiet = self.clone();
        for at in 0..quiet.gateways.len() {
            // The look that runs is the first one.
            for _ in 0..2 {
                quiet.gateways[at].beaten = Some(quiet.clock);
                quiet.look(at, rules);
                quiet.rows(at);
                quiet.apply(at, rules);
            }
            quiet.gateways[at].beat = Some(quiet.gateways[at].applied);
            quiet.beat_arrives(at);
        }
        let like = |gateway: &Gateway| gateway.tokens == quiet.store.tokens() && gateway.current;
        if !quiet.gateways.iter().all(like) {
            return Some("an index stays unlike the store");
        }
        let list = quiet.store.list(quiet.clock, rules);
        let counted = |gateway: &Gateway| list.contains(&(gateway.replica, Some(quiet.store.latest().seq)));
        (!quiet.gateways.iter().all(counted)).then_some("a gateway is like the store, and no receipt counts it")
    }
}
