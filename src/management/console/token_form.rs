//! The form by which a token is made or changed.

use std::{collections::HashSet, time::Duration};

use askama::Template;
use axum::{extract::Path, http::StatusCode};

use super::{
    page::{self, PageResult, Shell, rendered, sentence},
    tokens::{created, expiry_text, live, pattern_text, receipt_text, token_page},
    visit::{CsrfForm, Fields, SignedIn},
};
use crate::{
    domain::{
        scope::{DeploymentPattern, Scope, ScopeSet},
        timestamp::Timestamp,
        units::format_duration,
    },
    management::error::ApiError,
    service::{
        deployments,
        tokens::{self, CreateToken, Expiry, InvalidExpiry, UpdateToken},
    },
};

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
#[template(path = "console/token-form.html")]
struct TokenForm {
    shell: Shell,
    /// Empty: a new one.
    uid: String,
    values: FormValues,
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
struct FormValues {
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

pub async fn new(visitor: SignedIn) -> PageResult {
    let values = FormValues { expires: proposed(&visitor), ..FormValues::default() };
    form_page(&visitor, StatusCode::OK, "", values, &HashSet::new(), None).await
}

pub async fn create(CsrfForm { who: visitor, fields }: CsrfForm<SignedIn>) -> PageResult {
    let made = async {
        let request = CreateToken {
            name: fields.text("name").to_owned(),
            description: fields.text("description").to_owned(),
            scopes: Some(scopes(&fields)?),
            expiry: expiry(&fields)?.unwrap_or_default(),
            owner: Some(visitor.user.email.clone()),
        };
        Ok::<_, ApiError>(tokens::create(&visitor.context(), request).await?)
    };
    match made.await {
        Ok(issued) => created(&visitor, issued, None).await,
        Err(error) => again(&visitor, "", &fields, error).await,
    }
}

pub async fn edit(visitor: SignedIn, Path(uid): Path<String>) -> PageResult {
    let record = live(&visitor, &uid).await?;
    let chosen = record.scopes.iter().map(Scope::to_string).collect();
    let mut values = values_of(&record.scopes);
    values.name.clone_from(&record.name);
    values.description.clone_from(&record.description);
    values.expires = "keep".to_owned();
    values.current_expiry = expiry_text(record.expires_at);
    form_page(&visitor, StatusCode::OK, &uid, values, &chosen, None).await
}

pub async fn update(Path(uid): Path<String>, CsrfForm { who: visitor, fields }: CsrfForm<SignedIn>) -> PageResult {
    let record = live(&visitor, &uid).await?;
    let updated = async {
        let change = UpdateToken {
            name: Some(fields.text("name").to_owned()),
            description: Some(fields.text("description").to_owned()),
            scopes: Some(scopes(&fields)?),
            expiry: expiry(&fields)?,
        };
        Ok::<_, ApiError>(tokens::update(&visitor.context(), record.uid, change).await?)
    };
    match updated.await {
        Ok(record) => {
            let receipt = visitor.management.gateway.wait_until_applied(&visitor.store).await;
            token_page(&visitor, &record, Some(format!("Updated. {}", receipt_text(receipt.as_ref())))).await
        }
        Err(error) => again(&visitor, &uid, &fields, error).await,
    }
}

// === what it says ===

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
        days => format!("{days}d").parse().map_err(|error: InvalidExpiry| invalid(&error))?,
    }))
}

/// The form once more, with what was typed and what is wrong with it.
async fn again(visitor: &SignedIn, uid: &str, fields: &Fields, error: ApiError) -> PageResult {
    if error.status().is_server_error() {
        return Err(error.into());
    }
    let chosen: HashSet<String> = fields
        .all("deployment")
        .map(|name| format!("deployment:{name}"))
        .chain(fields.all("narrow").map(str::to_owned))
        .collect();
    let values = FormValues {
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
    form_page(visitor, error.status(), uid, values, &chosen, Some(sentence(error.text()))).await
}

fn values_of(scopes: &ScopeSet) -> FormValues {
    let mut values = FormValues::default();
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
fn proposed(visitor: &SignedIn) -> String {
    let allowed =
        |days: u32| visitor.config.tokens.max_lifetime.is_none_or(|max| u64::from(days) * 86_400 <= max.as_secs());
    let days = PRESETS.into_iter().rev().find(|days| *days <= DEFAULT_DAYS && allowed(*days));
    days.map_or_else(|| "date".to_owned(), |days| days.to_string())
}

async fn form_page(
    visitor: &SignedIn,
    status: StatusCode,
    uid: &str,
    values: FormValues,
    chosen: &HashSet<String>,
    problem: Option<String>,
) -> PageResult {
    let listed = deployments::list(&visitor.context()).await?;
    let elsewhere = deployments::declared_elsewhere(&visitor.context(), &listed).await?;
    let mut names: Vec<String> =
        listed.iter().filter(|listed| !listed.shadowed).map(|listed| listed.spec.name.to_string()).collect();
    names.extend(elsewhere.iter().map(ToString::to_string));
    names.sort();
    names.dedup();
    let choice = |value: String, label: String, scope: &str| Choice { chosen: chosen.contains(scope), value, label };
    let max = visitor.config.tokens.max_lifetime;
    let after = |days: u32| visitor.now.saturating_add(Duration::from_secs(u64::from(days) * 86_400));
    let presets =
        PRESETS.into_iter().filter(|days| max.is_none_or(|max| after(*days) <= visitor.now.saturating_add(max)));
    let sentence = match values.expires.parse::<u32>() {
        Ok(days) => expiry_text(Some(after(days))),
        Err(_) if values.expires == "never" => expiry_text(None),
        Err(_) => values.current_expiry.clone(),
    };
    let page = TokenForm {
        shell: Shell::new(visitor, "tokens"),
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
        latest: max.map(|max| page::date(visitor.now.saturating_add(max))).unwrap_or_default(),
        sentence,
        values,
        problem,
    };
    Ok(rendered(status, &page))
}
