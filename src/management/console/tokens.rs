//! My API Tokens: listed, made, changed, given a new secret, deleted.

use std::collections::{HashMap, HashSet};

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
    page::{self, Answer, Moment, Shell, number, redirect, rendered, sentence},
    recipes::{Recipe, recipes},
    visit::{Fields, Submitted, Visit},
};
use crate::{
    config::units::{format_duration, parse_duration},
    domain::{
        scope::{DeploymentPattern, Scope, ScopeSet},
        timestamp::Timestamp,
        token::{TokenRecord, TokenStatus, TokenUid},
        user::{User, UserId},
    },
    management::error::{ApiError, quoted},
    service::{
        Issued,
        create_token::{CreateToken, create_token},
        deployments,
        expiry::Expiry,
        receipt::Receipt,
        tokens::{self, UpdateToken},
        users,
    },
    store::{Day, TokenFilter, TokenOrder},
};

const PER_PAGE: u32 = 25;
/// Usage is told of so many days.
const USAGE_DAYS: i32 = 30;
/// What expires within so many days stands out.
const SOON_DAYS: u64 = 7;
/// What the form proposes, days.
const PRESETS: [u32; 4] = [7, 30, 90, 365];
const DEFAULT_DAYS: u32 = 90;
/// The narrower scopes of Developer Operations Access.
const NARROW: [(&str, &str); 4] = [
    ("read_organization", "Read tokens and users"),
    ("write_organization", "Manage tokens"),
    ("read_cluster", "Read Deployments"),
    ("write_cluster", "Manage Deployments"),
];

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
#[template(path = "console/token-form.html")]
struct TokenForm {
    shell: Shell,
    /// Empty: a new one.
    uid: String,
    values: Values,
    deployments: Vec<Choice>,
    narrow: Vec<Choice>,
    narrow_chosen: bool,
    presets: Vec<Preset>,
    /// `None`: a token may live for ever.
    max: Option<String>,
    earliest: String,
    latest: String,
    /// When the chosen expiry is.
    sentence: String,
    problem: Option<String>,
}

/// What the fields hold.
#[derive(Default)]
struct Values {
    name: String,
    description: String,
    developer: bool,
    endpoint: bool,
    all: bool,
    /// `keep`, `never`, `date` or a number of days.
    expires: String,
    date: String,
    /// Patterns such as `team-*`, which the picker does not offer.
    patterns: Vec<String>,
    current_expiry: String,
}

struct Choice {
    value: String,
    label: String,
    chosen: bool,
}

struct Preset {
    days: u32,
    label: String,
    chosen: bool,
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

pub async fn list(visit: Visit, Query(query): Query<ListQuery>) -> Answer {
    if let Some(code) = &query.code {
        return approve::show(&visit, code).await;
    }
    let everybody = visit.is_admin() && query.owner == "everybody";
    let (order, order_text) = match query.sort.as_str() {
        "name" => (TokenOrder::Name, "name"),
        "expires" => (TokenOrder::Expires, "expires"),
        "used" => (TokenOrder::LastUsed, "used"),
        _ => (TokenOrder::Newest, "newest"),
    };
    let filter = TokenFilter {
        search: Some(query.q.trim().to_owned()).filter(|text| !text.is_empty()),
        owner: (!everybody).then_some(visit.user.id),
        revoked: !query.deleted.is_empty(),
        order,
        offset: query.page.saturating_mul(PER_PAGE),
        limit: PER_PAGE,
    };
    let found = tokens::list(&visit.context(), &filter).await?;
    let rows = rows(&visit, &found.items).await?;
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
        shell: Shell::new(&visit, "tokens"),
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

pub async fn new(visit: Visit) -> Answer {
    let values = Values { expires: proposed(&visit), ..Values::default() };
    form_page(&visit, StatusCode::OK, "", values, &HashSet::new(), None).await
}

pub async fn create(Submitted { who: visit, fields }: Submitted<Visit>) -> Answer {
    let made = async {
        let request = CreateToken {
            name: fields.text("name").to_owned(),
            description: fields.text("description").to_owned(),
            scopes: Some(scopes(&fields)?),
            expiry: expiry(&fields)?.unwrap_or_default(),
            owner: Some(visit.user.email.clone()),
        };
        Ok::<_, ApiError>(create_token(&visit.context(), request).await?)
    };
    match made.await {
        Ok(issued) => created(&visit, issued, None).await,
        Err(error) => again(&visit, "", &fields, error).await,
    }
}

pub async fn show(visit: Visit, Path(uid): Path<String>) -> Answer {
    let record = find(&visit, &uid).await?;
    token_page(&visit, &record, None).await
}

pub async fn edit(visit: Visit, Path(uid): Path<String>) -> Answer {
    let record = live(&visit, &uid).await?;
    let chosen = record.scopes.iter().map(Scope::to_string).collect();
    let mut values = values_of(&record.scopes);
    values.name.clone_from(&record.name);
    values.description.clone_from(&record.description);
    values.expires = "keep".to_owned();
    values.current_expiry = expiry_text(record.expires_at);
    form_page(&visit, StatusCode::OK, &uid, values, &chosen, None).await
}

pub async fn update(Path(uid): Path<String>, Submitted { who: visit, fields }: Submitted<Visit>) -> Answer {
    let record = live(&visit, &uid).await?;
    let updated = async {
        let change = UpdateToken {
            name: Some(fields.text("name").to_owned()),
            description: Some(fields.text("description").to_owned()),
            scopes: Some(scopes(&fields)?),
            expiry: expiry(&fields)?,
        };
        Ok::<_, ApiError>(tokens::update(&visit.context(), record.uid, change).await?)
    };
    match updated.await {
        Ok(record) => {
            let receipt = visit.management.gateway.settled(&visit.store).await;
            token_page(&visit, &record, Some(format!("Updated. {}", receipt_text(receipt.as_ref())))).await
        }
        Err(error) => again(&visit, &uid, &fields, error).await,
    }
}

pub async fn ask_rotate(visit: Visit, Path(uid): Path<String>) -> Answer {
    let record = live(&visit, &uid).await?;
    rotate_page(&visit, StatusCode::OK, &record, None)
}

pub async fn rotate(Path(uid): Path<String>, Submitted { who: visit, fields }: Submitted<Visit>) -> Answer {
    let record = live(&visit, &uid).await?;
    let Ok(overlap) = parse_duration(fields.text("overlap")) else {
        let problem = "The overlap is a length of time: 0s, 1h, 24h or 7d.".to_owned();
        return rotate_page(&visit, StatusCode::BAD_REQUEST, &record, Some(problem));
    };
    match tokens::rotate(&visit.context(), record.uid, Some(overlap)).await {
        Ok((issued, old_until)) => created(&visit, issued, Some(old_until)).await,
        Err(error) => {
            let error = ApiError::from(error);
            rotate_page(&visit, error.status(), &record, Some(sentence(error.text())))
        }
    }
}

pub async fn ask_delete(visit: Visit, Path(uid): Path<String>) -> Answer {
    let record = live(&visit, &uid).await?;
    let page = DeletePage {
        shell: Shell::new(&visit, "tokens"),
        uid,
        name: record.name,
        last_used: record.last_used_at.map(|at| Moment::new(at, visit.now)),
    };
    Ok(rendered(StatusCode::OK, &page))
}

pub async fn delete(Path(uid): Path<String>, Submitted { who: visit, .. }: Submitted<Visit>) -> Answer {
    let record = find(&visit, &uid).await?;
    if record.revoked_at.is_some() {
        return Ok(redirect("/api_tokens"));
    }
    tokens::revoke(&visit.context(), record.uid).await?;
    let receipt = visit.management.gateway.settled(&visit.store).await;
    let page = DeletedPage {
        shell: Shell::new(&visit, "tokens"),
        name: record.name,
        receipt: receipt_text(receipt.as_ref()),
        missing: receipt.map(|receipt| receipt.missing).unwrap_or_default(),
    };
    Ok(rendered(StatusCode::OK, &page))
}

// === what the pages are made of ===

async fn rows(visit: &Visit, records: &[TokenRecord]) -> Result<Vec<Row>, ApiError> {
    let owners: HashMap<UserId, User> =
        users::list(&*visit.store).await?.into_iter().map(|user| (user.id, user)).collect();
    let Day(today) = Day::from(visit.now);
    let uids: Vec<TokenUid> = records.iter().map(|record| record.uid).collect();
    let usage = visit.store.usage_of(&uids, Day(today - USAGE_DAYS + 1)).await?;
    let row = |record: &TokenRecord| {
        let owner = owners.get(&record.owner).map(|user| user.email.to_string()).unwrap_or_default();
        row(record, owner, usage.get(&record.uid).copied().unwrap_or(0), visit.now)
    };
    Ok(records.iter().map(row).collect())
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

fn pattern_text(scope: &Scope) -> String {
    let text = scope.to_string();
    text.strip_prefix("deployment:").map(str::to_owned).unwrap_or(text)
}

async fn find(visit: &Visit, uid: &str) -> Result<TokenRecord, ApiError> {
    let unknown = || ApiError::not_found(format!("there is no API token {}", quoted(uid)));
    let parsed: TokenUid = uid.parse().map_err(|_| unknown())?;
    let record = visit.store.token(parsed).await?;
    record.filter(|record| visit.manages(record.owner)).ok_or_else(unknown)
}

async fn live(visit: &Visit, uid: &str) -> Result<TokenRecord, ApiError> {
    let record = find(visit, uid).await?;
    let deleted = || ApiError::not_found("this token was deleted");
    if record.revoked_at.is_none() { Ok(record) } else { Err(deleted()) }
}

async fn token_page(visit: &Visit, record: &TokenRecord, done: Option<String>) -> Answer {
    let Day(today) = Day::from(visit.now);
    let first = today - USAGE_DAYS + 1;
    let days = visit.store.token_usage(record.uid, Day(first)).await?;
    let by_day: HashMap<i32, u64> = days.iter().map(|day| (day.day.0, day.requests)).collect();
    let series = (first..=today).map(|day| (Day(day).to_string(), by_day.get(&day).copied().unwrap_or(0)));
    let Some(row) = rows(visit, std::slice::from_ref(record)).await?.pop() else {
        return Err(ApiError::store_away().into());
    };
    let page = TokenPage {
        shell: Shell::new(visit, "tokens"),
        live: record.revoked_at.is_none(),
        chart: charts::bars(series.collect()),
        total: number(days.iter().map(|day| day.requests).sum()),
        row,
        done,
    };
    Ok(rendered(StatusCode::OK, &page))
}

fn rotate_page(visit: &Visit, status: StatusCode, record: &TokenRecord, problem: Option<String>) -> Answer {
    let page = RotatePage {
        shell: Shell::new(visit, "tokens"),
        uid: record.uid.to_string(),
        name: record.name.clone(),
        overlap: format_duration(visit.config.tokens.rotation_overlap),
        problem,
    };
    Ok(rendered(status, &page))
}

/// The one page that shows a token's text.
async fn created(visit: &Visit, issued: Issued, old_until: Option<Timestamp>) -> Answer {
    let receipt = visit.management.gateway.settled(&visit.store).await;
    let page = CreatedPage {
        shell: Shell::new(visit, "tokens"),
        recipes: recipes(visit, issued.text.expose(), &issued.record.scopes).await?,
        expires: expiry_text(issued.record.expires_at),
        name: issued.record.name,
        text: issued.text.expose().to_owned(),
        old_until: old_until.map(page::exact),
        receipt: receipt.as_ref().map(|receipt| receipt_text(Some(receipt))),
    };
    Ok(rendered(StatusCode::OK, &page))
}

fn expiry_text(at: Option<Timestamp>) -> String {
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

// === the form ===

/// # Errors
/// 400 if no access is chosen.
fn scopes(fields: &Fields) -> Result<Vec<String>, ApiError> {
    let mut scopes = Vec::new();
    if fields.on("developer") {
        let narrow: Vec<String> = fields.all("narrow").map(str::to_owned).collect();
        scopes.extend(if narrow.is_empty() { vec![Scope::Api.to_string()] } else { narrow });
    }
    if fields.on("endpoint") {
        if fields.text("reach") == "all" {
            scopes.push(Scope::Deployment(DeploymentPattern::All).to_string());
        } else {
            let chosen = fields.all("deployment").filter(|name| !name.is_empty());
            let before = scopes.len();
            scopes.extend(chosen.map(|name| format!("deployment:{name}")));
            if scopes.len() == before {
                return Err(ApiError::invalid("choose at least one Deployment, or All Deployments"));
            }
        }
    }
    if scopes.is_empty() {
        return Err(ApiError::invalid("choose at least one access: a token without any is good for nothing"));
    }
    Ok(scopes)
}

/// `None`: as it is.
///
/// # Errors
/// 400 for a date that is none.
fn expiry(fields: &Fields) -> Result<Option<Expiry>, ApiError> {
    let invalid = |error: &dyn std::fmt::Display| ApiError::invalid(format!("Expired At: {error}"));
    Ok(Some(match fields.text("expires") {
        "keep" => return Ok(None),
        "" => Expiry::Default,
        "never" => Expiry::Never,
        // To the end of the chosen day.
        "date" => match Timestamp::parse(&format!("{}T23:59:59", fields.text("date"))) {
            Some(at) => Expiry::At(at),
            None => return Err(invalid(&"choose a date")),
        },
        days => format!("{days}d").parse().map_err(|error: crate::service::expiry::InvalidExpiry| invalid(&error))?,
    }))
}

/// The form once more, with what was typed and what is wrong with it.
async fn again(visit: &Visit, uid: &str, fields: &Fields, error: ApiError) -> Answer {
    if error.status().is_server_error() {
        return Err(error.into());
    }
    let chosen: HashSet<String> = fields
        .all("deployment")
        .map(|name| format!("deployment:{name}"))
        .chain(fields.all("narrow").map(str::to_owned))
        .collect();
    let values = Values {
        name: fields.text("name").to_owned(),
        description: fields.text("description").to_owned(),
        developer: fields.on("developer"),
        endpoint: fields.on("endpoint"),
        all: fields.text("reach") == "all",
        expires: fields.text("expires").to_owned(),
        date: fields.text("date").to_owned(),
        patterns: fields.all("deployment").filter(|name| name.contains('*')).map(str::to_owned).collect(),
        current_expiry: String::new(),
    };
    form_page(visit, error.status(), uid, values, &chosen, Some(sentence(error.text()))).await
}

fn values_of(scopes: &ScopeSet) -> Values {
    let mut values = Values::default();
    for scope in scopes.iter() {
        match scope {
            Scope::Deployment(pattern) => {
                values.endpoint = true;
                match pattern {
                    DeploymentPattern::All => values.all = true,
                    DeploymentPattern::Exact(_) => {}
                    DeploymentPattern::Prefix(_) => values.patterns.push(pattern_text(scope)),
                }
            }
            _ => values.developer = true,
        }
    }
    values
}

/// Never longer than is allowed.
fn proposed(visit: &Visit) -> String {
    let allowed =
        |days: u32| visit.config.tokens.max_lifetime.is_none_or(|max| u64::from(days) * 86_400 <= max.as_secs());
    let days = PRESETS.into_iter().rev().find(|days| *days <= DEFAULT_DAYS && allowed(*days));
    days.map_or_else(|| "date".to_owned(), |days| days.to_string())
}

async fn form_page(
    visit: &Visit,
    status: StatusCode,
    uid: &str,
    values: Values,
    chosen: &HashSet<String>,
    problem: Option<String>,
) -> Answer {
    let listed = deployments::list(&visit.context()).await?;
    let elsewhere = deployments::declared_elsewhere(&visit.context(), &listed).await?;
    let mut names: Vec<String> =
        listed.iter().filter(|listed| !listed.shadowed).map(|listed| listed.spec.name.to_string()).collect();
    names.extend(elsewhere.iter().map(ToString::to_string));
    names.sort();
    names.dedup();
    let choice = |value: String, label: String, scope: &str| Choice { chosen: chosen.contains(scope), value, label };
    let max = visit.config.tokens.max_lifetime;
    let after = |days: u32| visit.now.saturating_add(std::time::Duration::from_secs(u64::from(days) * 86_400));
    let presets =
        PRESETS.into_iter().filter(|days| max.is_none_or(|max| after(*days) <= visit.now.saturating_add(max)));
    let sentence = match values.expires.parse::<u32>() {
        Ok(days) => expiry_text(Some(after(days))),
        Err(_) if values.expires == "never" => expiry_text(None),
        Err(_) => values.current_expiry.clone(),
    };
    let page = TokenForm {
        shell: Shell::new(visit, "tokens"),
        narrow_chosen: NARROW.iter().any(|(scope, _)| chosen.contains(*scope)),
        uid: uid.to_owned(),
        deployments: names
            .into_iter()
            .map(|name| choice(name.clone(), name.clone(), &format!("deployment:{name}")))
            .collect(),
        narrow: NARROW.iter().map(|(scope, label)| choice((*scope).to_owned(), (*label).to_owned(), scope)).collect(),
        presets: presets
            .map(|days| Preset {
                days,
                label: if days == 365 { "1 year".to_owned() } else { format!("{days} days") },
                chosen: values.expires == days.to_string(),
            })
            .collect(),
        max: max.map(format_duration),
        earliest: page::date(after(1)),
        latest: max.map(|max| page::date(visit.now.saturating_add(max))).unwrap_or_default(),
        sentence,
        values,
        problem,
    };
    Ok(rendered(status, &page))
}

/// The `bentoml` client names this address where credentials are bad.
pub async fn old_address() -> Response {
    redirect("/api_tokens")
}
