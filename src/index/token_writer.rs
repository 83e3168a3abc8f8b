//! Turns the store's rows into entries of the index, sharing what many have in common.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use super::{
    entry::{Common, Entry, Owner, Rare},
    tokens::Listed,
};
use crate::{
    domain::user::UserId,
    secret_hash::HashBytes,
    store::{ChangedUser, IndexedSecret},
};

/// There is one, in the follower.
#[derive(Default)]
pub struct TokenWriter {
    owners: HashMap<UserId, Owner>,
    common: HashSet<Arc<Common>>,
    /// How many of `common` there may be before it is looked which are still in use.
    prune_at: usize,
}

/// `common` is pruned beyond this, and then whenever it has doubled.
const FEW: usize = 1024;

impl TokenWriter {
    pub fn entries(&mut self, secrets: impl IntoIterator<Item = IndexedSecret>) -> impl Iterator<Item = Listed> {
        if self.common.len() > self.prune_at {
            self.common.retain(|common| Arc::strong_count(common) > 1);
            self.prune_at = FEW.max(2 * self.common.len());
        }
        secrets.into_iter().map(|secret| self.listed(secret))
    }

    /// Takes effect on every token of the user at once, since they share the flag.
    pub fn apply_users(&mut self, changed: &[ChangedUser]) {
        for user in changed {
            self.owner(user.id).disable(user.disabled);
        }
    }

    fn listed(&mut self, indexed: IndexedSecret) -> Listed {
        let IndexedSecret { secret, uid, owner, scopes, expires_at, revoked_at } = indexed;
        let (form, hash) = HashBytes::pack(&secret.hash);
        let common = Common { scopes, owner: self.owner(owner), form };
        let rare = Rare { revoked_at, retires_at: secret.retires_at, session: secret.session };
        (secret.lookup_id, Arc::new(Entry::new(uid, hash, self.shared(common), expires_at, rare)))
    }

    fn owner(&mut self, id: UserId) -> Owner {
        self.owners.entry(id).or_insert_with(|| Owner::new(id)).clone()
    }

    fn shared(&mut self, common: Common) -> Arc<Common> {
        if let Some(known) = self.common.get(&common) {
            return Arc::clone(known);
        }
        let new = Arc::new(common);
        self.common.insert(Arc::clone(&new));
        new
    }

    /// How many different things entries have in common, as far as they are remembered.
    #[cfg(test)]
    pub(super) fn kept(&self) -> usize {
        self.common.len()
    }
}
