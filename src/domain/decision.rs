//! Who may pass: the whole rule, on one screen.
//!
//! Only a proven token comes here. The scope decides before existence does, so that nobody can find out which Deployments
//! exist by trying names.

use super::{
    deployment_scope::Routes,
    narrowing::Asked,
    preset::Preset,
    scope::{Scope, ScopeSet},
    timestamp::Timestamp,
};

/// A proven token, as far as the decision needs it.
#[derive(Clone, Copy, Debug)]
pub struct Holder<'a> {
    pub scopes: &'a ScopeSet,
    /// `None`: does not expire.
    pub expires_at: Option<Timestamp>,
    /// `None`: not revoked.
    pub revoked_at: Option<Timestamp>,
    /// When the secret that was shown is replaced for good by a newer one. `None`: it is the newest.
    pub retires_at: Option<Timestamp>,
    pub owner_disabled: bool,
}

/// Where the request leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Destination<'a> {
    Deployment(&'a str),
    /// A route of the Deployment that its preset closes.
    ClosedRoute(&'a str, Preset),
    /// There is no Deployment. `Some`: the name that the request itself says, by host or path.
    Unknown(Option<&'a str>),
}

/// Why a proven token does not pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    Revoked,
    Expired,
    Rotated,
    OwnerDisabled,
    /// No scope opens anything of the Deployment.
    OutOfScope,
    /// Scopes open other routes of it.
    RouteOutOfScope,
    NoSuchDeployment,
    /// The preset closes what was asked for, and no scope opens it all the same.
    RouteClosed(Preset),
    /// The store that is followed now has never heard of the token, as after a restore. Only running work ends by it: a
    /// new request's token is not proven at all.
    Gone,
}

impl<'a> Destination<'a> {
    /// A route of a Deployment that there is. `closed_by`: the preset that closes it.
    pub fn route(deployment: &'a str, closed_by: Option<Preset>) -> Self {
        closed_by.map_or(Self::Deployment(deployment), |preset| Self::ClosedRoute(deployment, preset))
    }

    /// `None`: the request names none, and there is none.
    pub fn name(&self) -> Option<&'a str> {
        match *self {
            Self::Deployment(name) | Self::ClosedRoute(name, _) => Some(name),
            Self::Unknown(name) => name,
        }
    }
}

/// Whether the token is good for anything at all.
///
/// # Errors
/// The first [`Reason`] that applies.
pub fn alive(holder: &Holder<'_>, now: Timestamp) -> Result<(), Reason> {
    let over = |end: Option<Timestamp>| end.is_some_and(|end| end <= now);

    if holder.revoked_at.is_some() {
        return Err(Reason::Revoked);
    }
    if over(holder.expires_at) {
        return Err(Reason::Expired);
    }
    if over(holder.retires_at) {
        return Err(Reason::Rotated);
    }
    if holder.owner_disabled {
        return Err(Reason::OwnerDisabled);
    }
    Ok(())
}

/// The scope that opens what is asked for of the destination.
///
/// # Errors
/// The first [`Reason`] that applies.
pub fn decide<'h>(
    holder: Holder<'h>,
    destination: Destination<'_>,
    asked: Asked<'_>,
    now: Timestamp,
) -> Result<&'h Scope, Reason> {
    alive(&holder, now)?;
    let routes = if matches!(destination, Destination::ClosedRoute(..)) { Routes::All } else { Routes::Open };
    let opening = |routes, asked| holder.scopes.opening(destination.name(), routes, asked);
    match (opening(routes, asked), destination) {
        (Some(_), Destination::Unknown(_)) => Err(Reason::NoSuchDeployment),
        (Some(scope), _) => Ok(scope),
        (None, Destination::ClosedRoute(_, preset)) if opening(Routes::Open, asked).is_some() => {
            Err(Reason::RouteClosed(preset))
        }
        (None, _) if opening(Routes::Open, Asked::Anything).is_some() => Err(Reason::RouteOutOfScope),
        (None, _) => Err(Reason::OutOfScope),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_000_000);
    const BEFORE: Timestamp = Timestamp::from_millis(999_999);
    const AFTER: Timestamp = Timestamp::from_millis(1_000_001);

    fn outcome(
        scopes: &[&str],
        change: impl FnOnce(&mut Holder<'_>),
        destination: Destination<'_>,
    ) -> Result<(), Reason> {
        let scopes = ScopeSet::parse(scopes).unwrap();
        let mut holder =
            Holder { scopes: &scopes, expires_at: None, revoked_at: None, retires_at: None, owner_disabled: false };
        change(&mut holder);
        decide(holder, destination, Asked::Route { method: "GET", path: "/v1/models" }, NOW).map(drop)
    }

    #[test]
    fn life() {
        use Reason::*;
        let known = Destination::Deployment("a");
        let all: &[&str] = &["deployment:*"];
        assert_eq!(outcome(all, |_| {}, known), Ok(()));
        assert_eq!(outcome(all, |h| h.expires_at = Some(AFTER), known), Ok(()));
        assert_eq!(outcome(all, |h| h.expires_at = Some(NOW), known), Err(Expired));
        assert_eq!(outcome(all, |h| h.expires_at = Some(BEFORE), known), Err(Expired));
        assert_eq!(outcome(all, |h| h.retires_at = Some(AFTER), known), Ok(()));
        assert_eq!(outcome(all, |h| h.retires_at = Some(NOW), known), Err(Rotated));
        assert_eq!(outcome(all, |h| h.owner_disabled = true, known), Err(OwnerDisabled));
        // A clock that was set back does not bring a revoked token to life again.
        assert_eq!(outcome(all, |h| h.revoked_at = Some(AFTER), known), Err(Revoked));
    }

    #[test]
    fn scope_decides_before_existence() {
        use Reason::*;
        let table: &[(&[&str], Destination<'_>, Result<(), Reason>)] = &[
            (&["deployment:a"], Destination::Deployment("a"), Ok(())),
            (&["deployment:a"], Destination::Deployment("b"), Err(OutOfScope)),
            (&["deployment:a"], Destination::Unknown(Some("b")), Err(OutOfScope)),
            (&["deployment:a"], Destination::Unknown(Some("a")), Err(NoSuchDeployment)),
            (&["deployment:a"], Destination::Unknown(None), Err(OutOfScope)),
            (&["deployment:a*"], Destination::Unknown(None), Err(OutOfScope)),
            (&["deployment:*"], Destination::Unknown(None), Err(NoSuchDeployment)),
            (&["deployment:*"], Destination::Unknown(Some("b")), Err(NoSuchDeployment)),
            (&["api"], Destination::Deployment("a"), Err(OutOfScope)),
            (&["api"], Destination::Unknown(None), Err(OutOfScope)),
            (&["deployment:a"], Destination::ClosedRoute("a", Preset::Vllm), Err(RouteClosed(Preset::Vllm))),
            (&["deployment:*"], Destination::ClosedRoute("a", Preset::Vllm), Err(RouteClosed(Preset::Vllm))),
            (&["deployment:b"], Destination::ClosedRoute("a", Preset::Vllm), Err(OutOfScope)),
            (&["api"], Destination::ClosedRoute("a", Preset::Vllm), Err(OutOfScope)),
            (&["deployment:a:operations"], Destination::ClosedRoute("a", Preset::Vllm), Ok(())),
            (
                &["deployment:a", "deployment:b:operations"],
                Destination::ClosedRoute("a", Preset::Vllm),
                Err(RouteClosed(Preset::Vllm)),
            ),
            (&["deployment:a:operations"], Destination::Deployment("a"), Ok(())),
            (&["deployment:a:operations"], Destination::Unknown(Some("a")), Err(NoSuchDeployment)),
            // A GET of /v1/models is asked for.
            (&["deployment:a:GET:/v1"], Destination::Deployment("a"), Ok(())),
            (&["deployment:a:GET:/v1"], Destination::Unknown(Some("a")), Err(NoSuchDeployment)),
            (&["deployment:a:POST"], Destination::Deployment("a"), Err(RouteOutOfScope)),
            (&["deployment:a:POST"], Destination::Unknown(Some("a")), Err(RouteOutOfScope)),
            (&["deployment:a:POST"], Destination::ClosedRoute("a", Preset::Vllm), Err(RouteOutOfScope)),
            (&["deployment:a:POST"], Destination::Deployment("b"), Err(OutOfScope)),
            (&["deployment:a:POST"], Destination::Unknown(Some("b")), Err(OutOfScope)),
            (&["deployment:a:POST"], Destination::Unknown(None), Err(OutOfScope)),
            (&["deployment:*:POST"], Destination::Unknown(None), Err(RouteOutOfScope)),
            (&["deployment:*:GET"], Destination::Unknown(None), Err(NoSuchDeployment)),
            (&["deployment:a:POST", "deployment:a:/v1"], Destination::Deployment("a"), Ok(())),
            (&["deployment:a:POST", "deployment:*"], Destination::Deployment("a"), Ok(())),
            (&["deployment:a:GET"], Destination::ClosedRoute("a", Preset::Vllm), Err(RouteClosed(Preset::Vllm))),
            (&["deployment:a:operations:GET:/v1"], Destination::ClosedRoute("a", Preset::Vllm), Ok(())),
            (
                &["deployment:a", "deployment:a:operations:POST"],
                Destination::ClosedRoute("a", Preset::Vllm),
                Err(RouteClosed(Preset::Vllm)),
            ),
            (
                &["deployment:a:operations:GET:/metrics"],
                Destination::ClosedRoute("a", Preset::Vllm),
                Err(RouteOutOfScope),
            ),
        ];
        for (scopes, destination, expected) in table {
            assert_eq!(outcome(scopes, |_| {}, *destination), *expected, "{scopes:?} {destination:?}");
        }
    }
}
