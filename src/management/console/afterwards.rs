//! What a page may show once a change was made.

use std::time::Duration;

use axum::http::StatusCode;
use tokio::time::timeout;

use super::{
    page,
    rejection::{PageRejection, PageResult},
};
use crate::{
    management::Management,
    service::receipt::Receipt,
    store::{Committed, Store},
};

/// How long somebody waits for a page when all they need to know is that the change was made.
const PATIENCE: Duration = Duration::from_secs(1);

/// A visitor whose change was made. What settled the change has taken the visitor, and with them the store: what is shown
/// with a secret is read before the change, and what is read afterwards may be missing.
pub struct Afterwards<V> {
    visitor: V,
    /// `false`: there was nothing to change.
    changed: bool,
}

impl<V> Afterwards<V> {
    /// Opens what was committed once every replica decides by it, with its receipt.
    pub(super) async fn of<T>(
        committed: Committed<T>,
        visitor: V,
        management: &Management,
        store: &Store,
    ) -> (T, Option<Receipt>, Self) {
        let changed = !committed.is_nothing();
        let (value, receipt) = management.gateway.settle(store, committed).await;
        (value, receipt, Self { visitor, changed })
    }

    /// The page that `show` makes of what the store has now. If the store is away by now, or busy, a page that says what was
    /// `done`: an error would deny it.
    pub async fn page<F: Future<Output = PageResult>>(
        self,
        done: String,
        show: impl FnOnce(V, String) -> F,
    ) -> PageResult {
        let says_it = || Ok(page::message(StatusCode::OK, "Done", &done));
        match timeout(PATIENCE, show(self.visitor, done.clone())).await {
            Ok(Err(PageRejection::Error(error))) if self.changed && error.status().is_server_error() => says_it(),
            Ok(shown) => shown,
            Err(_) => says_it(),
        }
    }
}
