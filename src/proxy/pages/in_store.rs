//! What the pages have the store do. The threads of the proxy do not wait for it: a background task does.

use std::sync::Arc;

use tokio::task::JoinSet;

use super::OwnPage;
use crate::{
    config::TokenConfig,
    domain::routing::Declared,
    http::lane::Place,
    service::{self, Context},
    store::{Committed, SharedStore, StoreError},
    system::Os,
};

impl OwnPage<'_> {
    /// Works with the store, if there was a `place` for it, until every gateway decides by what was done: the next request
    /// may go to any. The threads of the proxy do not wait for it.
    pub(super) async fn in_store<T, F>(
        &self,
        place: Option<Place>,
        work: impl FnOnce(Arc<Opened>) -> F,
    ) -> service::Result<T>
    where
        T: Send + 'static,
        F: Future<Output = service::Result<Committed<T>>> + Send + 'static,
    {
        let away = |text: &str| StoreError::Unavailable(text.to_owned());
        let store = self.gateway.opened.get().cloned().ok_or_else(|| away("it has not been reached yet"))?;
        let opened =
            Arc::new(Opened { store, tokens: self.settings.browser.tokens.clone(), declared: Declared::default() });
        let (gateway, work) = (Arc::clone(self.gateway), work(Arc::clone(&opened)));
        let _place = place.ok_or(service::Error::SignInBusy)?;
        // Dropped with the request: nobody works for a caller who has left.
        let mut task = JoinSet::new();
        let work = async move {
            let (done, _) = gateway.settle(&opened.store, work.await?).await;
            Ok(done)
        };
        task.spawn_on(work, &self.gateway.background);
        match task.join_next().await {
            Some(Ok(done)) => done,
            Some(Err(error)) => Err(away(&error.to_string()).into()),
            None => Err(away("nothing was begun").into()),
        }
    }
}

/// The store, and what a [`Context`] is made of on another thread.
pub(super) struct Opened {
    store: SharedStore,
    tokens: TokenConfig,
    /// None, and no rules: browsers sign in to what the request was routed to.
    declared: Declared,
}

impl Opened {
    pub(super) fn context(&self) -> Context<'_> {
        Context::of_gateway(&self.store, &self.tokens, &self.declared, &Os)
    }
}
