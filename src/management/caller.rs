//! Who calls the management API. The values here are made in this file only, after the check: an operation that takes
//! one cannot forget it.

use std::net::IpAddr;

use axum::http::{HeaderMap, HeaderName, header, request::Parts};

use super::{Management, error::ApiError, limits::Limits};
use crate::{
    domain::{
        audit::Actor,
        decision,
        rights::{Credential, Forbidden, Grantor, Permission, Rights},
        token::{TokenRecord, TokenStatus},
        token_text::{LookupId, PresentedToken},
        user::User,
    },
    http::{
        bearer::{self, NotBearer},
        lane::{Lane, Place},
        network::Network,
    },
    index::verify::Shown,
    service::lookup::Viewer,
    store::{Priority, SharedStore},
};

/// What the `bentoml` client sends its token in.
static X_YATAI_API_TOKEN: HeaderName = HeaderName::from_static("x-yatai-api-token");

/// Somebody who holds a live token that allows what the operation needs.
#[derive(Clone)]
pub struct Caller {
    /// Of the secret that was presented.
    secret: LookupId,
    token: TokenRecord,
    user: User,
}

/// Somebody of whom nothing was asked. There are only so many of them at once.
pub struct Anonymous {
    _place: Place,
}

/// How an operation gets to know who calls it.
pub trait Principal: Sized + Send + 'static {
    /// What the operation requires: a [`Permission`] of a [`Caller`], a free place in its lane of [`Anonymous`].
    type Requirement: Copy + Send + Sync + 'static;

    /// What is known before the body is read.
    type Checked: Send;

    fn check(
        management: &Management,
        store: &SharedStore,
        head: &Parts,
        requirement: Self::Requirement,
    ) -> impl Future<Output = Result<Self::Checked, ApiError>> + Send;

    /// After the body was read, which may take its time.
    fn enter(checked: Self::Checked, management: &Management, address: IpAddr) -> Result<Self, ApiError>;

    /// Whose doing it is.
    fn actor(&self) -> Actor;

    /// What it may grant.
    fn grantor(&self) -> Grantor<'_>;
}

impl Principal for Anonymous {
    type Requirement = fn(&Limits) -> &Lane<Network>;
    type Checked = Self::Requirement;

    async fn check(
        _: &Management,
        _: &SharedStore,
        _: &Parts,
        lane: Self::Requirement,
    ) -> Result<Self::Checked, ApiError> {
        Ok(lane)
    }

    fn enter(lane: Self::Checked, management: &Management, address: IpAddr) -> Result<Self, ApiError> {
        let place = lane(&management.limits).enter(Network::of(address));
        Ok(Self { _place: place.ok_or_else(ApiError::busy)? })
    }

    fn actor(&self) -> Actor {
        Actor::System
    }

    fn grantor(&self) -> Grantor<'_> {
        Grantor::Nobody
    }
}

impl Principal for Caller {
    type Requirement = Permission;
    type Checked = Self;

    fn enter(checked: Self, _: &Management, _: IpAddr) -> Result<Self, ApiError> {
        Ok(checked)
    }

    async fn check(
        management: &Management,
        store: &SharedStore,
        head: &Parts,
        permission: Permission,
    ) -> Result<Self, ApiError> {
        let text = presented(&head.headers)?;
        let from = Network::of(management.forwarding(head).client);
        let caller = Self::authenticate(management, store, text, from).await?;
        match caller.rights().allow(permission) {
            Ok(()) => Ok(caller),
            // `bentoml cloud login` has a message of its own for 401 only; for 403 it prints the number.
            Err(forbidden @ Forbidden::Management) if permission == Permission::Management => {
                Err(ApiError::unauthorized("no_developer_access", forbidden.to_string()))
            }
            Err(forbidden) => Err(forbidden.into()),
        }
    }

    fn actor(&self) -> Actor {
        Actor::User(self.user.id)
    }

    fn grantor(&self) -> Grantor<'_> {
        Grantor::Token(Credential { rights: self.rights(), token: self.token.uid, secret: self.secret })
    }
}

impl Caller {
    /// The holder of a live token, whatever it allows.
    ///
    /// # Errors
    /// 401, or 503 if nobody can know.
    pub async fn authenticate(
        management: &Management,
        store: &SharedStore,
        text: &[u8],
        from: Network,
    ) -> Result<Self, ApiError> {
        let malformed = |_| {
            let text = "the token is malformed: it does not have the shape of this gateway's tokens (bgw_...)";
            ApiError::unauthorized("token_malformed", text)
        };
        let presented = PresentedToken::parse(text).map_err(malformed)?;
        let index = &management.gateway.index;
        index.freshness.check().map_err(|_| ApiError::store_away())?;
        let shown = Shown { from, at: management.system.now() };
        let proven = management.gateway.verifier.authenticate(index, presented, shown).await?;
        let now = management.system.now();
        decision::alive(&proven.entry().holder(), now)?;
        let invalid = || ApiError::unauthorized("token_invalid", "the token is not valid");
        // The store is asked as well: what was just narrowed or revoked there must not act once more.
        let (token, user) = store.at(Priority::Urgent).holder(proven.entry().uid).await?.ok_or_else(invalid)?;
        match token.status(management.system.now()) {
            TokenStatus::Active => {}
            TokenStatus::Expired => return Err(decision::Reason::Expired.into()),
            TokenStatus::Revoked => return Err(decision::Reason::Revoked.into()),
        }
        if user.disabled_at.is_some() {
            return Err(decision::Reason::OwnerDisabled.into());
        }
        management.gateway.usage.note(&proven, now);
        Ok(Self { secret: proven.lookup_id(), token, user })
    }

    pub fn rights(&self) -> Rights<'_> {
        Rights { role: self.user.role, scopes: &self.token.scopes, expires_at: self.token.expires_at }
    }

    /// The token that was presented.
    pub fn token(&self) -> &TokenRecord {
        &self.token
    }

    pub fn user(&self) -> &User {
        &self.user
    }

    pub fn viewer(&self) -> Viewer {
        Viewer::of(&self.user)
    }
}

/// Exactly one token, in the field of the `bentoml` client or as a Bearer credential.
fn presented(headers: &HeaderMap) -> Result<&[u8], ApiError> {
    let yatai = headers.get_all(&X_YATAI_API_TOKEN).iter().map(|value| Ok(value.as_bytes()));
    let bearer = headers.get_all(header::AUTHORIZATION).iter().map(|value| bearer::parse(value.as_bytes()));
    let mut all = yatai.chain(bearer);
    let how = "send it as X-YATAI-API-TOKEN, or as Authorization: Bearer TOKEN";
    match (all.next(), all.next()) {
        (None, _) | (Some(Ok(b"")), None) => {
            Err(ApiError::unauthorized("credential_missing", format!("an API token is required; {how}")))
        }
        (Some(Ok(text)), None) => Ok(text),
        (Some(Err(NotBearer)), None) => {
            Err(ApiError::unauthorized("credential_malformed", format!("the credential is not an API token; {how}")))
        }
        (Some(_), Some(_)) => Err(ApiError::invalid("more than one token was sent; send exactly one")),
    }
}
