//! One worker: a thread with a single-threaded runtime, listeners of its own (SO_REUSEPORT) and its own connections to
//! upstreams, so that a request never changes thread.

use std::{
    collections::HashMap,
    io,
    net::SocketAddr,
    rc::Rc,
    sync::Arc,
    thread::JoinHandle,
    time::{Duration, Instant},
};

use tokio::{
    net::TcpListener,
    runtime::{Builder, LocalOptions},
    sync::{OwnedSemaphorePermit, mpsc},
    task::AbortHandle,
};

use super::{
    connection::{self, Accepted},
    deadlines::SWEEP,
    state::{Entrance, Worker, WorkerParts},
    unheard::unheard,
};
use crate::system::{self, NoEntropy};

/// Pause after the operating system refused another connection, for want of a file descriptor.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(100);
/// How often a newcomer without a place looks whether a connection has begun to wait for its caller.
const LOOK_AGAIN: Duration = Duration::from_millis(50);
/// How often a drain checks whether all is done.
const DRAIN_STEP: Duration = Duration::from_millis(20);
/// How often long exchanges are looked through for peers that have vanished.
const UNHEARD_CHECK: Duration = Duration::from_secs(10);

/// How long the exchanges that a drain has ended may take to say so: WebSockets send a close frame.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// What the rest of the process tells a worker.
pub enum Command {
    Listen(Listen),
    /// Closes the listener; its connections go on.
    Close(SocketAddr),
    /// Takes no further connection or request, lets the running ones end until the deadline, and ends.
    Drain(Instant),
}

pub struct Listen {
    pub address: SocketAddr,
    pub listener: std::net::TcpListener,
    pub entrance: Entrance,
}

/// A running worker.
pub struct WorkerHandle {
    pub commands: mpsc::UnboundedSender<Command>,
    pub thread: JoinHandle<()>,
}

/// Starts the thread.
///
/// # Errors
/// If the operating system gives no thread, runtime or randomness.
pub fn start(number: usize, parts: WorkerParts) -> io::Result<WorkerHandle> {
    let (commands, receiver) = mpsc::unbounded_channel();
    let id_prefix = system::random().map(u64::from_le_bytes).map_err(|error: NoEntropy| io::Error::other(error))?;
    let runtime = |builder: &mut Builder| builder.enable_all().build_local(LocalOptions::default());
    let thread = std::thread::Builder::new().name(format!("proxy-{number}")).spawn(move || {
        match runtime(&mut Builder::new_current_thread()) {
            Ok(runtime) => runtime.block_on(run(parts, id_prefix, receiver)),
            Err(error) => tracing::error!(%error, "a proxy worker could not start"),
        }
    })?;
    Ok(WorkerHandle { commands, thread })
}

async fn run(parts: WorkerParts, id_prefix: u64, mut commands: mpsc::UnboundedReceiver<Command>) {
    let worker = Rc::new(Worker::new(parts, id_prefix));
    tokio::task::spawn_local(sweep_loop(Rc::clone(&worker)));
    tokio::task::spawn_local(leave_vanished_peers(Rc::clone(&worker)));
    let mut listeners: HashMap<SocketAddr, AbortHandle> = HashMap::new();
    while let Some(command) = commands.recv().await {
        match command {
            Command::Listen(Listen { address, listener, entrance }) => match TcpListener::from_std(listener) {
                Ok(listener) => {
                    let accepting = tokio::task::spawn_local(accept(Rc::clone(&worker), listener, entrance));
                    listeners.insert(address, accepting.abort_handle());
                }
                Err(error) => tracing::error!(%address, %error, "a listener could not be used"),
            },
            Command::Close(address) => {
                if let Some(accepting) = listeners.remove(&address) {
                    accepting.abort();
                }
            }
            Command::Drain(deadline) => {
                listeners.values().for_each(AbortHandle::abort);
                drain(&worker, deadline, commands).await;
                return;
            }
        }
    }
}

/// Sweeps, and looks again at running work as soon as the index changes.
async fn sweep_loop(worker: Rc<Worker>) {
    let index = &worker.gateway.index;
    let mut epoch = index.epoch.subscribe();
    loop {
        let _ = tokio::time::timeout(SWEEP, epoch.changed()).await;
        let now = *epoch.borrow_and_update();
        worker.sweep.sweep(index, now);
        worker.pool.sweep(worker.gateway.settings.load().upstream_keep_alive);
    }
}

/// Ends what runs with peers that were not heard for long.
async fn leave_vanished_peers(worker: Rc<Worker>) {
    loop {
        tokio::time::sleep(UNHEARD_CHECK).await;
        if worker.sweep.has_long_exchanges()
            && let Ok(unheard) = tokio::task::spawn_blocking(unheard).await
        {
            worker.sweep.end_unheard(&unheard);
        }
    }
}

async fn accept(worker: Rc<Worker>, listener: TcpListener, entrance: Entrance) {
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                // Not before: a listener to which nobody connects would hold a slot. So each holds at most one connection
                // beyond the limit, and all listeners wait in one queue.
                let Some(connection_slot) = connection_slot(&worker).await else { return };
                // Without it small chunks would wait for each other; the connection works all the same.
                let _ = stream.set_nodelay(true);
                let tls = if entrance == Entrance::ForwardAuth { None } else { worker.tls.load_full() };
                let accepted = Accepted { stream, peer, entrance, tls, connection_slot };
                tokio::task::spawn_local(connection::serve(Rc::clone(&worker), accepted));
            }
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(error) => {
                tracing::warn!(%error, "no connection could be accepted; raise the limit of open files if this stays");
                tokio::time::sleep(ACCEPT_BACKOFF).await;
            }
        }
    }
}

/// Where there is none, those make room whose callers have asked for nothing for longest; if none has, the newcomer waits.
async fn connection_slot(worker: &Worker) -> Option<OwnedSemaphorePermit> {
    let slots = || Arc::clone(&worker.connection_slots);
    if let Ok(slot) = slots().try_acquire_owned() {
        return Some(slot);
    }
    loop {
        worker.sweep.close_longest_waiting();
        if let Ok(slot) = tokio::time::timeout(LOOK_AGAIN, slots().acquire_owned()).await {
            // The semaphore is never closed.
            return slot.ok();
        }
    }
}

/// Lets what runs end until `deadline`, which a further command may bring forward.
async fn drain(worker: &Worker, mut deadline: Instant, mut commands: mpsc::UnboundedReceiver<Command>) {
    let sweep = &worker.sweep;
    sweep.drain_connections();
    while !sweep.is_idle() && Instant::now() < deadline {
        while let Ok(command) = commands.try_recv() {
            if let Command::Drain(earlier) = command {
                deadline = deadline.min(earlier);
            }
        }
        tokio::time::sleep(DRAIN_STEP).await;
    }
    // Exchanges first: each records how it ended before its connection is gone.
    sweep.end_exchanges();
    let last_words = Instant::now() + LAST_WORDS;
    while sweep.has_exchanges() && Instant::now() < last_words {
        tokio::time::sleep(DRAIN_STEP).await;
    }
    sweep.close_connections();
    tokio::time::sleep(DRAIN_STEP).await;
}
