//! My API Tokens: listed, looked at, given a new secret, deleted. How they are made and changed is in
//! [`token_form`](super::token_form).

use std::collections::HashMap;

use askama::Template;
use axum::{
    extract::{Path, Query},
    http::StatusCode,
    response::Response,
};
use serde::Deserialize;

use super::{
    approve,
    charts::{self, Bars},
    page::{self, Moment, PageResult, Shell, number, redirect, rendered, sentence},
    recipes::{Recipe, recipes},
    visit::{CsrfForm, SignedIn},
};
use crate::{
    domain::{
        scope::{DeploymentPattern, Scope},
        timestamp::Timestamp,
        token::{TokenRecord, TokenStatus, TokenUid},
        units::{format_duration, parse_duration},
        usage::Day,
        user::{User, UserId},
    },
    management::error::{ApiError, quoted},
    service::{Issued, receipt::Receipt, tokens},
    store::{TokenFilter, TokenOrder},
};

const PER_PAGE: u32 = 25;
/// Usage is told of so many days.
const USAGE_DAYS: i32 = 30;
/// What expires within so many days stands out.
const SOON_DAYS: u64 = 7;
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
    /// There is not one, and nothing was searched for.
    none_yet: bool,
    earlier: Option<String>,
    later: Option<String>,
    showing: String,
}

struct Row {
    uid: String,
    name: String,
    description: String,
    owner: String,
    developer: bool,
    endpoint: bool,
    scopes: Vec<String>,
    created: Moment,
    /// `None`: never.
    expires: Option<Moment>,
    last_used: Option<Moment>,
    status: Status,
    usage: String,
}

/// How a token stands, with the class that it is shown by.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Status {
    text: &'static str,
    class: &'static str,
}

#[derive(Template)]
#[template(path = "console/token-created.html")]
struct CreatedPage {
    shell: Shell,
    name: String,
    text: String,
    expires: String,
    /// Until when the old secret works, after a rotation.
    old_until: Option<String>,
    recipes: Vec<Recipe>,
    receipt: Option<String>,
}

#[derive(Template)]
#[template(path = "console/token.html")]
struct TokenPage {
    shell: Shell,
    row: Row,
    live: bool,
    chart: Bars,
    total: String,
    done: Option<String>,
}

#[derive(Template)]
#[template(path = "console/token-rotate.html")]
struct RotatePage {
    shell: Shell,
    uid: String,
    name: String,
    overlap: String,
    problem: Option<String>,
}

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
    let (order, order_text) = match query.sort.as_str() {
        "name" => (TokenOrder::Name, "name"),
        "expires" => (TokenOrder::Expires, "expires"),
        "used" => (TokenOrder::LastUsed, "used"),
        _ => (TokenOrder::Newest, "newest"),
    };
    let filter = TokenFilter {
        search: Some(query.q.trim().to_owned()).filter(|text| !text.is_empty()),
        owner: (!everybody).then_some(visitor.user.id),
        revoked: !query.deleted.is_empty(),
        order,
        offset: query.page.saturating_mul(PER_PAGE),
        limit: PER_PAGE,
    };
    let found = visitor.store.list_tokens(&filter).await?;
    let context = TokenListContext::of(&visitor, &found.items).await?;
    let rows: Vec<Row> = found.items.iter().map(|record| context.row(record)).collect();
    let link = |page: u32| {
        let pairs = [
            ("q", query.q.trim()),
            ("sort", order_text),
            ("owner", if everybody { "everybody" } else { "" }),
            ("deleted", if filter.revoked { "1" } else { "" }),
        ];
        let pairs: Vec<_> = pairs.into_iter().filter(|(_, value)| !value.is_empty()).collect();
        format!("/api_tokens?page={page}&{}", serde_urlencoded::to_string(pairs).unwrap_or_default())
    };
    let (first, last) = (u64::from(filter.offset) + 1, u64::from(filter.offset) + rows.len() as u64);
    let page = TokensPage {
        shell: Shell::new(&visitor, "tokens"),
        none_yet: found.total == 0 && filter.search.is_none(),
        showing: if rows.is_empty() { String::new() } else { format!("{first}–{last} of {}", number(found.total)) },
        search: query.q.trim().to_owned(),
        order: order_text,
        everybody,
        deleted: filter.revoked,
        earlier: (query.page > 0).then(|| link(query.page - 1)),
        later: (found.total > last).then(|| link(query.page + 1)),
        rows,
    };
    Ok(rendered(StatusCode::OK, &page))
}

pub async fn show(visitor: SignedIn, Path(uid): Path<String>) -> PageResult {
    let record = find(&visitor, &uid).await?;
    token_page(&visitor, &record, None).await
}

pub async fn ask_rotate(visitor: SignedIn, Path(uid): Path<String>) -> PageResult {
    let record = live(&visitor, &uid).await?;
    rotate_page(&visitor, StatusCode::OK, &record, None)
}

pub async fn rotate(Path(uid): Path<String>, CsrfForm { who: visitor, fields }: CsrfForm<SignedIn>) -> PageResult {
    let record = live(&visitor, &uid).await?;
    let Ok(overlap) = parse_duration(fields.text("overlap")) else {
        let problem = "The overlap is a length of time: 0s, 1h, 24h or 7d.".to_owned();
        return rotate_page(&visitor, StatusCode::BAD_REQUEST, &record, Some(problem));
    };
    match tokens::rotate(&visitor.context(), record.uid, Some(overlap)).await {
        Ok((issued, old_until)) => created(&visitor, issued, Some(old_until)).await,
        Err(error) => {
            let error = ApiError::from(error);
            rotate_page(&visitor, error.status(), &record, Some(sentence(error.text())))
        }
    }
}

pub async fn ask_delete(visitor: SignedIn, Path(uid): Path<String>) -> PageResult {
    let record = live(&visitor, &uid).await?;
    let page = DeletePage {
        shell: Shell::new(&visitor, "tokens"),
        uid,
        name: record.name,
        last_used: record.last_used_at.map(|at| Moment::new(at, visitor.now)),
    };
    Ok(rendered(StatusCode::OK, &page))
}

pub async fn delete(Path(uid): Path<String>, CsrfForm { who: visitor, .. }: CsrfForm<SignedIn>) -> PageResult {
    let record = find(&visitor, &uid).await?;
    if record.revoked_at.is_some() {
        return Ok(redirect("/api_tokens"));
    }
    tokens::revoke(&visitor.context(), record.uid).await?;
    let receipt = visitor.management.gateway.wait_until_applied(&visitor.store).await;
    let page = DeletedPage {
        shell: Shell::new(&visitor, "tokens"),
        name: record.name,
        receipt: receipt_text(receipt.as_ref()),
        missing: receipt.map(|receipt| receipt.missing).unwrap_or_default(),
    };
    Ok(rendered(StatusCode::OK, &page))
}

// === what the pages are made of ===

/// What is shown beside the records of tokens.
struct TokenListContext {
    owners: HashMap<UserId, User>,
    usage: HashMap<TokenUid, u64>,
    now: Timestamp,
}

impl TokenListContext {
    async fn of(visitor: &SignedIn, records: &[TokenRecord]) -> Result<Self, ApiError> {
        let owners = visitor.store.list_users().await?.into_iter().map(|user| (user.id, user)).collect();
        let Day(today) = Day::from(visitor.now);
        let uids: Vec<TokenUid> = records.iter().map(|record| record.uid).collect();
        let usage = visitor.store.usage_of(&uids, Day(today - USAGE_DAYS + 1)).await?;
        Ok(Self { owners, usage, now: visitor.now })
    }

    fn row(&self, record: &TokenRecord) -> Row {
        let owner = self.owners.get(&record.owner).map(|user| user.email.to_string()).unwrap_or_default();
        row(record, owner, self.usage.get(&record.uid).copied().unwrap_or(0), self.now)
    }
}

fn row(record: &TokenRecord, owner: String, usage: u64, now: Timestamp) -> Row {
    let endpoint = |scope: &Scope| matches!(scope, Scope::Deployment(_));
    Row {
        uid: record.uid.to_string(),
        name: record.name.clone(),
        description: record.description.clone(),
        owner,
        developer: !record.scopes.iter().all(endpoint),
        endpoint: record.scopes.iter().any(endpoint),
        scopes: record.scopes.iter().map(scope_words).collect(),
        created: Moment::new(record.created_at, now),
        expires: record.expires_at.map(|at| Moment::new(at, now)),
        last_used: record.last_used_at.map(|at| Moment::new(at, now)),
        status: status(record, now),
        usage: number(usage),
    }
}

fn status(record: &TokenRecord, now: Timestamp) -> Status {
    let soon = |at: Timestamp| at.since(now).as_secs() < SOON_DAYS * 86_400;
    let (text, class) = match record.status(now) {
        TokenStatus::Revoked => ("Deleted", "off"),
        TokenStatus::Expired => ("Expired", "bad"),
        TokenStatus::Active if record.expires_at.is_some_and(soon) => ("Expires soon", "warn"),
        TokenStatus::Active if record.last_used_at.is_none() => ("Never used", "idle"),
        TokenStatus::Active => ("Active", "good"),
    };
    Status { text, class }
}

/// As people call it.
pub fn scope_words(scope: &Scope) -> String {
    match scope {
        Scope::Api => "Developer Operations".to_owned(),
        Scope::Deployment(DeploymentPattern::All) => "All Deployments".to_owned(),
        Scope::Deployment(_) => pattern_text(scope),
        other => other.to_string(),
    }
}

pub fn pattern_text(scope: &Scope) -> String {
    let text = scope.to_string();
    text.strip_prefix("deployment:").map(str::to_owned).unwrap_or(text)
}

async fn find(visitor: &SignedIn, uid: &str) -> Result<TokenRecord, ApiError> {
    let unknown = || ApiError::not_found(format!("there is no API token {}", quoted(uid)));
    let parsed: TokenUid = uid.parse().map_err(|_| unknown())?;
    let record = visitor.store.token(parsed).await?;
    record.filter(|record| visitor.manages(record.owner)).ok_or_else(unknown)
}

pub async fn live(visitor: &SignedIn, uid: &str) -> Result<TokenRecord, ApiError> {
    let record = find(visitor, uid).await?;
    let deleted = || ApiError::not_found("this token was deleted");
    if record.revoked_at.is_none() { Ok(record) } else { Err(deleted()) }
}

pub async fn token_page(visitor: &SignedIn, record: &TokenRecord, done: Option<String>) -> PageResult {
    let Day(today) = Day::from(visitor.now);
    let first = today - USAGE_DAYS + 1;
    let days = visitor.store.token_usage(record.uid, Day(first)).await?;
    let by_day: HashMap<i32, u64> = days.iter().map(|day| (day.day.0, day.requests)).collect();
    let series = (first..=today).map(|day| (Day(day).to_string(), by_day.get(&day).copied().unwrap_or(0)));
    let context = TokenListContext::of(visitor, std::slice::from_ref(record)).await?;
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

fn rotate_page(visitor: &SignedIn, status: StatusCode, record: &TokenRecord, problem: Option<String>) -> PageResult {
    let page = RotatePage {
        shell: Shell::new(visitor, "tokens"),
        uid: record.uid.to_string(),
        name: record.name.clone(),
        overlap: format_duration(visitor.config.tokens.rotation_overlap),
        problem,
    };
    Ok(rendered(status, &page))
}

/// The one page that shows a token's text.
pub async fn created(visitor: &SignedIn, issued: Issued, old_until: Option<Timestamp>) -> PageResult {
    let receipt = visitor.management.gateway.wait_until_applied(&visitor.store).await;
    let page = CreatedPage {
        shell: Shell::new(visitor, "tokens"),
        recipes: recipes(visitor, issued.text.expose(), &issued.record.scopes).await?,
        expires: expiry_text(issued.record.expires_at),
        name: issued.record.name,
        text: issued.text.expose().to_owned(),
        old_until: old_until.map(page::exact),
        receipt: receipt.as_ref().map(|receipt| receipt_text(Some(receipt))),
    };
    Ok(rendered(StatusCode::OK, &page))
}

pub fn expiry_text(at: Option<Timestamp>) -> String {
    at.map_or_else(
        || "This token does not expire.".to_owned(),
        |at| format!("This token will expire on {}.", page::exact(at)),
    )
}

/// How far a change has come.
pub fn receipt_text(receipt: Option<&Receipt>) -> String {
    let Some(Receipt { replicas, acknowledged, took_ms, .. }) = receipt else {
        return "It could not be learned how many gateways know of it already.".to_owned();
    };
    let gateways = |number: usize| if number == 1 { "1 gateway".to_owned() } else { format!("{number} gateways") };
    if acknowledged == replicas {
        format!("{} acknowledged it within {took_ms} ms.", gateways(*replicas))
    } else {
        format!("{acknowledged} of {} acknowledged it within {took_ms} ms.", gateways(*replicas))
    }
}

/// The `bentoml` client names this address where credentials are bad.
pub async fn old_address() -> Response {
    redirect("/api_tokens")
}
