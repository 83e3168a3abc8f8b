//! Claims as providers write them. Each is read by itself, and only where it is used: one of a kind that says nothing is none.

use serde_json::{Map, Value};

use crate::domain::timestamp::Timestamp;

/// All claims, as they came.
pub type Said = Map<String, Value>;

/// A claim that is there and says nothing.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the claim {claim} cannot be read: it should be {expected}, and is {found}")]
pub struct Unreadable {
    claim: &'static str,
    expected: &'static str,
    found: &'static str,
}

// === kinds ===

/// `None`, here and below: it is missing or null.
///
/// # Errors
/// It is of another kind, here and below.
pub fn text<'a>(said: &'a Said, claim: &'static str) -> Result<Option<&'a str>, Unreadable> {
    match said.get(claim) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(other) => Err(Unreadable::new(claim, "a text", other)),
    }
}

/// True and false are also written as texts (Cognito: `"true"`, others `"True"`) or numbers.
pub fn flag(said: &Said, claim: &'static str) -> Result<Option<bool>, Unreadable> {
    let Some(value) = said.get(claim).filter(|value| !value.is_null()) else { return Ok(None) };
    let written = match value {
        Value::String(text) => text.to_ascii_lowercase(),
        other => other.to_string(),
    };
    match &*written {
        "true" | "1" => Ok(Some(true)),
        "false" | "0" => Ok(Some(false)),
        _ => Err(Unreadable::new(claim, "true or false", value)),
    }
}

/// Seconds since 1970, as a number or text, or a date as text.
pub fn time(said: &Said, claim: &'static str) -> Result<Option<Timestamp>, Unreadable> {
    let Some(value) = said.get(claim).filter(|value| !value.is_null()) else { return Ok(None) };
    let read = match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => match text.trim().parse() {
            Ok(seconds) => Some(seconds),
            Err(_) => return Timestamp::parse(text).map(Some).ok_or_else(|| Unreadable::new(claim, "a time", value)),
        },
        _ => None,
    };
    let seconds = read.filter(|seconds| seconds.is_finite()).ok_or_else(|| Unreadable::new(claim, "a time", value))?;
    // A number beyond the range becomes its end.
    #[allow(clippy::cast_possible_truncation, reason = "as said")]
    Ok(Some(Timestamp::from_millis((seconds * 1000.0) as i64)))
}

/// One as text, or a list. What is no text in it is an audience all the same, and not us.
pub fn audiences(said: &Said) -> Result<Option<Vec<&str>>, Unreadable> {
    match said.get("aud") {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(one)) => Ok(Some(vec![one])),
        Some(Value::Array(all)) => Ok(Some(all.iter().map(|one| one.as_str().unwrap_or_default()).collect())),
        Some(other) => Err(Unreadable::new("aud", "a text or a list of texts", other)),
    }
}

/// What was read; what says nothing counts as missing, and the log names it.
pub fn or_missing<T>(read: Result<Option<T>, Unreadable>) -> Option<T> {
    read.unwrap_or_else(|error| {
        tracing::warn!(%error, "what the provider says is taken as if the claim were missing");
        None
    })
}

impl Unreadable {
    /// Not what `value` is: it may be personal.
    fn new(claim: &'static str, expected: &'static str, value: &Value) -> Self {
        let found = match value {
            Value::Null => "null",
            Value::Bool(_) => "true or false",
            Value::Number(_) => "a number",
            Value::String(_) => "another text",
            Value::Array(_) => "a list",
            Value::Object(_) => "an object",
        };
        Self { claim, expected, found }
    }
}

#[cfg(test)]
pub mod tests {
    use serde_json::json;

    use super::*;

    pub fn said(value: Value) -> Said {
        let Value::Object(said) = value else { panic!("{value}") };
        said
    }

    #[test]
    fn true_is_written_in_many_ways() {
        for (expected, written) in [
            (Some(true), [json!(true), json!("true"), json!("True"), json!(1), json!("1")]),
            (Some(false), [json!(false), json!("false"), json!("FALSE"), json!(0), json!("0")]),
        ] {
            for value in written {
                assert_eq!(flag(&said(json!({ "email_verified": value })), "email_verified"), Ok(expected), "{value}");
            }
        }
        for nothing in [json!({}), json!({ "email_verified": null })] {
            assert_eq!(flag(&said(nothing), "email_verified"), Ok(None));
        }
        for value in [json!(""), json!("yes"), json!(2), json!([true]), json!({})] {
            let error = flag(&said(json!({ "email_verified": value })), "email_verified").unwrap_err();
            assert!(error.to_string().starts_with("the claim email_verified cannot be read"), "{error}");
        }
    }
}
