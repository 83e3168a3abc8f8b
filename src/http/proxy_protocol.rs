//! The PROXY protocol, by which a load balancer says whose connection it hands on, before the first byte of it
//! (<https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt>).
//!
//! The library takes a whole preface apart; here it is read, exactly to its end: what follows is the caller's.

use std::{
    io,
    net::{IpAddr, SocketAddr},
};

use ppp::{v1, v2};
use tokio::{io::AsyncReadExt, net::TcpStream};

/// What version 2 begins with, which is shorter than anything that version 1 can say (§§ 2.1, 2.2).
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
const PREFIX_V1: &[u8] = b"PROXY ";
/// With its line end (§ 2.1).
const MAX_LINE: usize = 107;
/// Signature, version and command, family, length.
const HEAD_V2: usize = 16;
/// Of what follows that. A load balancer adds a hundred bytes or two about TLS and the network; the protocol has room for 64 KiB.
const MAX_REST: usize = 4096;

/// Why a connection has no preface that can be believed.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    #[error("it does not begin with one")]
    Missing,
    #[error("it is longer than {MAX_LINE} bytes in version 1, or {MAX_REST} in version 2")]
    TooLong,
    #[error("{0}")]
    Line(#[from] v1::BinaryParseError),
    #[error("{0}")]
    Binary(#[from] v2::ParseError),
    #[error("it announces a datagram")]
    Datagram,
    /// The other end has left, as probes of ports do.
    #[error("the connection has ended: {0}")]
    Ended(#[from] io::Error),
}

/// Takes the preface off. Whom the load balancer speaks for; `None`: it says nobody, as for its own probes (LOCAL), or for a caller
/// without an address of the Internet (UNKNOWN, UNSPEC, a Unix socket).
///
/// # Errors
/// [`Fault`].
pub async fn read(stream: &mut TcpStream) -> Result<Option<SocketAddr>, Fault> {
    let mut preface = vec![0; SIGNATURE.len()];
    stream.read_exact(&mut preface).await?;
    if preface == SIGNATURE {
        read_binary(stream, &mut preface).await?;
        return announced(&v2::Header::try_from(&*preface)?);
    }
    if !preface.starts_with(PREFIX_V1) {
        return Err(Fault::Missing);
    }
    read_line(stream, &mut preface).await?;
    Ok(match v1::Header::try_from(&*preface)?.addresses {
        v1::Addresses::Unknown => None,
        v1::Addresses::Tcp4(ip) => Some(address(ip.source_address, ip.source_port)),
        v1::Addresses::Tcp6(ip) => Some(address(ip.source_address, ip.source_port)),
    })
}

async fn read_binary(stream: &mut TcpStream, preface: &mut Vec<u8>) -> Result<(), Fault> {
    preface.resize(HEAD_V2, 0);
    stream.read_exact(&mut preface[SIGNATURE.len()..]).await?;
    let rest = usize::from(u16::from_be_bytes([preface[HEAD_V2 - 2], preface[HEAD_V2 - 1]]));
    if rest > MAX_REST {
        return Err(Fault::TooLong);
    }
    preface.resize(HEAD_V2 + rest, 0);
    stream.read_exact(&mut preface[HEAD_V2..]).await?;
    Ok(())
}

/// To the end of the line. What comes behind it is looked at, and left where it is.
async fn read_line(stream: &mut TcpStream, line: &mut Vec<u8>) -> Result<(), Fault> {
    while !line.contains(&b'\n') {
        let mut ahead = [0; MAX_LINE];
        let room = &mut ahead[..MAX_LINE.saturating_sub(line.len())];
        if room.is_empty() {
            return Err(Fault::TooLong);
        }
        let seen = stream.peek(room).await?;
        if seen == 0 {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        let taken = room[..seen].iter().position(|byte| *byte == b'\n').map_or(seen, |at| at + 1);
        stream.read_exact(&mut room[..taken]).await?;
        line.extend_from_slice(&room[..taken]);
    }
    Ok(())
}

fn announced(header: &v2::Header<'_>) -> Result<Option<SocketAddr>, Fault> {
    Ok(match (header.command, header.protocol, header.addresses) {
        (v2::Command::Local, ..) | (_, _, v2::Addresses::Unspecified | v2::Addresses::Unix(_)) => None,
        (_, v2::Protocol::Datagram, _) => return Err(Fault::Datagram),
        (_, _, v2::Addresses::IPv4(ip)) => Some(address(ip.source_address, ip.source_port)),
        (_, _, v2::Addresses::IPv6(ip)) => Some(address(ip.source_address, ip.source_port)),
    })
}

fn address(ip: impl Into<IpAddr>, port: u16) -> SocketAddr {
    SocketAddr::new(ip.into(), port)
}

#[cfg(test)]
mod tests {
    use tokio::{io::AsyncWriteExt, net::TcpListener};

    use super::*;

    /// What is read of these writes, each of which arrives by itself, and what is left behind the preface.
    async fn read_of(writes: &[&[u8]]) -> (Result<Option<SocketAddr>, Fault>, Vec<u8>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut sender = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let mut receiver = listener.accept().await.unwrap().0;
        let sending = async {
            sender.set_nodelay(true).unwrap();
            for write in writes {
                // Refused once the other end has given up.
                let _ = sender.write_all(write).await;
                tokio::task::yield_now().await;
            }
            let _ = sender.shutdown().await;
        };
        let reading = async {
            let read = read(&mut receiver).await;
            let mut rest = Vec::new();
            if read.is_ok() {
                receiver.read_to_end(&mut rest).await.unwrap();
            }
            (read, rest)
        };
        tokio::join!(sending, reading).1
    }

    fn v2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
        [&SIGNATURE[..], &[0x20 | command, family], &length, rest].concat()
    }

    const V4: [u8; 12] = [192, 0, 2, 7, 192, 0, 2, 1, 0xdc, 0x04, 1, 0xbb];

    #[tokio::test]
    async fn whom_a_load_balancer_speaks_for() {
        let long_line = format!("PROXY UNKNOWN {}\r\n", "f".repeat(MAX_LINE - 16));
        let v6 = [[0x20, 1, 0xd, 0xb8].as_slice(), &[0; 11], &[1], &[0; 16], &[1, 0, 1, 1]].concat();
        let with_more = [&V4[..], &[0x04, 0, 3, 1, 2, 3], &[0x20, 0, 1, 9]].concat();
        for (preface, expected) in [
            (b"PROXY TCP4 192.0.2.7 192.0.2.1 56324 443\r\n".to_vec(), Some("192.0.2.7:56324")),
            (b"PROXY TCP6 2001:db8::7 2001:db8::1 1 443\r\n".to_vec(), Some("[2001:db8::7]:1")),
            (b"PROXY UNKNOWN\r\n".to_vec(), None),
            (long_line.into_bytes(), None),
            (v2(1, 0x11, &V4), Some("192.0.2.7:56324")),
            (v2(1, 0x21, &v6), Some("[2001:db8::1]:256")),
            (v2(1, 0x11, &with_more), Some("192.0.2.7:56324")),
            (v2(1, 0x11, &[&V4[..], &[0; MAX_REST - 12]].concat()), Some("192.0.2.7:56324")),
            (v2(0, 0, &[]), None),
            (v2(0, 0x11, &V4), None),
            (v2(1, 0, &[1, 2, 3]), None),
            (v2(1, 0x31, &[0; 216]), None),
        ] {
            // At once with what follows, and byte by byte.
            let whole = [&preface[..], b"GET / HTTP/1.1\r\n"].concat();
            let bytes: Vec<&[u8]> = whole.chunks(1).collect();
            for writes in [&[&*whole][..], &bytes] {
                let (read, rest) = read_of(writes).await;
                assert_eq!(read.unwrap(), expected.map(|address| address.parse().unwrap()), "{preface:?}");
                assert_eq!(rest, b"GET / HTTP/1.1\r\n", "{preface:?}");
            }
        }
    }

    #[tokio::test]
    async fn what_is_no_preface_is_told_apart() {
        let too_long = format!("PROXY UNKNOWN {}\r\n", "f".repeat(MAX_LINE - 15));
        for (preface, fault) in [
            (b"GET / HTTP/1.1\r\n\r\n".to_vec(), "it does not begin with one"),
            (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\x00\x00".to_vec(), "it does not begin with one"),
            (b"PROXYTCP4 192.0.2.7 192.0.2.1 1 2\r\n".to_vec(), "it does not begin with one"),
            (too_long.into_bytes(), "it is longer"),
            (b"PROXY TCP4 192.0.2.7 192.0.2.1 1\r\n".to_vec(), ""),
            (b"PROXY TCP4 192.0.2.7 192.0.2.1 1 2\n".to_vec(), ""),
            (b"PROXY TCP4 192.0.2.7  192.0.2.1 1 2\r\n".to_vec(), ""),
            (b"PROXY TCP4 2001:db8::7 192.0.2.1 1 2\r\n".to_vec(), ""),
            (b"PROXY TCP4 192.0.2.7 192.0.2.1 1 65536\r\n".to_vec(), ""),
            (b"PROXY UDP4 192.0.2.7 192.0.2.1 1 2\r\n".to_vec(), ""),
            (b"PROXY TCP4 \xff\xfe 192.0.2.1 1 2\r\n".to_vec(), ""),
            (v2(1, 0x12, &V4), "it announces a datagram"),
            (v2(1, 0x11, &V4[..11]), ""),
            (v2(2, 0x11, &V4), ""),
            (v2(1, 0x41, &V4), ""),
            ([&SIGNATURE[..], &[0x31, 0x11, 0, 12], &V4].concat(), ""),
            (v2(1, 0x11, &[0; MAX_REST + 1]), "it is longer"),
            (b"PROXY TCP4 192.0".to_vec(), "the connection has ended"),
            (v2(1, 0x11, &V4)[..20].to_vec(), "the connection has ended"),
            (Vec::new(), "the connection has ended"),
        ] {
            let error = read_of(&[&preface]).await.0.unwrap_err().to_string();
            assert!(error.starts_with(fault), "{preface:?}: {error}");
        }
    }
}
