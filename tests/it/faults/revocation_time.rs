//! How long a revocation takes, from the call to the receipt, and that nobody is let through after it: alone, and while
//! all gateways are flooded. The times are printed and not judged; `scripts/measure-revocation` asks for many.

use std::time::{Duration, Instant};

use super::{
    fleet::{Fleet, ask},
    flood::{self, Load},
};
use crate::harness::{gateway::Token, http::get, postgres::Cluster};

/// In the test suite, for each of the two. `REVOCATIONS` asks for more.
const REVOCATIONS: usize = 10;

#[test]
fn on_postgres_with_three_gateways() {
    measure(&Fleet::beside(&Cluster::start()));
}

#[test]
fn on_sqlite() {
    measure(&Fleet::on_sqlite());
}

fn measure(fleet: &Fleet) {
    let number = std::env::var("REVOCATIONS").map_or(REVOCATIONS, |number| number.parse().unwrap());
    let mut tokens = (0..number * 2).map(|_| {
        let (status, made) = fleet.create(0).unwrap();
        assert_eq!(status, 200, "{made}");
        let text = |member: &str| made[member].as_str().unwrap().to_owned();
        Token { text: text("token"), uid: text("uid") }
    });
    let (alone, flooded): (Vec<_>, Vec<_>) = (tokens.by_ref().take(number).collect(), tokens.collect());

    report("alone", revoke_all(fleet, &alone));
    let begun = Instant::now();
    let (times, Load { answers, busy }) = flood::during(fleet, || revoke_all(fleet, &flooded));
    let rate = answers as f64 / begun.elapsed().as_secs_f64();
    report(&format!("in a flood of {rate:.0} answers a second, with {busy} % of the processors in use"), times);
}

/// The time of each. Every gateway has to have acknowledged it, and to refuse it afterwards.
fn revoke_all(fleet: &Fleet, tokens: &[Token]) -> Vec<Duration> {
    let gateways = fleet.gateways.len();
    let revoke = |(number, token): (usize, &Token)| {
        (0..gateways).for_each(|at| assert_eq!(status(fleet, at, token), 200, "a token in force at gateway {at}"));
        let begun = Instant::now();
        let (status_of_call, revoked) = fleet.revoke(number % gateways, &token.uid).unwrap();
        let took = begun.elapsed();
        let answers: Vec<_> = (0..gateways).map(|at| status(fleet, at, token)).collect();
        let acknowledged = &revoked["receipt"]["acknowledged"];
        assert_eq!((status_of_call, acknowledged), (200, &gateways.into()), "{took:?} {revoked} {answers:?}");
        assert_eq!(answers, vec![401; gateways], "after a receipt: {revoked}");
        took
    };
    tokens.iter().enumerate().map(revoke).collect()
}

fn status(fleet: &Fleet, at: usize, token: &Token) -> u16 {
    ask(fleet.place(at).proxy, &get("a.test", "/", &token.text)).unwrap().status
}

fn report(when: &str, mut times: Vec<Duration>) {
    times.sort_unstable();
    let percentile = |percent: usize| times[(times.len() * percent).div_ceil(100) - 1].as_secs_f64() * 1e3;
    println!(
        "{} revocations {when}: p50 {:.1} ms, p99 {:.1} ms, longest {:.1} ms; none let through after its receipt",
        times.len(),
        percentile(50),
        percentile(99),
        percentile(100),
    );
}
