//! Every order in which a few changes, looks, beats, receipts, fail-overs and restarts can come, searched breadth first,
//! so that what is found is the shortest way to it.
//!
//! `world` says what can happen and what must never be. The store's own statements and the real follower are held to it
//! by `store::feed_model`, step by step on random ways through it.

mod gateway;
pub mod rules;
pub mod server;
pub mod world;

use std::{collections::HashSet, rc::Rc};

use self::{
    rules::{Bounds, Broken, Rules},
    server::TOKENS,
    world::{Action, World},
};

/// Nothing is wrong within these bounds if there are fewer states than this; a search that goes on is no proof.
const MOST_STATES: usize = 3_000_000;

struct Found {
    what: &'static str,
    /// How to come there.
    way: Vec<Action>,
}

fn actions(gateways: usize, changes: usize) -> Vec<Action> {
    let mut all = vec![Action::Replicate, Action::FailOver, Action::Tick];
    all.extend((0..changes).map(Action::Receipt));
    all.extend((0..TOKENS).map(Action::Change));
    for at in 0..gateways {
        all.extend([Action::Look(at), Action::Rows(at), Action::Apply(at), Action::Lose(at)]);
        all.extend([Action::Beat(at), Action::BeatArrives(at), Action::Restart(at, false), Action::Restart(at, true)]);
    }
    all
}

/// The number of states, all of which are sound; or the shortest way to one that is not.
fn search(gateways: u8, rules: Rules) -> Result<usize, Found> {
    let actions = actions(gateways.into(), rules.bounds.changes.into());
    let first = Rc::new(World::new(gateways));
    let mut seen = HashSet::from([Rc::clone(&first)]);
    // With the place of the state before, and what led from there.
    let mut found = vec![(first, 0, Action::Tick)];
    let mut at = 0;
    while let Some((world, ..)) = found.get(at) {
        let world = Rc::clone(world);
        if let Some(what) = world.violation(rules) {
            return Err(Found { what, way: way_to(&found, at) });
        }
        for &action in &actions {
            let mut after = World::clone(&world);
            if after.act(action, rules) && !seen.contains(&after) {
                assert!(seen.len() < MOST_STATES, "the bounds are too wide to search");
                let after = Rc::new(after);
                seen.insert(Rc::clone(&after));
                found.push((after, at, action));
            }
        }
        at += 1;
    }
    Ok(found.len())
}

fn way_to(found: &[(Rc<World>, usize, Action)], mut at: usize) -> Vec<Action> {
    let mut way = Vec::new();
    while at > 0 {
        let (_, before, action) = &found[at];
        way.push(*action);
        at = *before;
    }
    way.reverse();
    way
}

/// How far each search goes. One gateway suffices for most, since gateways meet only in the store.
const LOSSES: (u8, Bounds) = (1, Bounds { changes: 4, fail_overs: 2, restarts: 0, ticks: 0 });
const TIME: (u8, Bounds) = (1, Bounds { changes: 3, fail_overs: 0, restarts: 1, ticks: 4 });
const TWO: (u8, Bounds) = (2, Bounds { changes: 3, fail_overs: 0, restarts: 0, ticks: 0 });
const FORGOTTEN: (u8, Bounds) = (1, Bounds { changes: 3, fail_overs: 1, restarts: 0, ticks: 3 });

#[test]
fn no_order_of_events_breaks_a_promise() {
    for (gateways, bounds) in [LOSSES, TIME, TWO, FORGOTTEN] {
        let started = std::time::Instant::now();
        match search(gateways, Rules::within(bounds)) {
            Ok(states) => println!("{states} states within {bounds:?} in {:?}", started.elapsed()),
            Err(found) => panic!("{}: {:?}", found.what, found.way),
        }
    }
}

/// What the search finds without each of the rules.
#[test]
fn the_search_finds_each_rule_that_is_left_out() {
    use Broken::*;
    let expected = [
        (ComparesNumbersOnly, LOSSES, "an index stays unlike the store"),
        (ReadsApart, LOSSES, "an index stays unlike the store"),
        (ReadsApartConfirmed, LOSSES, "an index stays unlike the store"),
        (EmptiesFirst, LOSSES, "a good token is not admitted"),
        (CurrentInRebuild, LOSSES, "a token that is not read yet gets 401"),
        (FreshFromTheEnd, TIME, "somebody admits the revoked token, and the receipt names nobody"),
        (BeatsBeforeItApplies, LOSSES, "a receipt counts a gateway that has not applied the change"),
        (BeatsWithoutMark, LOSSES, "a receipt counts a gateway that has not applied the change"),
        (ReadsUnannounced, TIME, "somebody admits the revoked token, and the receipt names nobody"),
        (ForgetsAtOnce, TIME, "somebody admits the revoked token, and the receipt names nobody"),
        (ReceiptByNumber, LOSSES, "a receipt counts a gateway that has not applied the change"),
        (BeatsFail, TIME, "somebody admits the revoked token, and the receipt names nobody"),
        (ForgottenByFailOver, FORGOTTEN, "somebody admits the revoked token, and the receipt names nobody"),
    ];
    for (broken, (gateways, bounds), what) in expected {
        match search(gateways, Rules::within(bounds).without(broken)) {
            Ok(states) => panic!("without {broken:?} nothing is found in {states} states"),
            Err(found) => {
                println!("{broken:?}: {}, by {:?}", found.what, found.way);
                assert_eq!(found.what, what, "{broken:?}");
            }
        }
    }
}
