//! The form by which a token is created or changed.

use std::{collections::HashSet, time::Duration};

use askama::Template;
use axum::http::StatusCode;

use super::{issued::expiry_text, row::scope_label};
use crate::{
    domain::{
        deployment_scope::{DeploymentPattern, DeploymentScope, Routes},
        preset::Preset,
        scope::{Scope, ScopeSet},
        timestamp::{DAY, Timestamp},
        token::TokenRecord,
        units::format_duration,
    },
    management::{
        console::{
            form::FormFields,
            page::rendered,
            rejection::{PageResult, about_the_form},
            shell::Shell,
            visitor::SignedIn,
            words::{date, sentence},
        },
        error::ApiError,
    },
    service::{
        Version, deployments,
        tokens::{Expiry, InvalidExpiry},
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
    presets: Vec<Lifetime>,
    /// `None`: a token may live for ever.
    max: Option<String>,
    earliest: String,
    latest: String,
    /// When the chosen expiry is.
    sentence: String,
    problem: Option<String>,
    /// What is stored where it differs from what was typed: label and value. Empty: nobody else has changed it.
    stored: Vec<(&'static str, String)>,
}

/// What the fields hold.
#[derive(Default)]
pub struct FormValues {
    pub name: String,
    pub description: String,
    pub developer: bool,
    pub endpoint: bool,
    pub all: bool,
    /// `keep`, `never`, `date` or a number of days.
    pub expires: String,
    pub date: String,
    /// Patterns such as `team-*`, and routes of a Deployment, which the picker does not offer.
    pub patterns: Vec<String>,
    /// More of those, as they were typed.
    pub routes: String,
    pub current_expiry: String,
    /// The scopes that are ticked, as texts.
    pub chosen: HashSet<String>,
    /// Of the token that the form shows; empty for a new one.
    pub version: String,
}

struct Choice {
    value: String,
    label: String,
    chosen: bool,
}

struct Lifetime {
    days: u32,
    label: String,
    chosen: bool,
}

/// The form's scopes.
///
/// # Errors
/// 400 if no access is chosen.
pub fn read_scopes(fields: &FormFields) -> Result<Vec<String>, ApiError> {
    let mut scopes = Vec::new();
    if fields.on("developer") {
        let narrow: Vec<String> = fields.all("narrow").map(str::to_owned).collect();
        scopes.extend(if narrow.is_empty() { vec![Scope::Api.to_string()] } else { narrow });
    }
    if fields.on("endpoint") && fields.text("reach") == "all" {
        scopes.push(Scope::Deployment(DeploymentScope::of(DeploymentPattern::All)).to_string());
        // All Deployments do not include their closed routes.
        let routes = fields.all("deployment").filter(|name| name.contains(':')).chain(typed_routes(fields));
        scopes.extend(routes.map(|name| format!("deployment:{name}")));
    } else if fields.on("endpoint") {
        let picked = fields.all("deployment").filter(|name| !name.is_empty());
        let chosen: Vec<&str> = picked.chain(typed_routes(fields)).collect();
        if chosen.is_empty() {
            return Err(ApiError::invalid("select at least one Deployment, or All Deployments"));
        }
        scopes.extend(chosen.into_iter().map(|name| format!("deployment:{name}")));
    }
    if scopes.is_empty() {
        return Err(ApiError::invalid("select at least one type of access"));
    }
    Ok(scopes)
}

fn typed_routes(fields: &FormFields) -> impl Iterator<Item = &str> {
    fields.text("routes").split_whitespace()
}

/// `None`: as it is.
///
/// # Errors
/// 400 for a date that is none.
pub fn read_expiry(fields: &FormFields) -> Result<Option<Expiry>, ApiError> {
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

impl FormValues {
    /// As the token is.
    pub fn of(record: &TokenRecord) -> Self {
        let mut values = Self {
            name: record.name.clone(),
            description: record.description.clone(),
            expires: "keep".to_owned(),
            current_expiry: expiry_text(record.expires_at),
            chosen: record.scopes.iter().map(Scope::to_string).collect(),
            version: Version::of_token(record).to_string(),
            ..Self::default()
        };
        for scope in record.scopes.iter() {
            let Scope::Deployment(of) = scope else {
                values.developer |= scope.is_of_management();
                continue;
            };
            values.endpoint = true;
            let DeploymentScope { pattern, routes, narrowing } = of;
            match (pattern, routes, narrowing) {
                (DeploymentPattern::All, Routes::Open, None) => values.all = true,
                (DeploymentPattern::Exact(_), Routes::Open, None) => {}
                (_, _, _) => values.patterns.push(of.to_string()),
            }
        }
        values
    }

    /// As they were typed.
    fn typed(fields: &FormFields) -> Self {
        let text = |name: &str| fields.text(name).to_owned();
        let deployments = fields.all("deployment").map(|name| format!("deployment:{name}"));
        Self {
            name: text("name"),
            description: text("description"),
            developer: fields.on("developer"),
            endpoint: fields.on("endpoint"),
            all: fields.text("reach") == "all",
            expires: text("expires"),
            date: text("date"),
            patterns: fields.all("deployment").filter(|name| name.contains(['*', ':'])).map(str::to_owned).collect(),
            routes: text("routes"),
            current_expiry: String::new(),
            chosen: deployments.chain(fields.all("narrow").map(str::to_owned)).collect(),
            version: text("version"),
        }
    }
}

/// The form once more, with what was typed and what is wrong with it. `uid` is empty for a new token.
pub async fn form_with_error(visitor: &SignedIn, uid: &str, fields: &FormFields, error: ApiError) -> PageResult {
    let error = about_the_form(error)?;
    form_page(visitor, error.status(), uid, FormValues::typed(fields), Some(sentence(error.text()))).await
}

/// The form once more, with what was typed beside what somebody else has stored meanwhile. Saving it replaces that.
pub async fn form_with_conflict(visitor: &SignedIn, fields: &FormFields, stored: &TokenRecord) -> PageResult {
    let now = FormValues::of(stored);
    let values = FormValues { version: now.version, current_expiry: now.current_expiry, ..FormValues::typed(fields) };
    let scopes = stored.scopes.iter().map(scope_label).collect::<Vec<_>>().join(", ");
    let all = [
        ("Name", stored.name.clone(), stored.name == values.name),
        ("Description", stored.description.clone(), stored.description == values.description),
        (
            "Access",
            scopes,
            read_scopes(fields).is_ok_and(|typed| ScopeSet::parse(typed).is_ok_and(|typed| typed == stored.scopes)),
        ),
        ("Expired At", values.current_expiry.clone(), false),
    ];
    let stored_fields = all.into_iter().filter(|(_, _, same)| !same).map(|(label, value, _)| (label, value)).collect();
    let problem = "Someone else has changed this token since you opened the form.".to_owned();
    let uid = stored.uid.to_string();
    render(visitor, StatusCode::CONFLICT, &uid, values, Some(problem), stored_fields).await
}

/// The lifetime that a new token is proposed: 90 days, or the longest preset that is allowed.
pub fn proposed_expiry(visitor: &SignedIn) -> String {
    let max = visitor.config.tokens.max_lifetime;
    let days = PRESETS.into_iter().rev().find(|days| *days <= DEFAULT_DAYS && is_allowed(*days, max));
    days.map_or_else(|| "date".to_owned(), |days| days.to_string())
}

fn is_allowed(days: u32, max: Option<Duration>) -> bool {
    max.is_none_or(|max| lifetime(days) <= max)
}

fn lifetime(days: u32) -> Duration {
    days * DAY
}

/// `uid` is empty for a new token.
pub async fn form_page(
    visitor: &SignedIn,
    status: StatusCode,
    uid: &str,
    values: FormValues,
    problem: Option<String>,
) -> PageResult {
    render(visitor, status, uid, values, problem, Vec::new()).await
}

async fn render(
    visitor: &SignedIn,
    status: StatusCode,
    uid: &str,
    values: FormValues,
    problem: Option<String>,
    stored: Vec<(&'static str, String)>,
) -> PageResult {
    let (names, mut values) = (deployment_names(visitor, &values.chosen).await?, values);
    values.patterns.retain(|pattern| !names.contains(pattern));
    let max = visitor.config.tokens.max_lifetime;
    let after = |days: u32| visitor.now.saturating_add(lifetime(days));
    let sentence = match values.expires.parse::<u32>() {
        Ok(days) => expiry_text(Some(after(days))),
        Err(_) if values.expires == "never" => expiry_text(None),
        Err(_) => values.current_expiry.clone(),
    };
    let choice =
        |value: String, label: String, scope: &str| Choice { chosen: values.chosen.contains(scope), value, label };
    let preset = |days: u32| Lifetime {
        days,
        label: if days == 365 { "1 year".to_owned() } else { format!("{days} days") },
        chosen: values.expires == days.to_string(),
    };
    let page = TokenForm {
        shell: Shell::new(visitor, "tokens"),
        uid: uid.to_owned(),
        deployments: names
            .into_iter()
            .map(|name| choice(name.clone(), name.clone(), &format!("deployment:{name}")))
            .collect(),
        narrow: NARROW.iter().map(|(scope, label)| choice((*scope).to_owned(), (*label).to_owned(), scope)).collect(),
        narrow_chosen: NARROW.iter().any(|(scope, _)| values.chosen.contains(*scope)),
        presets: PRESETS.into_iter().filter(|days| is_allowed(*days, max)).map(preset).collect(),
        max: max.map(format_duration),
        earliest: date(after(1)),
        latest: max.map(|max| date(visitor.now.saturating_add(max))).unwrap_or_default(),
        sentence,
        values,
        problem,
        stored,
    };
    Ok(rendered(status, &page))
}

/// All that a scope can name: those that are served here, with their closed routes and without, and those of other gateways'
/// configurations. Of these members see what they have chosen, in a scope of theirs.
async fn deployment_names(visitor: &SignedIn, chosen: &HashSet<String>) -> Result<Vec<String>, ApiError> {
    let listed = deployments::list(&visitor.context()).await?;
    let mut elsewhere = deployments::declared_elsewhere(&visitor.context(), &listed).await?;
    elsewhere.retain(|name| visitor.is_admin() || chosen.contains(&format!("deployment:{name}")));
    let served = listed.iter().filter(|listed| !listed.shadowed).map(|listed| &listed.spec.name);
    let mut names: Vec<String> = served.chain(&elsewhere).map(ToString::to_string).collect();
    // Operating is for admins to grant.
    let closing = listed.iter().filter(|listed| visitor.is_admin() && listed.spec.settings.preset != Preset::Raw);
    names.extend(closing.map(|listed| format!("{}{}", listed.spec.name, Routes::All.suffix())));
    names.sort();
    names.dedup();
    Ok(names)
}
