//! Runs each HTTP/2 stream as a task of its worker, and tells a stream which task it is.

use std::{cell::OnceCell, rc::Rc};

use tokio::task::AbortHandle;

tokio::task_local! {
    static STREAM: Rc<OnceCell<AbortHandle>>;
}

/// The executor that hyper gets for HTTP/2.
#[derive(Clone, Copy)]
pub struct LocalExecutor;

impl<F: Future<Output = ()> + 'static> hyper::rt::Executor<F> for LocalExecutor {
    fn execute(&self, work: F) {
        let own = Rc::new(OnceCell::new());
        let task = tokio::task::spawn_local(STREAM.scope(Rc::clone(&own), work));
        // The cell is empty: nothing else sets it.
        let _ = own.set(task.abort_handle());
    }
}

/// The task of the HTTP/2 stream that asks. `None`: HTTP/1, where the connection's own task serves the request.
pub fn current_stream() -> Option<AbortHandle> {
    STREAM.try_with(|own| own.get().cloned()).ok().flatten()
}
