//! Changing what is said of a token and what it may do.

use axum::{extract::Path, http::StatusCode};

use super::{
    form::{FormValues, form_page, form_with_error, read_expiry, read_scopes},
    receipt_text,
    show::token_page,
};
use crate::{
    management::{
        console::{form::CsrfForm, rejection::PageResult, visitor::SignedIn},
        error::ApiError,
    },
    service::{
        lookup,
        tokens::{self, UpdateToken},
    },
};

pub async fn edit(visitor: SignedIn, Path(uid): Path<String>) -> PageResult {
    let record = lookup::live_token(&visitor.store, visitor.viewer(), &uid).await?;
    form_page(&visitor, StatusCode::OK, &uid, FormValues::of(&record), None).await
}

pub async fn update(Path(uid): Path<String>, CsrfForm { visitor, fields }: CsrfForm<SignedIn>) -> PageResult {
    let record = lookup::live_token(&visitor.store, visitor.viewer(), &uid).await?;
    let updated = async {
        let change = UpdateToken {
            name: Some(fields.text("name").to_owned()),
            description: Some(fields.text("description").to_owned()),
            scopes: Some(read_scopes(&fields)?),
            expiry: read_expiry(&fields)?,
        };
        Ok::<_, ApiError>(tokens::update(&visitor.context(), record.uid, change).await?)
    };
    match updated.await {
        Ok(record) => {
            let receipt = visitor.management.gateway.wait_until_applied(&visitor.store).await;
            token_page(&visitor, &record, Some(format!("Saved. {}", receipt_text(receipt.as_ref())))).await
        }
        Err(error) => form_with_error(&visitor, &uid, &fields, error).await,
    }
}
