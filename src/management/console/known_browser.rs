//! Browsers that an account has signed in with before. Whoever guesses at an account from elsewhere uses up the account's
//! bucket for strangers; such a browser has one of its own, so that nobody can lock its owner out (OWASP calls it a device
//! cookie). The cookie signs nobody in.

use axum::response::Response;
use data_encoding::HEXLOWER;

use super::visitor::Anonymous;
use crate::{
    domain::{timestamp::DAY, user::Email},
    http::cookie,
    management::{error::ApiError, limits::KnownBrowser},
};

/// How long a browser is known after signing in, in seconds: browsers keep no cookie much longer.
const LIFETIME: u64 = 365 * DAY.as_secs();

impl Anonymous {
    /// `None`: the account has not signed in with this browser, as far as its cookie shows.
    pub fn known_to(&self, email: &Email) -> Option<KnownBrowser> {
        let (number, tag) = self.cookie(cookie::KNOWN)?.split_once('.')?;
        let number = HEXLOWER.decode(number.as_bytes()).ok()?.try_into().ok()?;
        let shown = blake3::Hash::from_hex(tag).ok()?;
        // Hashes compare in constant time.
        (self.codes().vouch(email.as_str(), &number) == shown).then_some(KnownBrowser(number))
    }

    /// Has the browser be known to the account from now on.
    pub fn become_known(&self, response: &mut Response, email: &Email) -> Result<(), ApiError> {
        let mut number = [0; 16];
        self.management.system.fill(&mut number)?;
        let value = format!("{}.{}", HEXLOWER.encode(&number), self.codes().vouch(email.as_str(), &number).to_hex());
        self.set_cookie(response, cookie::KNOWN, &value, LIFETIME);
        Ok(())
    }
}
