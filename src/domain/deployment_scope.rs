//! A scope that opens Deployments: which of them, and which of their routes.

use std::fmt;

use super::{
    deployment::DeploymentName,
    narrowing::{Asked, Narrowing, NotNarrowing},
};

/// Its text is that of its parts, behind `deployment:`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeploymentScope {
    pub pattern: DeploymentPattern,
    pub routes: Routes,
    /// `None`: all of these routes. Boxed, as it is rare and large.
    pub narrowing: Option<Box<Narrowing>>,
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

/// Which routes of the Deployments a scope opens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Routes {
    /// Those that the Deployment's [`Preset`](super::preset::Preset) leaves open.
    Open,
    /// `deployment:summarization:operations`: those that it closes, too.
    All,
}

/// Why a text opens no Deployment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotDeploymentScope {
    Pattern,
    Narrowing(NotNarrowing),
}

impl DeploymentScope {
    /// It opens what the preset leaves open of these Deployments, by any method.
    pub fn of(pattern: DeploymentPattern) -> Self {
        Self { pattern, routes: Routes::Open, narrowing: None }
    }

    /// # Errors
    /// [`NotDeploymentScope`]; each scope has one text.
    pub fn parse(text: &str) -> Result<Self, NotDeploymentScope> {
        let (text, prefix) = match text.find(":/") {
            Some(at) => (&text[..at], Some(&text[at + 1..])),
            None => (text, None),
        };
        let (pattern, behind) = text.split_once(':').map_or((text, None), |(pattern, behind)| (pattern, Some(behind)));
        let pattern = DeploymentPattern::parse(pattern).ok_or(NotDeploymentScope::Pattern)?;
        let (routes, methods) = match behind {
            None => (Routes::Open, None),
            Some("operations") => (Routes::All, None),
            Some(behind) => match behind.strip_prefix("operations:") {
                Some(methods) => (Routes::All, Some(methods)),
                None => (Routes::Open, Some(behind)),
            },
        };
        let narrowing = Narrowing::parse(methods, prefix).map_err(NotDeploymentScope::Narrowing)?;
        Ok(Self { pattern, routes, narrowing: narrowing.map(Box::new) })
    }

    /// Whether it opens what is asked for of a Deployment, which need not exist, where `routes` say whether its preset closes
    /// that. `name` of `None`: the request does not say it.
    pub fn opens(&self, name: Option<&str>, routes: Routes, asked: Asked<'_>) -> bool {
        self.routes >= routes
            && self.pattern.matches(name)
            && self.narrowing.as_ref().is_none_or(|narrowing| narrowing.opens(asked))
    }

    /// Whether it opens whatever `other` opens.
    pub fn covers(&self, other: &Self) -> bool {
        let narrowing = match (&self.narrowing, &other.narrowing) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(this), Some(other)) => this.covers(other),
        };
        self.routes >= other.routes && self.pattern.covers(&other.pattern) && narrowing
    }
}

impl DeploymentPattern {
    /// `name` of `None`: one that the request does not say.
    pub fn matches(&self, name: Option<&str>) -> bool {
        match (self, name) {
            (Self::All, _) => true,
            (Self::Prefix(prefix), Some(name)) => name.starts_with(&**prefix),
            (Self::Exact(exact), Some(name)) => exact.as_str() == name,
            (Self::Prefix(_) | Self::Exact(_), None) => false,
        }
    }

    fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::All, _) => true,
            (this, Self::Exact(name)) => this.matches(Some(name.as_str())),
            (Self::Prefix(this), Self::Prefix(other)) => other.starts_with(&**this),
            (Self::Prefix(_) | Self::Exact(_), _) => false,
        }
    }

    fn parse(text: &str) -> Option<Self> {
        match text.strip_suffix('*') {
            Some("") => Some(Self::All),
            Some(prefix) => DeploymentName::is_name_prefix(prefix).then(|| Self::Prefix(prefix.into())),
            None => text.parse().ok().map(Self::Exact),
        }
    }
}

impl Routes {
    /// What stands behind the pattern.
    pub const fn suffix(self) -> &'static str {
        match self {
            Self::Open => "",
            Self::All => ":operations",
        }
    }
}

impl fmt::Display for DeploymentScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.pattern {
            DeploymentPattern::All => f.write_str("*"),
            DeploymentPattern::Prefix(prefix) => write!(f, "{prefix}*"),
            DeploymentPattern::Exact(name) => f.write_str(name.as_str()),
        }?;
        f.write_str(self.routes.suffix())?;
        self.narrowing.as_ref().map_or(Ok(()), |narrowing| narrowing.fmt(f))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn scope(text: &str) -> DeploymentScope {
        DeploymentScope::parse(text).unwrap()
    }

    #[test]
    fn what_covers_what() {
        let ladder = [
            "*:operations",
            "*",
            "a*",
            "a",
            "a:/v1",
            "a:GET,POST:/v1",
            "a:GET:/v1",
            "a:GET:/v1/models",
            "a:HEAD:/v1/models",
        ];
        for (at, wide) in ladder.iter().enumerate() {
            for (below, narrow) in ladder.iter().enumerate() {
                assert_eq!(scope(wide).covers(&scope(narrow)), at <= below, "{wide} {narrow}");
            }
        }
        for (one, other) in [
            ("a", "b"),
            ("a*", "b*"),
            ("ab", "a*"),
            ("a", "a:operations"),
            ("a:GET", "a:POST"),
            ("a:/v1", "a:/v2"),
            ("a:/v1", "a:/v11"),
            ("a:/v1", "a:GET"),
            ("*:GET", "a"),
            ("*:GET", "a:operations:GET"),
            ("a:operations:GET", "a"),
        ] {
            assert!(!scope(one).covers(&scope(other)), "{one} {other}");
        }
        assert!(scope("a:operations").covers(&scope("a:operations:GET:/metrics")));
        assert!(scope("a:operations:GET").covers(&scope("a:GET:/metrics")));
    }

    fn any_scope() -> impl Strategy<Value = DeploymentScope> {
        let text = "(\\*|a|a\\*|ab|ab\\*|b)(:operations)?(:GET|:HEAD|:POST|:GET,POST|:DELETE,GET)?(:/v1|:/v1/models|:/v2|:/v1/models/x)?";
        text.prop_map(|text| scope(&text))
    }

    proptest! {
        #[test]
        fn what_one_covers_it_opens(
            (wide, narrow) in (any_scope(), any_scope()),
            name in proptest::option::of("a|ab|b|abc"),
            closed: bool,
            method in "GET|HEAD|POST|DELETE|PUT|FETCH",
            path in "/|/v1|/v1/|/v11|/v1/models|/v1/models/x|/v1/models/%252e|/v2/x|//v1",
        ) {
            let routes = if closed { Routes::All } else { Routes::Open };
            for asked in [Asked::Route { method: &method, path: &path }, Asked::Everything, Asked::Anything] {
                let [by_wide, by_narrow] = [&wide, &narrow].map(|scope| scope.opens(name.as_deref(), routes, asked));
                prop_assert!(!wide.covers(&narrow) || !by_narrow || by_wide, "{wide} covers {narrow}: {asked:?}");
            }
            prop_assert!(wide.covers(&wide));
        }

        #[test]
        fn whatever_is_read_is_written_so(text in "(\\*|[a-z-]{0,3}\\*?)(:[a-zA-Z,]{0,10}|:operations|:GET)?(:operations|:GET|:GET,POST)?(:?/[a-z:/]{0,6})?") {
            if let Ok(scope) = DeploymentScope::parse(&text) {
                prop_assert_eq!(scope.to_string(), text);
            }
        }
    }
}
