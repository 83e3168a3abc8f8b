//! The other end of a connection.

use std::net::{IpAddr, SocketAddr};

/// Who has connected, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// In canonical form: an IPv4 peer of a listener on `[::]` is `10.0.0.1` here, not `::ffff:10.0.0.1`.
    address: IpAddr,
    /// Whether the connection itself is secure.
    pub tls: bool,
}

impl Peer {
    pub fn new(address: SocketAddr, tls: bool) -> Self {
        Self { address: address.ip().to_canonical(), tls }
    }

    pub fn address(&self) -> IpAddr {
        self.address
    }
}
