//! Forms. A handler that changes something takes a [`CsrfForm`], which is made here only: after checking that it was sent
//! from a page of the console, by the browser that the page was made for.

use std::sync::Arc;

use axum::{
    body::to_bytes,
    extract::{FromRequest, Request},
    http::StatusCode,
};

use super::{rejection::PageRejection, visitor::Visitor};
use crate::{
    http::same_origin::Initiator,
    management::{Management, error::ApiError},
};

/// Largest form, bytes: lists of hosts and upstreams.
const MAX_FORM: usize = 64 * 1024;
/// The field that ties a form to its browser.
const CSRF_FIELD: &str = "csrf";

/// A form with the visitor who has sent it.
pub struct CsrfForm<V> {
    pub visitor: V,
    pub fields: FormFields,
}

/// What a form says. A field may come several times.
pub struct FormFields(Vec<(String, String)>);

impl<V: Visitor> FromRequest<Arc<Management>> for CsrfForm<V> {
    type Rejection = PageRejection;

    async fn from_request(request: Request, management: &Arc<Management>) -> Result<Self, PageRejection> {
        let (mut head, body) = request.into_parts();
        let visitor = V::extract(&mut head, management).await?;
        // Deployments may live on sibling hosts, so `SameSite` is not enough.
        if visitor.browser().initiator != Initiator::SameOrigin {
            return Err(forged("this form was submitted from another site"));
        }
        let body = to_bytes(body, MAX_FORM).await;
        let body = body.map_err(|_| ApiError::invalid("the form is incomplete or too large"))?;
        let fields = serde_urlencoded::from_bytes(&body);
        let fields = FormFields(fields.map_err(|_| ApiError::invalid("the form cannot be read"))?);
        // Hashes compare in constant time.
        if blake3::Hash::from_hex(fields.text(CSRF_FIELD)).ok() != Some(visitor.csrf()) {
            return Err(forged("this form has expired or belongs to another browser; reload the page and try again"));
        }
        Ok(Self { visitor, fields })
    }
}

impl FormFields {
    /// Empty where it is missing.
    pub fn text(&self, name: &str) -> &str {
        self.exact(name).trim()
    }

    /// As it was typed: a password.
    pub fn exact(&self, name: &str) -> &str {
        self.0.iter().find(|(field, _)| field == name).map_or("", |(_, value)| value)
    }

    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(field, _)| field == name).map(|(_, value)| value.trim())
    }

    /// Words and lines of one field.
    pub fn words<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a str> {
        self.text(name).split(|c: char| c.is_whitespace() || c == ',').filter(|word| !word.is_empty())
    }

    /// A box that is ticked.
    pub fn on(&self, name: &str) -> bool {
        !self.text(name).is_empty()
    }
}

fn forged(text: &str) -> PageRejection {
    ApiError::new(StatusCode::FORBIDDEN, "cross_site", text).into()
}
