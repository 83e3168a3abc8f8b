//! Who may pass: the whole rule, on one screen.
//!
//! Only a proven token comes here. The scope decides before existence does, so that nobody can find out which Deployments
//! exist by trying names.

use super::{preset::Preset, scope::ScopeSet, timestamp::Timestamp};

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
    OutOfScope,
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

/// # Errors
/// The first [`Reason`] that applies.
pub fn decide(holder: Holder<'_>, destination: Destination<'_>, now: Timestamp) -> Result<(), Reason> {
    alive(&holder, now)?;
    let in_scope = match destination {
        Destination::Deployment(name) | Destination::ClosedRoute(name, _) | Destination::Unknown(Some(name)) => {
            holder.scopes.opens_deployment(name)
        }
        Destination::Unknown(None) => holder.scopes.opens_all_deployments(),
    };
    match (in_scope, destination) {
        (false, _) => Err(Reason::OutOfScope),
        (true, Destination::Unknown(_)) => Err(Reason::NoSuchDeployment),
        (true, Destination::ClosedRoute(name, preset)) if !holder.scopes.opens_closed_routes(name) => {
            Err(Reason::RouteClosed(preset))
        }
        (true, Destination::Deployment(_) | Destination::ClosedRoute(..)) => Ok(()),
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
        decide(holder, destination, NOW)
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
        ];
        for (scopes, destination, expected) in table {
            assert_eq!(outcome(scopes, |_| {}, *destination), *expected, "{scopes:?} {destination:?}");
        }
    }
}
