//! Denials that strangers can have as often as they like: their responses are made once, and copied.

use std::cell::RefCell;

use bytes::Bytes;
use http::{HeaderValue, Response};

use super::{About, Rejection, ReplyContext, response::Template};
use crate::proxy::{cors, permit::Denied, request_id::X_REQUEST_ID};

/// What one worker has prepared.
#[derive(Default)]
pub struct PreparedResponses(RefCell<Prepared>);

#[derive(Default)]
struct Prepared {
    /// For which it was prepared. A reload can bring another.
    realm: String,
    /// Each denial once: there are few, and most callers get one of two.
    templates: Vec<(Denied, Template)>,
}

impl PreparedResponses {
    /// The response to a request that was routed.
    pub fn respond(&self, rejection: Rejection, context: &ReplyContext<'_>) -> Response<Bytes> {
        let ReplyContext { request_id, realm, about } = *context;
        match rejection {
            // Where a token was proven, the words depend on the request.
            Rejection::Denied(denied) if !matches!(denied, Denied::Refused { .. }) => {
                self.0.borrow_mut().template(denied, realm).fill(request_id)
            }
            rejection => template(rejection, realm, about).fill(request_id),
        }
    }
}

impl Prepared {
    fn template(&mut self, denied: Denied, realm: &str) -> &Template {
        if self.realm != realm {
            *self = Self { realm: realm.to_owned(), templates: Vec::new() };
        }
        let known = self.templates.iter().position(|(of, _)| *of == denied);
        let at = known.unwrap_or_else(|| {
            self.templates.push((denied, template(denied.into(), realm, About::default())));
            self.templates.len() - 1
        });
        &self.templates[at].1
    }
}

fn template(rejection: Rejection, realm: &str, about: About<'_>) -> Template {
    let mut template = Template::new(rejection, realm, about);
    cors::vary(&mut template.headers);
    // Its place, so that the copy need not grow for it: `pipeline::handle` writes it.
    template.headers.insert(&X_REQUEST_ID, HeaderValue::from_static(""));
    template
}
