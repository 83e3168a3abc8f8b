//! `bento-gateway audit …`.

use std::cell::RefCell;

use super::{
    args::{AuditCommand, EventArgs},
    csv,
    environment::{Environment, OpenStore},
    error::CliError,
    exit::ExitStatus,
    output::{Printer, table},
};
use crate::{
    domain::{audit_chain::Checkpoint, user::Email},
    service::{
        audit::{self, ChainView, EventView, VerificationView},
        users,
    },
    store::EventFilter,
};

const COLUMNS: [&str; 10] =
    ["id", "at", "action", "actor_kind", "actor", "actor_email", "target", "detail", "checkpoint", "idempotency_key"];

pub fn run(command: AuditCommand, environment: &Environment, printer: &mut Printer<'_>) -> Result<(), CliError> {
    let store = environment.open()?;
    match command {
        AuditCommand::List { events, limit } => {
            let filter = EventFilter { limit, ..filter(&store, &events)? };
            let found = store.block_on(store.context().store.events(&filter))?;
            let emails = store.block_on(audit::emails(store.context().store))?;
            let events: Vec<EventView> = found.into_iter().map(|event| EventView::new(event, &emails)).collect();
            printer.answer(&events, || self::events(&events))
        }
        AuditCommand::Export { events, csv } => export(&store, filter(&store, &events)?, csv, printer),
        AuditCommand::Checkpoint => {
            let ends = store.block_on(audit::checkpoints(store.context().store))?;
            let texts: Vec<String> = ends.iter().map(Checkpoint::to_string).collect();
            printer.answer(&texts, || texts.join("\n"))
        }
        AuditCommand::Verify { checkpoints } => verify(&store, &checkpoints, printer),
    }
}

fn export(store: &OpenStore, filter: EventFilter, csv: bool, printer: &mut Printer<'_>) -> Result<(), CliError> {
    let emails = store.block_on(audit::emails(store.context().store))?;
    if csv {
        printer.raw(csv::line(COLUMNS).as_bytes())?;
    }
    let printer = RefCell::new(printer);
    store.runtime.block_on(audit::each_page(store.context().store, filter, |page| {
        page.into_iter().try_for_each(|event| {
            let event = EventView::new(event, &emails);
            let mut printer = printer.borrow_mut();
            if csv {
                return printer.raw(csv::line(cells(&event).iter().map(String::as_str)).as_bytes());
            }
            printer.line(&serde_json::to_string(&event).unwrap_or_default())
        })
    }))
}

fn verify(store: &OpenStore, checkpoints: &[Checkpoint], printer: &mut Printer<'_>) -> Result<(), CliError> {
    let context = store.context();
    let verification = store.block_on(audit::verify(context.store, context.now, checkpoints))?;
    let verified = VerificationView::from(verification);
    printer.answer(&verified, || {
        let cells = |chain: &ChainView| {
            [chain.chain.to_owned(), chain.events.to_string(), chain.forgotten.to_string(), chain.checkpoint.clone()]
        };
        table(["CHAIN", "EVENTS", "FORGOTTEN", "CHECKPOINT"], verified.chains.iter().map(cells))
    })?;
    judged(&verified, printer)
}

/// Says what was found.
///
/// # Errors
/// Somebody has changed the trail.
pub fn judged(verified: &VerificationView, printer: &mut Printer<'_>) -> Result<(), CliError> {
    if verified.intact {
        printer.note("The trail is as it was written.");
        return Ok(());
    }
    verified.findings.iter().for_each(|finding| printer.note(&format!("found: {finding}")));
    if verified.found > verified.findings.len() {
        printer.note(&format!("found: {} more", verified.found - verified.findings.len()));
    }
    let hint = "somebody with access to the database has changed it: compare with a backup, and see who could";
    Err(CliError::new(ExitStatus::Tampered, "the audit trail is not as it was written", hint))
}

fn filter(store: &OpenStore, args: &EventArgs) -> Result<EventFilter, CliError> {
    let context = store.context();
    let actor = args.actor.as_ref().map(|email| store.block_on(users::find(context.store, email))).transpose()?;
    Ok(EventFilter {
        action: args.action.clone().unwrap_or_default(),
        actor: actor.map(|user| user.id),
        target: args.target.clone().unwrap_or_default(),
        before: None,
        since: args.since.map(|moment| moment.at(context.now)),
        until: args.until.map(|moment| moment.at(context.now)),
        limit: 0,
    })
}

fn who(event: &EventView) -> String {
    let id = || event.actor.map(|id| id.to_string());
    event.actor_email.as_ref().map(Email::to_string).or_else(id).unwrap_or_else(|| event.actor_kind.clone())
}

/// For people.
pub fn events(events: &[EventView]) -> String {
    table(["AT", "WHO", "ACTION", "TARGET", "DETAIL"], events.iter().map(row))
}

fn row(event: &EventView) -> [String; 5] {
    [event.at.to_string(), who(event), event.action.clone(), event.target.clone(), event.detail.to_string()]
}

fn cells(event: &EventView) -> [String; COLUMNS.len()] {
    [
        event.id.clone(),
        event.at.to_string(),
        event.action.clone(),
        event.actor_kind.clone(),
        event.actor.map(|id| id.to_string()).unwrap_or_default(),
        event.actor_email.as_ref().map(Email::to_string).unwrap_or_default(),
        event.target.clone(),
        event.detail.to_string(),
        event.checkpoint.clone().unwrap_or_default(),
        event.idempotency_key.clone().unwrap_or_default(),
    ]
}
