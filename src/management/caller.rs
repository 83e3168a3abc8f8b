//! Who calls the management API. The values here are made in this file only, after the check: an operation that takes
//! one cannot forget it.

use std::net::IpAddr;

use axum::http::{HeaderMap, HeaderName, header, request::Parts};

use super::{Management, error::ApiError, limits::Limits, path_of};
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
    index::verify::{ProvenToken, Shown},
    service::lookup::Viewer,
    store::{Reader, SharedStore},
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
    network: Network,
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

    /// Whose share of the store its reading takes.
    fn reader(&self) -> Reader;
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
        let network = Network::of(address);
        let place = lane(&management.limits).enter(network);
        Ok(Self { network, _place: place.ok_or_else(ApiError::busy)? })
    }

    fn actor(&self) -> Actor {
        Actor::System
    }

    fn grantor(&self) -> Grantor<'_> {
        Grantor::Nobody
    }

    fn reader(&self) -> Reader {
        Reader::Network(self.network)
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
        let address = management.forwarding(head).client;
        let proven = prove(management, text, Network::of(address)).await?;
        let refused = |forbidden: Forbidden| {
            let error = match (&forbidden, permission) {
                // `bentoml cloud login` has a message of its own for 401 only; for 403 it prints the number.
                (Forbidden::Management, Permission::Management) => {
                    ApiError::unauthorized("no_developer_access", forbidden.to_string())
                }
                _ => forbidden.into(),
            };
            let by = Actor::User(proven.entry().owner());
            management.refused_change(&head.method, path_of(head), by, address, &error);
            error
        };
        // A token that only opens Deployments costs the store nothing here, whatever it asks for.
        permission.within(proven.entry().holder().scopes).map_err(refused)?;
        let caller = Self::read(management, store, &proven).await?;
        caller.rights().allow(permission).map_err(refused)?;
        management.gateway.usage.note(&proven, management.system.now());
        Ok(caller)
    }

    fn actor(&self) -> Actor {
        Actor::User(self.user.id)
    }

    fn grantor(&self) -> Grantor<'_> {
        Grantor::Token(Credential { rights: self.rights(), token: self.token.uid, secret: self.secret })
    }

    fn reader(&self) -> Reader {
        Reader::User(self.user.id)
    }
}

impl Caller {
    /// What the store says of the token: what was just narrowed or revoked there must not act once more.
    async fn read(management: &Management, store: &SharedStore, proven: &ProvenToken) -> Result<Self, ApiError> {
        let store = store.read_by(Reader::User(proven.entry().owner()));
        let invalid = || ApiError::unauthorized("token_invalid", "the token is not valid");
        let (token, user) = store.holder(proven.entry().uid).await?.ok_or_else(invalid)?;
        match token.status(management.system.now()) {
            TokenStatus::Active => {}
            TokenStatus::Expired => return Err(decision::Reason::Expired.into()),
            TokenStatus::Revoked => return Err(decision::Reason::Revoked.into()),
        }
        if user.disabled_at.is_some() {
            return Err(decision::Reason::OwnerDisabled.into());
        }
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

/// A token that is live as far as the index knows, whatever it allows.
///
/// # Errors
/// 401, or 503 if nobody can know.
async fn prove(management: &Management, text: &[u8], from: Network) -> Result<ProvenToken, ApiError> {
    let malformed = |_| {
        let text = "the token is malformed: it does not have the shape of this gateway's tokens (bgw_...)";
        ApiError::unauthorized("token_malformed", text)
    };
    let presented = PresentedToken::parse(text).map_err(malformed)?;
    let index = &management.gateway.index;
    index.freshness.check().map_err(|_| ApiError::store_away())?;
    let shown = Shown { from, at: management.system.now() };
    let proven = management.gateway.verifier.authenticate(index, presented, shown).await?;
    decision::alive(&proven.entry().holder(), management.system.now())?;
    Ok(proven)
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
