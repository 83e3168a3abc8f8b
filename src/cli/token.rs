//! `bento-gateway token …`.

use std::collections::HashMap;

use serde::Serialize;

use super::{
    args::TokenCommand,
    environment::{Environment, OpenStore},
    error::CliError,
    exit::ExitStatus,
    output::{Printer, card, table},
    settle::Effect,
};
use crate::{
    domain::{
        timestamp::Timestamp,
        token::{TokenRecord, TokenStatus},
        units::format_duration,
        user::{User, UserId},
    },
    service::{
        Issued, lookup,
        tokens::{self, CreateToken},
        users,
    },
    store::{TokenFilter, TokenOrder, Within},
};

pub fn run(command: TokenCommand, environment: &Environment, printer: &mut Printer<'_>) -> Result<(), CliError> {
    let store = environment.open()?;
    let context = store.context();
    match command {
        TokenCommand::Create { name, description, scopes, expires, owner } => {
            let scopes = (!scopes.is_empty()).then_some(scopes);
            let request = CreateToken { name, description, scopes, expiry: expires.unwrap_or_default(), owner };
            let (owners, now) = (emails(&store.block_on(context.store.list_users())?), context.now);
            let issued = store.block_on(tokens::create(&context, request))?;
            store.settle(issued, Effect::Grants, printer, |issued, printer| print_issued(issued, &owners, now, printer))
        }
        TokenCommand::List { search, owner, expires_within, limit } => {
            let owner = match owner {
                None => None,
                Some(email) => Some(store.block_on(users::find(context.store, &email))?.id),
            };
            let expiring = expires_within.map(|within| Within::next(within, context.now));
            let order = if expiring.is_some() { TokenOrder::Expires } else { TokenOrder::Newest };
            list(&store, &TokenFilter { search, owner, expiring, order, ..TokenFilter::newest(limit) }, printer)
        }
        TokenCommand::Get { token } => {
            let record = store.block_on(lookup::any_token(&context, &token))?;
            let owners = owners(&store, [record.owner])?;
            print_one(&record, &owners, context.now, None, printer)
        }
        TokenCommand::Revoke { token } => {
            let record = store.block_on(lookup::any_token(&context, &token))?;
            let (owners, now) = (owners(&store, [record.owner])?, context.now);
            let revoked = store.block_on(tokens::revoke(&context, record.uid))?;
            store.settle(revoked, Effect::Withdraws, printer, |record, printer| {
                print_one(record, &owners, now, None, printer)
            })
        }
        // `perform` has handled it, because it needs no store.
        TokenCommand::Scan { .. } => Ok(()),
        TokenCommand::Rotate { token, overlap } => {
            let record = store.block_on(lookup::any_token(&context, &token))?;
            let (owners, now) = (owners(&store, [record.owner])?, context.now);
            let rotated = store.block_on(tokens::rotate(&context, record.uid, overlap))?;
            store.settle(rotated, Effect::Withdraws, printer, |(issued, old_until), printer| {
                print_issued(issued, &owners, now, printer)?;
                if *old_until <= now {
                    printer.note("The old secret no longer works.");
                } else {
                    printer.note(&format!("The old secret works until {old_until}."));
                }
                Ok(())
            })
        }
    }
}

/// Of owners.
type Emails = HashMap<UserId, String>;

/// A token in JSON and YAML.
#[derive(Serialize)]
struct View<'a> {
    #[serde(flatten)]
    record: &'a TokenRecord,
    status: TokenStatus,
    /// `None`: the owner is no longer in the store.
    owner_email: Option<&'a str>,
    /// The clear text, only of a token that was just created or rotated.
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<&'a str>,
}

#[derive(Serialize)]
struct List<'a> {
    items: Vec<View<'a>>,
    total: u64,
}

fn list(store: &OpenStore, filter: &TokenFilter, printer: &mut Printer<'_>) -> Result<(), CliError> {
    let context = store.context();
    let page = store.block_on(context.store.list_tokens(filter))?;
    let owners = owners(store, page.items.iter().map(|record| record.owner))?;
    let view = |record| view(record, context.now, &owners, None);
    let data = List { items: page.items.iter().map(view).collect(), total: page.total };
    printer.answer(&data, || {
        let rows = data.items.iter().map(|item| {
            [
                item.record.uid.short(),
                item.record.name.clone(),
                item.status.as_str().to_owned(),
                item.record.scopes.to_string(),
                item.owner_email.unwrap_or("-").to_owned(),
                or_else(item.record.expires_at, "never"),
                or_else(item.record.last_used_at, "never"),
            ]
        });
        table(["ID", "NAME", "STATUS", "SCOPES", "OWNER", "EXPIRES", "LAST USED"], rows)
    })?;
    note_expiring(store, filter, printer)?;
    let more = page.total.saturating_sub(page.items.len() as u64);
    if more > 0 {
        printer.note(&format!("{more} more; raise --limit to show them, or narrow the list with --search"));
    }
    Ok(())
}

/// Whoever looks at tokens learns that some are about to end.
fn note_expiring(store: &OpenStore, listed: &TokenFilter, printer: &mut Printer<'_>) -> Result<(), CliError> {
    let context = store.context();
    let (Some(notice), None) = (context.tokens.expiry_notice, listed.expiring) else { return Ok(()) };
    let expiring = Some(Within::next(notice, context.now));
    let soon = store.block_on(context.store.list_tokens(&TokenFilter { expiring, limit: 0, ..listed.clone() }))?.total;
    let within = format_duration(notice);
    if soon > 0 {
        let tokens =
            if soon == 1 { "1 of these tokens expires".to_owned() } else { format!("{soon} of these tokens expire") };
        printer.note(&format!("{tokens} within {within}; --expires-within {within} shows which"));
    }
    Ok(())
}

fn print_issued(issued: &Issued, owners: &Emails, now: Timestamp, printer: &mut Printer<'_>) -> Result<(), CliError> {
    print_one(&issued.record, owners, now, Some(issued.text.expose()), printer).map_err(|error| match error {
        CliError::BrokenPipe => CliError::new(
            ExitStatus::Failure,
            "the token was created, but it could not be printed",
            format!("give it a new secret: `bento-gateway token rotate {}`", issued.record.uid),
        ),
        error => error,
    })?;
    if printer.is_table() {
        printer.note("Store the token now; it is not shown again.");
    }
    Ok(())
}

fn print_one(
    record: &TokenRecord,
    owners: &Emails,
    now: Timestamp,
    token: Option<&str>,
    printer: &mut Printer<'_>,
) -> Result<(), CliError> {
    let view = view(record, now, owners, token);
    printer.answer(&view, || {
        let mut rows = vec![
            ("uid", record.uid.to_string()),
            ("name", record.name.clone()),
            ("description", record.description.clone()),
            ("status", view.status.as_str().to_owned()),
            ("scopes", record.scopes.to_string()),
            ("owner", view.owner_email.unwrap_or("-").to_owned()),
            ("created", record.created_at.to_string()),
            ("expires", or_else(record.expires_at, "never")),
            ("revoked", or_else(record.revoked_at, "-")),
            ("last used", or_else(record.last_used_at, "never")),
        ];
        rows.extend(token.map(|token| ("token", token.to_owned())));
        card(&rows)
    })
}

fn view<'a>(record: &'a TokenRecord, now: Timestamp, owners: &'a Emails, token: Option<&'a str>) -> View<'a> {
    let owner_email = owners.get(&record.owner).map(String::as_str);
    View { record, status: record.status(now), owner_email, token }
}

fn owners(store: &OpenStore, ids: impl IntoIterator<Item = UserId>) -> Result<Emails, CliError> {
    let owners = store.block_on(store.context().store.users(ids))?;
    Ok(emails(owners.values()))
}

fn emails<'u>(users: impl IntoIterator<Item = &'u User>) -> Emails {
    users.into_iter().map(|user| (user.id, user.email.to_string())).collect()
}

fn or_else(at: Option<Timestamp>, none: &str) -> String {
    at.map_or_else(|| none.to_owned(), |at| at.to_string())
}
