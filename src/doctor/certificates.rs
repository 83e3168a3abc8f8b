//! Certificates: of listeners, and those by which upstreams are verified or which they are shown.

use std::{path::Path, time::Duration};

use super::{Finding, Status};
use crate::{
    config::{Config, TlsConfig},
    domain::timestamp::{DAY, Timestamp},
    http::{
        certificate::{self, Validity},
        tls,
    },
};

const CHECK: &str = "certificate";
/// Time to renew one, and to notice that nobody has.
const SOON: Duration = Duration::from_secs(30 * 24 * 60 * 60);

pub fn examine(config: &Config, now: Timestamp) -> Vec<Finding> {
    let listeners = [("proxy.tls", &config.proxy.tls), ("management.tls", &config.management.tls)];
    let listeners = listeners.into_iter().filter_map(|(section, files)| Some((section, files.as_ref()?)));
    let of_listeners = listeners.map(|(section, files)| of_listener(section, files, now));
    // Of these files, the configuration has read all, and taken certificates and keys for pairs. Keys and credentials end
    // never.
    let of_upstreams = config.upstream_files.iter().filter_map(|path| {
        let validities = certificate::validities(path).ok()?;
        Some(judged(&format!("{} (upstreams)", path.display()), &validities, now))
    });
    of_listeners.chain(of_upstreams).collect()
}

fn of_listener(section: &str, TlsConfig { certificate, key }: &TlsConfig, now: Timestamp) -> Finding {
    if let Err(error) = tls::load(certificate, key, true) {
        let found = format!("{section} cannot be used: {error}");
        return Finding::fail(
            CHECK,
            found,
            "a gateway that runs goes on with the pair before; one that starts ends at once",
        );
    }
    match certificate::validities(certificate) {
        Ok(validities) => judged(&named(section, certificate), &validities, now),
        Err(error) => {
            let found = format!("{}: it cannot be told when it ends: {error}", named(section, certificate));
            Finding::unknown(CHECK, found, "`openssl x509 -noout -dates -in FILE` may say it")
        }
    }
}

fn named(section: &str, path: &Path) -> String {
    format!("{} ({section})", path.display())
}

/// Of all in a chain, by the worst of them.
fn judged(name: &str, chain: &[Validity], now: Timestamp) -> Finding {
    let each = chain.iter().enumerate().map(|(at, validity)| {
        let place =
            if chain.len() == 1 { String::new() } else { format!(", certificate {} of {}", at + 1, chain.len()) };
        one(&format!("{name}{place}"), *validity, now)
    });
    let worst = each.max_by_key(|finding| (finding.status, std::cmp::Reverse(finding.found.len())));
    match worst {
        Some(finding) if finding.status > Status::Ok => finding,
        _ => {
            let until = chain.iter().map(|validity| validity.until).min().unwrap_or(Timestamp::MAX);
            Finding::ok(CHECK, format!("{name} ends {until}, in {} days", days(until.since(now))))
        }
    }
}

fn one(name: &str, Validity { from, until }: Validity, now: Timestamp) -> Finding {
    if until <= now {
        let found = format!("{name} has ended {until}, {} days ago", days(now.since(until)));
        return Finding::fail(CHECK, found, "renew it; the gateway takes up new files by itself");
    }
    if from > now {
        return Finding::fail(
            CHECK,
            format!("{name} begins {from}"),
            "see whether the clock is right, or name another one",
        );
    }
    let left = until.since(now);
    if left < SOON {
        let found = format!("{name} ends {until}, in {} days", days(left));
        return Finding::warn(
            CHECK,
            found,
            "see whether what renews it works; the gateway takes up new files by itself",
        );
    }
    Finding::ok(CHECK, name)
}

fn days(duration: Duration) -> u64 {
    duration.as_secs() / DAY.as_secs()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chain_is_as_good_as_its_worst_certificate() {
        let day = |day: i64| Timestamp::from_millis(day * 24 * 60 * 60 * 1000);
        let now = day(100);
        for (chain, status, text) in [
            (&[(1, 131)][..], Status::Ok, "a.pem ends 1970-05-12T00:00:00.000Z, in 31 days"),
            (&[(1, 129)], Status::Warn, "in 29 days"),
            (&[(1, 100)], Status::Fail, "has ended 1970-04-11T00:00:00.000Z, 0 days ago"),
            (&[(101, 500)], Status::Fail, "begins 1970-04-12"),
            (&[(1, 500), (1, 90)], Status::Fail, "certificate 2 of 2 has ended 1970-04-01T00:00:00.000Z, 10 days ago"),
            (&[(1, 120), (1, 500)], Status::Warn, "certificate 1 of 2 ends"),
            (&[(1, 500), (1, 400)], Status::Ok, "in 300 days"),
        ] {
            let chain: Vec<Validity> =
                chain.iter().map(|(from, until)| Validity { from: day(*from), until: day(*until) }).collect();
            let finding = judged("a.pem", &chain, now);
            assert!(finding.status == status && finding.found.contains(text), "{finding:?}");
        }
    }
}
