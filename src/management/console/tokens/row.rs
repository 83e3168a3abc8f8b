//! A token as the list and its own page show it.

use std::{collections::HashMap, time::Duration};

use crate::{
    domain::{
        deployment_scope::{DeploymentPattern, DeploymentScope, Routes},
        scope::Scope,
        timestamp::Timestamp,
        token::{TokenRecord, TokenStatus, TokenUid},
        usage::Day,
        user::{User, UserId},
    },
    management::{
        console::{
            visitor::SignedIn,
            words::{Moment, number},
        },
        error::ApiError,
    },
};

/// Usage is shown of so many days.
pub const USAGE_DAYS: i32 = 30;

pub struct Row {
    pub uid: String,
    pub name: String,
    pub description: String,
    pub owner: String,
    pub developer: bool,
    pub endpoint: bool,
    pub scopes: Vec<String>,
    pub created: Moment,
    /// `None`: never.
    pub expires: Option<Moment>,
    pub last_used: Option<Moment>,
    pub status: Status,
    pub usage: String,
}

/// How a token stands, with the class that it is shown by.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Status {
    pub text: &'static str,
    pub class: &'static str,
}

/// What is shown beside the records of tokens.
pub struct TokenListContext {
    owners: HashMap<UserId, User>,
    usage: HashMap<TokenUid, u64>,
    now: Timestamp,
    /// A token that expires within this time stands out.
    notice: Option<Duration>,
}

impl TokenListContext {
    pub async fn read(visitor: &SignedIn, records: &[TokenRecord]) -> Result<Self, ApiError> {
        let owners = visitor.store().users(records.iter().map(|record| record.owner)).await?;
        let Day(today) = Day::from(visitor.now);
        let uids: Vec<TokenUid> = records.iter().map(|record| record.uid).collect();
        let usage = visitor.store().usage_of(&uids, Day(today - USAGE_DAYS + 1)).await?;
        Ok(Self { owners, usage, now: visitor.now, notice: visitor.config.tokens.expiry_notice })
    }

    pub fn row(&self, record: &TokenRecord) -> Row {
        let endpoint = |scope: &Scope| matches!(scope, Scope::Deployment(..));
        let moment = |at: Timestamp| Moment::new(at, self.now);
        Row {
            uid: record.uid.to_string(),
            name: record.name.clone(),
            description: record.description.clone(),
            owner: self.owners.get(&record.owner).map(|user| user.email.to_string()).unwrap_or_default(),
            developer: record.scopes.iter().any(Scope::is_of_management),
            endpoint: record.scopes.iter().any(endpoint),
            scopes: record.scopes.iter().map(scope_label).collect(),
            created: moment(record.created_at),
            expires: record.expires_at.map(moment),
            last_used: record.last_used_at.map(moment),
            status: self.status(record),
            usage: number(self.usage.get(&record.uid).copied().unwrap_or(0)),
        }
    }

    fn status(&self, record: &TokenRecord) -> Status {
        let soon = |at: Timestamp| self.notice.is_some_and(|notice| at.since(self.now) <= notice);
        let (text, class) = match record.status(self.now) {
            TokenStatus::Revoked => ("Deleted", "off"),
            TokenStatus::Expired => ("Expired", "bad"),
            TokenStatus::Active if record.expires_at.is_some_and(soon) => ("Expires soon", "warn"),
            TokenStatus::Active if record.last_used_at.is_none() => ("Never used", "idle"),
            TokenStatus::Active => ("Active", "good"),
        };
        Status { text, class }
    }
}

/// As people call it.
pub fn scope_label(scope: &Scope) -> String {
    match scope {
        Scope::Api => "Developer Operations".to_owned(),
        Scope::Deployment(DeploymentScope {
            pattern: DeploymentPattern::All,
            routes: Routes::Open,
            narrowing: None,
        }) => "All Deployments".to_owned(),
        Scope::Deployment(of) => of.to_string(),
        other => other.to_string(),
    }
}
