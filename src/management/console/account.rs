//! The visitor's own account: password and sessions.

use askama::Template;
use axum::http::StatusCode;

use super::{
    form::CsrfForm,
    page::{redirect, rendered},
    rejection::{PageResult, about_the_form},
    shell::Shell,
    visitor::SignedIn,
    words::{Moment, receipt_text, sentence},
};
use crate::{
    http::cookie,
    management::error::ApiError,
    service::{sessions, users},
    store::Committed,
};

#[derive(Template)]
#[template(path = "console/account.html")]
struct AccountPage {
    shell: Shell,
    role: &'static str,
    has_password: bool,
    /// `false`: the provider alone says whether they may sign in.
    may_have_password: bool,
    sessions: Vec<SessionRow>,
    problem: Option<String>,
    done: Option<String>,
}

struct SessionRow {
    here: bool,
    address: String,
    client: String,
    begun: Moment,
    ends: Moment,
}

pub async fn show(visitor: SignedIn) -> PageResult {
    account_page(&visitor, StatusCode::OK, None, None).await
}

/// Ends all other sessions of the user.
pub async fn change_password(CsrfForm { visitor, fields }: CsrfForm<SignedIn>) -> PageResult {
    match new_password(&visitor, fields.exact("current"), fields.exact("password"), fields.exact("password_again"))
        .await
    {
        Ok(changed) => {
            let ((), receipt, afterwards) = visitor.settle(changed).await;
            let done = format!("Your password has been changed. {}", receipt_text(receipt.as_ref()));
            let show = async |visitor, done| account_page(&visitor, StatusCode::OK, None, Some(done)).await;
            afterwards.page(done, show).await
        }
        Err(error) => {
            let error = about_the_form(error)?;
            account_page(&visitor, error.status(), Some(sentence(error.text())), None).await
        }
    }
}

async fn new_password(visitor: &SignedIn, current: &str, new: &str, again: &str) -> Result<Committed, ApiError> {
    if new != again {
        return Err(ApiError::invalid("the passwords do not match"));
    }
    let context = visitor.context();
    users::may_have_password(&context, &visitor.user)?;
    let limits = &visitor.management.limits;
    limits.password_changes.allow(visitor.user.id)?;
    let known = visitor.user.password_hash.is_none()
        || users::sign_in(&context, &visitor.user.email, current.to_owned()).await?.is_some();
    if !known {
        return Err(ApiError::invalid("the current password is incorrect"));
    }
    let keep = Some(&visitor.session.id_hash);
    Ok(users::set_password(&context, &visitor.user.email, new.to_owned(), keep).await?)
}

pub async fn sign_out_everywhere(CsrfForm { visitor, .. }: CsrfForm<SignedIn>) -> PageResult {
    let mut response = redirect("/sign-in");
    visitor.set_cookie(&mut response, cookie::CONSOLE, "", 0);
    let ended = sessions::end_all(&visitor.context(), visitor.user.id, None).await?;
    visitor.settle(ended).await;
    Ok(response)
}

async fn account_page(
    visitor: &SignedIn,
    status: StatusCode,
    problem: Option<String>,
    done: Option<String>,
) -> PageResult {
    let sessions = visitor.store().sessions_of(visitor.user.id, visitor.now).await?;
    let row = |session: &crate::domain::session::ConsoleSession| SessionRow {
        here: session.id_hash == visitor.session.id_hash,
        address: session.address.clone(),
        client: browser_name(&session.client),
        begun: Moment::new(session.created_at, visitor.now),
        ends: Moment::new(session.expires_at, visitor.now),
    };
    let page = AccountPage {
        shell: Shell::new(visitor, "account"),
        role: visitor.user.role.as_str(),
        has_password: visitor.user.password_hash.is_some(),
        may_have_password: users::may_have_password(&visitor.context(), &visitor.user).is_ok(),
        sessions: sessions.iter().map(row).collect(),
        problem,
        done,
    };
    Ok(rendered(status, &page))
}

/// `Firefox on Linux`, from a `User-Agent`.
fn browser_name(client: &str) -> String {
    let known =
        [("Edg/", "Edge"), ("OPR/", "Opera"), ("Firefox/", "Firefox"), ("Chrome/", "Chrome"), ("Safari/", "Safari")];
    let system = [
        ("Android", "Android"),
        ("iPhone", "iPhone"),
        ("iPad", "iPad"),
        ("Windows", "Windows"),
        ("Mac OS", "macOS"),
        ("Linux", "Linux"),
    ];
    let find =
        |table: &[(&str, &'static str)]| table.iter().find(|(mark, _)| client.contains(mark)).map(|(_, name)| *name);
    match (find(&known), find(&system)) {
        (Some(browser), Some(system)) => format!("{browser} on {system}"),
        (Some(browser), None) => browser.to_owned(),
        _ if client.is_empty() => "Unknown browser".to_owned(),
        _ => client.chars().take(40).collect(),
    }
}
