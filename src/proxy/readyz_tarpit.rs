//! Slows clients that are refused at `/readyz` again and again and do not pause by themselves.
//!
//! The `bentoml` client asks `GET /readyz` until it gets 200, without any pause, for 30 seconds: with a bad token it would
//! ask thousands of times. A 429 would not slow it; only a late response does. So the gateway sends the first
//! [`UNDELAYED_REFUSALS`] at once and each further one [`DELAY`] later. Requests that are admitted never come here.

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    net::IpAddr,
    rc::Rc,
    time::{Duration, Instant},
};

use http::Method;

use crate::http::network::Network;

/// How long a refusal is held back.
pub const DELAY: Duration = Duration::from_millis(250);
/// Refusals to one client that go out at once.
const UNDELAYED_REFUSALS: u32 = 10;
/// A client that pauses for so long starts afresh.
const RESET_AFTER: Duration = Duration::from_secs(10);
/// Clients that one worker remembers. Further ones are not slowed.
const MAX_CLIENTS: usize = 4096;
/// Refusals that one worker holds back at the same time, in all and for one client. Beyond, they go out at once.
const MAX_DELAYED: usize = 256;
const MAX_DELAYED_FOR_ONE: usize = 32;

/// Each worker has one, so that it needs no lock.
#[derive(Default)]
pub struct Tarpit {
    clients: RefCell<HashMap<Network, Client>>,
    /// In all.
    delayed: Cell<usize>,
}

struct Client {
    refusals: u32,
    last: Instant,
    delayed: usize,
}

/// A refusal that is held back; it counts until this is dropped.
pub struct Delayed {
    tarpit: Rc<Tarpit>,
    client: Network,
}

/// Whether refusals of this request are slowed. The path may have the Deployment's prefix.
pub fn applies_to(method: &Method, path: &str) -> bool {
    path.ends_with("/readyz") && matches!(*method, Method::GET | Method::HEAD)
}

impl Tarpit {
    /// Notes a refusal. `Some`: the caller has to hold it back for [`DELAY`], and this meanwhile.
    pub fn refused(self: &Rc<Self>, client: IpAddr, now: Instant) -> Option<Delayed> {
        let client = Network::of(client);
        let mut clients = self.clients.borrow_mut();
        if clients.len() >= MAX_CLIENTS && !clients.contains_key(&client) {
            clients.retain(|_, known| known.delayed > 0 || now.duration_since(known.last) < RESET_AFTER);
            if clients.len() >= MAX_CLIENTS {
                return None;
            }
        }
        let known = clients.entry(client).or_insert(Client { refusals: 0, last: now, delayed: 0 });
        if known.delayed == 0 && now.duration_since(known.last) >= RESET_AFTER {
            known.refusals = 0;
        }
        known.last = now;
        known.refusals = known.refusals.saturating_add(1);
        let delayed = self.delayed.get();
        if known.refusals <= UNDELAYED_REFUSALS || known.delayed >= MAX_DELAYED_FOR_ONE || delayed >= MAX_DELAYED {
            return None;
        }
        known.delayed += 1;
        self.delayed.set(delayed + 1);
        Some(Delayed { tarpit: Rc::clone(self), client })
    }
}

impl Drop for Delayed {
    fn drop(&mut self) {
        self.tarpit.delayed.set(self.tarpit.delayed.get() - 1);
        if let Some(known) = self.tarpit.clients.borrow_mut().get_mut(&self.client) {
            known.delayed -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(tarpit: &Rc<Tarpit>, client: &str, now: Instant) -> Option<Delayed> {
        tarpit.refused(client.parse().unwrap(), now)
    }

    #[test]
    fn the_first_refusals_go_out_at_once() {
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
    fn delayed_refusals_are_bounded_and_given_back() {
        let (tarpit, now) = (Rc::new(Tarpit::default()), Instant::now());
        let mut delayed = Vec::new();
        for number in 0..=MAX_DELAYED / MAX_DELAYED_FOR_ONE {
            let client = format!("192.0.2.{number}");
            for _ in 0..UNDELAYED_REFUSALS {
                assert!(refused(&tarpit, &client, now).is_none());
            }
            delayed.extend((0..=MAX_DELAYED_FOR_ONE).filter_map(|_| refused(&tarpit, &client, now)));
        }
        assert_eq!(delayed.len(), MAX_DELAYED);
        assert!(refused(&tarpit, "192.0.2.0", now).is_none());
        delayed.clear();
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
