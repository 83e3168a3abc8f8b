//! The management API, as a program asks it.

use serde_json::Value;

use super::{
    gateway::Gateway,
    http::{Client, EXPECTS, Held},
};

/// Asks with whole header lines, which end in `\r\n`. `None` as body sends none. The status, and what the body says.
pub fn ask_with(gateway: &Gateway, method: &str, path: &str, fields: &str, body: Option<&Value>) -> (u16, Value) {
    ask_text(gateway, method, path, fields, &body.map(Value::to_string).unwrap_or_default())
}

/// The same with a body to the letter.
pub fn ask_text(gateway: &Gateway, method: &str, path: &str, fields: &str, body: &str) -> (u16, Value) {
    let answer = Client::connect(gateway.management).ask(request(method, path, fields, body));
    (answer.status, serde_json::from_slice(&answer.body).unwrap_or(Value::Null))
}

fn request(method: &str, path: &str, fields: &str, body: &str) -> String {
    format!(
        "{method} {path} HTTP/1.1\r\nhost: gateway\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\
         connection: close\r\n{fields}\r\n{body}",
        body.len()
    )
}

/// With a token, and without the body for now.
pub fn hold(gateway: &Gateway, token: &str, method: &str, path: &str, body: &Value) -> Held {
    let fields = format!("x-yatai-api-token: {token}\r\n{EXPECTS}\r\n");
    Held::send(gateway.management, &request(method, path, &fields, &body.to_string()))
}

/// Asks with a token.
pub fn ask(gateway: &Gateway, token: &str, method: &str, path: &str, body: Option<&Value>) -> (u16, Value) {
    ask_with(gateway, method, path, &format!("x-yatai-api-token: {token}\r\n"), body)
}

pub fn get(gateway: &Gateway, token: &str, path: &str) -> (u16, Value) {
    ask(gateway, token, "GET", path, None)
}

pub fn post(gateway: &Gateway, token: &str, path: &str, body: Value) -> (u16, Value) {
    ask(gateway, token, "POST", path, Some(&body))
}
