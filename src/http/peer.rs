//! The other end of a connection.

use std::{
    io::{Cursor, Write},
    net::{IpAddr, SocketAddr},
};

/// Who has connected, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// In canonical form: an IPv4 peer of a listener on `[::]` is `10.0.0.1` here, not `::ffff:10.0.0.1`.
    address: IpAddr,
    /// Every request of the connection needs it.
    text: AddressText,
    /// Whether the connection itself is secure.
    pub tls: bool,
}

/// An address as text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct AddressText {
    bytes: [u8; Self::LONGEST],
    len: u8,
}

impl Peer {
    pub fn new(address: SocketAddr, tls: bool) -> Self {
        let address = address.ip().to_canonical();
        Self { address, text: AddressText::new(address), tls }
    }

    pub fn address(&self) -> IpAddr {
        self.address
    }

    pub fn address_text(&self) -> &str {
        std::str::from_utf8(&self.text.bytes[..self.text.len.into()]).unwrap_or_default()
    }
}

impl AddressText {
    /// Of an IPv6 address in canonical form.
    const LONGEST: usize = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff".len();

    fn new(address: IpAddr) -> Self {
        let mut bytes = Cursor::new([0; Self::LONGEST]);
        // It has room for any address.
        let _ = write!(bytes, "{address}");
        Self { len: bytes.position() as u8, bytes: bytes.into_inner() }
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
