//! One token's page.

use std::collections::HashMap;

use askama::Template;
use axum::{extract::Path, http::StatusCode};

use super::row::{Row, TokenListContext, USAGE_DAYS};
use crate::{
    domain::{token::TokenRecord, usage::Day},
    management::console::{
        charts::{self, Bars},
        page::rendered,
        rejection::PageResult,
        shell::Shell,
        visitor::SignedIn,
        words::number,
    },
    service::lookup,
};

#[derive(Template)]
#[template(path = "console/token.html")]
struct TokenPage {
    shell: Shell,
    row: Row,
    /// It was not deleted.
    live: bool,
    chart: Bars,
    total: String,
    done: Option<String>,
}

pub async fn show(visitor: SignedIn, Path(uid): Path<String>) -> PageResult {
    let record = lookup::token(&visitor.context(), visitor.viewer(), &uid).await?;
    token_page(&visitor, &record, None).await
}

pub async fn token_page(visitor: &SignedIn, record: &TokenRecord, done: Option<String>) -> PageResult {
    let Day(today) = Day::from(visitor.now);
    let first = today - USAGE_DAYS + 1;
    let days = visitor.store().token_usage(record.uid, Day(first)).await?;
    let by_day: HashMap<i32, u64> = days.iter().map(|day| (day.day.0, day.requests)).collect();
    let series = (first..=today).map(|day| (Day(day).to_string(), by_day.get(&day).copied().unwrap_or(0)));
    let context = TokenListContext::read(visitor, std::slice::from_ref(record)).await?;
    let page = TokenPage {
        shell: Shell::new(visitor, "tokens"),
        live: record.revoked_at.is_none(),
        chart: charts::bars(series.collect()),
        total: number(days.iter().map(|day| day.requests).sum()),
        row: context.row(record),
        done,
    };
    Ok(rendered(StatusCode::OK, &page))
}
