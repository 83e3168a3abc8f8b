//! Why a request is let through or refused: what is asked, and the answer. Members may name their own tokens.

use askama::Template;
use axum::{extract::Query, http::StatusCode};
use serde::Deserialize;

use super::{
    form::CsrfForm,
    page::rendered,
    rejection::{PageResult, about_the_form},
    shell::Shell,
    visitor::SignedIn,
    words::{exact, sentence},
};
use crate::{
    domain::timestamp::Timestamp,
    management::{error::invalid_value, explain::Asked},
    service::explain::{ExplanationView, TokenOfRequest},
};

const METHODS: [&str; 7] = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"];

#[derive(Template)]
#[template(path = "console/explain.html")]
struct ExplainPage {
    shell: Shell,
    values: Values,
    methods: Vec<(&'static str, bool)>,
    problem: Option<String>,
    answer: Option<Answer>,
}

/// What the form holds. The text of a token is not given back.
#[derive(Deserialize, Default)]
pub struct Values {
    #[serde(default)]
    url: String,
    #[serde(default)]
    method: String,
    #[serde(default)]
    token: String,
    #[serde(default)]
    at: String,
}

struct Answer {
    allowed: bool,
    title: String,
    reason: String,
    facts: Vec<(&'static str, String)>,
    /// The page of the token. `None`: there is none, or it is not the visitor's.
    token: Option<(String, String)>,
}

/// The form, filled in with what a link says.
pub async fn show(visitor: SignedIn, Query(values): Query<Values>) -> PageResult {
    Ok(page(&visitor, StatusCode::OK, values, None, None))
}

pub async fn explain(CsrfForm { visitor, fields }: CsrfForm<SignedIn>) -> PageResult {
    let [url, method, token, at] = ["url", "method", "token", "at"].map(|name| fields.text(name).to_owned());
    let values = Values { url, method, token, at };
    let text = fields.text("token_text");
    let asked = |at: Option<Timestamp>| Asked {
        method: if values.method.is_empty() { METHODS[0] } else { &values.method },
        url: &values.url,
        listener: None,
        token: match (values.token.as_str(), text) {
            ("", "") => TokenOfRequest::None,
            ("", text) => TokenOfRequest::Text(text),
            (name, _) => TokenOfRequest::Called(name),
        },
        at,
    };
    let at = Some(values.at.as_str()).filter(|at| !at.is_empty()).map(str::parse).transpose();
    let answered = match at.map_err(invalid_value("Time")) {
        Ok(at) => {
            let (context, browser) = (visitor.context(), visitor.network());
            asked(at).explained(&visitor.management, &context, visitor.viewer(), browser).await
        }
        Err(invalid) => Err(invalid),
    };
    match answered {
        Ok(view) => Ok(page(&visitor, StatusCode::OK, values, None, Some(answer(view)))),
        Err(error) => {
            let error = about_the_form(error)?;
            Ok(page(&visitor, error.status(), values, Some(sentence(error.text())), None))
        }
    }
}

fn page(
    visitor: &SignedIn,
    status: StatusCode,
    values: Values,
    problem: Option<String>,
    answer: Option<Answer>,
) -> axum::response::Response {
    let methods = METHODS.iter().map(|method| (*method, *method == values.method)).collect();
    rendered(status, &ExplainPage { shell: Shell::new(visitor, "deployments"), values, methods, problem, answer })
}

fn answer(view: ExplanationView) -> Answer {
    let title = match (view.allowed, view.status) {
        (true, _) => "Let through".to_owned(),
        (false, Some(status)) => format!("Refused with {status}"),
        (false, None) => "Answered by the gateway".to_owned(),
    };
    let by = view.routed_by.map(|by| match by {
        "listener" => format!("Its own listener, {}", view.listener.unwrap_or_default()),
        "host" => "A hostname of its own".to_owned(),
        "base_domain" => "Its name under the base domain".to_owned(),
        "path" => "Its name in the path".to_owned(),
        _ => "None: the default Deployment".to_owned(),
    });
    let at = Timestamp::parse(&view.at).map(exact);
    let facts = [
        ("Code", view.code.map(str::to_owned)),
        ("Deployment", view.deployment),
        ("Address", by),
        ("Scope", view.scope),
        ("Decided for", at),
    ];
    let token = view.token_name.zip(view.token.map(|uid| format!("/api_tokens/{uid}")));
    Answer {
        allowed: view.allowed,
        title,
        reason: sentence(&view.reason),
        facts: facts.into_iter().filter_map(|(label, fact)| Some((label, fact?))).collect(),
        token,
    }
}
