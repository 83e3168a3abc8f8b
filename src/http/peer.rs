//! The other end of a connection.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

/// Who has connected, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// In canonical form: an IPv4 peer of a listener on `[::]` is `10.0.0.1` here, not `::ffff:10.0.0.1`.
    address: IpAddr,
    /// Every request of the connection needs it.
    text: Arc<str>,
    /// Whether the connection itself is secure.
    pub tls: bool,
    /// Whether its forwarding fields can be those of the peer itself. Not so if the peer is a proxy that hands on the bytes of
    /// somebody whom it does not name.
    pub speaks_for_itself: bool,
}

impl Peer {
    pub fn new(address: SocketAddr, tls: bool) -> Self {
        let address = address.ip().to_canonical();
        Self { address, text: address.to_string().into(), tls, speaks_for_itself: true }
    }

    /// A proxy that hands on the bytes of somebody whom it does not name.
    pub fn for_somebody(proxy: SocketAddr, tls: bool) -> Self {
        Self { speaks_for_itself: false, ..Self::new(proxy, tls) }
    }

    pub fn address(&self) -> IpAddr {
        self.address
    }

    pub fn address_text(&self) -> &str {
        &self.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_address_has_its_text() {
        for (address, text) in [
            ("1.2.3.4:5", "1.2.3.4"),
            ("255.255.255.255:1", "255.255.255.255"),
            ("[::1]:5", "::1"),
            ("[::ffff:10.0.0.1]:5", "10.0.0.1"),
            ("[fedc:ba98:7654:3210:fedc:ba98:7654:3210]:5", "fedc:ba98:7654:3210:fedc:ba98:7654:3210"),
        ] {
            assert_eq!(Peer::new(address.parse().unwrap(), false).address_text(), text);
        }
    }
}
