//! Clocks: each gateway ends tokens by its own.

use std::time::Duration;

use super::Finding;
use crate::{domain::timestamp::Timestamp, service::receipt::RUNNING, store::Replica};

/// Beyond this, two gateways answer differently for a time that people notice. A beat or a question takes less on its way.
const NOTICED: i64 = 2_000;
/// Beyond this, short-lived things end at once or far too late: codes of logins, ID tokens of single sign-on.
const BROKEN: i64 = 60_000;

const ADVICE: &str =
    "let a service set the clocks of all machines (chrony, systemd-timesyncd), the database's included";

/// `took`: from the question to the answer, in which the database has looked at its clock.
pub fn database(here: Timestamp, there: Timestamp, took: Duration) -> Finding {
    // What the way may have taken is no difference.
    let apart = here.as_millis() - there.as_millis();
    let way = i64::try_from(took.as_millis()).unwrap_or(i64::MAX);
    let apart = if apart > 0 { (apart - way).max(0) } else { apart };
    judged(&format!("this machine's clock is {} the database's", ahead_of(apart)), apart)
}

/// Of the gateways that say it, those that run.
pub fn replicas(replicas: &[Replica]) -> Vec<Finding> {
    let (silent, running): (Vec<&Replica>, Vec<&Replica>) =
        replicas.iter().partition(|replica| replica.silent >= RUNNING);
    let mut findings: Vec<Finding> = silent.into_iter().map(ended).collect();
    if running.is_empty() {
        findings.push(Finding::ok("replicas", "no gateway is running on this store"));
        return findings;
    }
    let names: Vec<&str> = running.iter().map(|replica| replica.name.as_str()).collect();
    findings.push(Finding::ok("replicas", format!("{} running on this store: {}", names.len(), names.join(", "))));
    let clocks = || running.iter().filter_map(|replica| Some((replica.clock_ahead_ms?, replica.name.as_str())));
    if let (Some(first), Some(last)) = (clocks().min(), clocks().max()) {
        let apart = last.0 - first.0;
        let found = match apart {
            0 => "the gateways' clocks agree".to_owned(),
            _ => format!("the clock of {} is {} that of {}", last.1, ahead_of(apart), first.1),
        };
        findings.push(judged(&found, apart));
    }
    findings
}

fn ended(replica: &Replica) -> Finding {
    let found = format!("{} has said nothing for {} s", replica.name, replica.silent.as_secs());
    let advice = format!(
        "it may be cut off from the store and still let revoked tokens through; if it has ended: `bento-gateway replica \
         remove {}`",
        replica.name
    );
    Finding::warn("replicas", found, advice)
}

fn judged(found: &str, apart: i64) -> Finding {
    match apart.abs() {
        apart if apart > BROKEN => Finding::fail("clock", found, ADVICE),
        apart if apart > NOTICED => Finding::warn("clock", found, ADVICE),
        _ => Finding::ok("clock", found),
    }
}

fn ahead_of(millis: i64) -> String {
    let seconds = |millis: i64| format!("{}.{:03} s", millis / 1000, millis % 1000);
    if millis < 0 { format!("{} behind", seconds(-millis)) } else { format!("{} ahead of", seconds(millis)) }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::{doctor::Status, store::ReplicaId};

    #[test]
    fn what_a_question_takes_is_no_difference() {
        let of = |here, there, took| {
            let moment = Timestamp::from_millis;
            database(moment(here), moment(there), Duration::from_millis(took))
        };
        for (finding, status, text) in [
            (of(1_000_000, 1_000_000, 0), Status::Ok, "0.000 s ahead"),
            (of(1_004_000, 1_000_000, 4_000), Status::Ok, "0.000 s ahead"),
            (of(1_004_000, 1_000_000, 10), Status::Warn, "3.990 s ahead of the database's"),
            (of(1_000_000, 1_004_000, 10), Status::Warn, "4.000 s behind the database's"),
            (of(1_061_000, 1_000_000, 10), Status::Fail, "60.990 s ahead"),
        ] {
            assert_eq!(finding.status, status, "{finding:?}");
            assert!(finding.found.contains(text), "{finding:?}");
        }
    }

    #[test]
    fn gateways_are_compared_with_each_other() {
        let replica = |name: &str, silent, clock_ahead_ms| Replica {
            id: ReplicaId(Uuid::nil()),
            name: name.to_owned(),
            applied_seq: 1,
            silent: Duration::from_secs(silent),
            holds: None,
            clock_ahead_ms,
        };
        let said = |replicas: &[Replica]| {
            let text = |finding: Finding| format!("{:?}: {}", finding.status, finding.found);
            super::replicas(replicas).into_iter().map(text).collect::<Vec<_>>()
        };
        assert_eq!(said(&[]), ["Ok: no gateway is running on this store"]);
        let (a, b, c) = (replica("a", 0, Some(-1500)), replica("b", 1, Some(1500)), replica("c", 0, None));
        let expected = ["Ok: 3 running on this store: a, b, c", "Warn: the clock of b is 3.000 s ahead of that of a"];
        assert_eq!(said(&[a.clone(), b, c.clone()]), expected);
        let killed = replica("killed", 40, Some(90_000));
        let expected = [
            "Warn: killed has said nothing for 40 s",
            "Ok: 1 running on this store: a",
            "Ok: the gateways' clocks agree",
        ];
        assert_eq!(said(&[a, killed]), expected);
        assert_eq!(said(&[c]), ["Ok: 1 running on this store: c"]);
    }
}
