//! To which addresses programs of this machine have bound their ports, as Linux says it (proc(5), `/proc/net/tcp`).

use std::{
    fs,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
};

use crate::domain::upstream_url::UpstreamUrl;

/// State of a socket that takes connections.
const LISTEN: &str = "0A";

/// Every address that takes connections, in this network namespace. Empty where the system does not say it.
pub struct Listening(Vec<SocketAddr>);

/// Who reaches an upstream, as far as its address says.
#[derive(Debug, PartialEq, Eq)]
pub enum Around {
    ThisMachine,
    /// By this address of the machine.
    Others(SocketAddr),
    /// It is on another machine, in another network namespace, or reached by a name.
    NotHere,
}

impl Listening {
    pub fn read() -> Self {
        let files = ["/proc/net/tcp", "/proc/net/tcp6"];
        Self(files.iter().filter_map(|path| fs::read_to_string(path).ok()).flat_map(|text| parse(&text)).collect())
    }

    pub fn way_around(&self, url: &UpstreamUrl) -> Around {
        let host = url.host().trim_start_matches('[').trim_end_matches(']');
        let ip = match host {
            "localhost" => Some(Ipv4Addr::LOCALHOST.into()),
            _ => host.parse::<IpAddr>().ok(),
        };
        match ip {
            Some(ip) if ip.is_loopback() => self.of_port(url.port()),
            // Only an address of this machine can be bound.
            Some(ip) if UdpSocket::bind((ip, 0)).is_ok() => Around::Others(SocketAddr::new(ip, url.port())),
            _ => Around::NotHere,
        }
    }

    fn of_port(&self, port: u16) -> Around {
        let mut bound = self.0.iter().filter(|address| address.port() == port).peekable();
        if bound.peek().is_none() {
            return Around::NotHere;
        }
        match bound.find(|address| !address.ip().to_canonical().is_loopback()) {
            Some(address) => Around::Others(*address),
            None => Around::ThisMachine,
        }
    }
}

fn parse(table: &str) -> Vec<SocketAddr> {
    let listening = table.lines().skip(1).filter_map(|line| {
        let mut columns = line.split_ascii_whitespace();
        let (local, state) = (columns.nth(1)?, columns.nth(1)?);
        if state == LISTEN { address(local) } else { None }
    });
    listening.collect()
}

/// Each 32 bits of the address are written as the machine's number of them.
fn address(text: &str) -> Option<SocketAddr> {
    let (ip, port) = text.split_once(':')?;
    let words: Vec<[u8; 4]> = (0..ip.len() / 8)
        .map(|at| Some(u32::from_str_radix(ip.get(at * 8..at * 8 + 8)?, 16).ok()?.to_ne_bytes()))
        .collect::<Option<_>>()?;
    let ip: IpAddr = match *words {
        [word] => Ipv4Addr::from(word).into(),
        [..] => Ipv6Addr::from(<[u8; 16]>::try_from(words.concat()).ok()?).into(),
    };
    Some(SocketAddr::new(ip, u16::from_str_radix(port, 16).ok()?))
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    fn around(bound: &[&str], url: &str) -> Around {
        Listening(bound.iter().map(|address| address.parse().unwrap()).collect()).way_around(&url.parse().unwrap())
    }

    #[test]
    fn what_is_bound_to_all_addresses_is_reached_by_others() {
        let others = |address: &str| Around::Others(address.parse().unwrap());
        for (bound, url, expected) in [
            (&["127.0.0.1:3000", "0.0.0.0:22"][..], "http://127.0.0.1:3000", Around::ThisMachine),
            (&["127.0.0.1:3000"], "http://localhost:3000", Around::ThisMachine),
            (&["[::1]:3000"], "http://[::1]:3000", Around::ThisMachine),
            (&["[::ffff:127.0.0.1]:3000"], "http://127.0.0.1:3000", Around::ThisMachine),
            (&["0.0.0.0:3000"], "http://127.0.0.1:3000", others("0.0.0.0:3000")),
            (&["127.0.0.1:3000", "[::]:3000"], "http://localhost:3000", others("[::]:3000")),
            (&["0.0.0.0:3001"], "http://127.0.0.1:3000", Around::NotHere),
            // RFC 5737: nobody's.
            (&["0.0.0.0:3000"], "http://192.0.2.7:3000", Around::NotHere),
            (&["0.0.0.0:3000"], "http://bento.internal:3000", Around::NotHere),
        ] {
            assert_eq!(around(bound, url), expected, "{bound:?} {url}");
        }
    }

    #[test]
    fn the_system_names_a_listener_of_this_process() {
        let v4 = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = v4.local_addr().unwrap();
        assert!(Listening::read().0.contains(&address), "{address}");
        let table = "  sl  local_address rem_address   st tx_queue\n   0: 00000000000000000000000001000000:0BB8 \
                     00000000000000000000000000000000:0000 0A 00000000:00000000\n   1: \
                     00000000000000000000000001000000:0BB9 00000000000000000000000000000000:0000 01 00000000:00000000\n";
        if cfg!(target_endian = "little") {
            assert_eq!(parse(table), ["[::1]:3000".parse().unwrap()]);
        }
    }
}
