//! Every token of the store, by lookup id.
//!
//! Immutable shards behind one atomic pointer each: a reader takes no lock, and a change copies one shard's list of
//! pointers (250 of them at a million tokens), never the whole index.

use std::{sync::Arc, time::Duration};

use arc_swap::ArcSwap;

use super::{
    entry::Entry,
    shard::{Place, SHARDS, Shard},
};
use crate::{
    domain::{timestamp::Timestamp, token::TokenUid, token_text::LookupId},
    system,
};

/// How long a browser session that has ended stays in the index.
const REMEMBERED: Duration = Duration::from_secs(3600);

/// The index that requests read.
pub struct TokenIndex {
    shards: Box<[ArcSwap<Shard>]>,
}

/// An entry with what the index finds it by.
pub type Listed = (LookupId, Arc<Entry>);

impl TokenIndex {
    pub fn new() -> Self {
        let empty = Arc::<Shard>::default();
        Self { shards: (0..SHARDS).map(|_| ArcSwap::new(Arc::clone(&empty))).collect() }
    }

    pub fn find(&self, id: LookupId) -> Option<Arc<Entry>> {
        let Place { shard, key } = Place::of(id);
        self.shards[shard].load().find(key).cloned()
    }

    pub fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.load().len()).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Goes through all of it, as it is at some moment of each shard.
    pub fn for_each(&self, mut look: impl FnMut(&Entry)) {
        for shard in &self.shards {
            shard.load().entries().for_each(|entry| look(entry));
        }
    }

    /// The newest secret of a token. `None`: there is none here. It looks through all of the index: not for requests.
    pub fn newest_of(&self, uid: TokenUid) -> Option<Arc<Entry>> {
        let of_token = |entry: &&Arc<Entry>| entry.uid == uid && entry.session().is_none();
        let newest = |shard: &ArcSwap<Shard>| shard.load().entries().filter(of_token).max_by_key(order).cloned();
        self.shards.iter().filter_map(newest).max_by_key(|entry| order(&entry))
    }

    /// Becomes `whole`. At no moment is a token missing that both know, and secrets whose hash is the same stay proven. For
    /// the one writer.
    pub fn take_over(&self, whole: Vec<Listed>) {
        let mut whole = placed(whole).into_iter().peekable();
        for (number, shard) in self.shards.iter().enumerate() {
            let mut new = Vec::new();
            while let Some((Place { key, .. }, entry)) = whole.next_if(|(place, _)| place.shard == number) {
                new.push((key, entry));
            }
            let earlier = shard.load();
            for (key, entry) in &new {
                if let Some(earlier) = earlier.find(*key) {
                    entry.inherit(earlier);
                }
            }
            if earlier.len() > 0 || !new.is_empty() {
                shard.store(Arc::new(Shard::default().with(new.into_iter(), |_| true)));
            }
        }
    }

    /// Puts the entries in, in place of earlier ones with their lookup ids. For the one writer: two concurrent calls
    /// would lose entries.
    pub fn replace(&self, entries: Vec<Listed>) {
        let now = system::now();
        for of_shard in placed(entries).chunk_by(|one, other| one.0.shard == other.0.shard) {
            let shard = &self.shards[of_shard[0].0.shard];
            let changed = of_shard.iter().map(|(place, entry)| (place.key, Arc::clone(entry)));
            shard.store(Arc::new(shard.load().with(changed, |entry| !is_spent(entry, now))));
        }
    }
}

impl Default for TokenIndex {
    fn default() -> Self {
        Self::new()
    }
}

/// What is to be replaced comes before what is not.
fn order(entry: &&Arc<Entry>) -> (bool, Option<Timestamp>) {
    (entry.retires_at().is_none(), entry.retires_at())
}

/// In the order of shards and keys. What was later stays later.
fn placed(entries: Vec<Listed>) -> Vec<(Place, Arc<Entry>)> {
    let mut placed: Vec<_> = entries.into_iter().map(|(id, entry)| (Place::of(id), entry)).collect();
    placed.sort_by_key(|(place, _)| *place);
    placed
}

/// A browser session that ended so long ago that its browser need not be told any more.
fn is_spent(entry: &Entry, now: Timestamp) -> bool {
    entry.session().is_some() && entry.retires_at().is_some_and(|end| now.since(end) > REMEMBERED)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;
    use crate::{
        domain::{
            scope::ScopeSet,
            token::{SecretRecord, TokenUid},
            token_text::LookupId,
            user::UserId,
        },
        index::token_writer::TokenWriter,
        store::IndexedSecret,
    };

    /// The last characters differ, so that some stand in one shard.
    fn lookup_id(number: u8) -> LookupId {
        LookupId::from_stored(&format!("{:02}00000000{:02}", number % 3, number / 3)).unwrap()
    }

    fn secret(number: u8, uid: u128, hash: &str) -> IndexedSecret {
        let secret = SecretRecord { lookup_id: lookup_id(number), hash: hash.into(), retires_at: None, session: None };
        let scopes = Arc::new(ScopeSet::parse(["deployment:*"]).unwrap());
        let (uid, owner) = (TokenUid(Uuid::from_u128(uid)), UserId(Uuid::nil()));
        IndexedSecret { secret, uid, owner, scopes, expires_at: None, revoked_at: None }
    }

    fn uid(index: &TokenIndex, number: u8) -> Option<u128> {
        index.find(lookup_id(number)).map(|entry| entry.uid.0.as_u128())
    }

    #[derive(Clone, Debug)]
    enum Step {
        Replace(Vec<(u8, u128)>),
        TakeOver(Vec<(u8, u128)>),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let entries = || proptest::collection::vec((0u8..60, any::<u128>()), 0..40);
        let step = prop_oneof![entries().prop_map(Step::Replace), entries().prop_map(Step::TakeOver)];
        proptest::collection::vec(step, 0..6)
    }

    proptest! {
        #[test]
        fn is_what_was_said_last(steps in steps()) {
            let (index, mut writer, mut expected) = (TokenIndex::new(), TokenWriter::default(), HashMap::new());
            for step in steps {
                let (Step::Replace(entries) | Step::TakeOver(entries)) = &step;
                let listed = writer.entries(entries.iter().map(|(number, uid)| secret(*number, *uid, "$x"))).collect();
                match step {
                    Step::Replace(_) => index.replace(listed),
                    Step::TakeOver(_) => {
                        expected.clear();
                        index.take_over(listed);
                    }
                }
                expected.extend(entries.iter().copied());
                prop_assert_eq!(index.len(), expected.len());
                for number in 0..60 {
                    prop_assert_eq!(uid(&index, number), expected.get(&number).copied());
                }
            }
        }
    }

    #[test]
    fn a_proof_and_its_uses_stay_with_the_hash() {
        let (index, mut writer) = (TokenIndex::new(), TokenWriter::default());
        let replaces = |index: &TokenIndex, listed: Vec<Listed>| index.replace(listed);
        let takes_over = |index: &TokenIndex, listed: Vec<Listed>| index.take_over(listed);
        for change in [&replaces as &dyn Fn(&TokenIndex, Vec<Listed>), &takes_over] {
            let mut put = |uid, hash| change(&index, writer.entries([secret(1, uid, hash)]).collect());
            let found = || index.find(lookup_id(1)).unwrap();
            put(1, "$before");
            assert!(found().fingerprint().is_none() && !found().count_use(5) && found().take_uses() == 0);
            let fingerprint = blake3::hash(b"");
            found().prove(fingerprint);
            let before = found();
            assert!(before.count_use(5) && !before.count_use(5));

            put(2, "$before");
            assert_eq!((found().uid.0.as_u128(), found().fingerprint()), (2, Some(&fingerprint)));
            before.count_use(5);
            assert_eq!(found().take_uses(), 3, "also of a request that still holds the entry from before");
            assert!(found().count_use(5), "noted again after it was taken");

            put(3, "$after");
            assert!(found().fingerprint().is_none(), "another secret has to be proven");
        }
    }

    #[test]
    fn what_many_have_in_common_is_kept_once_and_not_for_ever() {
        let mut writer = TokenWriter::default();
        let named = |number: u32| IndexedSecret {
            scopes: Arc::new(ScopeSet::parse([format!("deployment:a{number}")]).unwrap()),
            ..secret(0, 0, "$x")
        };
        let listed: Vec<Listed> = writer.entries([named(0), named(0), named(1)]).collect();
        let shared = |one: usize, other: usize| Arc::ptr_eq(&listed[one].1.common, &listed[other].1.common);
        assert!(shared(0, 1) && !shared(0, 2));
        for number in 0..20_000 {
            drop(writer.entries([named(number)]).collect::<Vec<_>>());
        }
        assert!(writer.kept() < 5_000, "{} kept for three entries", writer.kept());
        let again: Vec<Listed> = writer.entries([named(1)]).collect();
        assert!(Arc::ptr_eq(&again[0].1.common, &listed[2].1.common), "what is in use stays");
    }
}
