//! What a token may do: a set of scopes, never empty.

use std::{fmt, str::FromStr};

use serde::{Serialize, Serializer};

use super::{
    deployment::DeploymentName,
    deployment_scope::{DeploymentPattern, DeploymentScope, NotDeploymentScope, Routes},
    narrowing::{Asked, NotNarrowing},
};

/// One right. Its text form is what `bentoml api-token create --scope` sends.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// Developer Operations Access: the management API as the token's owner.
    Api,
    /// Reading tokens and users.
    ReadOrganization,
    /// Writing tokens and users.
    WriteOrganization,
    /// Reading Deployments.
    ReadCluster,
    /// Writing Deployments.
    WriteCluster,
    /// Protected Endpoint Access.
    Deployment(DeploymentScope),
    /// One that only a later release knows, in its words. It opens nothing here, and nobody grants it.
    Unknown(Box<str>),
}

/// How many narrow scopes a sentence lists.
const MANY: usize = 5;

/// The scopes of one token: at least one, sorted, none twice.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ScopeSet(Box<[Scope]>);

/// A scope that cannot be read. The text is the caller's, so it is printed escaped.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidScope {
    #[error(
        "{0:?} is not a scope; expected api, read_organization, write_organization, read_cluster, write_cluster, \
         deployment:NAME, deployment:PREFIX* or deployment:*, the latter also with :operations, methods (:GET,POST) and a path \
         (:/v1/models) behind it"
    )]
    Unknown(String),
    #[error("{0:?} is not a scope: {1}")]
    Narrowing(String, NotNarrowing),
}

/// Why a list of scopes is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidScopeSet {
    #[error("a token without any scope could do nothing; give at least one, for example deployment:* or api")]
    Empty,
    #[error(transparent)]
    Scope(#[from] InvalidScope),
}

impl Scope {
    /// Whether whoever has this scope may do all that `other` allows.
    pub fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Deployment(this), Self::Deployment(other)) => this.covers(other),
            (Self::Api, other) => !matches!(other, Self::Deployment(_) | Self::Unknown(_)),
            (Self::WriteOrganization, Self::ReadOrganization) | (Self::WriteCluster, Self::ReadCluster) => true,
            (this, other) => this == other,
        }
    }

    /// Whether it is a right at the management API.
    pub fn is_of_management(&self) -> bool {
        !matches!(self, Self::Deployment(_) | Self::Unknown(_))
    }

    /// Whether it opens some routes of Deployments only.
    pub fn is_narrow(&self) -> bool {
        matches!(self, Self::Deployment(DeploymentScope { narrowing: Some(_), .. }))
    }
}

impl ScopeSet {
    /// # Errors
    /// [`InvalidScopeSet::Empty`] if there is none.
    pub fn new(scopes: impl IntoIterator<Item = Scope>) -> Result<Self, InvalidScopeSet> {
        let mut scopes: Vec<Scope> = scopes.into_iter().collect();
        scopes.sort();
        scopes.dedup();
        if scopes.is_empty() { Err(InvalidScopeSet::Empty) } else { Ok(Self(scopes.into())) }
    }

    /// # Errors
    /// [`InvalidScopeSet`] if the list is empty or one of the texts is not a scope.
    pub fn parse<T: AsRef<str>>(texts: impl IntoIterator<Item = T>) -> Result<Self, InvalidScopeSet> {
        let scopes: Result<Vec<Scope>, InvalidScope> = texts.into_iter().map(|text| text.as_ref().parse()).collect();
        Self::new(scopes?)
    }

    /// What the store has. A gateway of a later release may have written it.
    ///
    /// # Errors
    /// [`InvalidScopeSet::Empty`].
    pub fn from_stored(texts: impl IntoIterator<Item = String>) -> Result<Self, InvalidScopeSet> {
        Self::new(texts.into_iter().map(|text| text.parse().unwrap_or_else(|_| Scope::Unknown(text.into()))))
    }

    pub fn iter(&self) -> impl Iterator<Item = &Scope> {
        self.0.iter()
    }

    /// Whether anything of the Deployment called `name` may be called. It need not exist.
    pub fn opens_deployment(&self, name: &str) -> bool {
        self.opening(Some(name), Routes::Open, Asked::Anything).is_some()
    }

    /// The scope that opens what is asked for, as [`DeploymentScope::opens`] says: one that opens all such routes, if there is
    /// one.
    pub fn opening(&self, name: Option<&str>, routes: Routes, asked: Asked<'_>) -> Option<&Scope> {
        let mut narrow = None;
        for scope in self.iter() {
            match scope {
                Scope::Deployment(of) if of.opens(name, routes, asked) => match of.narrowing {
                    None => return Some(scope),
                    Some(_) => narrow = narrow.or(Some(scope)),
                },
                _ => {}
            }
        }
        narrow
    }

    /// For a sentence: what narrow scopes open of it.
    pub fn narrow_routes(&self, name: Option<&str>) -> String {
        let of_it = self.of_deployments().filter(|of| of.pattern.matches(name));
        let mut routes: Vec<String> = of_it.filter_map(|of| Some(of.narrowing.as_ref()?.in_words())).collect();
        let more = if routes.len() > MANY { " and more" } else { "" };
        routes.truncate(MANY);
        routes.join(" and ") + more
    }

    /// Whether it opens closed routes of any Deployment.
    pub fn has_operations(&self) -> bool {
        self.of_deployments().any(|of| of.routes == Routes::All)
    }

    /// The Deployments that exact scopes name.
    pub fn exact_deployments(&self) -> impl Iterator<Item = &DeploymentName> {
        self.of_deployments().filter_map(|of| match &of.pattern {
            DeploymentPattern::Exact(name) => Some(name),
            DeploymentPattern::All | DeploymentPattern::Prefix(_) => None,
        })
    }

    /// The set without the exact scopes for `name`. `None` if nothing would be left.
    pub fn without_exact(&self, name: &DeploymentName) -> Option<Self> {
        let ended = |scope: &Scope| matches!(scope, Scope::Deployment(DeploymentScope { pattern: DeploymentPattern::Exact(exact), .. }) if exact == name);
        Self::new(self.iter().filter(|scope| !ended(scope)).cloned()).ok()
    }

    fn of_deployments(&self) -> impl Iterator<Item = &DeploymentScope> {
        self.iter().filter_map(|scope| match scope {
            Scope::Deployment(of) => Some(of),
            _ => None,
        })
    }
}

// === text ===

impl FromStr for Scope {
    type Err = InvalidScope;

    fn from_str(text: &str) -> Result<Self, InvalidScope> {
        let unknown = || InvalidScope::Unknown(text.to_owned());
        match text {
            "api" => Ok(Self::Api),
            "read_organization" => Ok(Self::ReadOrganization),
            "write_organization" => Ok(Self::WriteOrganization),
            "read_cluster" => Ok(Self::ReadCluster),
            "write_cluster" => Ok(Self::WriteCluster),
            _ => match DeploymentScope::parse(text.strip_prefix("deployment:").ok_or_else(unknown)?) {
                Ok(of) => Ok(Self::Deployment(of)),
                Err(NotDeploymentScope::Pattern) => Err(unknown()),
                Err(NotDeploymentScope::Narrowing(reason)) => Err(InvalidScope::Narrowing(text.to_owned(), reason)),
            },
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Api => f.write_str("api"),
            Self::ReadOrganization => f.write_str("read_organization"),
            Self::WriteOrganization => f.write_str("write_organization"),
            Self::ReadCluster => f.write_str("read_cluster"),
            Self::WriteCluster => f.write_str("write_cluster"),
            Self::Deployment(of) => write!(f, "deployment:{of}"),
            Self::Unknown(text) => f.write_str(text),
        }
    }
}

impl fmt::Display for ScopeSet {
    /// Separated by spaces, as RFC 6750 § 3 writes them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, scope) in self.iter().enumerate() {
            if at > 0 {
                f.write_str(" ")?;
            }
            scope.fmt(f)?;
        }
        Ok(())
    }
}

impl Serialize for ScopeSet {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter().map(Scope::to_string))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A release before the one that has written them keeps them, and goes on with all the others.
    #[test]
    fn what_only_a_later_release_knows_opens_nothing() {
        let texts = ["deployment:a:WHISPER", "admin", "api", "deployment:b"].map(str::to_owned);
        let set = ScopeSet::from_stored(texts.clone()).unwrap();
        let mut written: Vec<String> = set.iter().map(Scope::to_string).collect();
        written.sort();
        let mut expected = texts.to_vec();
        expected.sort();
        assert_eq!(written, expected);
        assert!(!set.opens_deployment("a") && set.opens_deployment("b") && !set.has_operations());
        let alone = ScopeSet::from_stored(["admin".to_owned()]).unwrap();
        assert!(!alone.opens_deployment("admin"));
        let unknown = alone.iter().next().unwrap();
        assert!(set.iter().all(|scope| scope.covers(unknown) == (scope == unknown)));
        assert!(!unknown.covers(&Scope::Api) && unknown.to_string().parse::<Scope>().is_err());
        assert_eq!(ScopeSet::from_stored([]), Err(InvalidScopeSet::Empty));
    }

    #[test]
    fn what_each_scope_opens() {
        let table: &[(&[&str], &str, bool)] = &[
            (&["deployment:*"], "summarization", true),
            (&["deployment:*", "api"], "anything-at-all", true),
            (&["deployment:summarization"], "summarization", true),
            (&["deployment:summarization"], "summarization2", false),
            (&["deployment:summarization"], "summarizatio", false),
            (&["deployment:team-*"], "team-a", true),
            (&["deployment:team-*"], "team-", true),
            (&["deployment:team-*"], "team", false),
            (&["deployment:team-*"], "other-team-a", false),
            (&["deployment:a", "deployment:b"], "b", true),
            (&["deployment:a", "deployment:b"], "c", false),
            (&["api"], "summarization", false),
            (&["read_organization", "write_organization", "read_cluster", "write_cluster"], "summarization", false),
        ];
        for (scopes, name, expected) in table {
            let set = ScopeSet::parse(*scopes).unwrap();
            assert_eq!(set.opens_deployment(name), *expected, "{scopes:?} for {name}");
            assert!(
                set.opening(Some(name), Routes::All, Asked::Anything).is_none() && !set.has_operations(),
                "{scopes:?} for {name}"
            );
        }
    }

    #[test]
    fn closed_routes_take_a_scope_that_says_so() {
        let table: &[(&[&str], &str, bool, bool)] = &[
            (&["deployment:a:operations"], "a", true, true),
            (&["deployment:a:operations"], "b", false, false),
            (&["deployment:*:operations"], "a", true, true),
            (&["deployment:team-*:operations"], "team-a", true, true),
            (&["deployment:team-*:operations"], "other", false, false),
            (&["deployment:*", "deployment:a:operations"], "a", true, true),
            (&["deployment:*", "deployment:a:operations"], "b", true, false),
            (&["api", "deployment:operations"], "operations", true, false),
        ];
        for (scopes, name, opens, closed_ones) in table {
            let set = ScopeSet::parse(*scopes).unwrap();
            assert_eq!(
                (set.opens_deployment(name), set.opening(Some(*name), Routes::All, Asked::Everything).is_some()),
                (*opens, *closed_ones),
                "{scopes:?}"
            );
        }
        let both = ScopeSet::parse(["deployment:*", "deployment:a:operations"]).unwrap();
        let opening = |routes| both.opening(Some("a"), routes, Asked::Everything).unwrap().to_string();
        assert_eq!(opening(Routes::Open), "deployment:*");
        assert_eq!(opening(Routes::All), "deployment:a:operations");
    }

    #[test]
    fn narrow_scopes_open_together() {
        let route = |method, path| Asked::Route { method, path };
        let set = ScopeSet::parse(["deployment:a:GET:/v1", "deployment:*:POST:/v1/chat", "deployment:b"]).unwrap();
        let opens = |name, method, path| set.opening(name, Routes::Open, route(method, path)).map(Scope::to_string);
        assert_eq!(opens(Some("a"), "GET", "/v1/x").unwrap(), "deployment:a:GET:/v1");
        assert_eq!(opens(Some("a"), "POST", "/v1/chat").unwrap(), "deployment:*:POST:/v1/chat");
        assert_eq!(opens(Some("a"), "POST", "/v1/x"), None);
        assert_eq!(opens(Some("c"), "GET", "/v1/x"), None);
        assert_eq!(opens(None, "POST", "/v1/chat/x").unwrap(), "deployment:*:POST:/v1/chat");
        // What opens everything is named first.
        assert_eq!(opens(Some("b"), "POST", "/v1/chat").unwrap(), "deployment:b");
        assert!(set.opens_deployment("c") && !ScopeSet::parse(["deployment:a:GET"]).unwrap().opens_deployment("c"));
        assert_eq!(set.narrow_routes(Some("a")), "POST below /v1/chat and GET below /v1");
        assert_eq!(set.narrow_routes(Some("c")), "POST below /v1/chat");
        let many = ["GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"].map(|method| format!("deployment:a:{method}"));
        let many = ScopeSet::parse(many).unwrap();
        assert_eq!(many.narrow_routes(Some("a")), "HEAD and GET and OPTIONS and PATCH and POST and more");
        let removed =
            ScopeSet::parse(["deployment:a:GET:/v1", "deployment:a:operations:/metrics", "deployment:b:GET"]).unwrap();
        assert_eq!(removed.without_exact(&"a".parse().unwrap()).unwrap().to_string(), "deployment:b:GET");
    }

    #[test]
    fn an_error_says_what_is_expected() {
        let error = |text: &str| text.parse::<Scope>().unwrap_err().to_string();
        assert!(error("deployment:A:GET").contains("expected api"));
        assert!(error("deployment:a:POST,GET").contains("DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT, in this order"));
        assert!(error("deployment:a:/v1/").contains("ends with none"));
    }

    #[test]
    fn what_is_not_a_scope() {
        for text in [
            "",
            " ",
            "API",
            "api ",
            "deployment",
            "deployment:",
            "deployment:*a",
            "deployment:**",
            "deployment:A",
            "deployment:a b",
            "deployment:-a",
            "deployment:a/b",
            "deployment:a,deployment:b",
            "admin",
            "*",
            "deployment:-*",
            "deployment:a:",
            "deployment:a:Operations",
            "deployment:a:operations:operations",
            "deployment::operations",
            "deployment:a:operations*",
            "deployment:a:GET:operations",
            "deployment:a:/v1:GET ",
            "deployment:a:GET:POST",
            "deployment:a:GET:",
            "deployment:a:",
            "deployment:a/v1",
            "deployment:/v1",
            "api:GET",
            "read_cluster:/v1",
        ] {
            assert!(text.parse::<Scope>().is_err(), "{text:?}");
        }
        assert_eq!(ScopeSet::parse::<&str>([]), Err(InvalidScopeSet::Empty));
    }

    #[test]
    fn ending_an_exact_scope_leaves_the_others() {
        let name: DeploymentName = "a".parse().unwrap();
        let both = ScopeSet::parse(["deployment:a", "deployment:b"]).unwrap();
        assert_eq!(both.without_exact(&name).unwrap().to_string(), "deployment:b");
        assert_eq!(ScopeSet::parse(["deployment:a"]).unwrap().without_exact(&name), None);
        let wide = ScopeSet::parse(["deployment:a*"]).unwrap();
        assert_eq!(wide.without_exact(&name), Some(wide.clone()));
        let closed = ScopeSet::parse(["deployment:a", "deployment:a:operations", "api"]).unwrap();
        assert_eq!(closed.without_exact(&name).unwrap().to_string(), "api");
    }

    proptest! {
        #[test]
        fn a_scope_reads_back(text in "(api|deployment:([a-z0-9]([a-z0-9-]{0,8}[a-z0-9])?\\*?|\\*)(:operations)?(:GET|:HEAD,POST|:GET,PUT)?(:/[a-z]{1,3}(/[a-z:.@]{0,3}[a-z])?)?)") {
            prop_assert_eq!(text.parse::<Scope>().unwrap().to_string(), text);
        }

        #[test]
        fn arbitrary_text_never_widens(text in "\\PC{0,20}", name in "[a-z0-9]{1,8}") {
            if let Ok(set) = ScopeSet::parse([&text]) && set.opens_deployment(&name) {
                let pattern = text.strip_prefix("deployment:").unwrap();
                let pattern = pattern.split(':').next().unwrap();
                let expected = pattern == name || pattern.strip_suffix('*').is_some_and(|prefix| name.starts_with(prefix));
                prop_assert!(expected);
            }
        }
    }
}
