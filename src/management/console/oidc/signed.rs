//! What the provider has signed, as JSON (RFC 7515). Providers put claims of any kind where the standard has others, so that
//! none is looked at here: who uses one reads it ([`super::claims`]).

use data_encoding::BASE64URL_NOPAD;
use openidconnect::{
    JsonWebKey, JsonWebKeyId, JwsSigningAlgorithm, SignatureVerificationError,
    core::{CoreJsonWebKey, CoreJwsSigningAlgorithm},
};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;

use super::{FlowError, claims::Said, provider::Known};

/// A text with a signature that nobody has checked yet.
pub struct Signed<'a> {
    /// Head and claims as they stand in the text.
    signed: &'a str,
    signature: Vec<u8>,
    algorithm: CoreJwsSigningAlgorithm,
    /// `None`: it does not say by which key.
    key: Option<JsonWebKeyId>,
    claims: Said,
}

#[derive(Deserialize)]
struct Head {
    alg: CoreJwsSigningAlgorithm,
    kid: Option<JsonWebKeyId>,
    typ: Option<String>,
    cty: Option<Value>,
    crit: Option<Value>,
}

impl<'a> Signed<'a> {
    /// # Errors
    /// It is no JSON that is signed once.
    pub fn parse(text: &'a str) -> Result<Self, FlowError> {
        let (signed, signature) = text.rsplit_once('.').ok_or_else(|| invalid("is not a signed JSON object"))?;
        let (head, claims) = signed.split_once('.').ok_or_else(|| invalid("is not a signed JSON object"))?;
        let head: Head =
            json(head).ok_or_else(|| invalid("has a head that cannot be read, or an unknown algorithm"))?;
        head.check()?;
        let claims = json(claims).ok_or_else(|| invalid("is not a signed JSON object"))?;
        let signature = decoded(signature).ok_or_else(|| invalid("has a signature that cannot be read"))?;
        Ok(Self { signed, signature, algorithm: head.alg, key: head.kid, claims })
    }

    /// Its claims, if the provider has signed them.
    ///
    /// # Errors
    /// It has not, as far as is known: its keys may have changed since.
    pub fn claims(&self, known: &Known) -> Result<&Said, SignatureVerificationError> {
        let verify = |key: &CoreJsonWebKey| {
            key.verify_signature(&self.algorithm, self.signed.as_bytes(), &self.signature).map(|()| &self.claims)
        };
        let metadata = known.metadata();
        if !metadata.id_token_signing_alg_values_supported().contains(&self.algorithm) {
            return Err(disallowed("the provider does not say that it signs so"));
        }
        if self.algorithm.uses_shared_secret() {
            // Without a secret anybody could have signed it.
            let secret = known.secret().ok_or_else(|| disallowed("it takes a client_secret, and there is none"))?;
            return verify(&CoreJsonWebKey::new_symmetric(secret.as_bytes().to_owned()));
        }
        let may_be = |key: &&CoreJsonWebKey| self.key.is_none() || key.key_id() == self.key.as_ref();
        let tried = metadata.jwks().keys().iter().filter(may_be).map(verify);
        tried.reduce(Result::or).unwrap_or(Err(SignatureVerificationError::NoMatchingKey))
    }
}

impl Head {
    /// # Errors
    /// What is signed means more than its claims, or something else.
    fn check(&self) -> Result<(), FlowError> {
        let of_type = |typ: &String| {
            let typ = typ.to_ascii_lowercase();
            ["jwt", "jose"].contains(&typ.strip_prefix("application/").unwrap_or(&typ))
        };
        if self.typ.as_ref().is_some_and(|typ| !of_type(typ)) {
            Err(invalid("is signed for another use (typ)"))
        } else if self.cty.is_some() || self.crit.is_some() {
            Err(invalid("has a head with cty or crit, which the gateway does not know"))
        } else {
            Ok(())
        }
    }
}

fn json<T: DeserializeOwned>(part: &str) -> Option<T> {
    serde_json::from_slice(&decoded(part)?).ok()
}

fn decoded(part: &str) -> Option<Vec<u8>> {
    BASE64URL_NOPAD.decode(part.as_bytes()).ok()
}

fn invalid(why: &str) -> FlowError {
    FlowError::Invalid(format!("what it has signed {why}"))
}

fn disallowed(why: &str) -> SignatureVerificationError {
    SignatureVerificationError::DisallowedAlg(why.to_owned())
}
