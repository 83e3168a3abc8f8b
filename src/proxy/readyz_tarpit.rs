//! Callers that are refused at `/readyz` again and again, and do not pause by themselves.
//!
//! The `bentoml` client asks `GET /readyz` until it gets 200, without any pause, for 30 seconds: with a bad token it would
//! ask thousands of times. 429 would make that faster, not slower; only a late answer slows it. So from the second
//! handful on such an answer is held back. Whoever is let in never comes here.

use std::{
    cell::RefCell,
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    rc::Rc,
    time::{Duration, Instant},
};

use http::Method;

/// How long an answer is held back.
pub const DELAY: Duration = Duration::from_millis(250);
/// Refusals that are answered at once.
const UNDELAYED_REFUSALS: u32 = 10;
/// After a pause of so long a client starts afresh.
const RESET_AFTER: Duration = Duration::from_secs(10);
/// Clients that are remembered.
const MAX_CLIENTS: usize = 4096;
/// Answers that are held back at the same time, in all and for one client. Beyond, they go out at once.
const MAX_DELAYED: usize = 256;
const MAX_DELAYED_FOR_ONE: usize = 32;

/// Of one worker, so that it needs no lock.
#[derive(Default)]
pub struct Tarpit {
    clients: RefCell<HashMap<IpAddr, Client>>,
    held: RefCell<usize>,
}

struct Client {
    refusals: u32,
    last: Instant,
    held: usize,
}

/// An answer that is held back; it counts until this is dropped.
pub struct Delayed {
    tarpit: Rc<Tarpit>,
    client: IpAddr,
}

/// Whether a client that is refused this may be one that asks without pausing. The path may name its Deployment first.
pub fn applies_to(method: &Method, path: &str) -> bool {
    path.ends_with("/readyz") && matches!(*method, Method::GET | Method::HEAD)
}

impl Tarpit {
    /// Notes a refusal. `Some`: its answer is to be held back for [`DELAY`].
    pub fn refused(self: &Rc<Self>, client: IpAddr, now: Instant) -> Option<Delayed> {
        let client = network(client);
        let mut clients = self.clients.borrow_mut();
        if clients.len() >= MAX_CLIENTS && !clients.contains_key(&client) {
            clients.retain(|_, known| known.held > 0 || now.duration_since(known.last) < RESET_AFTER);
            if clients.len() >= MAX_CLIENTS {
                return None;
            }
        }
        let known = clients.entry(client).or_insert(Client { refusals: 0, last: now, held: 0 });
        if known.held == 0 && now.duration_since(known.last) >= RESET_AFTER {
            known.refusals = 0;
        }
        known.last = now;
        known.refusals = known.refusals.saturating_add(1);
        let mut held = self.held.borrow_mut();
        if known.refusals <= UNDELAYED_REFUSALS || known.held >= MAX_DELAYED_FOR_ONE || *held >= MAX_DELAYED {
            return None;
        }
        known.held += 1;
        *held += 1;
        Some(Delayed { tarpit: Rc::clone(self), client })
    }
}

impl Drop for Delayed {
    fn drop(&mut self) {
        *self.tarpit.held.borrow_mut() -= 1;
        if let Some(known) = self.tarpit.clients.borrow_mut().get_mut(&self.client) {
            known.held -= 1;
        }
    }
}

/// A household or a machine has a whole /64 of IPv6.
fn network(client: IpAddr) -> IpAddr {
    match client {
        IpAddr::V6(address) => Ipv6Addr::from(u128::from(address) >> 64 << 64).into(),
        IpAddr::V4(_) => client,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(tarpit: &Rc<Tarpit>, client: &str, now: Instant) -> Option<Delayed> {
        tarpit.refused(client.parse().unwrap(), now)
    }

    #[test]
    fn a_handful_is_answered_at_once() {
        let (tarpit, now) = (Rc::new(Tarpit::default()), Instant::now());
        assert!((0..UNDELAYED_REFUSALS).all(|_| refused(&tarpit, "192.0.2.1", now).is_none()));
        assert!(refused(&tarpit, "192.0.2.1", now).is_some());
        assert!(refused(&tarpit, "192.0.2.2", now).is_none(), "somebody else");
        assert!(refused(&tarpit, "192.0.2.1", now + RESET_AFTER).is_none(), "after a pause");
    }

    #[test]
    fn a_slash_64_is_one_client() {
        let (tarpit, now) = (Rc::new(Tarpit::default()), Instant::now());
        for host in 0..UNDELAYED_REFUSALS {
            assert!(refused(&tarpit, &format!("2001:db8::{host:x}"), now).is_none());
        }
        assert!(refused(&tarpit, "2001:db8::ffff", now).is_some());
        assert!(refused(&tarpit, "2001:db8:0:1::", now).is_none());
    }

    #[test]
    fn what_is_held_is_bounded_and_given_back() {
        let (tarpit, now) = (Rc::new(Tarpit::default()), Instant::now());
        let mut held = Vec::new();
        for number in 0..=MAX_DELAYED / MAX_DELAYED_FOR_ONE {
            let client = format!("192.0.2.{number}");
            for _ in 0..UNDELAYED_REFUSALS {
                assert!(refused(&tarpit, &client, now).is_none());
            }
            held.extend((0..=MAX_DELAYED_FOR_ONE).filter_map(|_| refused(&tarpit, &client, now)));
        }
        assert_eq!(held.len(), MAX_DELAYED);
        assert!(refused(&tarpit, "192.0.2.0", now).is_none());
        held.clear();
        assert!(refused(&tarpit, "192.0.2.0", now).is_some());
    }

    #[test]
    fn a_flood_of_clients_takes_bounded_memory() {
        let (tarpit, now) = (Rc::new(Tarpit::default()), Instant::now());
        for number in 0..2 * MAX_CLIENTS as u32 {
            tarpit.refused(std::net::Ipv4Addr::from_bits(number).into(), now);
        }
        assert_eq!(tarpit.clients.borrow().len(), MAX_CLIENTS);
        tarpit.refused(std::net::Ipv4Addr::from_bits(u32::MAX).into(), now + RESET_AFTER);
        assert_eq!(tarpit.clients.borrow().len(), 1);
    }
}
