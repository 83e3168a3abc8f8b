//! From the code that a browser brings back to what the provider says about its user.

use std::sync::Arc;

use openidconnect::{AuthorizationCode, PkceCodeVerifier};

use super::{
    FlowError,
    begun::Begun,
    claims::{Said, flag, or_missing, text},
    id_token::Expected,
    provider::{Asker, Known, Providers},
    roles::{lacks_role, role},
    signed::Signed,
    tokens::Tokens,
    userinfo,
};
use crate::{
    config::OidcConfig,
    domain::{session::Identity, timestamp::Timestamp},
    service::oidc::Claims,
    system::clock::ClockReading,
};

pub struct Exchange<'a> {
    pub config: &'a OidcConfig,
    pub providers: &'a Providers,
    pub redirect_uri: String,
    pub now: Timestamp,
}

/// What the gateway uses of the claims.
struct Person {
    email: Option<String>,
    /// `None`: the provider does not say.
    verified: Option<bool>,
    name: Option<String>,
    /// All claims, those of the ID token first: `role_claim` may name one.
    said: Vec<Said>,
}

impl Exchange<'_> {
    /// `None`: the provider vouches for somebody who may not sign in here.
    pub async fn claims(&self, begun: &Begun, code: String) -> Result<Option<Claims>, FlowError> {
        let known = self.providers.get(self.config, ClockReading::now()).await?;
        let asker = known.asker();
        let tokens = self.tokens(&known, &asker, begun, code).await?;
        let id_token = tokens.id_token.as_deref().ok_or_else(|| FlowError::Invalid("it has no ID token".to_owned()))?;
        let said = self.verified(&known, id_token).await?;
        let expected = self.expected(&known, &begun.nonce);
        let subject = expected.subject(&said)?;
        let mut person = Person::of(said);
        if person.lacks_something(self.config) {
            match userinfo::ask(&known, &asker, &tokens, &expected, &subject).await {
                Ok(Some(told)) => person.complete(told),
                Ok(None) => {}
                Err(error) => {
                    tracing::warn!(%error, "single sign-on goes on without the provider's userinfo, which cannot be read");
                }
            }
        }
        let identity = Identity { issuer: self.config.issuer.clone(), subject };
        let Some(role) = role(self.config, &person.said) else { return Ok(None) };
        let email_verified = person.verified.unwrap_or(self.config.trust_email);
        Ok(Some(Claims { identity, email: person.email, email_verified, name: person.name, role }))
    }

    fn expected<'a>(&'a self, known: &'a Known, nonce: &'a str) -> Expected<'a> {
        Expected { issuer: known.metadata().issuer().as_str(), client: &self.config.client_id, nonce, now: self.now }
    }

    async fn tokens(&self, known: &Known, asker: &Asker, begun: &Begun, code: String) -> Result<Tokens, FlowError> {
        let provider = known.client(&self.redirect_uri)?;
        let exchange = provider.exchange_code(AuthorizationCode::new(code)).map_err(|error| asker.failed(&error))?;
        let exchange = exchange.set_pkce_verifier(PkceCodeVerifier::new(begun.verifier.clone()));
        exchange.request_async(asker).await.map_err(|error| asker.refused(error))
    }

    /// The claims of the ID token, if the provider has signed it. Providers change their keys, so that one which is not among
    /// the known ones may be new.
    async fn verified(&self, known: &Arc<Known>, id_token: &str) -> Result<Said, FlowError> {
        let signed = Signed::parse(id_token)?;
        if let Ok(said) = signed.claims(known) {
            return Ok(said.clone());
        }
        let newer = self.providers.newer(known, ClockReading::now()).await?;
        signed.claims(&newer).cloned().map_err(|error| FlowError::invalid(&error))
    }
}

impl Person {
    fn of(all: Said) -> Self {
        let stated = |claim| or_missing(text(&all, claim)).filter(|text| !text.is_empty()).map(str::to_owned);
        let (email, name) = (stated("email"), stated("name"));
        Self { email, verified: or_missing(flag(&all, "email_verified")), name, said: vec![all] }
    }

    /// Many providers put claims into the ID token only on request, and always into userinfo.
    fn lacks_something(&self, config: &OidcConfig) -> bool {
        let lacks_role = self.said.iter().all(|said| lacks_role(config, said));
        self.email.is_none() || self.verified.is_none() || self.name.is_none() || lacks_role
    }

    fn complete(&mut self, told: Said) {
        let told = Self::of(told);
        // What it says of another address than the ID token's proves nothing about this one.
        if self.email.is_none() || (self.verified.is_none() && self.email == told.email) {
            (self.email, self.verified) = (told.email, told.verified);
        }
        self.name = self.name.take().or(told.name);
        self.said.extend(told.said);
    }
}
