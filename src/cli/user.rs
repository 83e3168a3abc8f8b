//! `bento-gateway user …`.

use serde::Serialize;

use super::{
    args::UserCommand,
    environment::Environment,
    error::CliError,
    exit::ExitStatus,
    output::{Printer, card, table},
    settle::Effect,
    stdin,
};
use crate::{
    domain::{
        timestamp::Timestamp,
        user::{Email, Role, User},
    },
    service::{
        deployments::address,
        invitations,
        users::{self, CreateUser},
    },
};

pub fn run(command: UserCommand, environment: &Environment, printer: &mut Printer<'_>) -> Result<(), CliError> {
    let store = environment.open()?;
    let context = store.context();
    match command {
        UserCommand::Create { email, name, admin, password_stdin } => {
            let role = if admin { Role::Admin } else { Role::Member };
            let password = if password_stdin { Some(stdin::secret("password")?) } else { None };
            let created = store.block_on(users::create(&context, CreateUser { email, name, role, password }))?;
            store.settle(created, Effect::Grants, printer, print_created)
        }
        UserCommand::List => {
            let users = store.block_on(context.store.list_users())?;
            printer.answer(&users, || table(["EMAIL", "NAME", "ROLE", "STATUS", "CREATED"], users.iter().map(row)))
        }
        UserCommand::SetPassword { email, stdin } => {
            let password = if stdin { stdin::secret("password")? } else { ask_password()? };
            let set = store.block_on(users::set_password(&context, &email, password, None))?;
            store.settle(set, Effect::Grants, printer, |(), printer| {
                noted(printer, &format!("Set the password of {email}."))
            })
        }
        UserCommand::Invite { email } => {
            let management = store.config.management.clone();
            let user = store.block_on(users::find(context.store, &email))?;
            let running = store.said_addresses()?.map(|addresses| addresses.console);
            let invited = store.block_on(invitations::invite(&context, &user, management.invitation_lifetime))?;
            let expires_at = context.now.saturating_add(management.invitation_lifetime);
            store.settle(invited, Effect::Grants, printer, |code, printer| {
                let console = running.clone().unwrap_or_else(|| address::management(&management, None));
                let link = InvitationLink { email, link: address::invitation(&console, code), expires_at };
                printer.answer(&link, || link.link.clone())?;
                if running.is_none() {
                    printer.note(&format!(
                        "No running gateway has said where its console is: {console} is what this command's configuration \
                         says. Put the console's own address in its place if it is another one."
                    ));
                }
                noted(printer, &format!("The link works once, until {expires_at}, and is not shown again."))
            })
        }
        UserCommand::Disable { email } => {
            let disabled = store.block_on(users::disable(&context, &email))?;
            let text = format!("Disabled {email} and their tokens.");
            store.settle(disabled, Effect::Withdraws, printer, |_, printer| noted(printer, &text))
        }
        UserCommand::Enable { email } => {
            let enabled = store.block_on(users::enable(&context, &email))?;
            let text = format!("Enabled {email}; their live tokens work again.");
            store.settle(enabled, Effect::Grants, printer, |_, printer| noted(printer, &text))
        }
    }
}

fn noted(printer: &mut Printer<'_>, text: &str) -> Result<(), CliError> {
    printer.note(text);
    Ok(())
}

fn print_created(user: &User, printer: &mut Printer<'_>) -> Result<(), CliError> {
    printer.answer(user, || {
        card(&[
            ("id", user.id.to_string()),
            ("email", user.email.to_string()),
            ("name", user.name.clone()),
            ("role", user.role.as_str().to_owned()),
        ])
    })?;
    if user.password_hash.is_none() {
        printer
            .note(&format!("No password yet; `bento-gateway user invite {}` creates a link to set one.", user.email));
    }
    Ok(())
}

#[derive(Serialize)]
struct InvitationLink {
    email: Email,
    /// A secret: whoever opens it first becomes that user.
    link: String,
    expires_at: Timestamp,
}

fn row(user: &User) -> [String; 5] {
    [
        user.email.to_string(),
        user.name.clone(),
        user.role.as_str().to_owned(),
        if user.disabled_at.is_some() { "disabled" } else { "enabled" }.to_owned(),
        user.created_at.to_string(),
    ]
}

/// Prompts twice, without echo.
fn ask_password() -> Result<String, CliError> {
    let ask = |prompt: &str| {
        rpassword::prompt_password(prompt).map_err(|error| {
            let message = format!("cannot prompt for the password: {error}");
            CliError::new(ExitStatus::Failure, message, "pass it on standard input, with --stdin")
        })
    };
    let password = ask("New password: ")?;
    if ask("Repeat it: ")? == password {
        return Ok(password);
    }
    Err(CliError::new(ExitStatus::Refused, "the passwords do not match", "type the same password twice"))
}
