//! `bento-gateway doctor`.

use std::sync::Arc;

use tokio::runtime::Builder;

use super::{
    args::ServeArgs,
    environment::Environment,
    error::CliError,
    exit::ExitStatus,
    output::{Printer, table},
    serve,
};
use crate::{
    config::{self, ConfigProblems},
    doctor::{self, Finding, Status},
};

pub fn run(args: ServeArgs, environment: &Environment, printer: &mut Printer<'_>) -> Result<(), CliError> {
    let sources = environment.sources(serve::overrides(args));
    let loaded = match config::load_with_sources(&sources) {
        Ok(loaded) => loaded,
        Err(problems) => {
            print(&[of_configuration(&problems)], printer)?;
            return Err(problems.into());
        }
    };
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let findings = runtime.block_on(doctor::examine(&loaded, &sources, Arc::clone(&environment.system)));
    // A name that is still being resolved, or a file that cannot be read, is not waited for.
    runtime.shutdown_background();
    print(&findings, printer)?;
    let count = |status| findings.iter().filter(|finding| finding.status == status).count();
    let (failed, warned, unknown) = (count(Status::Fail), count(Status::Warn), count(Status::Unknown));
    if failed > 0 {
        let message = format!("{failed} failed, {warned} to look at, {unknown} not known");
        return Err(CliError::Failed { message, hint: None, status: ExitStatus::Failure });
    }
    printer.note(&format!("Nothing failed; {warned} to look at, {unknown} not known."));
    Ok(())
}

fn of_configuration(problems: &ConfigProblems) -> Finding {
    Finding {
        check: "configuration",
        status: Status::Fail,
        found: match problems.0.len() {
            1 => "it has a problem; nothing else was looked at".to_owned(),
            several => format!("it has {several} problems; nothing else was looked at"),
        },
        advice: Some("`bento-gateway config check` lists each with its fix".to_owned()),
    }
}

fn print(findings: &[Finding], printer: &mut Printer<'_>) -> Result<(), CliError> {
    printer.answer(&findings, || {
        let rows = findings.iter().flat_map(|finding| {
            let first = [finding.check.to_owned(), word(finding.status).to_owned(), finding.found.clone()];
            let advice = finding.advice.as_ref().map(|advice| [String::new(), String::new(), format!("→ {advice}")]);
            [Some(first), advice].into_iter().flatten()
        });
        table(["CHECK", "STATUS", "FOUND"], rows)
    })
}

fn word(status: Status) -> &'static str {
    match status {
        Status::Ok => "ok",
        Status::Unknown => "unknown",
        Status::Warn => "warn",
        Status::Fail => "fail",
    }
}
