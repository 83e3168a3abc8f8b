//! One Deployment's page.

use askama::Template;
use axum::{extract::Path, http::StatusCode};

use super::row::{Row, rows};
use crate::{
    domain::{
        budget::NEARLY,
        deployment::{DeploymentName, DeploymentSettings, DeploymentSpec},
        preset::Preset,
        scope::Scope,
        timestamp::Timestamp,
        token::TokenRecord,
        units::format_duration,
    },
    management::{
        console::{
            page::rendered,
            recipes::{Calls, Credential, Recipe},
            rejection::PageResult,
            shell::Shell,
            tokens::scope_label,
            visitor::SignedIn,
            words::{Moment, exact, number},
        },
        error::ApiError,
        views::internals,
    },
    service::{
        budgets,
        let_through::{self, LetThroughView},
        lookup,
    },
    store::Page,
};

/// Tokens that a Deployment's page names.
const MAX_TOKENS: u32 = 20;
/// Callers that it names before it is enforced.
const MAX_STRANGERS: u32 = 20;

#[derive(Template)]
#[template(path = "console/deployment.html")]
struct DeploymentPage {
    shell: Shell,
    row: Row,
    /// It can be changed here, by this visitor.
    editable: bool,
    terminated: bool,
    /// Only for admins, as the settings.
    listen: Option<String>,
    settings: Vec<(&'static str, String)>,
    created: Option<Moment>,
    recipes: Vec<Recipe>,
    /// Budgets of which most is used: whose, how much, and whether that is all. Only for admins.
    budgets: Vec<(String, String, bool)>,
    /// Who will be refused once it is enforced.
    strangers: Vec<Stranger>,
    more_strangers: u64,
    tokens: Vec<TokenLine>,
    more_tokens: u64,
    done: Option<String>,
}

struct Stranger {
    reason: String,
    /// Text, and the page of the token. `None`: it is an address.
    caller: String,
    link: Option<String>,
    requests: String,
    last: Moment,
}

struct TokenLine {
    uid: String,
    name: String,
    scopes: String,
}

pub async fn show(visitor: SignedIn, Path(name): Path<String>) -> PageResult {
    deployment_page(&visitor, &name, None).await
}

pub async fn deployment_page(visitor: &SignedIn, name: &str, done: Option<String>) -> PageResult {
    let listed = lookup::deployment(&visitor.context(), name).await?;
    let spec = &listed.spec;
    let row = rows(visitor, std::slice::from_ref(&listed)).await?.pop();
    let row = row.ok_or_else(|| lookup::unknown_deployment(name))?;
    let tokens = tokens_opening(visitor, &spec.name).await?;
    let budgets = budgets_of(visitor, spec).await?;
    let strangers = strangers(visitor, &row, &spec.name).await?;
    let internals = internals(spec, visitor.user.role);
    let page = DeploymentPage {
        shell: Shell::new(visitor, "deployments"),
        editable: visitor.is_admin() && !row.from_file,
        terminated: spec.terminated,
        listen: internals.as_ref().and(spec.listen).map(|address| address.to_string()),
        settings: internals.map(|internals| settings(internals.settings)).unwrap_or_default(),
        created: listed.created_at.map(|at| Moment::new(at, visitor.now)),
        recipes: recipes_of(visitor, spec, row.url.as_deref()).await,
        // They are counted and read one after the other.
        budgets,
        more_strangers: strangers.total.saturating_sub(strangers.items.len() as u64),
        strangers: strangers.items.into_iter().map(|of| stranger(of, visitor)).collect(),
        more_tokens: tokens.total.saturating_sub(tokens.items.len() as u64),
        tokens: tokens.items.iter().map(token_line).collect(),
        row,
        done,
    };
    Ok(rendered(StatusCode::OK, &page))
}

/// `url` of `None`: it has no address, and so no recipes.
async fn recipes_of(visitor: &SignedIn, spec: &DeploymentSpec, url: Option<&str>) -> Vec<Recipe> {
    let Some(url) = url else { return Vec::new() };
    let api = visitor.management.service_api(spec).await;
    let credential = if spec.protected { Credential::Variable } else { Credential::None };
    Calls { url, credential, api: api.as_deref(), by_bentoml: true }.recipes()
}

async fn tokens_opening(visitor: &SignedIn, name: &DeploymentName) -> Result<Page<TokenRecord>, ApiError> {
    let owner = (!visitor.is_admin()).then_some(visitor.user.id);
    Ok(visitor.store().tokens_opening(name, owner, visitor.now, MAX_TOKENS).await?)
}

async fn budgets_of(visitor: &SignedIn, spec: &DeploymentSpec) -> Result<Vec<(String, String, bool)>, ApiError> {
    if !visitor.is_admin() {
        return Ok(Vec::new());
    }
    let standings = budgets::of(&visitor.context(), spec).await?;
    let nearly = standings.into_iter().filter(|standing| standing.part >= NEARLY).take(MAX_STRANGERS as usize);
    let shown = nearly.map(|standing| {
        let token = standing.token_name.or(standing.token.map(|uid| uid.to_string()));
        let whose = token.map_or_else(|| "All callers have".to_owned(), |token| format!("The token {token} has"));
        let used = format!("{:.0}% of {}, until {}", standing.part * 100.0, standing.budget, standing.resets_at);
        (whose, used, standing.part >= 1.0)
    });
    Ok(shown.collect())
}

/// Nobody, if it is enforced or the visitor is no admin.
async fn strangers(visitor: &SignedIn, row: &Row, name: &DeploymentName) -> Result<Page<LetThroughView>, ApiError> {
    match row.unenforced_until {
        Some(_) => Ok(let_through::report(&visitor.context(), name, MAX_STRANGERS).await?),
        None => Ok(Page { items: Vec::new(), total: 0 }),
    }
}

fn stranger(of: LetThroughView, visitor: &SignedIn) -> Stranger {
    let token = of.token_name.or(of.token.map(|uid| uid.to_string()));
    Stranger {
        reason: of.reason,
        caller: token.or(of.network).unwrap_or_else(|| "All others".to_owned()),
        link: of.token.map(|uid| format!("/api_tokens/{uid}")),
        requests: number(of.requests),
        last: Timestamp::parse(&of.last_at).map(|at| Moment::new(at, visitor.now)).unwrap_or_default(),
    }
}

fn token_line(token: &TokenRecord) -> TokenLine {
    let endpoint = token.scopes.iter().filter(|scope| matches!(scope, Scope::Deployment(..)));
    let labels: Vec<String> = endpoint.map(scope_label).collect();
    TokenLine { uid: token.uid.to_string(), name: token.name.clone(), scopes: labels.join(", ") }
}

fn concurrency(settings: &DeploymentSettings) -> String {
    let Some(limit) = settings.max_in_flight else { return "No limit".to_owned() };
    let (queue, longest) = (number(settings.max_queue.into()), format_duration(settings.queue_timeout));
    format!("{} of each gateway; {queue} more may wait, for {longest}", number(limit.get().into()))
}

fn readiness(settings: &DeploymentSettings) -> String {
    let Some(probing) = settings.probing() else { return "Not asked for".to_owned() };
    let (interval, timeout) = (format_duration(probing.interval), format_duration(probing.timeout));
    let (path, rise, fall) = (probing.path, probing.rise, probing.fall);
    format!("{path} every {interval}, within {timeout}; not ready after {fall} failures, ready after {rise} answers")
}

fn hold(settings: &DeploymentSettings) -> String {
    if settings.hold == 0 {
        return "Callers get an error".to_owned();
    }
    let longest = format_duration(settings.hold_timeout);
    let hook = settings.wake_url.as_ref().map(|url| format!("; {url} is called")).unwrap_or_default();
    format!("{} requests may wait at each gateway, for {longest}{hook}", number(settings.hold.into()))
}

fn preset(preset: Preset) -> String {
    match preset {
        Preset::Raw => "raw: no path is closed".to_owned(),
        closing => format!("{closing}: operators' paths need a token with operations"),
    }
}

fn settings(settings: &DeploymentSettings) -> Vec<(&'static str, String)> {
    let yes_if = |on: bool, text: &str| if on { text.to_owned() } else { "No".to_owned() };
    let origins: Vec<String> = settings.cors_origins.iter().map(ToString::to_string).collect();
    let origins = if origins.is_empty() { "Decided by the service".to_owned() } else { origins.join(", ") };
    let max_body =
        settings.max_body_bytes.map_or_else(|| "No limit".to_owned(), |bytes| format!("{} bytes", number(bytes)));
    vec![
        ("Allowed origins (CORS)", origins),
        ("Connect timeout", format_duration(settings.connect_timeout)),
        ("First byte timeout", format_duration(settings.first_byte_timeout)),
        ("Idle timeout", format_duration(settings.idle_timeout)),
        ("Maximum request body", max_body),
        ("Requests at once", concurrency(settings)),
        ("Requests of each token", settings.rate_limit.map_or_else(|| "No limit".to_owned(), String::from)),
        ("Enforced", settings.enforce_from.map_or_else(|| "Always".to_owned(), |at| format!("From {}", exact(at)))),
        ("Budget", settings.budget.map_or_else(|| "No limit".to_owned(), String::from)),
        ("Budget of each token", settings.token_budget.map_or_else(|| "No limit".to_owned(), String::from)),
        ("Readiness", readiness(settings)),
        ("Slow start", format_duration(settings.slow_start)),
        ("While it is not there", hold(settings)),
        ("Forward Authorization", yes_if(settings.forward_authorization, "Yes: the service sees its callers' tokens")),
        ("Preset", preset(settings.preset)),
        ("Public probes", yes_if(settings.public_probes, &format!("Yes: {}", settings.preset.probes().join(", ")))),
        ("Allow pickle", yes_if(settings.allow_pickle, "Yes: callers can run code in the service")),
        ("Count LLM tokens", yes_if(settings.count_llm_tokens, "Yes: as responses say")),
    ]
}
