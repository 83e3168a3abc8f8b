//! A part of the index: an immutable list of entries, in the order of their lookup ids.

use std::sync::Arc;

use super::entry::Entry;
use crate::domain::token_text::LookupId;

/// As many, one for each pair of first characters. Lookup ids are random, so they fill evenly.
pub(super) const SHARDS: usize = DIGITS * DIGITS;

const DIGITS: usize = 62;
/// Enough to tell 62 digits apart.
const BITS: u32 = 6;

/// Where a lookup id stands: which shard, and where in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub shard: usize,
    /// The other ten characters.
    pub key: u64,
}

#[derive(Default)]
pub(super) struct Shard {
    /// Sorted. Beside the entries, so that finding one reads few cache lines.
    keys: Box<[u64]>,
    /// Of the key with the same number.
    entries: Box<[Arc<Entry>]>,
}

impl Place {
    pub fn of(id: LookupId) -> Self {
        let [first, second, rest @ ..] = id.as_bytes();
        let shard = usize::from(digit(*first)) * DIGITS + usize::from(digit(*second));
        Self { shard, key: rest.iter().fold(0, |key, &character| key << BITS | u64::from(digit(character))) }
    }
}

/// A lookup id has nothing but letters and digits; in the order of their bytes.
fn digit(character: u8) -> u8 {
    match character {
        b'0'..=b'9' => character - b'0',
        b'A'..=b'Z' => character - b'A' + 10,
        _ => character.wrapping_sub(b'a').wrapping_add(36) % DIGITS as u8,
    }
}

impl Shard {
    pub fn find(&self, key: u64) -> Option<&Arc<Entry>> {
        self.entries.get(self.keys.binary_search(&key).ok()?)
    }

    pub fn len(&self) -> usize {
        self.keys.len()
    }

    pub fn entries(&self) -> impl Iterator<Item = &Arc<Entry>> {
        self.entries.iter()
    }

    /// What is left of this one if what `keeps` says no to is taken out, with `changed` in place of earlier entries of the
    /// same keys, whose uses and proofs they inherit.
    pub fn with(&self, changed: impl Iterator<Item = (u64, Arc<Entry>)>, keeps: impl Fn(&Entry) -> bool) -> Self {
        let earlier = self.keys.iter().copied().zip(self.entries.iter().cloned());
        let mut all: Vec<_> = earlier.filter(|(_, entry)| keeps(entry)).chain(changed).collect();
        // Stable: what is said later counts.
        all.sort_by_key(|(key, _)| *key);
        all.dedup_by(|later, earlier| {
            let same = later.0 == earlier.0;
            if same {
                later.1.inherit(&earlier.1);
                std::mem::swap(later, earlier);
            }
            same
        });
        let (keys, entries): (Vec<_>, Vec<_>) = all.into_iter().unzip();
        Self { keys: keys.into(), entries: entries.into() }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Distinct, and in the order of the text.
        #[test]
        fn places_are_like_the_lookup_ids(one in "[0-9A-Za-z]{12}", other in "[0-9A-Za-z]{12}", shared in 0usize..12) {
            let other = format!("{}{}", &one[..shared], &other[shared..]);
            let place = |text: &str| Place::of(LookupId::from_stored(text).unwrap());
            prop_assert!(place(&one).shard < SHARDS);
            prop_assert_eq!(place(&one).cmp(&place(&other)), one.cmp(&other));
        }
    }
}
