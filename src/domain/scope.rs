//! What a token may do: a set of scopes, never empty.

use std::{fmt, str::FromStr};

use serde::{Serialize, Serializer};

use super::deployment::DeploymentName;

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
    Deployment(DeploymentPattern, Routes),
}

/// Which routes of the Deployments a scope opens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Routes {
    /// Those that the Deployment's [`Preset`](super::preset::Preset) leaves open.
    Open,
    /// `deployment:summarization:operations`: those that it closes, too.
    All,
}

/// Which Deployments a scope opens.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DeploymentPattern {
    /// `deployment:*`, All Deployments.
    All,
    /// `deployment:team-*`: every name that begins with `team-`.
    Prefix(Box<str>),
    /// `deployment:summarization`.
    Exact(DeploymentName),
}

/// The scopes of one token: at least one, sorted, none twice.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ScopeSet(Box<[Scope]>);

/// A scope that cannot be read. The text is the caller's, so it is printed escaped.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{text:?} is not a scope; expected api, read_organization, write_organization, read_cluster, write_cluster, \
     deployment:NAME, deployment:PREFIX* or deployment:*, each also with :operations behind it"
)]
pub struct InvalidScope {
    text: String,
}

/// Why a list of scopes is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidScopeSet {
    #[error("a token without any scope could do nothing; give at least one, for example deployment:* or api")]
    Empty,
    #[error(transparent)]
    Scope(#[from] InvalidScope),
}

impl DeploymentPattern {
    pub fn matches(&self, name: &str) -> bool {
        match self {
            Self::All => true,
            Self::Prefix(prefix) => name.starts_with(&**prefix),
            Self::Exact(exact) => exact.as_str() == name,
        }
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

    pub fn iter(&self) -> impl Iterator<Item = &Scope> {
        self.0.iter()
    }

    /// Whether the Deployment called `name` may be called. It need not exist.
    pub fn opens_deployment(&self, name: &str) -> bool {
        self.opening(name, Routes::Open).is_some()
    }

    /// Whether its closed routes may be called, too.
    pub fn opens_closed_routes(&self, name: &str) -> bool {
        self.opening(name, Routes::All).is_some()
    }

    /// The first scope that opens these routes of it.
    pub fn opening(&self, name: &str, asked: Routes) -> Option<&Scope> {
        let opens = |scope: &&Scope| matches!(scope, Scope::Deployment(pattern, routes) if *routes >= asked && pattern.matches(name));
        self.iter().find(opens)
    }

    /// Whether it opens closed routes of any Deployment.
    pub fn has_operations(&self) -> bool {
        self.iter().any(|scope| matches!(scope, Scope::Deployment(_, Routes::All)))
    }

    /// Whether every Deployment may be called, also one whose name the request does not say.
    pub fn opens_all_deployments(&self) -> bool {
        self.patterns().any(|pattern| *pattern == DeploymentPattern::All)
    }

    /// The Deployments that exact scopes name.
    pub fn exact_deployments(&self) -> impl Iterator<Item = &DeploymentName> {
        self.patterns().filter_map(|pattern| match pattern {
            DeploymentPattern::Exact(name) => Some(name),
            DeploymentPattern::All | DeploymentPattern::Prefix(_) => None,
        })
    }

    /// The set without the exact scopes for `name`. `None` if nothing would be left.
    pub fn without_exact(&self, name: &DeploymentName) -> Option<Self> {
        let ended =
            |scope: &Scope| matches!(scope, Scope::Deployment(DeploymentPattern::Exact(exact), _) if exact == name);
        Self::new(self.iter().filter(|scope| !ended(scope)).cloned()).ok()
    }

    fn patterns(&self) -> impl Iterator<Item = &DeploymentPattern> {
        self.iter().filter_map(|scope| match scope {
            Scope::Deployment(pattern, _) => Some(pattern),
            _ => None,
        })
    }
}

// === text ===

impl FromStr for Scope {
    type Err = InvalidScope;

    fn from_str(text: &str) -> Result<Self, InvalidScope> {
        let invalid = || InvalidScope { text: text.to_owned() };
        match text {
            "api" => Ok(Self::Api),
            "read_organization" => Ok(Self::ReadOrganization),
            "write_organization" => Ok(Self::WriteOrganization),
            "read_cluster" => Ok(Self::ReadCluster),
            "write_cluster" => Ok(Self::WriteCluster),
            _ => {
                let text = text.strip_prefix("deployment:").ok_or_else(invalid)?;
                let (pattern, routes) = match text.strip_suffix(Routes::All.suffix()) {
                    Some(pattern) => (pattern, Routes::All),
                    None => (text, Routes::Open),
                };
                let pattern = DeploymentPattern::parse(pattern).ok_or_else(invalid)?;
                Ok(Self::Deployment(pattern, routes))
            }
        }
    }
}

impl Routes {
    /// What the scope's text ends with.
    pub const fn suffix(self) -> &'static str {
        match self {
            Self::Open => "",
            Self::All => ":operations",
        }
    }
}

impl DeploymentPattern {
    fn parse(text: &str) -> Option<Self> {
        match text.strip_suffix('*') {
            Some("") => Some(Self::All),
            Some(prefix) => DeploymentName::is_name_prefix(prefix).then(|| Self::Prefix(prefix.into())),
            None => text.parse().ok().map(Self::Exact),
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
            Self::Deployment(pattern, routes) => {
                match pattern {
                    DeploymentPattern::All => f.write_str("deployment:*"),
                    DeploymentPattern::Prefix(prefix) => write!(f, "deployment:{prefix}*"),
                    DeploymentPattern::Exact(name) => write!(f, "deployment:{name}"),
                }?;
                f.write_str(routes.suffix())
            }
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
            assert!(!set.opens_closed_routes(name) && !set.has_operations(), "{scopes:?} for {name}");
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
                (set.opens_deployment(name), set.opens_closed_routes(name)),
                (*opens, *closed_ones),
                "{scopes:?}"
            );
        }
        let both = ScopeSet::parse(["deployment:*", "deployment:a:operations"]).unwrap();
        assert_eq!(both.opening("a", Routes::Open).unwrap().to_string(), "deployment:*");
        assert_eq!(both.opening("a", Routes::All).unwrap().to_string(), "deployment:a:operations");
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
        fn a_scope_reads_back(text in "(api|deployment:([a-z0-9]([a-z0-9-]{0,8}[a-z0-9])?\\*?|\\*)(:operations)?)") {
            prop_assert_eq!(text.parse::<Scope>().unwrap().to_string(), text);
        }

        #[test]
        fn arbitrary_text_never_widens(text in "\\PC{0,20}", name in "[a-z0-9]{1,8}") {
            if let Ok(set) = ScopeSet::parse([&text]) && set.opens_deployment(&name) {
                let pattern = text.strip_prefix("deployment:").unwrap();
                let pattern = pattern.strip_suffix(":operations").unwrap_or(pattern);
                let expected = pattern == name || pattern.strip_suffix('*').is_some_and(|prefix| name.starts_with(prefix));
                prop_assert!(expected);
            }
        }
    }
}
