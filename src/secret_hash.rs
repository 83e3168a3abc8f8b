//! Argon2id for token secrets and passwords: PHC strings with the cost inside, so that it can be raised at any time.
//!
//! A token's secret has 256 random bits and cannot be guessed whatever a guess costs; its hash is cheap on purpose. A
//! password is human-chosen and gets OWASP's parameters. `docs/decisions/0003-hash-cost.md` has the numbers.

mod packed;

use argon2::{
    Algorithm, Argon2, KeyId, Params, ParamsBuilder, Version,
    password_hash::{CustomizedPasswordHasher, PasswordVerifier, phc::PasswordHash},
};

use crate::{
    domain::{secret::Secret, token_text::PresentedToken},
    system::{self, NoEntropy},
};

pub use packed::{HashBytes, HashForm};

/// Cost of Argon2id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Argon2Cost {
    pub memory_kib: u32,
    pub iterations: u32,
    pub parallelism: u32,
}

/// OWASP's first choice for Argon2id: 19 MiB, two passes, one lane.
const PASSWORD_COST: Argon2Cost = Argon2Cost { memory_kib: 19 * 1024, iterations: 2, parallelism: 1 };
/// 128 bits: RFC 9106 § 3.1 recommends this length.
const SALT_BYTES: usize = 16;

/// Hashes and verifies with one cost and, if configured, one pepper.
#[derive(Clone)]
pub struct SecretHasher {
    params: Params,
    pepper: Option<Secret>,
    /// Recorded in the PHC string, so that a hash made with another pepper is told from a wrong secret.
    pepper_id: Vec<u8>,
}

#[derive(Debug, thiserror::Error)]
pub enum HashError {
    #[error(transparent)]
    NoEntropy(#[from] NoEntropy),
    /// The configured cost or pepper is outside what Argon2 takes.
    #[error("Argon2 refuses its parameters: {0}")]
    Parameters(String),
    /// The stored text is not an Argon2 PHC string.
    #[error("a stored hash is not an Argon2 PHC string")]
    Malformed,
    /// The hash was made with another pepper, or with one while none is configured, or the other way round.
    #[error("a stored hash was made with another pepper (tokens.pepper) than the one that is configured")]
    OtherPepper,
}

impl SecretHasher {
    /// # Errors
    /// [`HashError::Parameters`].
    pub fn for_tokens(cost: Argon2Cost, pepper: Option<Secret>) -> Result<Self, HashError> {
        Self::new(cost, pepper)
    }

    /// # Errors
    /// [`HashError::Parameters`].
    pub fn for_passwords(pepper: Option<Secret>) -> Result<Self, HashError> {
        Self::new(PASSWORD_COST, pepper)
    }

    fn new(cost: Argon2Cost, pepper: Option<Secret>) -> Result<Self, HashError> {
        let refused = |error: argon2::Error| HashError::Parameters(error.to_string());
        let pepper_id = pepper.as_ref().map_or_else(Vec::new, pepper_id);
        let mut builder = ParamsBuilder::new();
        builder.m_cost(cost.memory_kib).t_cost(cost.iterations).p_cost(cost.parallelism);
        builder.keyid(KeyId::new(&pepper_id).map_err(refused)?);
        let hasher = Self { params: builder.build().map_err(refused)?, pepper, pepper_id };
        hasher.argon2()?;
        Ok(hasher)
    }

    /// # Errors
    /// [`HashError::NoEntropy`] for want of a salt.
    pub fn hash_token(&self, token: PresentedToken<'_>) -> Result<Box<str>, HashError> {
        self.hash(token.secret_bytes())
    }

    /// # Errors
    /// [`HashError::NoEntropy`] for want of a salt.
    pub fn hash_password(&self, password: &str) -> Result<Box<str>, HashError> {
        self.hash(password.as_bytes())
    }

    /// Whether `token` is the one that `phc` was made of. Takes as long as its parameters say: not for an I/O thread.
    ///
    /// # Errors
    /// [`HashError::Malformed`] and [`HashError::OtherPepper`]: our trouble, not the caller's.
    pub fn verify_token(&self, token: PresentedToken<'_>, phc: &str) -> Result<bool, HashError> {
        self.verify(token.secret_bytes(), phc)
    }

    /// The same for a password.
    ///
    /// # Errors
    /// As [`SecretHasher::verify_token`].
    pub fn verify_password(&self, password: &str, phc: &str) -> Result<bool, HashError> {
        self.verify(password.as_bytes(), phc)
    }

    fn verify(&self, secret: &[u8], phc: &str) -> Result<bool, HashError> {
        let hash = PasswordHash::new(phc).map_err(|_| HashError::Malformed)?;
        let params = Params::try_from(&hash).map_err(|_| HashError::Malformed)?;
        if params.keyid() != self.pepper_id {
            return Err(HashError::OtherPepper);
        }
        Ok(self.argon2()?.verify_password(secret, &hash).is_ok())
    }

    fn hash(&self, secret: &[u8]) -> Result<Box<str>, HashError> {
        let refused = |error: argon2::password_hash::Error| HashError::Parameters(error.to_string());
        let salt = system::random::<SALT_BYTES>()?;
        let hash = self.argon2()?.hash_password_with_params(secret, &salt, self.params.clone()).map_err(refused)?;
        Ok(hash.to_string().into())
    }

    fn argon2(&self) -> Result<Argon2<'_>, HashError> {
        match &self.pepper {
            None => Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, self.params.clone())),
            Some(pepper) => Argon2::new_with_secret(
                pepper.expose().as_bytes(),
                Algorithm::Argon2id,
                Version::V0x13,
                self.params.clone(),
            )
            .map_err(|error| HashError::Parameters(error.to_string())),
        }
    }
}

/// Eight bytes that tell peppers apart and say nothing about them.
fn pepper_id(pepper: &Secret) -> Vec<u8> {
    blake3::derive_key("bento-gateway 2026 pepper id", pepper.expose().as_bytes())[..8].to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHEAP: Argon2Cost = Argon2Cost { memory_kib: 8, iterations: 1, parallelism: 1 };

    fn pepper(text: &str) -> Option<Secret> {
        Some(Secret::new(text.to_owned()))
    }

    #[test]
    fn verifies_its_own_token_and_no_other() {
        let hasher = SecretHasher::for_tokens(CHEAP, None).unwrap();
        let (one, other) = (system::new_token_text().unwrap(), system::new_token_text().unwrap());
        let phc = hasher.hash_token(one.presented()).unwrap();
        assert!(phc.starts_with("$argon2id$v=19$m=8,t=1,p=1$"), "{phc}");
        assert!(hasher.verify_token(one.presented(), &phc).unwrap());
        assert!(!hasher.verify_token(other.presented(), &phc).unwrap());
    }

    #[test]
    fn a_raised_cost_still_verifies_old_hashes() {
        let token = system::new_token_text().unwrap();
        let phc = SecretHasher::for_tokens(CHEAP, None).unwrap().hash_token(token.presented()).unwrap();
        let dearer = Argon2Cost { memory_kib: 64, iterations: 2, parallelism: 1 };
        assert!(SecretHasher::for_tokens(dearer, None).unwrap().verify_token(token.presented(), &phc).unwrap());
    }

    #[test]
    fn another_pepper_is_our_trouble_and_not_a_wrong_secret() {
        let token = system::new_token_text().unwrap();
        let peppered = SecretHasher::for_tokens(CHEAP, pepper("salt mine")).unwrap();
        let phc = peppered.hash_token(token.presented()).unwrap();
        assert!(peppered.verify_token(token.presented(), &phc).unwrap());
        for other in [None, pepper("pepper mill")] {
            let hasher = SecretHasher::for_tokens(CHEAP, other).unwrap();
            assert!(matches!(hasher.verify_token(token.presented(), &phc), Err(HashError::OtherPepper)));
        }
        assert!(matches!(peppered.verify_token(token.presented(), "plain"), Err(HashError::Malformed)));
    }

    #[test]
    fn impossible_parameters_are_refused_at_once() {
        let none = Argon2Cost { memory_kib: 1, iterations: 1, parallelism: 1 };
        assert!(matches!(SecretHasher::for_tokens(none, None), Err(HashError::Parameters(_))));
    }
}
