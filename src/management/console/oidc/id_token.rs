//! Whether an ID token is for a sign-in, and who it speaks of (OpenID Connect Core 1.0 § 3.1.3.7). Its signature is
//! [`super::signed`]'s.

use serde_json::Value;

use super::{
    FlowError,
    claims::{Said, Unreadable, audiences, text, time},
};
use crate::domain::timestamp::Timestamp;

/// What the ID token of a sign-in has to say.
pub struct Expected<'a> {
    pub issuer: &'a str,
    pub client: &'a str,
    pub nonce: &'a str,
    pub now: Timestamp,
}

impl Expected<'_> {
    /// Who the ID token speaks of, if it is for this sign-in.
    ///
    /// # Errors
    /// Which claim says otherwise, is missing, or cannot be read.
    pub fn subject(&self, said: &Said) -> Result<String, FlowError> {
        self.issued_by(said)?;
        self.issued_to(said)?;
        let end = required("exp", time(said, "exp"))?;
        if end <= self.now {
            return Err(otherwise("exp", &format!("it is over since {end}; is this machine's clock right?")));
        }
        // Hashes compare in constant time.
        if blake3::hash(required("nonce", text(said, "nonce"))?.as_bytes()) != blake3::hash(self.nonce.as_bytes()) {
            return Err(otherwise("nonce", "it is of another sign-in"));
        }
        subject(said)
    }

    /// The same of userinfo that comes signed (§ 5.3.2), which has no nonce and no end.
    ///
    /// # Errors
    /// As above.
    pub fn subject_of_userinfo(&self, said: &Said) -> Result<String, FlowError> {
        self.issued_by(said)?;
        self.issued_to(said)?;
        subject(said)
    }

    fn issued_by(&self, said: &Said) -> Result<(), FlowError> {
        let issuer = required("iss", text(said, "iss"))?;
        if issuer == self.issuer {
            return Ok(());
        }
        Err(otherwise("iss", &format!("it was issued by {issuer:?}, and not by {:?}", self.issuer)))
    }

    /// Steps 3 to 5: with further audiences `azp` has to say that it was issued to us. Otherwise another of them may be
    /// passing on a token of its own.
    fn issued_to(&self, said: &Said) -> Result<(), FlowError> {
        let audiences = required("aud", audiences(said))?;
        if !audiences.contains(&self.client) {
            return Err(otherwise("aud", "it is not for this client"));
        }
        match text(said, "azp").map_err(unreadable)? {
            Some(party) if party == self.client => Ok(()),
            Some(_) => Err(otherwise("azp", "it was issued to another client")),
            None if audiences.len() == 1 => Ok(()),
            None => Err(otherwise("azp", "it is for several clients and does not say to which it was issued")),
        }
    }
}

/// Who is spoken of.
///
/// # Errors
/// It is missing, empty, or cannot be read.
pub fn subject(said: &Said) -> Result<String, FlowError> {
    let subject = match said.get("sub") {
        Some(Value::Number(number)) => number.to_string(),
        _ => required("sub", text(said, "sub"))?.to_owned(),
    };
    let names_somebody = !subject.is_empty() && !subject.contains(char::is_control);
    if names_somebody { Ok(subject) } else { Err(otherwise("sub", "it is empty, or has control characters")) }
}

fn required<T>(claim: &str, read: Result<Option<T>, Unreadable>) -> Result<T, FlowError> {
    read.map_err(unreadable)?.ok_or_else(|| otherwise(claim, "it is missing"))
}

fn unreadable(error: Unreadable) -> FlowError {
    FlowError::Invalid(error.to_string())
}

fn otherwise(claim: &str, why: &str) -> FlowError {
    FlowError::Invalid(format!("the claim {claim} does not fit: {why}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{super::claims::tests::said, *};

    /// What an ID token with this difference from a good one comes to: the subject, or what is said of the claim.
    fn outcome(different: Value) -> Result<String, String> {
        let now = Timestamp::from_millis(1_000_000);
        let expected = Expected { issuer: "https://id.test", client: "gw", nonce: "n", now };
        let good = json!({ "iss": "https://id.test", "aud": "gw", "exp": 1001, "nonce": "n", "sub": "ada" });
        let mut claims = said(good);
        claims.extend(said(different));
        expected.subject(&claims).map_err(|error| error.to_string())
    }

    #[test]
    fn what_decides_is_read_as_it_is_meant_or_named() {
        for meant in [
            json!({}),
            json!({ "exp": "1001" }),
            json!({ "exp": 1000.5 }),
            json!({ "exp": "1970-01-01T00:16:41Z" }),
            json!({ "exp": "1970-01-01 00:16:41" }),
            json!({ "exp": 1e300 }),
            json!({ "aud": ["gw"] }),
            json!({ "aud": ["gw", "3298"], "azp": "gw" }),
            // Nobody uses these.
            json!({ "iat": "?", "auth_time": [], "acr": 0, "amr": "pwd", "at_hash": {}, "updated_at": "" }),
        ] {
            assert_eq!(outcome(meant.clone()).as_deref(), Ok("ada"), "{meant}");
        }
        assert_eq!(outcome(json!({ "sub": 7 })).as_deref(), Ok("7"));
        for (claim, wrong) in [
            ("iss", json!("https://other.test")),
            ("iss", json!("https://id.test/")),
            ("iss", json!(null)),
            ("iss", json!(7)),
            ("aud", json!("other")),
            ("aud", json!([])),
            ("aud", json!(7)),
            ("aud", json!(null)),
            ("azp", json!("other")),
            ("azp", json!(["gw"])),
            ("exp", json!(1000)),
            ("exp", json!("1000")),
            ("exp", json!("1970-01-01T00:16:40Z")),
            ("exp", json!(-1e300)),
            ("exp", json!("inf")),
            ("exp", json!("soon")),
            ("exp", json!(true)),
            ("exp", json!(null)),
            ("nonce", json!("m")),
            ("nonce", json!(null)),
            ("nonce", json!(1)),
            ("sub", json!(null)),
            ("sub", json!("")),
            ("sub", json!("a\u{0}")),
            ("sub", json!(["ada"])),
        ] {
            let said = outcome(json!({ claim: wrong })).unwrap_err();
            assert!(said.contains(&format!("the claim {claim} ")), "{claim} {wrong}: {said}");
        }
        assert!(outcome(json!({ "aud": ["gw", "3298"] })).unwrap_err().contains("the claim azp "));
        assert!(outcome(json!({ "aud": ["gw", 3298] })).unwrap_err().contains("the claim azp "));
    }
}
