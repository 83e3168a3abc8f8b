//! The list of tokens: the visitor's own, and everybody's for an admin.

use askama::Template;
use axum::{extract::Query, http::StatusCode};
use serde::Deserialize;

use super::row::{Row, TokenListContext};
use crate::{
    management::console::{
        approve, page::rendered, rejection::PageResult, shell::Shell, visitor::SignedIn, words::number,
    },
    store::{TokenFilter, TokenOrder},
};

const PER_PAGE: u32 = 25;

#[derive(Template)]
#[template(path = "console/tokens.html")]
struct TokensPage {
    shell: Shell,
    rows: Vec<Row>,
    search: String,
    order: &'static str,
    /// Everybody's, for admins.
    everybody: bool,
    deleted: bool,
    /// There are none at all, and nothing was searched for.
    none_yet: bool,
    earlier: Option<String>,
    later: Option<String>,
    showing: String,
}

#[derive(Deserialize, Default)]
pub struct ListQuery {
    /// Of a login of the command line, which is something else.
    code: Option<String>,
    #[serde(default)]
    q: String,
    #[serde(default)]
    sort: String,
    #[serde(default)]
    page: u32,
    #[serde(default)]
    owner: String,
    #[serde(default)]
    deleted: String,
}

pub async fn list(visitor: SignedIn, Query(query): Query<ListQuery>) -> PageResult {
    if let Some(code) = &query.code {
        return approve::show(&visitor, code).await;
    }
    let everybody = visitor.is_admin() && query.owner == "everybody";
    let filter = TokenFilter {
        search: Some(query.q.trim().to_owned()).filter(|text| !text.is_empty()),
        owner: (!everybody).then_some(visitor.user.id),
        revoked: !query.deleted.is_empty(),
        expiring: None,
        order: query.order().0,
        offset: query.page.saturating_mul(PER_PAGE),
        limit: PER_PAGE,
    };
    let found = visitor.store().list_tokens(&filter).await?;
    let context = TokenListContext::read(&visitor, &found.items).await?;
    let rows: Vec<Row> = found.items.iter().map(|record| context.row(record)).collect();
    let (first, last) = (u64::from(filter.offset) + 1, u64::from(filter.offset) + rows.len() as u64);
    let page = TokensPage {
        shell: Shell::new(&visitor, "tokens"),
        none_yet: found.total == 0 && filter.search.is_none(),
        showing: if rows.is_empty() { String::new() } else { format!("{first}–{last} of {}", number(found.total)) },
        search: query.q.trim().to_owned(),
        order: query.order().1,
        everybody,
        deleted: filter.revoked,
        earlier: (query.page > 0).then(|| query.link(query.page - 1, everybody)),
        later: (found.total > last).then(|| query.link(query.page + 1, everybody)),
        rows,
    };
    Ok(rendered(StatusCode::OK, &page))
}

impl ListQuery {
    fn order(&self) -> (TokenOrder, &'static str) {
        match self.sort.as_str() {
            "name" => (TokenOrder::Name, "name"),
            "expires" => (TokenOrder::Expires, "expires"),
            "used" => (TokenOrder::LastUsed, "used"),
            _ => (TokenOrder::Newest, "newest"),
        }
    }

    /// The same list, another page of it.
    fn link(&self, page: u32, everybody: bool) -> String {
        let pairs = [
            ("q", self.q.trim()),
            ("sort", self.order().1),
            ("owner", if everybody { "everybody" } else { "" }),
            ("deleted", if self.deleted.is_empty() { "" } else { "1" }),
        ];
        let pairs: Vec<_> = pairs.into_iter().filter(|(_, value)| !value.is_empty()).collect();
        format!("/api_tokens?page={page}&{}", serde_urlencoded::to_string(pairs).unwrap_or_default())
    }
}
