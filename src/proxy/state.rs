//! What a worker shares with its connections and their requests. It stands below all three, so that none of them has to
//! import another.

use std::{cell::Cell, fmt, net::SocketAddr, rc::Rc, sync::Arc};

use arc_swap::ArcSwapOption;
use tokio::sync::Semaphore;
use tokio_rustls::rustls::ServerConfig;

use super::{
    connection_state::ConnectionState,
    deadlines::{DeadlineSweep, Downstream},
    local_executor,
    readyz_tarpit::Tarpit,
    record::Record,
    rejection::PreparedResponses,
    request_id::RequestNumber,
    unheard::Ends,
    upstream::pool::Pool,
};
use crate::{
    gateway::Gateway,
    http::{complaints::Complaints, peer::Peer},
    system,
    telemetry::{
        line::RequestOutcome,
        worker::{ConnectionSlots, WorkerTelemetry},
    },
};

/// What a worker is started with.
pub struct WorkerParts {
    pub gateway: Arc<Gateway>,
    pub telemetry: Arc<WorkerTelemetry>,
    /// `None`: clear text.
    pub tls: Arc<ArcSwapOption<ServerConfig>>,
    /// Downstream connections that this worker may have open.
    pub max_connections: usize,
    /// Connections to upstreams that it may have open, idle ones included.
    pub max_upstream_connections: usize,
}

/// What all requests of one worker share.
pub struct Worker {
    pub gateway: Arc<Gateway>,
    pub sweep: Rc<DeadlineSweep>,
    pub pool: Rc<Pool>,
    pub tarpit: Rc<Tarpit>,
    pub prepared: PreparedResponses,
    /// Messages on connections that come to nothing.
    pub complaints: Complaints,
    /// `None`: clear text. A reload replaces it.
    pub tls: Arc<ArcSwapOption<ServerConfig>>,
    /// One for each downstream connection that may be open.
    pub connection_slots: Arc<Semaphore>,
    pub telemetry: Arc<WorkerTelemetry>,
    /// As [`RequestNumber::prefix`].
    id_prefix: u64,
    next_id: Cell<u64>,
}

/// Which listener accepted a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entrance {
    Common,
    /// A Deployment's own.
    Deployment(SocketAddr),
    /// Here other proxies ask; nothing is forwarded.
    ForwardAuth,
}

/// The downstream connection that a request came on.
pub struct Connection {
    pub peer: Peer,
    pub entrance: Entrance,
    /// `None`: the operating system did not say.
    pub ends: Option<Ends>,
    pub state: Arc<ConnectionState>,
}

impl Worker {
    pub fn new(parts: WorkerParts, id_prefix: u64) -> Self {
        let connection_slots = Arc::new(Semaphore::new(parts.max_connections));
        let free = Arc::clone(&connection_slots);
        let _ = parts.telemetry.connections.set(ConnectionSlots { free, all: parts.max_connections });
        Self {
            gateway: parts.gateway,
            sweep: DeadlineSweep::new(),
            pool: Rc::new(Pool::new(parts.max_upstream_connections)),
            tarpit: Rc::default(),
            prepared: PreparedResponses::default(),
            complaints: Complaints::default(),
            tls: parts.tls,
            connection_slots,
            telemetry: parts.telemetry,
            id_prefix,
            next_id: Cell::new(0),
        }
    }

    pub fn next_request_number(&self) -> RequestNumber {
        let number = self.next_id.get();
        self.next_id.set(number + 1);
        RequestNumber { prefix: self.id_prefix, number }
    }

    /// The record of a request that begins now. `stream` and `ends_with_line`: see [`ConnectionState::begin`].
    ///
    /// Boxed, as it is passed on from stage to stage and goes with the response into the library.
    pub fn record(&self, connection: &Connection, stream: Option<u32>, ends_with_line: bool) -> Box<Record> {
        let active = connection.state.begin(stream, ends_with_line);
        Box::new(Record::new(Arc::clone(&self.telemetry), system::now(), &connection.peer, Some(active)))
    }

    /// Records that hyper has answered what it could not read: it was not HTTP, or its header was too large.
    pub fn record_malformed(&self, connection: &Connection, error: &hyper::Error) {
        let too_large = error.is_parse_too_large();
        let (status, reason) = if too_large { (431, "header_too_large") } else { (400, "malformed_request") };
        // One of the library's fixed texts.
        self.record_unread(connection, Some(status), reason, error);
    }

    /// Records what was refused before there was a request. `status` of `None`: nothing could be answered. `cause`: empty
    /// where the reason says all.
    pub fn record_unread(
        &self,
        connection: &Connection,
        status: Option<u16>,
        reason: &'static str,
        cause: impl fmt::Display,
    ) {
        let mut record = Record::new(Arc::clone(&self.telemetry), system::now(), &connection.peer, None);
        record.responded(status, reason);
        record.because_of(cause);
        record.ended(RequestOutcome::Complete);
    }
}

impl Entrance {
    /// The Deployment's own listener, if it is one.
    pub fn own(self) -> Option<SocketAddr> {
        match self {
            Self::Deployment(address) => Some(address),
            Self::Common | Self::ForwardAuth => None,
        }
    }
}

impl Connection {
    /// What carries the request that asks.
    pub fn downstream(&self) -> Downstream {
        match local_executor::current_stream() {
            Some(stream) => Downstream::Stream(stream),
            None => Downstream::Connection(Arc::clone(&self.state)),
        }
    }
}
