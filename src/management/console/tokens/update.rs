//! Changing what is said of a token and what it may do.

use axum::{extract::Path, http::StatusCode};

use super::{
    form::{FormValues, form_page, form_with_conflict, form_with_error, read_expiry, read_scopes},
    show::token_page,
};
use crate::{
    management::{
        console::{
            form::{CsrfForm, FormFields},
            rejection::PageResult,
            visitor::SignedIn,
            words::receipt_text,
        },
        error::ApiError,
    },
    service::{
        Error, Version, lookup,
        tokens::{self, UpdateToken},
    },
};

pub async fn edit(visitor: SignedIn, Path(uid): Path<String>) -> PageResult {
    let record = lookup::live_token(&visitor.context(), visitor.viewer(), &uid).await?;
    form_page(&visitor, StatusCode::OK, &uid, FormValues::of(&record), None).await
}

pub async fn update(Path(uid): Path<String>, CsrfForm { visitor, fields }: CsrfForm<SignedIn>) -> PageResult {
    let record = lookup::live_token(&visitor.context(), visitor.viewer(), &uid).await?;
    let update = match read_update(&fields) {
        Ok(update) => update,
        Err(error) => return form_with_error(&visitor, &uid, &fields, error).await,
    };
    match tokens::update(&visitor.context(), record.uid, update).await {
        Ok(updated) => {
            let (record, receipt, afterwards) = visitor.settle(updated).await;
            let show = async |visitor, done| token_page(&visitor, &record, Some(done)).await;
            afterwards.page(format!("Changes saved. {}", receipt_text(receipt.as_ref())), show).await
        }
        Err(Error::ChangedMeanwhile) => {
            let stored = lookup::live_token(&visitor.context(), visitor.viewer(), &uid).await?;
            form_with_conflict(&visitor, &fields, &stored).await
        }
        Err(error) => form_with_error(&visitor, &uid, &fields, error.into()).await,
    }
}

fn read_update(fields: &FormFields) -> Result<UpdateToken, ApiError> {
    Ok(UpdateToken {
        name: Some(fields.text("name").to_owned()),
        description: Some(fields.text("description").to_owned()),
        scopes: Some(read_scopes(fields)?),
        expiry: read_expiry(fields)?,
        seen: Version::from_form(fields.text("version")),
    })
}
