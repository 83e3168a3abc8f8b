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
const AT_ONCE: u32 = 10;
/// After a pause of so long a client starts afresh.
const FORGIVEN: Duration = Duration::from_secs(10);
/// Clients that are remembered.
const MAX_CLIENTS: usize = 4096;
/// Answers that are held back at the same time, in all and for one client. Beyond, they go out at once.
const MAX_HELD: usize = 256;
const MAX_HELD_FOR_ONE: usize = 32;

/// Of one worker, so that it needs no lock.
#[derive(Default)]
pub struct Restraint {
    clients: RefCell<HashMap<IpAddr, Client>>,
    held: RefCell<usize>,
}

struct Client {
    refusals: u32,
    last: Instant,
    held: usize,
}

/// An answer that is held back; it counts until this is dropped.
pub struct Held {
    restraint: Rc<Restraint>,
    client: IpAddr,
}

/// Whether a client that is refused this may be one that asks without pausing. The path may name its Deployment first.
pub fn concerns(method: &Method, path: &str) -> bool {
    path.ends_with("/readyz") && matches!(*method, Method::GET | Method::HEAD)
}

impl Restraint {
    /// Notes a refusal. `Some`: its answer is to be held back for [`DELAY`].
    pub fn refused(self: &Rc<Self>, client: IpAddr, now: Instant) -> Option<Held> {
        let client = network(client);
        let mut clients = self.clients.borrow_mut();
        if clients.len() >= MAX_CLIENTS && !clients.contains_key(&client) {
            clients.retain(|_, known| known.held > 0 || now.duration_since(known.last) < FORGIVEN);
            if clients.len() >= MAX_CLIENTS {
                return None;
            }
        }
        let known = clients.entry(client).or_insert(Client { refusals: 0, last: now, held: 0 });
        if known.held == 0 && now.duration_since(known.last) >= FORGIVEN {
            known.refusals = 0;
        }
        known.last = now;
        known.refusals = known.refusals.saturating_add(1);
        let mut held = self.held.borrow_mut();
        if known.refusals <= AT_ONCE || known.held >= MAX_HELD_FOR_ONE || *held >= MAX_HELD {
            return None;
        }
        known.held += 1;
        *held += 1;
        Some(Held { restraint: Rc::clone(self), client })
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        *self.restraint.held.borrow_mut() -= 1;
        if let Some(known) = self.restraint.clients.borrow_mut().get_mut(&self.client) {
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

    fn refused(restraint: &Rc<Restraint>, client: &str, now: Instant) -> Option<Held> {
        restraint.refused(client.parse().unwrap(), now)
    }

    #[test]
    fn a_handful_is_answered_at_once() {
        let (restraint, now) = (Rc::new(Restraint::default()), Instant::now());
        assert!((0..AT_ONCE).all(|_| refused(&restraint, "192.0.2.1", now).is_none()));
        assert!(refused(&restraint, "192.0.2.1", now).is_some());
        assert!(refused(&restraint, "192.0.2.2", now).is_none(), "somebody else");
        assert!(refused(&restraint, "192.0.2.1", now + FORGIVEN).is_none(), "after a pause");
    }

    #[test]
    fn a_slash_64_is_one_client() {
        let (restraint, now) = (Rc::new(Restraint::default()), Instant::now());
        for host in 0..AT_ONCE {
            assert!(refused(&restraint, &format!("2001:db8::{host:x}"), now).is_none());
        }
        assert!(refused(&restraint, "2001:db8::ffff", now).is_some());
        assert!(refused(&restraint, "2001:db8:0:1::", now).is_none());
    }

    #[test]
    fn what_is_held_is_bounded_and_given_back() {
        let (restraint, now) = (Rc::new(Restraint::default()), Instant::now());
        let mut held = Vec::new();
        for number in 0..=MAX_HELD / MAX_HELD_FOR_ONE {
            let client = format!("192.0.2.{number}");
            for _ in 0..AT_ONCE {
                assert!(refused(&restraint, &client, now).is_none());
            }
            held.extend((0..=MAX_HELD_FOR_ONE).filter_map(|_| refused(&restraint, &client, now)));
        }
        assert_eq!(held.len(), MAX_HELD);
        assert!(refused(&restraint, "192.0.2.0", now).is_none());
        held.clear();
        assert!(refused(&restraint, "192.0.2.0", now).is_some());
    }

    #[test]
    fn a_flood_of_clients_takes_bounded_memory() {
        let (restraint, now) = (Rc::new(Restraint::default()), Instant::now());
        for number in 0..2 * MAX_CLIENTS as u32 {
            restraint.refused(std::net::Ipv4Addr::from_bits(number).into(), now);
        }
        assert_eq!(restraint.clients.borrow().len(), MAX_CLIENTS);
        restraint.refused(std::net::Ipv4Addr::from_bits(u32::MAX).into(), now + FORGIVEN);
        assert_eq!(restraint.clients.borrow().len(), 1);
    }
}
