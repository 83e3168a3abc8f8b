//! Who may pass: the whole rule, on one screen.
//!
//! The secret has been proven before this is asked. The scope decides before existence does, so that nobody can find
//! out which Deployments exist by trying names.

use super::{scope::ScopeSet, timestamp::Timestamp};

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

/// What the request is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Requested<'a> {
    Deployment(&'a str),
    /// No Deployment answers there. `Some`: the name that the request itself spells out, by host or path.
    Unknown(Option<&'a str>),
}

/// Why a proven token does not pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    Revoked,
    Expired,
    Rotated,
    OwnerDisabled,
    OutOfScope,
    NoSuchDeployment,
}

/// Whether the token is good for anything at all.
///
/// # Errors
/// The first [`Refusal`] that applies.
pub fn alive(holder: &Holder<'_>, now: Timestamp) -> Result<(), Refusal> {
    let over = |end: Option<Timestamp>| end.is_some_and(|end| end <= now);

    if holder.revoked_at.is_some() {
        return Err(Refusal::Revoked);
    }
    if over(holder.expires_at) {
        return Err(Refusal::Expired);
    }
    if over(holder.retires_at) {
        return Err(Refusal::Rotated);
    }
    if holder.owner_disabled {
        return Err(Refusal::OwnerDisabled);
    }
    Ok(())
}

/// # Errors
/// The first [`Refusal`] that applies.
pub fn decide(holder: Holder<'_>, requested: Requested<'_>, now: Timestamp) -> Result<(), Refusal> {
    alive(&holder, now)?;
    let in_scope = match requested {
        Requested::Deployment(name) | Requested::Unknown(Some(name)) => holder.scopes.opens_deployment(name),
        Requested::Unknown(None) => holder.scopes.opens_all_deployments(),
    };
    match (in_scope, requested) {
        (false, _) => Err(Refusal::OutOfScope),
        (true, Requested::Unknown(_)) => Err(Refusal::NoSuchDeployment),
        (true, Requested::Deployment(_)) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_000_000);
    const BEFORE: Timestamp = Timestamp::from_millis(999_999);
    const AFTER: Timestamp = Timestamp::from_millis(1_000_001);

    fn outcome(scopes: &[&str], change: impl FnOnce(&mut Holder<'_>), requested: Requested<'_>) -> Result<(), Refusal> {
        let scopes = ScopeSet::parse(scopes).unwrap();
        let mut holder =
            Holder { scopes: &scopes, expires_at: None, revoked_at: None, retires_at: None, owner_disabled: false };
        change(&mut holder);
        decide(holder, requested, NOW)
    }

    #[test]
    fn life() {
        use Refusal::*;
        let known = Requested::Deployment("a");
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
        use Refusal::*;
        let table: &[(&[&str], Requested<'_>, Result<(), Refusal>)] = &[
            (&["deployment:a"], Requested::Deployment("a"), Ok(())),
            (&["deployment:a"], Requested::Deployment("b"), Err(OutOfScope)),
            (&["deployment:a"], Requested::Unknown(Some("b")), Err(OutOfScope)),
            (&["deployment:a"], Requested::Unknown(Some("a")), Err(NoSuchDeployment)),
            (&["deployment:a"], Requested::Unknown(None), Err(OutOfScope)),
            (&["deployment:a*"], Requested::Unknown(None), Err(OutOfScope)),
            (&["deployment:*"], Requested::Unknown(None), Err(NoSuchDeployment)),
            (&["deployment:*"], Requested::Unknown(Some("b")), Err(NoSuchDeployment)),
            (&["api"], Requested::Deployment("a"), Err(OutOfScope)),
            (&["api"], Requested::Unknown(None), Err(OutOfScope)),
        ];
        for (scopes, requested, expected) in table {
            assert_eq!(outcome(scopes, |_| {}, *requested), *expected, "{scopes:?} {requested:?}");
        }
    }
}
