//! From the code that a browser brings back to what the provider says about its user.

use std::{sync::Arc, time::Instant};

use openidconnect::{
    AuthorizationCode, ClaimsVerificationError, IdTokenClaims, Nonce, OAuth2TokenResponse, PkceCodeVerifier,
    TokenResponse, UserInfoClaims, core::CoreGenderClaim,
};

use super::{
    FlowError,
    begun::Begun,
    claims::{issued_to, role, values},
    provider::{Asker, IdToken, Known, OtherClaims, Providers, Tokens},
};
use crate::{config::OidcConfig, domain::session::Identity, service::oidc::Claims};

type Said = IdTokenClaims<OtherClaims, CoreGenderClaim>;

pub struct Exchange<'a> {
    pub config: &'a OidcConfig,
    pub providers: &'a Providers,
    pub redirect_uri: String,
}

/// What the gateway uses of the claims.
struct Person {
    email: Option<String>,
    /// `None`: the provider does not say.
    verified: Option<bool>,
    name: Option<String>,
    other: OtherClaims,
}

impl Exchange<'_> {
    /// `None`: the provider vouches for somebody who may not sign in here.
    pub async fn claims(&self, begun: &Begun, code: String) -> Result<Option<Claims>, FlowError> {
        let known = self.providers.get(self.config, Instant::now()).await?;
        let asker = known.asker();
        let tokens = self.tokens(&known, &asker, begun, code).await?;
        let id_token = tokens.id_token().ok_or_else(|| FlowError::Invalid("it has no ID token".to_owned()))?;
        let said = self.verified(&known, id_token, &Nonce::new(begun.nonce.clone())).await?;
        let party = said.authorized_party().map(|party| party.as_str());
        if !issued_to(&self.config.client_id, said.audiences().len(), party) {
            let text = "its ID token was issued to another client (azp), or to several without saying to which";
            return Err(FlowError::Invalid(text.to_owned()));
        }
        let person = self.person(&known, &asker, &tokens, &said).await?;
        let identity = Identity { issuer: self.config.issuer.clone(), subject: said.subject().to_string() };
        let Some(role) = role(self.config, &person.other.0) else { return Ok(None) };
        let email_verified = person.verified.unwrap_or(self.config.trust_email);
        Ok(Some(Claims { identity, email: person.email, email_verified, name: person.name, role }))
    }

    async fn tokens(&self, known: &Known, asker: &Asker, begun: &Begun, code: String) -> Result<Tokens, FlowError> {
        let provider = known.client(&self.redirect_uri)?;
        let exchange = provider.exchange_code(AuthorizationCode::new(code)).map_err(|error| asker.failed(&error))?;
        let exchange = exchange.set_pkce_verifier(PkceCodeVerifier::new(begun.verifier.clone()));
        exchange.request_async(asker).await.map_err(|error| asker.refused(error))
    }

    /// The claims of the ID token, if the provider has signed it for this sign-in. Providers change their keys, so that one
    /// which is not among the known ones may be new.
    async fn verified(&self, known: &Arc<Known>, token: &IdToken, nonce: &Nonce) -> Result<Said, FlowError> {
        match self.verify(known, token, nonce)? {
            Ok(said) => Ok(said),
            Err(ClaimsVerificationError::SignatureVerification(_)) => {
                let newer = self.providers.newer(known, Instant::now()).await?;
                self.verify(&newer, token, nonce)?.map_err(|error| FlowError::invalid(&error))
            }
            Err(error) => Err(FlowError::invalid(&error)),
        }
    }

    fn verify(
        &self,
        known: &Known,
        token: &IdToken,
        nonce: &Nonce,
    ) -> Result<Result<Said, ClaimsVerificationError>, FlowError> {
        let provider = known.client(&self.redirect_uri)?;
        // Which further audiences there may be, `issued_to` says, which knows `azp`.
        let verifier = provider.id_token_verifier().set_other_audience_verifier_fn(|_| true);
        Ok(token.claims(&verifier, nonce).cloned())
    }

    /// Many providers put claims into the ID token only on request, and always into the UserInfo response.
    async fn person(&self, known: &Known, asker: &Asker, tokens: &Tokens, said: &Said) -> Result<Person, FlowError> {
        let mut person = Person {
            email: said.email().map(|email| email.to_string()),
            verified: said.email_verified(),
            name: said.name().and_then(|name| name.get(None)).map(|name| name.to_string()),
            other: said.additional_claims().clone(),
        };
        let lacks_role = self.config.role_claim.as_ref().is_some_and(|claim| values(&person.other.0, claim).is_none());
        if person.email.is_some() && person.verified.is_some() && person.name.is_some() && !lacks_role {
            return Ok(person);
        }
        let subject = Some(said.subject().clone());
        let provider = known.client(&self.redirect_uri)?;
        let Ok(request) = provider.user_info(tokens.access_token().clone(), subject) else { return Ok(person) };
        let told: Result<UserInfoClaims<OtherClaims, CoreGenderClaim>, _> = request.request_async(asker).await;
        match told {
            Ok(told) => person.complete(&told),
            Err(error) => {
                let error = asker.unread(error);
                tracing::warn!(%error, "single sign-on goes on without the provider's userinfo, which cannot be read");
            }
        }
        Ok(person)
    }
}

impl Person {
    fn complete(&mut self, told: &UserInfoClaims<OtherClaims, CoreGenderClaim>) {
        let address = told.email().map(|email| email.to_string());
        // What it says of another address than the ID token's proves nothing about this one.
        if self.email.is_none() || (self.verified.is_none() && self.email == address) {
            (self.email, self.verified) = (address, told.email_verified());
        }
        if self.name.is_none() {
            self.name = told.name().and_then(|name| name.get(None)).map(|name| name.to_string());
        }
        for (claim, value) in &told.additional_claims().0 {
            self.other.0.entry(claim.clone()).or_insert_with(|| value.clone());
        }
    }
}
