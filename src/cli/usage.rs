//! `bento-gateway usage`.

use super::{
    args::UsageArgs,
    csv,
    environment::Environment,
    error::CliError,
    output::{Printer, table},
};
use crate::service::usage::{self, Grouping, Period, UsageQuery, UsageRow};

/// Of programs' tables, as JSON has them.
const COLUMNS: [&str; 12] = [
    "start",
    "token",
    "token_name",
    "deployment",
    "requests",
    "refused",
    "bytes_in",
    "bytes_out",
    "upstream_seconds",
    "events",
    "prompt_tokens",
    "completion_tokens",
];

pub fn run(args: UsageArgs, environment: &Environment, printer: &mut Printer<'_>) -> Result<(), CliError> {
    let store = environment.open()?;
    let query = UsageQuery {
        period: Period { since: args.since, until: args.until },
        token: args.token,
        deployment: args.deployment,
        grouping: args.by.unwrap_or_default(),
        offset: 0,
        limit: u32::MAX,
    };
    let report = store.block_on(usage::report(&store.context(), None, &query))?;
    let rows = report.rows.items;
    if args.csv {
        let lines = rows.iter().map(|row| csv::line(cells(row).iter().map(String::as_str)));
        let text: String = std::iter::once(csv::line(COLUMNS)).chain(lines).collect();
        return printer.raw(text.as_bytes());
    }
    let (since, until) = (report.since, report.until);
    printer.answer(&rows, || shown(&rows, query.grouping))?;
    if printer.is_table() {
        printer.note(&format!("From {since} to {until}. UPSTREAM is in seconds. The last few seconds may be missing."));
    }
    Ok(())
}

fn cells(row: &UsageRow) -> [String; COLUMNS.len()] {
    let used = &row.used;
    [
        row.start.map(|at| at.to_string()).unwrap_or_default(),
        row.token.map(|uid| uid.to_string()).unwrap_or_default(),
        row.token_name.clone().unwrap_or_default(),
        row.deployment.clone().unwrap_or_default(),
        used.requests.to_string(),
        used.refused.to_string(),
        used.bytes_in.to_string(),
        used.bytes_out.to_string(),
        used.upstream_seconds.to_string(),
        used.events.to_string(),
        used.prompt_tokens.to_string(),
        used.completion_tokens.to_string(),
    ]
}

/// For people: without what is not told apart, and of a token its name.
fn shown(rows: &[UsageRow], Grouping { time, token, deployment }: Grouping) -> String {
    let told_apart = [(time.is_some(), "START"), (token, "TOKEN"), (deployment, "DEPLOYMENT")];
    let keys = told_apart.iter().filter(|(told, _)| *told).map(|(_, header)| *header);
    let sums = ["REQUESTS", "REFUSED", "BYTES IN", "BYTES OUT", "UPSTREAM", "EVENTS", "PROMPT", "COMPLETION"];
    let headers: Vec<&str> = keys.chain(sums).collect();
    let none = || "-".to_owned();
    let lines = rows.iter().map(|row| {
        let name = row.token_name.clone().or(row.token.map(|uid| uid.to_string()));
        let [_, _, _, _, sums @ ..] = cells(row);
        let keys = [row.start.map(|at| at.to_string()), name, row.deployment.clone()];
        let keys = keys.into_iter().zip(told_apart).filter(|(_, (told, _))| *told);
        keys.map(|(key, _)| key.unwrap_or_else(none)).chain(sums).collect::<Vec<String>>()
    });
    table(headers, lines)
}
