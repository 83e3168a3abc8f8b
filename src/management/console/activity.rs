//! The audit trail, in sentences. Members see what they did themselves.

use std::collections::HashMap;

use askama::Template;
use axum::{extract::Query, http::StatusCode};
use serde::Deserialize;
use serde_json::Value;
use uuid::Uuid;

use super::{
    page::rendered,
    rejection::PageResult,
    shell::Shell,
    visitor::SignedIn,
    words::{Moment, exact},
};
use crate::{
    domain::{
        audit_chain::Facts,
        timestamp::Timestamp,
        token::TokenUid,
        user::{User, UserId},
    },
    management::error::ApiError,
    store::{EventFilter, StoredEvent},
};

const PER_PAGE: u32 = 50;
/// The filter: the prefix of the actions, and its label.
const KINDS: [(&str, &str); 7] = [
    ("", "All activity"),
    ("token.", "Tokens"),
    ("deployment.", "Deployments"),
    ("user.", "Users"),
    ("session.", "Sign-ins"),
    ("browser.", "Browser sessions"),
    ("change.", "Refused changes"),
];

#[derive(Template)]
#[template(path = "console/activity.html")]
struct ActivityPage {
    shell: Shell,
    kinds: Vec<(&'static str, &'static str, bool)>,
    people: Vec<(String, String, bool)>,
    target: String,
    events: Vec<EventRow>,
    older: Option<String>,
}

struct EventRow {
    at: Moment,
    who: String,
    what: String,
    /// What was acted on, with the page that shows it if there is one.
    object: String,
    link: Option<String>,
    detail: String,
}

#[derive(Deserialize, Default)]
pub struct ActivityQuery {
    #[serde(default)]
    kind: String,
    #[serde(default)]
    who: String,
    #[serde(default)]
    target: String,
    #[serde(default)]
    before: String,
}

pub async fn list(visitor: SignedIn, Query(query): Query<ActivityQuery>) -> PageResult {
    let kind = KINDS.iter().find(|(kind, _)| *kind == query.kind).map_or("", |(kind, _)| kind);
    let actor = if visitor.is_admin() { Uuid::try_parse(&query.who).ok().map(UserId) } else { Some(visitor.user.id) };
    let filter = EventFilter {
        action: kind.to_owned(),
        actor,
        target: query.target.trim().to_owned(),
        before: Uuid::try_parse(&query.before).ok(),
        limit: PER_PAGE + 1,
        ..EventFilter::default()
    };
    let mut events = visitor.store().events(&filter).await?;
    let more = events.len() > PER_PAGE as usize;
    events.truncate(PER_PAGE as usize);
    let older = events.last().filter(|_| more).map(|last| {
        let pairs = [
            ("kind", kind),
            ("who", &*query.who),
            ("target", query.target.trim()),
            ("before", &last.facts.id.to_string()),
        ];
        format!("/activity?{}", serde_urlencoded::to_string(pairs).unwrap_or_default())
    });
    let everyone = if visitor.is_admin() { visitor.store().list_users().await? } else { vec![visitor.user.clone()] };
    let names = AuditNames::of(&visitor, &everyone, &events).await?;
    let person = |user: &User| (user.id.to_string(), user.email.to_string(), actor == Some(user.id));
    let page = ActivityPage {
        shell: Shell::new(&visitor, "activity"),
        kinds: KINDS.iter().map(|(value, label)| (*value, *label, *value == kind)).collect(),
        people: everyone.iter().map(person).collect(),
        target: filter.target.clone(),
        events: events.iter().map(|event| names.row(&event.facts, &visitor)).collect(),
        older,
    };
    Ok(rendered(StatusCode::OK, &page))
}

/// The names of the users and tokens whose ids are in the audit trail, as far as the visitor may see them.
struct AuditNames {
    users: HashMap<String, String>,
    tokens: HashMap<String, String>,
    admin: bool,
}

impl AuditNames {
    async fn of(visitor: &SignedIn, everyone: &[User], events: &[StoredEvent]) -> Result<Self, ApiError> {
        let users = everyone.iter().map(|user| (user.id.to_string(), user.email.to_string())).collect();
        let of_tokens = |event: &&Facts| event.action.starts_with("token.") || event.action.starts_with("browser.");
        let uids: Vec<TokenUid> = events
            .iter()
            .map(|event| &event.facts)
            .filter(of_tokens)
            .filter_map(|event| event.target.parse().ok())
            .collect();
        let owner = (!visitor.is_admin()).then_some(visitor.user.id);
        let tokens = visitor.store().names_of(&uids, owner).await?;
        let tokens = tokens.into_iter().map(|(uid, name)| (uid.to_string(), name)).collect();
        Ok(Self { users, tokens, admin: visitor.is_admin() })
    }

    fn row(&self, event: &Facts, visitor: &SignedIn) -> EventRow {
        let who = match (event.actor_kind.as_str(), event.actor) {
            ("user", Some(id)) => self.users.get(&id.to_string()).cloned().unwrap_or_else(|| id.to_string()),
            ("cli", _) => "The CLI".to_owned(),
            _ => "The gateway".to_owned(),
        };
        let kind = event.action.split('.').next();
        // Whoever is no admin any more has done things to what is others', and the admins'.
        let seen = self.admin || self.users.contains_key(&event.target) || self.tokens.contains_key(&event.target);
        let (object, link) = match kind {
            Some("token" | "browser" | "user" | "session" | "login") if !seen => ("(not yours)".to_owned(), None),
            _ => self.object(event),
        };
        EventRow {
            at: Moment::new(event.at, visitor.now),
            what: verb(&event.action).to_owned(),
            detail: if seen || kind == Some("change") { detail(&event.detail, &event.action) } else { String::new() },
            who,
            object,
            link,
        }
    }

    fn object(&self, event: &Facts) -> (String, Option<String>) {
        let target = &event.target;
        let own = matches!(event.actor, Some(id) if id.to_string() == *target);
        match event.action.split('.').next() {
            Some("token" | "browser") => {
                let name = self.tokens.get(target).cloned().unwrap_or_else(|| target.clone());
                (name, Some(format!("/api_tokens/{target}")))
            }
            Some("deployment") => (target.clone(), Some(format!("/deployments/{target}"))),
            Some("expiry") => (String::new(), None),
            Some("change") => (target.clone(), None),
            Some("session") if target.is_empty() => ("an unknown account".to_owned(), None),
            Some("user" | "session" | "login") if own => (String::new(), None),
            _ => (self.users.get(target).cloned().unwrap_or_else(|| target.clone()), None),
        }
    }
}

/// Stands between actor and object.
fn verb(action: &str) -> &str {
    match action {
        "gateway.bootstrapped" => "set up the organization",
        "token.created" => "created the token",
        "token.updated" => "updated the token",
        "token.revoked" => "deleted the token",
        "token.rotated" => "rotated the token",
        "expiry.recorded" => "wrote down what has expired",
        "deployment.added" => "added the Deployment",
        "deployment.updated" => "updated the Deployment",
        "deployment.terminated" => "terminated the Deployment",
        "deployment.started" => "started the Deployment",
        "deployment.removed" => "removed the Deployment",
        "user.created" => "created the user",
        "user.updated" => "updated the user",
        "user.password_set" => "set a password",
        "user.disabled" => "disabled the user",
        "user.enabled" => "enabled the user",
        "user.invited" => "created an invitation for",
        "user.invitation_accepted" => "accepted an invitation",
        "user.identity_linked" => "linked a single sign-on account",
        "session.signed_in" => "signed in",
        "session.signed_out" => "signed out",
        "session.all_ended" => "signed out everywhere",
        "browser.signed_in" => "started a browser session with the token",
        "browser.signed_out" => "ended a browser session of the token",
        "session.refused" => "refused sign-ins to",
        "change.refused" => "was refused a change:",
        "login.approved" => "approved a CLI login",
        "login.refused" => "denied a CLI login",
        other => other,
    }
}

/// The facts that are worth showing.
fn detail(detail: &Value, action: &str) -> String {
    let text = |key: &str| match &detail[key] {
        Value::String(text) => Some(Timestamp::parse(text).map_or_else(|| text.clone(), exact)),
        Value::Number(number) => Some(number.to_string()),
        Value::Array(items) => Some(items.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(", ")),
        _ => None,
    };
    let facts: &[(&str, &str)] = match action {
        "token.created" | "token.updated" => &[("scopes", "scopes"), ("expires_at", "expires")],
        "expiry.recorded" => &[("tokens", "tokens")],
        "token.rotated" => &[("old_until", "old secret expires")],
        "deployment.added" | "deployment.updated" => &[("upstreams", "upstreams")],
        "user.created" | "user.updated" => &[("role", "role")],
        "session.signed_in" => &[("method", "method"), ("address", "IP address")],
        "browser.signed_in" => &[("deployment", "Deployment")],
        "login.approved" => &[("scopes", "scopes")],
        "session.refused" => &[("attempts", "attempts"), ("method", "method"), ("addresses", "IP addresses")],
        "change.refused" => &[("attempts", "attempts"), ("addresses", "IP addresses")],
        _ => &[],
    };
    let shown: Vec<String> = facts
        .iter()
        .filter_map(|(key, label)| text(key).filter(|text| !text.is_empty()).map(|text| format!("{label}: {text}")))
        .collect();
    shown.join(" · ")
}
