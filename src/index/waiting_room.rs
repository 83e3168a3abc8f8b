//! Where first verifications wait for their turn: bounded for each token and each network beside the total, so that whoever
//! fills it keeps nobody but themselves out.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::OnceCell;

use crate::{domain::token_text::LookupId, http::network::Network};

/// Different texts that may wait. At 10,000 a second and core this is a tenth of a second's work.
const MAX_WAITING: usize = 1024;
/// Those of one network: many tokens may be behind one address, but nobody gets more than a share.
const MAX_OF_NETWORK: usize = MAX_WAITING / 4;
/// Those of one lookup id, of which at most one can be right.
const MAX_OF_TOKEN: usize = 8;

#[derive(Default)]
pub struct WaitingRoom(Arc<Mutex<Waiting>>);

#[derive(Default)]
struct Waiting {
    texts: usize,
    networks: HashMap<Network, usize>,
    tokens: HashMap<LookupId, OfToken>,
}

#[derive(Default)]
struct OfToken {
    /// One text at a time is verified.
    turn: Arc<tokio::sync::Mutex<()>>,
    texts: HashMap<blake3::Hash, Text>,
}

struct Text {
    /// Whether it is the token's. All requests with the same text wait for one verification.
    verdict: Arc<OnceCell<bool>>,
    requests: usize,
    /// Of the first request, which the place is counted for.
    network: Network,
}

/// No place is left in the room, or in the caller's share of it.
#[derive(Debug)]
pub struct Full;

/// A request that waits, or the work for it, which goes on when the request is gone.
pub struct Place {
    room: WaitingRoom,
    id: LookupId,
    fingerprint: blake3::Hash,
    pub turn: Arc<tokio::sync::Mutex<()>>,
    pub verdict: Arc<OnceCell<bool>>,
}

impl WaitingRoom {
    /// `fingerprint` stands for the whole text. Who shows a text that waits already takes no place.
    ///
    /// # Errors
    /// [`Full`].
    pub fn enter(&self, id: LookupId, fingerprint: blake3::Hash, network: Network) -> Result<Place, Full> {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let of_token = waiting.tokens.get(&id);
        if of_token.is_none_or(|of_token| !of_token.texts.contains_key(&fingerprint)) {
            let of_network = waiting.networks.get(&network).copied().unwrap_or(0);
            let texts = of_token.map_or(0, |of_token| of_token.texts.len());
            if waiting.texts >= MAX_WAITING || of_network >= MAX_OF_NETWORK || texts >= MAX_OF_TOKEN {
                return Err(Full);
            }
            waiting.texts += 1;
            *waiting.networks.entry(network).or_default() += 1;
        }
        let of_token = waiting.tokens.entry(id).or_default();
        let new = || Text { verdict: Arc::default(), requests: 0, network };
        let text = of_token.texts.entry(fingerprint).or_insert_with(new);
        text.requests += 1;
        let (turn, verdict) = (Arc::clone(&of_token.turn), Arc::clone(&text.verdict));
        Ok(Place { room: Self(Arc::clone(&self.0)), id, fingerprint, turn, verdict })
    }

    /// Different texts that wait.
    pub fn waiting(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).texts
    }

    /// The place counts as taken until both are dropped.
    fn share(&self, id: LookupId, fingerprint: &blake3::Hash) {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let of_token = waiting.tokens.get_mut(&id);
        if let Some(text) = of_token.and_then(|of_token| of_token.texts.get_mut(fingerprint)) {
            text.requests += 1;
        }
    }

    fn leave(&self, id: LookupId, fingerprint: &blake3::Hash) {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Waiting { texts: all, networks, tokens } = &mut *waiting;
        let Some(of_token) = tokens.get_mut(&id) else { return };
        let Some(text) = of_token.texts.get_mut(fingerprint) else { return };
        text.requests -= 1;
        if text.requests > 0 {
            return;
        }
        let network = text.network;
        of_token.texts.remove(fingerprint);
        if of_token.texts.is_empty() {
            tokens.remove(&id);
        }
        *all -= 1;
        if let Some(count) = networks.get_mut(&network) {
            *count -= 1;
            if *count == 0 {
                networks.remove(&network);
            }
        }
    }
}

impl Clone for Place {
    fn clone(&self) -> Self {
        self.room.share(self.id, &self.fingerprint);
        let room = WaitingRoom(Arc::clone(&self.room.0));
        let (turn, verdict) = (Arc::clone(&self.turn), Arc::clone(&self.verdict));
        Self { room, id: self.id, fingerprint: self.fingerprint, turn, verdict }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.room.leave(self.id, &self.fingerprint);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system;

    fn id() -> LookupId {
        system::new_token_text().unwrap().presented().lookup_id()
    }

    fn network(number: usize) -> Network {
        Network::of(format!("10.0.{}.{}", number / 256, number % 256).parse().unwrap())
    }

    fn text(number: usize) -> blake3::Hash {
        blake3::hash(&number.to_le_bytes())
    }

    #[test]
    fn who_floods_one_token_keeps_nobody_from_another() {
        let (room, flooded) = (WaitingRoom::default(), id());
        let places: Vec<_> = (0..100).filter_map(|n| room.enter(flooded, text(n), network(n)).ok()).collect();
        assert_eq!(places.len(), MAX_OF_TOKEN);
        assert!(room.enter(id(), text(0), network(0)).is_ok());
        drop(places);
        assert!(room.enter(flooded, text(50), network(0)).is_ok());
    }

    #[test]
    fn who_floods_from_one_network_keeps_nobody_of_another_out() {
        let room = WaitingRoom::default();
        let places: Vec<_> = (0..MAX_WAITING).filter_map(|n| room.enter(id(), text(n), network(0)).ok()).collect();
        assert_eq!(places.len(), MAX_OF_NETWORK);
        assert!(room.enter(id(), text(0), network(1)).is_ok());
        let many: Vec<_> = (0..2 * MAX_WAITING).filter_map(|n| room.enter(id(), text(n), network(n)).ok()).collect();
        assert_eq!(places.len() + many.len(), MAX_WAITING);
    }

    #[test]
    fn many_requests_with_one_text_take_one_place_and_leave_nothing_behind() {
        let (room, token) = (WaitingRoom::default(), id());
        let places: Vec<_> = (0..10 * MAX_WAITING).map(|n| room.enter(token, text(0), network(n)).ok()).collect();
        assert!(places.iter().all(Option::is_some));
        assert_eq!(room.0.lock().unwrap().texts, 1);
        drop(places);
        let waiting = room.0.lock().unwrap();
        assert!(waiting.texts == 0 && waiting.networks.is_empty() && waiting.tokens.is_empty());
    }
}
