//! Deleting a token, which to the store is revoking it.

use askama::Template;
use axum::{extract::Path, http::StatusCode};

use crate::{
    management::console::{
        form::CsrfForm,
        page::{redirect, rendered},
        rejection::PageResult,
        shell::Shell,
        visitor::SignedIn,
        words::{Moment, receipt_text},
    },
    service::{lookup, tokens},
};

#[derive(Template)]
#[template(path = "console/token-delete.html")]
struct DeletePage {
    shell: Shell,
    uid: String,
    name: String,
    last_used: Option<Moment>,
}

#[derive(Template)]
#[template(path = "console/token-deleted.html")]
struct DeletedPage {
    shell: Shell,
    name: String,
    receipt: String,
    missing: Vec<String>,
}

pub async fn confirm_delete(visitor: SignedIn, Path(uid): Path<String>) -> PageResult {
    let record = lookup::live_token(&visitor.context(), visitor.viewer(), &uid).await?;
    let page = DeletePage {
        shell: Shell::new(&visitor, "tokens"),
        uid,
        name: record.name,
        last_used: record.last_used_at.map(|at| Moment::new(at, visitor.now)),
    };
    Ok(rendered(StatusCode::OK, &page))
}

pub async fn delete(Path(uid): Path<String>, CsrfForm { visitor, .. }: CsrfForm<SignedIn>) -> PageResult {
    let record = lookup::token(&visitor.context(), visitor.viewer(), &uid).await?;
    if record.revoked_at.is_some() {
        return Ok(redirect("/api_tokens"));
    }
    let shell = Shell::new(&visitor, "tokens");
    let revoked = tokens::revoke(&visitor.context(), record.uid).await?;
    let (record, receipt, _) = visitor.settle(revoked).await;
    let page = DeletedPage {
        shell,
        name: record.name,
        receipt: receipt_text(receipt.as_ref()),
        missing: receipt.map(|receipt| receipt.missing).unwrap_or_default(),
    };
    Ok(rendered(StatusCode::OK, &page))
}
