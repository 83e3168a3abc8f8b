//! Peers that are gone without a word while bytes are on their way to them. Linux sends those again and again, for a quarter
//! of an hour, and probes by keepalive only what waits for nothing (`http/keepalive.rs`). Meanwhile it takes what comes behind
//! them, so that no timer of the gateway runs out.
//!
//! The kernel's own table says of each connection how often it has sent its oldest bytes. A peer that is well and has closed its
//! window acknowledges each probe, which is no such repetition
//! ([decision 32](../../docs/decisions/0032-peers-that-vanish.md)).

use std::{
    collections::HashSet,
    fs,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

/// By then the kernel has heard nothing for 25 s, or for 127 times what it waits for an answer at first, if that is longer
/// than 200 ms.
const REPETITIONS: u32 = 7;

/// Both ends of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ends {
    local: SocketAddr,
    peer: SocketAddr,
}

impl Ends {
    /// An IPv4 address may be written as one of IPv6.
    pub fn new(local: SocketAddr, peer: SocketAddr) -> Self {
        let canonical = |address: SocketAddr| SocketAddr::new(address.ip().to_canonical(), address.port());
        Self { local: canonical(local), peer: canonical(peer) }
    }
}

/// Connections of this network namespace whose peers have acknowledged nothing of what was sent for long. Empty where the
/// system does not say. Reads files: not for a thread that serves.
pub fn unheard() -> HashSet<Ends> {
    let tables = ["/proc/self/net/tcp", "/proc/self/net/tcp6"].map(|path| fs::read_to_string(path).unwrap_or_default());
    tables.iter().flat_map(|table| table.lines()).filter_map(unheard_in).collect()
}

/// A line is `sl: local remote state queues timer:when repetitions …`, its numbers in hexadecimal.
fn unheard_in(line: &str) -> Option<Ends> {
    let mut words = line.split_ascii_whitespace().skip(1);
    let (local, peer) = (words.next()?, words.next()?);
    let (timer, _) = words.nth(2)?.split_once(':')?;
    let repetitions = u32::from_str_radix(words.next()?, 16).ok()?;
    // Timer 1 sends again what was not acknowledged. 2 is keepalive's, 4 asks for a window.
    let is_unheard = u8::from_str_radix(timer, 16).ok()? == 1 && repetitions >= REPETITIONS;
    if is_unheard { Some(Ends::new(address(local)?, address(peer)?)) } else { None }
}

/// The words of an address are in the machine's order, as read from memory.
fn address(text: &str) -> Option<SocketAddr> {
    let (ip, port) = text.split_once(':')?;
    let word = |at: usize| u32::from_str_radix(ip.get(8 * at..8 * at + 8)?, 16).ok().map(u32::to_ne_bytes);
    let ip = match ip.len() {
        8 => IpAddr::V4(Ipv4Addr::from(word(0)?)),
        32 => {
            let bytes: Vec<u8> = [word(0)?, word(1)?, word(2)?, word(3)?].concat();
            IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?))
        }
        _ => return None,
    };
    Some(SocketAddr::new(ip, u16::from_str_radix(port, 16).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_the_kernels_table() {
        let one = u32::from_ne_bytes([127, 0, 0, 1]);
        let line = |timer: &str, repetitions: &str| {
            format!("  12: {one:08X}:1F90 {one:08X}:D431 01 00000014:00000000 {timer}:00000A2B {repetitions} 0 0 77 2")
        };
        let ends = Ends::new("127.0.0.1:8080".parse().unwrap(), "127.0.0.1:54321".parse().unwrap());
        assert_eq!(unheard_in(&line("01", "00000007")), Some(ends));
        for (timer, repetitions) in [("01", "00000006"), ("00", "00000000"), ("02", "00000007"), ("04", "0000000A")] {
            assert_eq!(unheard_in(&line(timer, repetitions)), None, "{timer} {repetitions}");
        }
        let mapped = [0, 0, u32::from_ne_bytes([0, 0, 255, 255]), one].map(|word| format!("{word:08X}")).concat();
        let line = line("01", "0000000F").replace(&format!("{one:08X}"), &mapped);
        assert_eq!(unheard_in(&line), Some(ends));
        assert_eq!(unheard_in("  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt"), None);
    }

    /// What the machine has is read to its end.
    #[test]
    fn the_machines_own_table_is_readable() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let local = listener.local_addr().unwrap();
        let table = fs::read_to_string("/proc/self/net/tcp").unwrap();
        let listens = |line: &str| line.split_ascii_whitespace().nth(1).and_then(address) == Some(local);
        assert!(table.lines().any(listens));
    }
}
