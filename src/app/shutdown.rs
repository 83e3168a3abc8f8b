//! The end of the process: running requests may finish, background tasks do what they have left to do.

use std::time::{Duration, Instant};

use tokio::{runtime::Handle, signal::unix::Signal};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{info, warn};

use super::Workers;
use crate::{http::listener::Listener, proxy::worker::Command};

/// How long workers that must end at once may take, so that each request can still log how it ended.
const FORCED_EXIT_GRACE: Duration = Duration::from_secs(1);

/// What a management request that runs at the end gets at least: one that has changed something waits for the replicas, and
/// only its answer has the text of a new token.
const ANSWER_GRACE: Duration = Duration::from_secs(5);

/// Background tasks that the process must not end before.
#[derive(Clone, Default)]
pub struct Shutdown {
    requested: CancellationToken,
    tasks: TaskTracker,
}

impl Shutdown {
    /// Spawns a task that ends by itself once [`Shutdown::requested`] returns.
    pub fn spawn<T: Send + 'static>(
        &self,
        task: impl Future<Output = T> + Send + 'static,
    ) -> tokio::task::JoinHandle<T> {
        self.tasks.spawn(task)
    }

    /// As [`Shutdown::spawn`], on the threads of `runtime`.
    pub fn spawn_on<T: Send + 'static>(
        &self,
        task: impl Future<Output = T> + Send + 'static,
        runtime: &Handle,
    ) -> tokio::task::JoinHandle<T> {
        self.tasks.spawn_on(task, runtime)
    }

    /// Returns when the tasks are to end.
    pub async fn requested(&self) {
        self.requested.cancelled().await;
    }

    /// Asks the tasks to end, and waits until they have.
    pub async fn finish(&self) {
        self.requested.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

/// Waits until all requests have ended, `timeout` is over, or the operator interrupts again. In the two latter cases the
/// workers cut what still runs.
pub async fn drain(workers: Workers, timeout: Duration, interrupt: &mut Signal) {
    let commands: Vec<_> = workers.handles.iter().map(|worker| worker.commands.clone()).collect();
    let end_by = |deadline| {
        for worker in &commands {
            let _ = worker.send(Command::Drain(deadline));
        }
    };
    end_by(Instant::now() + timeout);
    let mut ended = tokio::task::spawn_blocking(|| {
        for worker in workers.handles {
            let _ = worker.thread.join();
        }
    });
    tokio::select! {
        _ = &mut ended => info!("drained"),
        _ = interrupt.recv() => {
            warn!("interrupted again: running requests are cut now");
            end_by(Instant::now());
            let _ = tokio::time::timeout(FORCED_EXIT_GRACE, ended).await;
        }
    }
}

/// Waits until running management requests are answered, `deadline` and a grace are over, or the operator interrupts.
/// It comes after the workers' drain: until then, `/readyz` says that the gateway is shutting down.
pub async fn drain_management(listener: Listener, deadline: tokio::time::Instant, interrupt: &mut Signal) {
    let deadline = deadline.max(tokio::time::Instant::now() + ANSWER_GRACE);
    tokio::select! {
        () = listener.drain(deadline) => {}
        _ = interrupt.recv() => warn!("interrupted: running management requests are cut now"),
    }
}
