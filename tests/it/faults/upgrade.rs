//! One gateway after the other is replaced by one of this release, and then by one of the release before, while tokens are
//! made, revoked and used.
//!
//! `BEFORE` is the program of the release before; `scripts/upgrade-test` builds it. Without it, each is replaced by its equal.

use std::path::PathBuf;

use super::{
    fleet::{Fleet, GATEWAYS},
    oracle::Oracle,
};
use crate::harness::{postgres::Cluster, process::BINARY};

#[test]
fn gateways_are_replaced_one_by_one_and_put_back() {
    let this = PathBuf::from(BINARY);
    let before = std::env::var_os("BEFORE").map_or_else(|| this.clone(), PathBuf::from);
    let cluster = Cluster::start();
    let fleet = Fleet::of_release(&cluster, &before);
    Oracle::watches(&fleet, |oracle| {
        for binary in [&this, &before] {
            for at in 0..GATEWAYS {
                {
                    let mut gateway = fleet.gateways[at].write().unwrap();
                    assert!(gateway.terminate().success());
                    gateway.install(binary);
                    gateway.start_again();
                }
                oracle.sees_changes(4);
            }
        }
    });
}
