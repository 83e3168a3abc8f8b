//! What the gateway shows a service to be let in, as a server of models wants it that is started with a key of its own.

use super::{clean, identity_fields::FieldPattern, secret::Secret};

/// A field that every request to a Deployment gets. A caller's field of that name never passes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamCredential {
    /// In lower case.
    header: Box<str>,
    value: Secret,
}

/// Why it is none. The text holds nothing of the value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotACredential {
    #[error("is no field name that may carry a credential")]
    Header,
    #[error("is empty")]
    Empty,
    #[error("{0}")]
    Unclean(clean::Unclean),
    #[error("holds a character that is not ASCII")]
    NotAscii,
}

impl UpstreamCredential {
    /// One word in `Authorization` has no scheme (RFC 9110 § 11.6.2): it is a Bearer token.
    ///
    /// # Errors
    /// [`NotACredential`].
    pub fn new(header: &str, text: &str) -> Result<Self, NotACredential> {
        let header = header.to_ascii_lowercase();
        let is_authorization = header == "authorization";
        let is_field =
            !header.ends_with('*') && header.parse().is_ok_and(|name: FieldPattern| name.check_allow().is_ok());
        if !(is_authorization || is_field) {
            return Err(NotACredential::Header);
        }
        match clean::check(text) {
            _ if text.is_empty() => return Err(NotACredential::Empty),
            Err(unclean) => return Err(NotACredential::Unclean(unclean)),
            Ok(()) if !text.is_ascii() => return Err(NotACredential::NotAscii),
            Ok(()) => {}
        }
        let bare = is_authorization && !text.contains(' ');
        let value = Secret::new(if bare { format!("Bearer {text}") } else { text.to_owned() });
        Ok(Self { header: header.into(), value })
    }

    pub fn header(&self) -> &str {
        &self.header
    }

    /// For the service only.
    pub fn expose(&self) -> &str {
        self.value.expose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bare_word_is_a_bearer_token() {
        let sent =
            |header, text| UpstreamCredential::new(header, text).map(|credential| credential.expose().to_owned());
        assert_eq!(sent("Authorization", "sk-1"), Ok("Bearer sk-1".to_owned()));
        assert_eq!(sent("authorization", "Basic Zm9v"), Ok("Basic Zm9v".to_owned()));
        assert_eq!(sent("X-API-Key", "sk-1"), Ok("sk-1".to_owned()));
    }

    #[test]
    fn what_cannot_be_one_field_is_refused() {
        for header in
            ["", "x_key", "x key", "x-*", "Host", "Content-Length", "Cookie", "X-Forwarded-For", "X-Bento-Key"]
        {
            assert_eq!(UpstreamCredential::new(header, "k"), Err(NotACredential::Header), "{header}");
        }
        for text in ["", " k", "k\r\nx: y", "k\0", "schlüssel", "k "] {
            let refused = UpstreamCredential::new("x-api-key", text).unwrap_err();
            assert!(!refused.to_string().contains("schl"), "{refused}");
        }
    }

    #[test]
    fn it_does_not_print() {
        let credential = UpstreamCredential::new("x-api-key", "secret").unwrap();
        assert!(!format!("{credential:?}").contains("secret"));
    }
}
