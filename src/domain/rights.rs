//! What a token may do to the gateway itself. What it may call is [`decision`](super::decision)'s.
//!
//! Scopes say what a token may do, the role says on whose things. A token never does more than its owner could, and
//! never makes a token that may do more than itself.

use super::{
    code::CodeHash,
    deployment::DeploymentSpec,
    scope::{Scope, ScopeSet},
    timestamp::{DAY, Timestamp},
    token::TokenUid,
    token_text::LookupId,
    user::Role,
};

/// A token's scopes with the role of its owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rights<'a> {
    pub role: Role,
    pub scopes: &'a ScopeSet,
    /// `None`: the token does not expire.
    pub expires_at: Option<Timestamp>,
}

/// Who grants scopes: no verb makes a token that may do more than its grantor. What it says is what was known as the
/// request came; each change asks the store once more.
#[derive(Clone, Copy)]
pub enum Grantor<'a> {
    /// Somebody with access to the store itself.
    Operator,
    Person(Person<'a>),
    Token(Credential<'a>),
    /// The request carries no credential.
    Nobody,
}

/// Somebody who has signed in at the console: they may do all that their role allows.
#[derive(Clone, Copy)]
pub struct Person<'a> {
    pub role: Role,
    pub session: &'a CodeHash,
}

/// A token by the secret that was shown.
#[derive(Clone, Copy)]
pub struct Credential<'a> {
    pub rights: Rights<'a>,
    pub token: TokenUid,
    pub secret: LookupId,
}

/// Why somebody may no longer do what they could when their request came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Lapse {
    #[error("the token or session of this request has ended in the meantime; nothing was changed")]
    Ended,
    #[error(
        "what the token or session of this request may do was changed in the meantime; nothing was changed by the \
         request: make it again"
    )]
    Changed,
}

/// What an operation requires of its caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Permission {
    /// Any live token: its holder may look at that token itself.
    Token,
    /// Developer Operations Access of any kind.
    Management,
    ReadOrganization,
    WriteOrganization,
    ReadCluster,
    /// Writing Deployments, for admins.
    WriteCluster,
    /// Reading what concerns everybody, for admins.
    ReadUsers,
    /// Changing who may do what, for admins with full Developer Operations Access: a narrower scope could widen itself.
    WriteUsers,
}

/// Why an operation is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Forbidden {
    #[error("this token has no Developer Operations Access; it needs the scope api")]
    Management,
    #[error("this token lacks the scope {0}")]
    Scope(Scope),
    #[error("only an admin may do that")]
    Admin,
    #[error("this token may not grant the scope {0}, which it does not have itself; use one with the scope api")]
    Grant(Scope),
    #[error(
        "this token expires at {0}; one that it makes, changes or rotates may not live longer; use a token that does"
    )]
    Outlives(Timestamp),
    #[error("{0} needs the scope api, since it decides who sees callers' requests; this token does not have it")]
    Boundary(&'static str),
}

impl Permission {
    /// The narrowest scope that is enough. `None`: no particular one.
    pub fn scope(self) -> Option<Scope> {
        match self {
            Self::Token | Self::Management => None,
            Self::ReadOrganization | Self::ReadUsers => Some(Scope::ReadOrganization),
            Self::WriteOrganization => Some(Scope::WriteOrganization),
            Self::ReadCluster => Some(Scope::ReadCluster),
            Self::WriteCluster => Some(Scope::WriteCluster),
            Self::WriteUsers => Some(Scope::Api),
        }
    }

    pub fn admin(self) -> bool {
        matches!(self, Self::WriteCluster | Self::ReadUsers | Self::WriteUsers)
    }
}

impl Rights<'_> {
    /// # Errors
    /// The first [`Forbidden`] that applies.
    pub fn allow(&self, permission: Permission) -> Result<(), Forbidden> {
        if permission == Permission::Token {
            return Ok(());
        }
        if !self.scopes.iter().any(|scope| !matches!(scope, Scope::Deployment(_))) {
            return Err(Forbidden::Management);
        }
        if let Some(scope) = permission.scope()
            && !self.has(&scope)
        {
            return Err(Forbidden::Scope(scope));
        }
        if permission.admin() && self.role != Role::Admin { Err(Forbidden::Admin) } else { Ok(()) }
    }

    /// Whether a token with `scopes` may be made, changed or given a new secret. Calling Deployments may be granted by
    /// whoever may write tokens, since that is what those are for.
    ///
    /// # Errors
    /// [`Forbidden::Grant`].
    pub fn grant(&self, scopes: &ScopeSet) -> Result<(), Forbidden> {
        match scopes.iter().find(|scope| !matches!(scope, Scope::Deployment(_)) && !self.has(scope)) {
            Some(scope) => Err(Forbidden::Grant(scope.clone())),
            None => Ok(()),
        }
    }

    /// Whether the scope, or one that implies it, is among them.
    fn has(&self, asked: &Scope) -> bool {
        self.scopes.iter().any(|scope| match (scope, asked) {
            (Scope::Api, _) => true,
            (Scope::WriteOrganization, Scope::ReadOrganization) | (Scope::WriteCluster, Scope::ReadCluster) => true,
            (scope, asked) => scope == asked,
        })
    }
}

impl Grantor<'_> {
    /// As [`Rights::grant`].
    ///
    /// # Errors
    /// [`Forbidden`].
    pub fn grant(&self, scopes: &ScopeSet) -> Result<(), Forbidden> {
        match self {
            Self::Operator | Self::Person(_) => Ok(()),
            Self::Token(token) => token.rights.grant(scopes),
            Self::Nobody => Err(Forbidden::Management),
        }
    }

    /// When the latest ends that it may grant. `None`: there is no such time.
    pub fn latest(&self) -> Option<Timestamp> {
        match self {
            Self::Token(token) => token.rights.expires_at,
            Self::Operator | Self::Person(_) | Self::Nobody => None,
        }
    }

    /// Whether a token may be given rights until `expires_at`; `None`: for ever.
    ///
    /// # Errors
    /// [`Forbidden::Outlives`].
    pub fn grant_until(&self, expires_at: Option<Timestamp>) -> Result<(), Forbidden> {
        match self.latest() {
            Some(latest) if expires_at.is_none_or(|at| at > latest) => Err(Forbidden::Outlives(latest)),
            _ => Ok(()),
        }
    }

    /// Whether a token that exists may be given a new secret or further scopes. A day counts for nothing, so that tokens of
    /// one lifetime that were made one after the other can renew each other.
    ///
    /// # Errors
    /// [`Forbidden::Outlives`].
    pub fn renew_until(&self, expires_at: Option<Timestamp>) -> Result<(), Forbidden> {
        self.grant_until(expires_at.map(|at| at.saturating_sub(DAY)))
    }

    /// Whether a Deployment may become `after`. `before` of `None`: it is added.
    ///
    /// # Errors
    /// [`Forbidden`].
    pub fn shape(&self, before: Option<&DeploymentSpec>, after: &DeploymentSpec) -> Result<(), Forbidden> {
        match (self, boundary(before, after)) {
            (_, Some(what)) => self.weaken(what),
            (Self::Person(Person { role: Role::Member, .. }), None) => Err(Forbidden::Admin),
            (Self::Operator | Self::Person(_) | Self::Token(_), None) => Ok(()),
            (Self::Nobody, None) => Err(Forbidden::Management),
        }
    }

    /// Whether the boundary around a Deployment may be weakened. `what` begins the sentence that says no.
    ///
    /// Who sees callers' requests and tokens, and who may call at all, is no matter of managing Deployments: the scope for
    /// that would grow to everything by it.
    ///
    /// # Errors
    /// [`Forbidden`].
    pub fn weaken(&self, what: &'static str) -> Result<(), Forbidden> {
        match self {
            Self::Person(Person { role: Role::Member, .. }) => Err(Forbidden::Admin),
            Self::Operator | Self::Person(_) => Ok(()),
            Self::Token(token) if token.rights.has(&Scope::Api) => Ok(()),
            Self::Token(_) => Err(Forbidden::Boundary(what)),
            Self::Nobody => Err(Forbidden::Management),
        }
    }
}

/// What of the change weakens the boundary between callers, the gateway and services. `None`: nothing.
fn boundary(before: Option<&DeploymentSpec>, after: &DeploymentSpec) -> Option<&'static str> {
    let was = |flag: fn(&DeploymentSpec) -> bool| before.is_some_and(flag);
    if after.settings.forward_authorization && !was(|spec| spec.settings.forward_authorization) {
        Some("turning forward_authorization on")
    } else if after.settings.allow_pickle && !was(|spec| spec.settings.allow_pickle) {
        Some("turning allow_pickle on")
    } else if !after.protected && !was(|spec| !spec.protected) {
        Some("making a Deployment public")
    } else if before.is_some_and(|before| before.upstreams != after.upstreams) {
        Some("changing the upstreams of a Deployment")
    } else if after.hosts.iter().any(|host| !before.is_some_and(|before| before.hosts.contains(host))) {
        Some("giving a Deployment a host")
    } else if after.listen.is_some() && before.is_none_or(|before| before.listen != after.listen) {
        Some("giving a Deployment a listener")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(role: Role, scopes: &[&str], permission: Permission) -> bool {
        let scopes = ScopeSet::parse(scopes).unwrap();
        Rights { role, scopes: &scopes, expires_at: None }.allow(permission).is_ok()
    }

    #[test]
    fn what_each_scope_allows() {
        use Permission::*;
        let all =
            [Token, Management, ReadOrganization, WriteOrganization, ReadCluster, WriteCluster, ReadUsers, WriteUsers];
        let table: &[(&[&str], &[Permission])] = &[
            (&["api"], &all),
            (&["deployment:*"], &[Token]),
            (&["read_organization"], &[Token, Management, ReadOrganization, ReadUsers]),
            (&["write_organization"], &[Token, Management, ReadOrganization, WriteOrganization, ReadUsers]),
            (&["read_cluster", "deployment:a"], &[Token, Management, ReadCluster]),
            (&["write_cluster"], &[Token, Management, ReadCluster, WriteCluster]),
        ];
        for (scopes, expected) in table {
            for permission in all {
                assert_eq!(
                    allowed(Role::Admin, scopes, permission),
                    expected.contains(&permission),
                    "{scopes:?} {permission:?}"
                );
                let as_member = expected.contains(&permission) && !permission.admin();
                assert_eq!(allowed(Role::Member, scopes, permission), as_member, "member, {scopes:?} {permission:?}");
            }
        }
    }

    #[test]
    fn nobody_grants_more_than_they_have() {
        let table: &[(&[&str], &[&str], bool)] = &[
            (&["api"], &["api", "write_cluster", "deployment:*"], true),
            (&["write_organization"], &["deployment:*"], true),
            (&["write_organization"], &["read_organization", "write_organization"], true),
            (&["write_organization"], &["api"], false),
            (&["write_organization"], &["deployment:a", "read_cluster"], false),
            (&["write_organization", "write_cluster"], &["read_cluster"], true),
            (&["write_organization", "read_cluster"], &["write_cluster"], false),
        ];
        for (own, granted, expected) in table {
            let (own, granted) = (ScopeSet::parse(*own).unwrap(), ScopeSet::parse(*granted).unwrap());
            let outcome = Rights { role: Role::Admin, scopes: &own, expires_at: None }.grant(&granted);
            assert_eq!(outcome.is_ok(), *expected, "{own} grants {granted}");
        }
    }
}
