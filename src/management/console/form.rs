//! Forms. A handler that changes something takes a [`CsrfForm`], which is made here only: after checking that it was sent
//! from a page of the console, by the browser that the page was made for.

use std::sync::Arc;

use axum::{
    extract::{FromRequest, Request},
    http::StatusCode,
};

use super::{rejection::PageRejection, visitor::Visitor};
pub use crate::http::form::FormFields;
use crate::{
    http::same_origin::Initiator,
    management::{Management, body, error::ApiError},
};

/// The browser may have another address in mind than the one that the gateway sees.
const NOT_OWN: &str = "this form was submitted from another site; if a reverse proxy is in front of the console, have it send \
                       the Host that browsers use, with its port, or set management.public_url to that address";
/// The field that ties a form to its browser.
const CSRF_FIELD: &str = "csrf";

/// A form with the visitor who has sent it.
pub struct CsrfForm<V> {
    pub visitor: V,
    pub fields: FormFields,
}

impl<V: Visitor> FromRequest<Arc<Management>> for CsrfForm<V> {
    type Rejection = PageRejection;

    async fn from_request(request: Request, management: &Arc<Management>) -> Result<Self, PageRejection> {
        let (mut head, body) = request.into_parts();
        let visitor = V::extract(&mut head, management).await?;
        // Deployments may live on sibling hosts, so `SameSite` is not enough.
        if visitor.browser().initiator != Initiator::SameOrigin {
            return Err(forged(match visitor.browser().config.management.public_url {
                Some(_) => "this form was submitted from another site",
                None => NOT_OWN,
            }));
        }
        let body = body::read(body).await?;
        // Which may have taken its time: who has signed out meanwhile is shown nothing.
        let visitor = V::extract(&mut head, management).await?;
        let fields = FormFields::parse(&body);
        // Hashes compare in constant time.
        if blake3::Hash::from_hex(fields.text(CSRF_FIELD)).ok() != Some(visitor.csrf()) {
            return Err(forged("this form has expired or belongs to another browser; reload the page and try again"));
        }
        Ok(Self { visitor, fields })
    }
}

fn forged(text: &str) -> PageRejection {
    ApiError::new(StatusCode::FORBIDDEN, "cross_site", text).into()
}
