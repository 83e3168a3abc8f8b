//! The process itself.

use std::fmt;

use super::{
    Scraped,
    exposition::{Exposition, Labels, Metric},
};

const BUILD: Metric = Metric::new("bento_gateway_build", "The release that runs.");
const STARTED: Metric =
    Metric::seconds("process_start_time", "When the process started, seconds since 1970-01-01 in UTC.");
const LINES_DROPPED: Metric = Metric::new(
    "bento_gateway_access_log_lines_dropped",
    "Lines of the access log that were dropped, because standard error was not read fast enough.",
);

pub fn write(out: &mut Exposition<'_>, scraped: &Scraped) -> fmt::Result {
    out.info(&BUILD, &vec![("version", env!("CARGO_PKG_VERSION").into())])?;
    out.gauge(&STARTED, scraped.started.as_millis() as f64 / 1000.0)?;
    let dropped = scraped.workers.iter().map(|worker| worker.lines_dropped()).sum();
    out.counters(&LINES_DROPPED, [(Labels::new(), dropped)])
}
