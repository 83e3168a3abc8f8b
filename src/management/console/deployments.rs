//! Deployments: listed, looked at, added, changed, stopped and started, removed.

use std::collections::{BTreeSet, HashMap};

use askama::Template;
use axum::{extract::Path, http::StatusCode};

use super::{
    page::{self, Moment, PageResult, Shell, number, redirect, rendered, sentence},
    recipes::{Recipe, calls},
    tokens::scope_words,
    visit::{CsrfForm, Fields, SignedIn},
};
use crate::{
    domain::{
        deployment::{DeploymentName, DeploymentSettings, DeploymentSpec},
        scope::Scope,
        units::{format_duration, parse_duration, parse_size},
    },
    management::{
        error::{ApiError, quoted},
        probe,
    },
    service::{
        self,
        deployments::{self, Listed, Source, UpdateDeployment},
    },
    store::TouchedToken,
    telemetry::traffic,
};

/// Traffic is told of the last hour.
const MINUTES: i64 = 60;
/// Tokens that a Deployment's page names.
const MAX_TOKENS: u32 = 20;

#[derive(Template)]
#[template(path = "console/deployments.html")]
struct DeploymentsPage {
    shell: Shell,
    rows: Vec<Row>,
    /// AuditNames that only another gateway knows more of.
    elsewhere: Vec<String>,
}

struct Row {
    name: String,
    status: &'static str,
    /// The class that the status is shown by.
    class: &'static str,
    protected: bool,
    /// `None`: nobody reaches it, as configured.
    url: Option<String>,
    hosts: Vec<String>,
    upstreams: Vec<String>,
    from_file: bool,
    shadowed: bool,
    /// Requests of the last hour.
    requests: String,
}

#[derive(Template)]
#[template(path = "console/deployment.html")]
struct DeploymentPage {
    shell: Shell,
    row: Row,
    /// May it be changed here, by this person?
    editable: bool,
    terminated: bool,
    listen: Option<String>,
    settings: Vec<(&'static str, String)>,
    created: Option<Moment>,
    recipes: Vec<Recipe>,
    tokens: Vec<TokenLine>,
    more_tokens: u64,
    done: Option<String>,
}

struct TokenLine {
    uid: String,
    name: String,
    scopes: String,
}

#[derive(Template)]
#[template(path = "console/deployment-form.html")]
struct DeploymentForm {
    shell: Shell,
    /// A new one.
    new: bool,
    values: FormValues,
    problem: Option<String>,
}

/// What the fields hold, as they are typed.
#[derive(Default)]
struct FormValues {
    name: String,
    upstreams: String,
    hosts: String,
    listen: String,
    public: bool,
    cors_origins: String,
    connect_timeout: String,
    first_byte_timeout: String,
    idle_timeout: String,
    max_body: String,
    forward_authorization: bool,
    allow_pickle: bool,
}

#[derive(Template)]
#[template(path = "console/deployment-remove.html")]
struct RemovePage {
    shell: Shell,
    name: String,
}

#[derive(Template)]
#[template(path = "console/deployment-removed.html")]
struct RemovedPage {
    shell: Shell,
    name: String,
    touched: Vec<TouchedToken>,
}

pub async fn list(visitor: SignedIn) -> PageResult {
    let listed = deployments::list(&visitor.context()).await?;
    let elsewhere = deployments::declared_elsewhere(&visitor.context(), &listed).await?;
    let page = DeploymentsPage {
        shell: Shell::new(&visitor, "deployments"),
        rows: rows(&visitor, &listed).await?,
        elsewhere: elsewhere.iter().map(ToString::to_string).collect(),
    };
    Ok(rendered(StatusCode::OK, &page))
}

pub async fn show(visitor: SignedIn, Path(name): Path<String>) -> PageResult {
    deployment_page(&visitor, &name, None).await
}

pub async fn new(visitor: SignedIn) -> PageResult {
    visitor.needs_admin()?;
    let values = values_of_settings(&visitor.config.proxy.deployment_defaults);
    form_page(&visitor, StatusCode::OK, true, values, None)
}

pub async fn add(CsrfForm { who: visitor, fields }: CsrfForm<SignedIn>) -> PageResult {
    visitor.needs_admin()?;
    let added = async {
        let name: DeploymentName = fields.text("name").parse().map_err(invalid("Name"))?;
        let DeploymentFields { upstreams, hosts, listen, protected, settings } = read_fields(&visitor, &fields)?;
        let spec = DeploymentSpec { name, hosts, listen, upstreams, protected, terminated: false, settings };
        deployments::add(&visitor.context(), &spec).await?;
        Ok::<_, ApiError>(spec.name)
    };
    match added.await {
        Ok(name) => {
            visitor.management.gateway.wait_until_applied(&visitor.store).await;
            Ok(redirect(&format!("/deployments/{name}")))
        }
        Err(error) => again(&visitor, true, &fields, &error),
    }
}

pub async fn edit(visitor: SignedIn, Path(name): Path<String>) -> PageResult {
    visitor.needs_admin()?;
    let spec = editable(&visitor, &name).await?.spec;
    let lines = |items: Vec<String>| items.join("\n");
    let values = FormValues {
        upstreams: lines(spec.upstreams.iter().map(ToString::to_string).collect()),
        hosts: lines(spec.hosts.iter().map(ToString::to_string).collect()),
        listen: spec.listen.map(|address| address.to_string()).unwrap_or_default(),
        public: !spec.protected,
        name,
        ..values_of_settings(&spec.settings)
    };
    form_page(&visitor, StatusCode::OK, false, values, None)
}

pub async fn update(Path(name): Path<String>, CsrfForm { who: visitor, fields }: CsrfForm<SignedIn>) -> PageResult {
    visitor.needs_admin()?;
    let spec = editable(&visitor, &name).await?.spec;
    let updated = async {
        let DeploymentFields { upstreams, hosts, listen, protected, settings } = read_fields(&visitor, &fields)?;
        let change = UpdateDeployment {
            hosts: Some(hosts),
            upstreams: Some(upstreams),
            listen: Some(listen),
            protected: Some(protected),
            settings: Some(settings),
        };
        Ok::<_, ApiError>(deployments::update(&visitor.context(), &spec.name, change).await?)
    };
    match updated.await {
        Ok(_) => {
            visitor.management.gateway.wait_until_applied(&visitor.store).await;
            deployment_page(&visitor, &name, Some("The Deployment is changed.".to_owned())).await
        }
        Err(error) => again(&visitor, false, &fields, &error),
    }
}

pub async fn terminate(Path(name): Path<String>, CsrfForm { who: visitor, .. }: CsrfForm<SignedIn>) -> PageResult {
    visitor.needs_admin()?;
    let spec = editable(&visitor, &name).await?.spec;
    deployments::terminate(&visitor.context(), &spec.name).await?;
    visitor.management.gateway.wait_until_applied(&visitor.store).await;
    deployment_page(&visitor, &name, Some("Terminated: callers get 503 until you start it again.".to_owned())).await
}

pub async fn start(Path(name): Path<String>, CsrfForm { who: visitor, .. }: CsrfForm<SignedIn>) -> PageResult {
    visitor.needs_admin()?;
    let spec = editable(&visitor, &name).await?.spec;
    deployments::start(&visitor.context(), &spec.name).await?;
    visitor.management.gateway.wait_until_applied(&visitor.store).await;
    deployment_page(&visitor, &name, Some("Started: requests are forwarded again.".to_owned())).await
}

pub async fn ask_remove(visitor: SignedIn, Path(name): Path<String>) -> PageResult {
    visitor.needs_admin()?;
    editable(&visitor, &name).await?;
    Ok(rendered(StatusCode::OK, &RemovePage { shell: Shell::new(&visitor, "deployments"), name }))
}

pub async fn remove(Path(name): Path<String>, CsrfForm { who: visitor, .. }: CsrfForm<SignedIn>) -> PageResult {
    visitor.needs_admin()?;
    let spec = editable(&visitor, &name).await?.spec;
    let touched = deployments::remove(&visitor.context(), &spec.name).await?;
    visitor.management.gateway.wait_until_applied(&visitor.store).await;
    Ok(rendered(StatusCode::OK, &RemovedPage { shell: Shell::new(&visitor, "deployments"), name, touched }))
}

// === what the pages are made of ===

async fn rows(visitor: &SignedIn, listed: &[Listed]) -> Result<Vec<Row>, ApiError> {
    let specs: Vec<DeploymentSpec> = listed.iter().map(|listed| listed.spec.clone()).collect();
    let statuses = probe::statuses(&specs).await;
    let since = traffic::minute(visitor.now) - MINUTES;
    let sums = visitor.store.traffic(since, i64::MAX).await?;
    let requests: HashMap<&str, u64> = sums
        .iter()
        .filter(|sum| sum.metric == traffic::REQUESTS)
        .map(|sum| (sum.subject.as_str(), sum.total))
        .collect();
    let row = |(listed, status): (&Listed, &'static str)| Row {
        name: listed.spec.name.to_string(),
        status,
        class: match status {
            "running" => "good",
            "terminated" => "off",
            _ => "bad",
        },
        protected: listed.spec.protected,
        url: visitor.deployment_url(&listed.spec).map(|url| url.to_string()),
        hosts: listed.spec.hosts.iter().map(ToString::to_string).collect(),
        upstreams: listed.spec.upstreams.iter().map(ToString::to_string).collect(),
        from_file: listed.source == Source::Configuration,
        shadowed: listed.shadowed,
        requests: number(requests.get(listed.spec.name.as_str()).copied().unwrap_or(0)),
    };
    Ok(listed.iter().zip(statuses).map(row).collect())
}

async fn deployment_page(visitor: &SignedIn, name: &str, done: Option<String>) -> PageResult {
    let listed = find(visitor, name).await?;
    let spec = &listed.spec;
    let Some(row) = rows(visitor, std::slice::from_ref(&listed)).await?.pop() else {
        return Err(unknown(name).into());
    };
    let owner = (!visitor.is_admin()).then_some(visitor.user.id);
    let tokens = visitor.store.tokens_opening(&spec.name, owner, visitor.now, MAX_TOKENS).await?;
    let line = |token: &crate::domain::token::TokenRecord| TokenLine {
        uid: token.uid.to_string(),
        name: token.name.clone(),
        scopes: token
            .scopes
            .iter()
            .filter(|scope| matches!(scope, Scope::Deployment(_)))
            .map(scope_words)
            .collect::<Vec<_>>()
            .join(", "),
    };
    let page = DeploymentPage {
        shell: Shell::new(visitor, "deployments"),
        editable: visitor.is_admin() && !row.from_file,
        terminated: spec.terminated,
        listen: spec.listen.map(|address| address.to_string()),
        settings: settings_words(&spec.settings),
        created: listed.created_at.map(|at| Moment::new(at, visitor.now)),
        recipes: row.url.as_deref().map(|url| calls("$TOKEN", url)).unwrap_or_default(),
        more_tokens: tokens.total - tokens.items.len() as u64,
        tokens: tokens.items.iter().map(line).collect(),
        row,
        done,
    };
    Ok(rendered(StatusCode::OK, &page))
}

fn settings_words(settings: &DeploymentSettings) -> Vec<(&'static str, String)> {
    let yes = |on: bool, text: &str| if on { text.to_owned() } else { "no".to_owned() };
    let origins: Vec<String> = settings.cors_origins.iter().map(ToString::to_string).collect();
    vec![
        (
            "Pages that may call it (CORS)",
            if origins.is_empty() { "as the service says".to_owned() } else { origins.join(", ") },
        ),
        ("Connect timeout", format_duration(settings.connect_timeout)),
        ("First byte timeout", format_duration(settings.first_byte_timeout)),
        ("Idle timeout", format_duration(settings.idle_timeout)),
        (
            "Largest request body",
            settings.max_body_bytes.map_or_else(|| "no limit".to_owned(), |bytes| format!("{} bytes", number(bytes))),
        ),
        ("Authorization passed on", yes(settings.forward_authorization, "yes, the caller's token reaches the service")),
        ("Pickle let through", yes(settings.allow_pickle, "yes, callers can run code in the service")),
    ]
}

async fn find(visitor: &SignedIn, name: &str) -> Result<Listed, ApiError> {
    let mut all = deployments::list(&visitor.context()).await?;
    all.retain(|listed| !listed.shadowed && listed.spec.name.as_str() == name);
    all.pop().ok_or_else(|| unknown(name))
}

async fn editable(visitor: &SignedIn, name: &str) -> Result<Listed, ApiError> {
    let listed = find(visitor, name).await?;
    match listed.source {
        Source::Store => Ok(listed),
        Source::Configuration => Err(service::Error::Declared(listed.spec.name).into()),
    }
}

fn unknown(name: &str) -> ApiError {
    ApiError::not_found(format!("there is no Deployment {}", quoted(name)))
}

// === the form ===

struct DeploymentFields {
    upstreams: Vec<crate::domain::deployment::UpstreamUrl>,
    hosts: BTreeSet<crate::domain::host::HostName>,
    listen: Option<std::net::SocketAddr>,
    protected: bool,
    settings: DeploymentSettings,
}

fn read_fields(visitor: &SignedIn, fields: &Fields) -> Result<DeploymentFields, ApiError> {
    let defaults = &visitor.config.proxy.deployment_defaults;
    let duration = |name: &'static str, label: &'static str, default: std::time::Duration| match fields.text(name) {
        "" => Ok(default),
        text => match parse_duration(text) {
            Ok(std::time::Duration::ZERO) => Err(ApiError::invalid(format!("{label}: must be longer than 0s"))),
            parsed => parsed.map_err(invalid(label)),
        },
    };
    let listen = Some(fields.text("listen")).filter(|text| !text.is_empty());
    let max_body = Some(fields.text("max_body")).filter(|text| !text.is_empty());
    let read = |label| invalid(label);
    Ok(DeploymentFields {
        upstreams: fields
            .words("upstreams")
            .map(|word| word.parse().map_err(read("Upstreams")))
            .collect::<Result<_, _>>()?,
        hosts: fields.words("hosts").map(|word| word.parse().map_err(invalid("Hosts"))).collect::<Result<_, _>>()?,
        listen: listen.map(|text| text.parse().map_err(invalid("Listener of its own"))).transpose()?,
        protected: fields.text("access") != "public",
        settings: DeploymentSettings {
            forward_authorization: fields.on("forward_authorization"),
            allow_pickle: fields.on("allow_pickle"),
            connect_timeout: duration("connect_timeout", "Connect timeout", defaults.connect_timeout)?,
            first_byte_timeout: duration("first_byte_timeout", "First byte timeout", defaults.first_byte_timeout)?,
            idle_timeout: duration("idle_timeout", "Idle timeout", defaults.idle_timeout)?,
            max_body_bytes: max_body
                .map(|text| parse_size(text).map_err(invalid("Largest request body")))
                .transpose()?,
            cors_origins: fields
                .words("cors_origins")
                .map(|word| word.parse().map_err(invalid("Origins")))
                .collect::<Result<_, _>>()?,
        },
    })
}

fn invalid<E: std::fmt::Display>(label: &'static str) -> impl Fn(E) -> ApiError {
    move |error| ApiError::invalid(format!("{label}: {error}"))
}

fn values_of_settings(settings: &DeploymentSettings) -> FormValues {
    FormValues {
        cors_origins: settings.cors_origins.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"),
        connect_timeout: format_duration(settings.connect_timeout),
        first_byte_timeout: format_duration(settings.first_byte_timeout),
        idle_timeout: format_duration(settings.idle_timeout),
        max_body: settings.max_body_bytes.map(|bytes| bytes.to_string()).unwrap_or_default(),
        forward_authorization: settings.forward_authorization,
        allow_pickle: settings.allow_pickle,
        ..FormValues::default()
    }
}

fn again(visitor: &SignedIn, new: bool, fields: &Fields, error: &ApiError) -> PageResult {
    let text = |name: &str| fields.text(name).to_owned();
    let values = FormValues {
        name: text("name"),
        upstreams: text("upstreams"),
        hosts: text("hosts"),
        listen: text("listen"),
        public: fields.text("access") == "public",
        cors_origins: text("cors_origins"),
        connect_timeout: text("connect_timeout"),
        first_byte_timeout: text("first_byte_timeout"),
        idle_timeout: text("idle_timeout"),
        max_body: text("max_body"),
        forward_authorization: fields.on("forward_authorization"),
        allow_pickle: fields.on("allow_pickle"),
    };
    form_page(visitor, error.status(), new, values, Some(sentence(error.text())))
}

fn form_page(
    visitor: &SignedIn,
    status: StatusCode,
    new: bool,
    values: FormValues,
    problem: Option<String>,
) -> PageResult {
    Ok(page::rendered(status, &DeploymentForm { shell: Shell::new(visitor, "deployments"), new, values, problem }))
}
