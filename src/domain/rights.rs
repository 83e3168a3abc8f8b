//! What a token may do to the gateway itself. What it may call is [`decision`](super::decision)'s.
//!
//! Scopes say what a token may do, the role says on whose things. A token never does more than its owner could, and
//! never makes a token that may do more than itself.

use super::{
    code::CodeHash,
    deployment::{DeploymentName, DeploymentSpec},
    deployment_scope::Routes,
    preset::Preset,
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

    /// Whether a token with `scopes` has it, if its owner has the role for it.
    ///
    /// # Errors
    /// [`Forbidden::Management`], [`Forbidden::Scope`].
    pub fn within(self, scopes: &ScopeSet) -> Result<(), Forbidden> {
        if self == Self::Token {
            return Ok(());
        }
        if !scopes.iter().any(Scope::is_of_management) {
            return Err(Forbidden::Management);
        }
        match self.scope() {
            Some(scope) if !implies(scopes, &scope) => Err(Forbidden::Scope(scope)),
            _ => Ok(()),
        }
    }
}

impl Rights<'_> {
    /// # Errors
    /// The first [`Forbidden`] that applies.
    pub fn allow(&self, permission: Permission) -> Result<(), Forbidden> {
        permission.within(self.scopes)?;
        if permission.admin() && self.role != Role::Admin { Err(Forbidden::Admin) } else { Ok(()) }
    }

    /// Whether a token with `scopes` may be made, changed or given a new secret. Calling Deployments may be granted by
    /// whoever may write tokens, since that is what those are for; their closed routes may not.
    ///
    /// # Errors
    /// [`Forbidden::Grant`], [`Forbidden::Admin`].
    pub fn grant(&self, scopes: &ScopeSet) -> Result<(), Forbidden> {
        let anybody = |scope: &Scope| matches!(scope, Scope::Deployment(of) if of.routes == Routes::Open);
        match scopes.iter().find(|scope| !anybody(scope) && !implies(self.scopes, scope)) {
            Some(scope) => Err(Forbidden::Grant(scope.clone())),
            None => operate(self.role, scopes),
        }
    }
}

/// Whether the scope, or one that implies it, is among them.
fn implies(scopes: &ScopeSet, asked: &Scope) -> bool {
    scopes.iter().any(|scope| *scope == Scope::Api || scope.covers(asked))
}

/// Whether somebody of that role may grant these scopes: operating Deployments is for admins.
fn operate(role: Role, scopes: &ScopeSet) -> Result<(), Forbidden> {
    if role != Role::Admin && scopes.has_operations() { Err(Forbidden::Admin) } else { Ok(()) }
}

impl Grantor<'_> {
    /// As [`Rights::grant`].
    ///
    /// # Errors
    /// [`Forbidden`].
    pub fn grant(&self, scopes: &ScopeSet) -> Result<(), Forbidden> {
        match self {
            Self::Operator => Ok(()),
            Self::Person(person) => operate(person.role, scopes),
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

    /// When a token ends that the grantor makes, renews or widens, if it would end at `expires_at`: with the grantor's own
    /// rights at the latest. `None`: never.
    pub fn limit(&self, expires_at: Option<Timestamp>) -> Option<Timestamp> {
        expires_at.into_iter().chain(self.latest()).min()
    }

    /// When a token that exists ends once it has been given a new secret or further scopes: as [`Grantor::limit`], since
    /// whoever got them could otherwise renew the next one, and so for ever. One that lives more than a day longer is left
    /// alone. Tokens of one lifetime that were made one after the other can renew each other.
    ///
    /// # Errors
    /// [`Forbidden::Outlives`].
    pub fn renew(&self, expires_at: Option<Timestamp>) -> Result<Option<Timestamp>, Forbidden> {
        self.grant_until(expires_at.map(|at| at.saturating_sub(DAY)))?;
        Ok(self.limit(expires_at))
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

    /// Whether what names no Deployment may go to another one than before; `None`: to none. Callers who may call all
    /// Deployments would go on sending there.
    ///
    /// # Errors
    /// [`Forbidden`].
    pub fn redirect(&self, before: Option<&DeploymentName>, after: Option<&DeploymentName>) -> Result<(), Forbidden> {
        if after.is_none() || after == before { Ok(()) } else { self.weaken("making a Deployment the default one") }
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
            Self::Token(token) if implies(token.rights.scopes, &Scope::Api) => Ok(()),
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
    } else if before.is_some_and(|before| opens_more(before, after)) {
        Some("changing the preset of a Deployment")
    } else if after.settings.public_probes && !was(|spec| spec.settings.public_probes) {
        Some("opening probes to everybody")
    } else if !after.protected && !was(|spec| !spec.protected) {
        Some("making a Deployment public")
    } else if after.settings.enforce_from > before.and_then(|before| before.settings.enforce_from) {
        Some("putting enforce_from off")
    } else if before.is_some_and(|before| before.upstreams != after.upstreams) {
        Some("changing the upstreams of a Deployment")
    } else if after.settings.wake_url.is_some()
        && before.is_none_or(|before| before.settings.wake_url != after.settings.wake_url)
    {
        Some("having the gateway call a wake_url")
    } else if after.hosts.iter().any(|host| !before.is_some_and(|before| before.hosts.contains(host))) {
        Some("giving a Deployment a host")
    } else if after.listen.is_some() && before.is_none_or(|before| before.listen != after.listen) {
        Some("giving a Deployment a listener")
    } else {
        None
    }
}

/// Whether another preset may leave open what was closed, or other paths without a token.
fn opens_more(before: &DeploymentSpec, after: &DeploymentSpec) -> bool {
    let (was, is) = (&before.settings, &after.settings);
    is.preset != was.preset && (was.preset != Preset::Raw || is.public_probes)
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
            (&["deployment:*:operations"], &[Token]),
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
            (&["api"], &["deployment:a:operations"], true),
            (&["write_organization"], &["deployment:a:operations"], false),
            (&["write_organization", "deployment:*"], &["deployment:a:operations"], false),
            (&["write_organization", "deployment:a:operations"], &["deployment:a:operations"], true),
            (&["write_organization", "deployment:a:operations"], &["deployment:b:operations"], false),
            (&["write_organization"], &["deployment:a:GET:/v1"], true),
            (&["write_organization"], &["deployment:a:operations:GET:/metrics"], false),
            (&["write_organization", "deployment:a:operations"], &["deployment:a:operations:GET:/metrics"], true),
            (&["write_organization", "deployment:*:operations"], &["deployment:a:operations"], true),
            (
                &["write_organization", "deployment:a:operations:GET:/metrics"],
                &["deployment:a:operations:GET:/metrics/x"],
                true,
            ),
            (&["write_organization", "deployment:a:operations:GET:/metrics"], &["deployment:a:operations:GET"], false),
            (&["write_organization", "deployment:a:operations:GET:/metrics"], &["deployment:a:operations"], false),
        ];
        for (own, granted, expected) in table {
            let (own, granted) = (ScopeSet::parse(*own).unwrap(), ScopeSet::parse(*granted).unwrap());
            let outcome = Rights { role: Role::Admin, scopes: &own, expires_at: None }.grant(&granted);
            assert_eq!(outcome.is_ok(), *expected, "{own} grants {granted}");
            let as_member = Rights { role: Role::Member, scopes: &own, expires_at: None }.grant(&granted);
            assert_eq!(as_member.is_ok(), *expected && !granted.has_operations(), "a member's {own} grants {granted}");
        }
    }
}
