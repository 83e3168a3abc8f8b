//! The one page that shows a token's text.

use askama::Template;
use axum::http::StatusCode;

use crate::{
    domain::timestamp::Timestamp,
    management::console::{
        page::rendered,
        recipes::{Destinations, Recipe},
        rejection::PageResult,
        shell::Shell,
        visitor::SignedIn,
        words::{exact, receipt_text},
    },
    service::Issued,
    store::Committed,
};

#[derive(Template)]
#[template(path = "console/token-created.html")]
struct IssuedPage {
    shell: Shell,
    name: String,
    text: String,
    expires: String,
    /// Until when the old secret works. `None`: the token is a new one.
    old_until: Option<String>,
    recipes: Vec<Recipe>,
    /// `None`: it could not be learned how far the change has come.
    receipt: Option<String>,
}

/// With until when the old secret works; `None`: the token is a new one.
pub async fn issued_page(
    visitor: SignedIn,
    destinations: Destinations,
    committed: Committed<(Issued, Option<Timestamp>)>,
) -> PageResult {
    let shell = Shell::new(&visitor, "tokens");
    let ((issued, old_until), receipt, _) = visitor.settle(committed).await;
    let page = IssuedPage {
        shell,
        recipes: destinations.recipes(issued.text.expose(), &issued.record.scopes).await,
        expires: expiry_text(issued.record.expires_at),
        name: issued.record.name,
        text: issued.text.expose().to_owned(),
        old_until: old_until.map(exact),
        receipt: receipt.as_ref().map(|receipt| receipt_text(Some(receipt))),
    };
    Ok(rendered(StatusCode::OK, &page))
}

/// `None`: never.
pub fn expiry_text(at: Option<Timestamp>) -> String {
    at.map_or_else(
        || "This token does not expire.".to_owned(),
        |at| format!("This token will expire on {}.", exact(at)),
    )
}
