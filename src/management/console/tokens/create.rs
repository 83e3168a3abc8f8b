//! Creating a token.

use axum::http::StatusCode;

use super::{
    form::{FormValues, form_page, form_with_error, proposed_expiry, read_expiry, read_scopes},
    issued::issued_page,
};
use crate::{
    management::{
        console::{form::CsrfForm, recipes::Destinations, rejection::PageResult, visitor::SignedIn},
        error::ApiError,
    },
    service::tokens::{self, CreateToken},
};

pub async fn new(visitor: SignedIn) -> PageResult {
    let values = FormValues { expires: proposed_expiry(&visitor), ..FormValues::default() };
    form_page(&visitor, StatusCode::OK, "", values, None).await
}

pub async fn create(CsrfForm { visitor, fields }: CsrfForm<SignedIn>) -> PageResult {
    let destinations = Destinations::read(&visitor).await?;
    let created = async {
        let request = CreateToken {
            name: fields.text("name").to_owned(),
            description: fields.text("description").to_owned(),
            scopes: Some(read_scopes(&fields)?),
            expiry: read_expiry(&fields)?.unwrap_or_default(),
            owner: Some(visitor.user.email.clone()),
        };
        Ok::<_, ApiError>(tokens::create(&visitor.context(), request).await?)
    };
    match created.await {
        Ok(issued) => issued_page(visitor, destinations, issued.map(|issued| (issued, None))).await,
        Err(error) => form_with_error(&visitor, "", &fields, error).await,
    }
}
