//! Giving a token a new secret.

use askama::Template;
use axum::{extract::Path, http::StatusCode};

use super::issued::issued_page;
use crate::{
    domain::{
        token::TokenRecord,
        units::{InvalidDuration, format_duration, parse_duration},
    },
    management::console::{
        form::CsrfForm,
        page::rendered,
        recipes::Destinations,
        rejection::{PageResult, about_the_form},
        shell::Shell,
        visitor::SignedIn,
        words::sentence,
    },
    service::{lookup, tokens},
};

#[derive(Template)]
#[template(path = "console/token-rotate.html")]
struct RotatePage {
    shell: Shell,
    uid: String,
    name: String,
    overlap: String,
    problem: Option<String>,
}

pub async fn confirm_rotate(visitor: SignedIn, Path(uid): Path<String>) -> PageResult {
    let record = lookup::live_token(&visitor.context(), visitor.viewer(), &uid).await?;
    rotate_page(&visitor, StatusCode::OK, &record, None)
}

pub async fn rotate(Path(uid): Path<String>, CsrfForm { visitor, fields }: CsrfForm<SignedIn>) -> PageResult {
    let record = lookup::live_token(&visitor.context(), visitor.viewer(), &uid).await?;
    let overlap = match parse_duration(fields.text("overlap")) {
        Ok(overlap) => overlap,
        Err(invalid) => {
            let problem = match invalid {
                InvalidDuration::Form => "Enter a duration such as 0s, 1h, 24h or 7d.".to_owned(),
                InvalidDuration::TooLong => sentence(&format!("the overlap {invalid}")),
            };
            return rotate_page(&visitor, StatusCode::BAD_REQUEST, &record, Some(problem));
        }
    };
    let destinations = Destinations::read(&visitor).await?;
    match tokens::rotate(&visitor.context(), record.uid, Some(overlap)).await {
        Ok(rotated) => {
            let rotated = rotated.map(|(issued, old_until)| (issued, Some(old_until)));
            issued_page(visitor, destinations, rotated).await
        }
        Err(error) => {
            let error = about_the_form(error)?;
            rotate_page(&visitor, error.status(), &record, Some(sentence(error.text())))
        }
    }
}

fn rotate_page(visitor: &SignedIn, status: StatusCode, record: &TokenRecord, problem: Option<String>) -> PageResult {
    let page = RotatePage {
        shell: Shell::new(visitor, "tokens"),
        uid: record.uid.to_string(),
        name: record.name.clone(),
        overlap: format_duration(visitor.config.tokens.rotation_overlap),
        problem,
    };
    Ok(rendered(status, &page))
}
