//! What an operator changes about the fields that claim an identity, of which no caller's passes.

use std::str::FromStr;

/// The gateway's own handling of these follows from the message itself. No setting changes it.
const OF_THE_MESSAGE: &[&str] = &[
    "authorization",
    "connection",
    "content-*",
    "cookie",
    "expect",
    "host",
    "http2-settings",
    "keep-alive",
    "proxy-*",
    "sec-websocket-*",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];
/// What the gateway itself tells the service: a caller's must never stand beside it. Then what Bento tells itself.
const OURS: &[&str] = &[
    "x-bento-*",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-prefix",
    "x-forwarded-proto",
    "x-request-id",
    "x-yatai-*",
    "yatai-*",
    "bento-name",
    "bento-version",
    "runner-name",
];

/// The operator's exceptions from the published list, `docs/identity-fields.md`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IdentityFields {
    /// Fields that are dropped, too.
    pub drop: Vec<FieldPattern>,
    /// Fields that pass all the same, also where `drop` has them.
    pub allow: Vec<FieldPattern>,
}

/// A field's name, or all names with a beginning. In lower case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldPattern {
    /// Without the `*`.
    text: String,
    is_prefix: bool,
}

/// What the operator says of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ruling {
    Drop,
    Allow,
}

/// It is not made of letters, digits and `-`, with a `*` at most at the end. Other names never pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotAFieldName;

/// Why no setting may drop or let through a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Untouchable {
    Message,
    Ours,
}

impl IdentityFields {
    /// `name` is in lower case. `None`: the list holds.
    pub fn ruling(&self, name: &str) -> Option<Ruling> {
        let matches = |patterns: &[FieldPattern]| patterns.iter().any(|pattern| pattern.matches(name));
        match () {
            () if matches(&self.allow) => Some(Ruling::Allow),
            () if matches(&self.drop) => Some(Ruling::Drop),
            () => None,
        }
    }
}

impl FieldPattern {
    fn matches(&self, name: &str) -> bool {
        if self.is_prefix { name.starts_with(&self.text) } else { name == self.text }
    }

    /// Whether it may stand in `drop`.
    ///
    /// # Errors
    /// [`Untouchable`].
    pub fn check_drop(&self) -> Result<(), Untouchable> {
        if self.touches(OF_THE_MESSAGE) { Err(Untouchable::Message) } else { Ok(()) }
    }

    /// Whether it may stand in `allow`.
    ///
    /// # Errors
    /// [`Untouchable`].
    pub fn check_allow(&self) -> Result<(), Untouchable> {
        if self.touches(OURS) { Err(Untouchable::Ours) } else { self.check_drop() }
    }

    /// Whether there is a name that both this and one of `others` mean.
    fn touches(&self, others: &[&str]) -> bool {
        others.iter().any(|other| match other.strip_suffix('*') {
            Some(prefix) => self.text.starts_with(prefix) || (self.is_prefix && prefix.starts_with(&self.text)),
            None => self.matches(other),
        })
    }
}

impl FromStr for FieldPattern {
    type Err = NotAFieldName;

    fn from_str(text: &str) -> Result<Self, NotAFieldName> {
        let name = text.strip_suffix('*').unwrap_or(text);
        if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') {
            return Err(NotAFieldName);
        }
        Ok(Self { text: name.to_ascii_lowercase(), is_prefix: name.len() < text.len() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> FieldPattern {
        text.parse().unwrap()
    }

    #[test]
    fn names_and_beginnings() {
        let fields = IdentityFields {
            drop: vec![pattern("X-Corp-*"), pattern("X-Team")],
            allow: vec![pattern("X-Corp-Public")],
        };
        for (name, ruling) in [
            ("x-corp-id", Some(Ruling::Drop)),
            ("x-corp-", Some(Ruling::Drop)),
            ("x-corp-public", Some(Ruling::Allow)),
            ("x-corp-public-2", Some(Ruling::Drop)),
            ("x-corp", None),
            ("x-team", Some(Ruling::Drop)),
            ("x-teams", None),
        ] {
            assert_eq!(fields.ruling(name), ruling, "{name}");
        }
        for text in ["", "*", "x_corp", "x corp", "x-*-id", "x-corp-**", "x:", "x-ü"] {
            assert_eq!(text.parse::<FieldPattern>(), Err(NotAFieldName), "{text}");
        }
    }

    #[test]
    fn what_is_the_gateways_or_the_messages_is_no_settings_matter() {
        for text in ["X-User-Id", "X-Forwarded-User", "X-Goog-*", "X-Real-IP", "Forwarded", "X-Forwarded-U*"] {
            assert_eq!(pattern(text).check_allow(), Ok(()), "{text}");
        }
        for text in
            ["X-Forwarded-For", "X-Forwarded-*", "X-*", "x*", "X-Request-Id", "X-Bento-X", "X-Bento*", "Runner-Name"]
        {
            assert_eq!(pattern(text).check_allow(), Err(Untouchable::Ours), "{text}");
            assert_eq!(pattern(text).check_drop(), Ok(()), "{text}");
        }
        for text in
            ["Authorization", "Proxy-Authorization", "Connection", "Content-Length", "c*", "Content-*", "Host", "TE"]
        {
            assert_eq!(pattern(text).check_allow(), Err(Untouchable::Message), "{text}");
            assert_eq!(pattern(text).check_drop(), Err(Untouchable::Message), "{text}");
        }
    }
}
