//! Open files: whether the limit allows the connections that are configured.

use super::Finding;
use crate::{app::descriptors, config::Config};

const CHECK: &str = "descriptors";

pub fn examine(config: &Config) -> Finding {
    judged(descriptors::reachable(), config)
}

fn judged(limit: usize, config: &Config) -> Finding {
    let shares = descriptors::of(limit, config);
    let files = if limit == usize::MAX { "any number of".to_owned() } else { limit.to_string() };
    let (proxy, management) = (&config.proxy.limits, &config.management.limits);
    if shares.are_as_configured(config) {
        let found = format!(
            "{files} open files are allowed here, which is enough for {} callers; a service manager sets its own limit",
            proxy.max_connections
        );
        return Finding::ok(CHECK, found);
    }
    let found = format!(
        "{files} open files are allowed here: proxy.limits.max_connections ({}) would be lowered to {}, and \
         management.limits.max_connections ({}) to {}",
        proxy.max_connections, shares.proxy, management.max_connections, shares.management
    );
    Finding::warn(
        CHECK,
        found,
        "raise the hard limit where the gateway is started: LimitNOFILE= in its unit, ulimit -Hn",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        config::{Sources, load},
        doctor::Status,
    };

    #[test]
    fn a_limit_that_is_too_low_says_what_becomes_of_the_settings() {
        let config = load(&Sources::default()).unwrap();
        for (limit, status, text) in [
            (usize::MAX, Status::Ok, "any number of open files"),
            (65_536, Status::Ok, "65536 open files"),
            (1024, Status::Warn, "(10000) would be lowered to 411, and management.limits.max_connections (256) to 128"),
        ] {
            let finding = judged(limit, &config);
            assert_eq!(finding.status, status);
            assert!(finding.found.contains(text), "{finding:?}");
        }
    }
}
