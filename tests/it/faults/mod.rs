//! Gateways, their store and the network between them, each of which fails while tokens are made, revoked and used. An
//! oracle says of each answer whether it was allowed.

mod disk;
mod fleet;
mod flood;
mod kill_loop;
mod oracle;
mod revocation_time;
mod upgrade;

use std::{thread::sleep, time::Duration};

use self::{
    fleet::{Fleet, GATEWAYS},
    oracle::{Fate, Oracle},
};
use crate::harness::{
    postgres::Cluster,
    relay::{Network, Relay},
};

/// Long enough for the fault to be noticed, and for answers to be given while it lasts.
const WHILE: Duration = Duration::from_millis(1500);

#[test]
fn a_postgres_that_ends_and_comes_back() {
    let cluster = Cluster::start();
    Oracle::watches(&Fleet::on(&cluster), |oracle| {
        for end in [Cluster::stop, Cluster::kill] {
            end(&cluster);
            sleep(WHILE);
            cluster.start_again();
            oracle.sees_changes(3);
        }
    });
}

#[test]
fn a_postgres_that_freezes() {
    let cluster = Cluster::start();
    Oracle::watches(&Fleet::on(&cluster), |oracle| {
        for pause in [WHILE / 5, WHILE * 2] {
            cluster.pause();
            sleep(pause);
            cluster.resume();
            oracle.sees_changes(2);
        }
    });
}

#[test]
fn a_network_that_is_cut_frozen_or_slow_for_one_gateway_or_all() {
    let cluster = Cluster::start();
    let fleet = Fleet::on(&cluster);
    Oracle::watches(&fleet, |oracle| {
        for network in [Network::Cut, Network::Frozen, Network::Slow(Duration::from_millis(20))] {
            for affected in [1, GATEWAYS] {
                fleet.relays[..affected].iter().for_each(|relay| relay.set(network));
                sleep(WHILE);
                fleet.relays.iter().for_each(|relay| relay.set(Network::Open));
                oracle.sees_changes(1);
            }
        }
    });
}

/// A standby takes over, or a backup is restored, that has not got the last changes. The number that the gateways find is
/// smaller than theirs, or the same or larger and of another history. While the standby is one, nobody decides by it.
#[test]
fn a_fail_over_that_loses_the_last_changes() {
    for lost in [2, 4] {
        let cluster = Cluster::start();
        let fleet = Fleet::on(&cluster);
        let replication = Relay::to(cluster.address());
        let standby = cluster.standby(&replication);
        Oracle::watches(&fleet, |oracle| {
            let then = oracle.with_changes_paused(|then| {
                cluster.awaits(&standby);
                replication.set(Network::Cut);
                then.to_vec()
            });
            oracle.sees_changes(lost);
            oracle.with_changes_paused(|_| {
                fleet.relays.iter().for_each(|relay| relay.lead_to(standby.address()));
                sleep(WHILE);
                // What the gateways know may be of either history from now on.
                oracle.loses_what_came_after(&then);
                cluster.kill();
                fleet.relays.iter().for_each(|relay| relay.set(Network::Cut));
                standby.promote();
                if lost == 2 {
                    (0..3).for_each(|number| fleet.changes_elsewhere(&standby, number));
                }
                fleet.relays.iter().for_each(|relay| relay.set(Network::Open));
            });
            oracle.sees_changes(2);
        });
    }
}

#[test]
fn a_gateway_that_freezes_is_killed_and_comes_back() {
    let cluster = Cluster::start();
    let fleet = Fleet::on(&cluster);
    Oracle::watches(&fleet, |oracle| {
        for pause in [WHILE / 5, WHILE * 2] {
            fleet.gateways[1].read().unwrap().signal("STOP");
            oracle.sees_changes(1);
            sleep(pause);
            fleet.gateways[1].read().unwrap().signal("CONT");
            oracle.sees_changes(1);
        }
        for at in 1..GATEWAYS {
            fleet.gateways[at].write().unwrap().kill();
            oracle.sees_changes(1);
            fleet.gateways[at].write().unwrap().start_again();
            oracle.sees_changes(2);
        }
        let mut ended = fleet.gateways[2].write().unwrap();
        assert!(ended.terminate().success());
        ended.start_again();
    });
}

/// So that the oracle's silence means something.
#[test]
fn an_oracle_that_is_told_a_lie_objects() {
    let cluster = Cluster::start();
    let fleet = Fleet::on(&cluster);
    for (token, revoked) in [(0, true), (1, false)] {
        let oracle = Oracle::default();
        let objections = oracle.objections_during(&fleet, |oracle| {
            oracle.settle(token, Fate::Settled { revoked, missing: Vec::new() });
            sleep(WHILE);
        });
        assert!(objections.iter().any(|text| text.contains(&format!("token {token},"))), "{objections:?}");
    }
}
