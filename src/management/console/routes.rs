//! The table of pages. A page is served only by a handler that takes a [`Visitor`], and a form only by one that takes a
//! [`CsrfForm`]; from that the table knows for whom each is.

use std::sync::Arc;

use axum::{
    Router,
    handler::Handler,
    http::Method,
    routing::{MethodRouter, get, post},
};

use super::{
    form::CsrfForm,
    visitor::{Audience, Visitor},
};
use crate::management::Management;

/// One entry of the table.
#[derive(Clone, Debug)]
pub struct Page {
    pub method: Method,
    pub path: &'static str,
    pub audience: Audience,
}

#[derive(Default)]
pub struct Pages {
    router: Router<Arc<Management>>,
    table: Vec<Page>,
}

/// The arguments of a page's handler: a visitor, then what axum reads of the request's head.
pub trait PageArguments {
    const AUDIENCE: Audience;
}

/// The arguments of a form's handler: what axum reads of the request's head, then the form.
pub trait FormArguments {
    const AUDIENCE: Audience;
}

impl Pages {
    pub fn page<T: PageArguments + 'static, H: Handler<T, Arc<Management>>>(
        self,
        path: &'static str,
        handler: H,
    ) -> Self {
        self.add(Page { method: Method::GET, path, audience: T::AUDIENCE }, get(handler))
    }

    pub fn form<T: FormArguments + 'static, H: Handler<T, Arc<Management>>>(
        self,
        path: &'static str,
        handler: H,
    ) -> Self {
        self.add(Page { method: Method::POST, path, audience: T::AUDIENCE }, post(handler))
    }

    pub fn finish(self) -> (Router<Arc<Management>>, Vec<Page>) {
        (self.router, self.table)
    }

    fn add(mut self, page: Page, route: MethodRouter<Arc<Management>>) -> Self {
        self.router = self.router.route(page.path, route);
        self.table.push(page);
        self
    }
}

// axum names a handler's arguments by a tuple that begins with a marker of its own.
impl<M, V: Visitor> PageArguments for (M, V) {
    const AUDIENCE: Audience = V::AUDIENCE;
}

impl<M, V: Visitor, T> PageArguments for (M, V, T) {
    const AUDIENCE: Audience = V::AUDIENCE;
}

impl<M, V: Visitor> FormArguments for (M, CsrfForm<V>) {
    const AUDIENCE: Audience = V::AUDIENCE;
}

impl<M, T, V: Visitor> FormArguments for (M, T, CsrfForm<V>) {
    const AUDIENCE: Audience = V::AUDIENCE;
}
