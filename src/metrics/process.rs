//! The process itself: what it is, what it uses of the machine, and what it could not write.

use std::{fmt, fs, sync::atomic::Ordering::Relaxed};

use rustix::{
    param::page_size,
    process::{Resource, getrlimit},
    time::{ClockId, clock_gettime},
};

use super::{
    Scraped,
    exposition::{Exposition, Labels, Metric},
};
use crate::telemetry::worker::ConnectionSlots;

const BUILD: Metric = Metric::new("bento_gateway_build", "The release that runs.");
const RELOADED: Metric = Metric::new(
    "bento_gateway_config_last_reload_successful",
    "0 if the configuration was read again and has a problem, so that the old one stays in effect; else 1.",
);
const OPEN: Metric = Metric::new("bento_gateway_open_connections", "Connections to a listener that are open.");
const MOST_OPEN: Metric =
    Metric::new("bento_gateway_max_connections", "Connections to a listener that may be open; further ones wait.");
const LINES_DROPPED: Metric = Metric::new(
    "bento_gateway_log_lines_dropped",
    "Lines of a log that were dropped, because standard error was not read fast enough.",
);
const USAGE_LOST: Metric = Metric::new(
    "bento_gateway_usage_requests_lost",
    "Requests whose usage is not counted, because too much waited for the store.",
);
const STARTED: Metric =
    Metric::seconds("process_start_time", "When the process started, seconds since 1970-01-01 in UTC.");
const CPU: Metric = Metric::seconds("process_cpu", "Time that the process has worked, over all processors.");
const RESIDENT: Metric = Metric::bytes("process_resident_memory", "Memory of the process that is in RAM.");
const VIRTUAL: Metric = Metric::bytes("process_virtual_memory", "Address space of the process.");
const DESCRIPTORS: Metric = Metric::new("process_open_fds", "File descriptors that are open.");
const MOST_DESCRIPTORS: Metric = Metric::new("process_max_fds", "File descriptors that may be open.");

pub fn write(out: &mut Exposition<'_>, scraped: &Scraped) -> fmt::Result {
    out.info(&BUILD, &vec![("version", env!("CARGO_PKG_VERSION").into())])?;
    out.gauge(&RELOADED, u64::from(!scraped.gateway.reload_failed.load(Relaxed)))?;

    let slots = || scraped.workers.iter().filter_map(|worker| worker.connections.get());
    let proxy = ("proxy", slots().map(ConnectionSlots::taken).sum::<usize>(), slots().map(|slots| slots.all).sum());
    let others = scraped.listeners.iter().map(|listener| (listener.name, listener.open.len(), listener.max));
    let listeners: Vec<(_, _, usize)> = [proxy].into_iter().chain(others).collect();
    let of = |name: &'static str| vec![("listener", name.into())];
    out.gauges(&OPEN, listeners.iter().map(|(name, open, _)| (of(name), *open)))?;
    out.gauges(&MOST_OPEN, listeners.iter().map(|(name, _, max)| (of(name), *max)))?;

    let access = scraped.workers.iter().map(|worker| worker.lines_dropped()).sum();
    let dropped = [("access", access), ("own", scraped.log.dropped_since_start())];
    out.counters(&LINES_DROPPED, dropped.map(|(log, count)| (vec![("log", log.into())], count)))?;

    out.counters(&USAGE_LOST, [(Labels::new(), scraped.usage.lost())])?;

    out.gauge(&STARTED, scraped.started.as_millis() as f64 / 1000.0)?;
    let cpu = clock_gettime(ClockId::ProcessCPUTime);
    out.counters(&CPU, [(Labels::new(), cpu.tv_sec as f64 + cpu.tv_nsec as f64 / 1e9)])?;
    let [total, resident] = memory();
    out.gauges(&RESIDENT, resident.map(|bytes| (Labels::new(), bytes)))?;
    out.gauges(&VIRTUAL, total.map(|bytes| (Labels::new(), bytes)))?;
    let descriptors = fs::read_dir("/proc/self/fd").map(Iterator::count).ok();
    // Reading the list takes one itself.
    out.gauges(&DESCRIPTORS, descriptors.map(|count| (Labels::new(), count.saturating_sub(1))))?;
    out.gauges(&MOST_DESCRIPTORS, getrlimit(Resource::Nofile).current.map(|most| (Labels::new(), most)))
}

/// Address space and what of it is in RAM, bytes, by proc_pid_statm(5). `None`: this system does not say.
fn memory() -> [Option<u64>; 2] {
    let text = fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let mut pages = text.split_whitespace().map(|pages| Some(pages.parse::<u64>().ok()? * page_size() as u64));
    [pages.next().flatten(), pages.next().flatten()]
}
