//! The store: whether it is reached, can be written, and has this release's schema.

use tokio::time::{Instant, timeout};

use super::{Finding, LIMIT, clocks};
use crate::{
    config::{StoreConfig, StoreUrl},
    domain::deployment::DeploymentSpec,
    store::{self, Inspection, Look, Schema, StoreError},
    system::System,
};

/// What must be there to ask what is in it.
pub type Stored = Result<Vec<DeploymentSpec>, Unread>;

/// The store could not be read, as another finding says.
pub struct Unread;

pub async fn examine(config: &StoreConfig, system: &dyn System) -> (Stored, Vec<Finding>) {
    let begun = Instant::now();
    let inspected =
        timeout(LIMIT, store::inspect(config, Look::Glance)).await.unwrap_or_else(|_| Err(StoreError::no_answer()));
    let inspection = match inspected {
        Ok(Some(inspection)) => inspection,
        Ok(None) => return (Ok(Vec::new()), vec![absent(config)]),
        Err(error) => return (Err(Unread), vec![unreached(&error)]),
    };
    let took = begun.elapsed();
    let mut findings = vec![reached(&inspection), migrations(&inspection.schema)];
    if matches!(config.url, StoreUrl::Postgres(_)) {
        let text =
            "each connection has a session of its own: no pooler shares them (PgBouncer's pool_mode = transaction)";
        findings.push(Finding::ok("pooler", text));
        findings.push(clocks::database(system.now(), inspection.clock, took));
    }
    let Some(store) = inspection.store else { return (Err(Unread), findings) };
    let reading = async {
        let replicas = store.replicas().await?;
        Ok::<_, StoreError>((replicas, store.list_deployments().await?))
    };
    match timeout(LIMIT, reading).await.unwrap_or_else(|_| Err(StoreError::no_answer())) {
        Ok((replicas, deployments)) => {
            findings.extend(clocks::replicas(&replicas));
            (Ok(deployments.into_iter().map(|stored| stored.spec).collect()), findings)
        }
        Err(error) => {
            findings.push(unreached(&error));
            (Err(Unread), findings)
        }
    }
}

fn absent(config: &StoreConfig) -> Finding {
    let StoreUrl::Sqlite(path) = &config.url else { return Finding::ok("store", "there is none yet") };
    let found = format!("{} does not exist yet", path.display());
    Finding::warn("store", found, "`bento-gateway serve` makes it; if there was one, see whether store.url is right")
}

fn unreached(error: &StoreError) -> Finding {
    let advice = match error {
        StoreError::Unavailable(_) => "see whether the database runs, and whether store.url leads to it",
        StoreError::Unusable(_) => "check store.url, its user and that user's rights: `bento-gateway config print`",
        _ => "see what has been changed in the database by hand",
    };
    Finding::fail("store", error.to_string(), advice)
}

fn reached(inspection: &Inspection) -> Finding {
    let server = &inspection.server;
    match &inspection.unwritable {
        None => Finding::ok("store", format!("{server} can be read and written")),
        Some(reason) => {
            let found = format!("{server} can be read, and not written: {reason}");
            Finding::fail(
                "store",
                found,
                "tokens go on working, but no change can be made: let the gateway's user write",
            )
        }
    }
}

fn migrations(schema: &Schema) -> Finding {
    const CHECK: &str = "migrations";
    let Schema { applied, pending, unknown, altered } = schema;
    if !altered.is_empty() {
        let found = format!("{} are not those of this release", listed(altered));
        return Finding::fail(
            CHECK,
            found,
            "the store was migrated by another program: start the release that has made it",
        );
    }
    if applied.is_empty() && unknown.is_empty() {
        return Finding::warn(CHECK, "the store is empty", "`bento-gateway serve` makes its tables");
    }
    if !pending.is_empty() {
        let found = format!("{} are to come: the store is of an earlier release", listed(pending));
        return Finding::warn(CHECK, found, "back up, then start this release, which makes them");
    }
    if !unknown.is_empty() {
        let found = format!("{} are of a later release, which has been started on this store", listed(unknown));
        return Finding::warn(
            CHECK,
            found,
            "replace this program, too; the release before works beside the next one only",
        );
    }
    Finding::ok(CHECK, format!("all {} have been made", applied.len()))
}

fn listed(versions: &[i64]) -> String {
    let versions: Vec<String> = versions.iter().map(|version| format!("{version:04}")).collect();
    format!("migrations {}", versions.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Status;

    #[test]
    fn migrations_of_other_releases_are_told_apart() {
        let schema = |applied: &[i64], pending: &[i64], unknown: &[i64], altered: &[i64]| {
            let [applied, pending, unknown, altered] = [applied, pending, unknown, altered].map(<[i64]>::to_vec);
            migrations(&Schema { applied, pending, unknown, altered })
        };
        for (finding, status, text) in [
            (schema(&[1, 2], &[], &[], &[]), Status::Ok, "all 2"),
            (schema(&[], &[1, 2], &[], &[]), Status::Warn, "is empty"),
            (schema(&[1], &[2], &[], &[]), Status::Warn, "0002 are to come"),
            (schema(&[1, 2], &[], &[3], &[]), Status::Warn, "0003 are of a later release"),
            (schema(&[1], &[], &[3], &[2]), Status::Fail, "0002 are not those"),
        ] {
            assert_eq!(finding.status, status, "{finding:?}");
            assert!(finding.found.contains(text), "{finding:?}");
        }
    }
}
