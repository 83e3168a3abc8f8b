//! TCP keepalive: how the gateway learns that a peer is gone which said nothing, because its machine or the network is down.

use std::{io, time::Duration};

use socket2::{SockRef, TcpKeepalive};

/// A connection that nothing moves on is probed after this, as Go's servers do (15 s) and below the 60 s after which
/// routers and cloud load balancers forget it.
const IDLE: Duration = Duration::from_secs(20);
const INTERVAL: Duration = Duration::from_secs(10);
/// Probes without an answer. So a peer is given up a minute after its last byte.
const PROBES: u32 = 4;

/// Sets it. Connections that a listener accepts have what the listener has (Linux).
///
/// There is no `TCP_USER_TIMEOUT`: Linux also counts it while a peer that is well has closed its window, as a slow reader may.
/// Of bytes that nobody acknowledges the proxy learns otherwise (`proxy/unheard.rs`).
///
/// # Errors
/// The operating system's.
pub fn set(socket: SockRef<'_>) -> io::Result<()> {
    socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(IDLE).with_interval(INTERVAL).with_retries(PROBES))
}
