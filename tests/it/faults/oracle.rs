//! Says of each answer whether it was allowed at that moment.
//!
//! What a receipt says holds for every gateway that it does not name as missing, and for every one that begins later.

use std::sync::{
    Mutex,
    atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
};

use serde_json::Value;

use super::fleet::{Fleet, GATEWAYS, ask};
use crate::harness::http::get;

/// How many of the last tokens are asked for, beside the first ones.
const RECENT: usize = 6;

/// What is known of a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Known to be in force, or over, to all processes but these.
    Settled { revoked: bool, missing: Vec<u32> },
    /// A change of it is under way, was answered with an error, or may have been lost in a fail-over.
    Open,
}

#[derive(Clone)]
pub struct Watched {
    pub text: String,
    pub uid: String,
    pub fate: Fate,
}

#[derive(Default)]
pub struct Oracle {
    tokens: Mutex<Vec<Watched>>,
    objections: Mutex<Vec<String>>,
    changes: AtomicUsize,
    admitted: AtomicUsize,
    refused: AtomicUsize,
    ended: AtomicBool,
    paused: Mutex<()>,
}

impl Oracle {
    /// Runs `fault` while tokens are made and revoked, and every gateway is asked; then everything recovers, and what
    /// each gateway says is what the store says.
    pub fn watches(fleet: &Fleet, fault: impl FnOnce(&Self)) {
        let oracle = Self::default();
        let objections = oracle.objections_during(fleet, fault);
        assert!(objections.is_empty(), "{} answers were wrong:\n{}", objections.len(), objections.join("\n"));
        oracle.agrees_with_the_store(fleet);
        let (admitted, refused) = (oracle.admitted.into_inner(), oracle.refused.into_inner());
        println!("{} changes, {admitted} admitted, {refused} refused", oracle.changes.into_inner());
        assert!(admitted > 20 && refused > 20, "too little was asked: {admitted} admitted, {refused} refused");
    }

    /// The answers that were not allowed.
    pub fn objections_during(&self, fleet: &Fleet, fault: impl FnOnce(&Self)) -> Vec<String> {
        std::thread::scope(|scope| {
            scope.spawn(|| self.change(fleet));
            for at in 0..GATEWAYS {
                scope.spawn(move || self.probe(fleet, at));
            }
            // Also if the test fails: the threads must end.
            let end = End(self);
            self.sees_changes(3);
            fault(self);
            fleet.recovers();
            self.sees_changes(3);
            drop(end);
        });
        std::mem::take(&mut *self.objections.lock().unwrap())
    }

    /// Waits until so many more changes were made.
    pub fn sees_changes(&self, more: usize) {
        let before = self.changes.load(Relaxed);
        crate::harness::wait_until("changes are made", super::fleet::RECOVERY, || {
            self.changes.load(Relaxed) >= before + more
        });
    }

    /// What is known now, while nothing is changed.
    pub fn with_changes_paused<T>(&self, act: impl FnOnce(&[Watched]) -> T) -> T {
        let _paused = self.paused.lock().unwrap();
        let tokens = self.tokens.lock().unwrap().clone();
        act(&tokens)
    }

    /// Whatever was settled since `then` may be lost.
    pub fn loses_what_came_after(&self, then: &[Watched]) {
        for (at, token) in self.tokens.lock().unwrap().iter_mut().enumerate() {
            if then.get(at).is_none_or(|then| then.fate != token.fate) {
                token.fate = Fate::Open;
            }
        }
    }

    pub fn settle(&self, at: usize, fate: Fate) {
        self.tokens.lock().unwrap()[at].fate = fate;
    }

    fn object(&self, text: String) {
        self.objections.lock().unwrap().push(text);
    }

    /// Makes tokens and revokes every other one, by whichever gateway answers.
    fn change(&self, fleet: &Fleet) {
        for number in 0.. {
            if self.ended.load(Relaxed) {
                return;
            }
            let paused = self.paused.lock().unwrap();
            let made = fleet.create(number % GATEWAYS);
            if let Some(made) = self.judged(made) {
                let text = |key: &str| made[key].as_str().unwrap().to_owned();
                let watched = Watched { text: text("token"), uid: text("uid"), fate: settled(&made, false) };
                let at = {
                    let mut tokens = self.tokens.lock().unwrap();
                    tokens.push(watched.clone());
                    tokens.len() - 1
                };
                self.changes.fetch_add(1, Relaxed);
                if at % 2 == 1 {
                    self.settle(at, Fate::Open);
                    if let Some(ended) = self.judged(fleet.revoke((number + 1) % GATEWAYS, &watched.uid)) {
                        self.settle(at, settled(&ended, true));
                    }
                }
            }
            drop(paused);
            std::thread::sleep(std::time::Duration::from_millis(150));
        }
    }

    /// The answer to a change. `None`: it was not made, as far as the caller knows.
    fn judged(&self, answer: Option<(u16, Value)>) -> Option<Value> {
        let (status, body) = answer?;
        match (status, body["code"].as_str().unwrap_or_default()) {
            (200 | 201, _) => return Some(body),
            (503, code) if !code.is_empty() => {}
            _ => self.object(format!("a change was answered with {status}: {body}")),
        }
        None
    }

    fn probe(&self, fleet: &Fleet, at: usize) {
        let mut turn = 0;
        while !self.ended.load(Relaxed) {
            turn += 1;
            std::thread::sleep(std::time::Duration::from_millis(10));
            let (number, before) = {
                let tokens = self.tokens.lock().unwrap();
                let recent = tokens.len().saturating_sub(RECENT);
                let asked: Vec<usize> = (0..tokens.len()).filter(|&number| number < 4 || number >= recent).collect();
                let Some(&number) = asked.get(turn % asked.len().max(1)) else { continue };
                (number, tokens[number].clone())
            };
            let place = fleet.place(at);
            let request = get("a.test", "/", &before.text);
            let Some(answer) = ask(place.proxy, &request) else { continue };
            let after = self.tokens.lock().unwrap()[number].fate.clone();
            let Fate::Settled { revoked, missing } = &before.fate else { continue };
            if missing.contains(&place.pid) {
                continue;
            }
            match (answer.status, revoked) {
                (200, true) if after == before.fate => {
                    self.object(format!("gateway {at} admitted token {number}, which was revoked everywhere"));
                }
                (401, false) if after == before.fate => {
                    self.object(format!("gateway {at} refused token {number}, which is in force: {}", answer.text()));
                }
                (200, _) => drop(self.admitted.fetch_add(1, Relaxed)),
                (401, _) => drop(self.refused.fetch_add(1, Relaxed)),
                (503, _) if answer.code().starts_with("store_") || answer.code() == "overloaded" => {}
                _ => self.object(format!("gateway {at} answered {}: {}", answer.status, answer.text())),
            }
        }
    }

    fn agrees_with_the_store(&self, fleet: &Fleet) {
        for (number, token) in self.tokens.lock().unwrap().iter().enumerate() {
            let (status, stored) = fleet.manage(0, "GET", &format!("api_tokens/{}", token.uid), &Value::Null).unwrap();
            let expected = if status == 200 && stored["deleted_at"].is_null() { 200 } else { 401 };
            for at in 0..GATEWAYS {
                let answer = ask(fleet.place(at).proxy, &get("a.test", "/", &token.text)).unwrap();
                assert_eq!(answer.status, expected, "token {number} at gateway {at}, which the store has as {stored}");
            }
        }
    }
}

struct End<'a>(&'a Oracle);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.ended.store(true, Relaxed);
    }
}

/// What the receipt in an answer says. Names of gateways end with their process's number.
fn settled(answer: &Value, revoked: bool) -> Fate {
    let Some(missing) = answer["receipt"]["missing"].as_array() else { return Fate::Open };
    let pid = |name: &Value| name.as_str().unwrap().rsplit(':').next().unwrap().parse().unwrap();
    Fate::Settled { revoked, missing: missing.iter().map(pid).collect() }
}
