//! Short-lived secrets that the gateway makes: for links that work once, for cookies and for `bentoml cloud login`.
//!
//! A [`OneTimeCode`] stands for something in the store, and anybody may send something that looks like one. So it carries a
//! tag, made with a key that the store keeps: one that was invented is refused in memory, and the store is not asked. A
//! [`Nonce`] only ties what a browser sends to what it was given; the store never looks for it.

use std::{collections::HashSet, fmt};

use data_encoding::HEXLOWER;

use super::{deployment::DeploymentName, timestamp::Timestamp};

/// Random bytes of a code. 120 bits, because whoever holds the code may do what it is for, and nobody may guess it.
pub const CODE_BYTES: usize = 15;
/// Of the tag. Guessing its 40 bits gains one look into the store. Both together are 40 characters, so that the link that
/// `bentoml cloud login` prints fits into a terminal of 80 columns; its library breaks longer ones.
const TAG_BYTES: usize = 5;
/// Random bytes of a nonce.
pub const NONCE_BYTES: usize = 20;

/// What a code is for. A code for one purpose does not pass for one for another. Where it says when it ends, the store is not
/// asked for one that is over; the others are asked for by a bounded number of strangers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose<'a> {
    /// A browser's session at the console, which is over at `until`.
    ConsoleSession { until: Timestamp },
    /// A link to set one's password.
    Invitation,
    /// From the console back to this Deployment, in the browser that has the nonce. It is over at `until`.
    HandOver { deployment: &'a DeploymentName, nonce: &'a CodeHash, until: Timestamp },
    /// `bentoml cloud login`.
    DeviceLogin,
}

/// The key of the tags, the same for every gateway on one store. It authenticates nobody: what a code stands for is looked
/// up all the same.
pub struct CodeKey {
    key: [u8; blake3::KEY_LEN],
    /// Codes that were given out before there was a key, and may still be shown.
    untagged: HashSet<CodeHash>,
}

/// A code in clear, as it stands in a link, a cookie or a form. The store keeps only its hash. It cannot be printed or
/// serialised by accident.
pub struct OneTimeCode {
    random: [u8; CODE_BYTES],
    tag: [u8; TAG_BYTES],
}

/// Random bytes that a browser keeps in a cookie, to be known again. It cannot be printed by accident.
pub struct Nonce([u8; NONCE_BYTES]);

/// BLAKE3 of a code or nonce in hexadecimal. They have 120 random bits at least, so a fast hash is enough.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CodeHash(Box<str>);

impl CodeKey {
    /// `None`: it does not have the length of a key.
    pub fn from_stored(bytes: &[u8], untagged: HashSet<CodeHash>) -> Option<Self> {
        Some(Self { key: bytes.try_into().ok()?, untagged })
    }

    pub fn seal(&self, purpose: Purpose<'_>, random: [u8; CODE_BYTES]) -> OneTimeCode {
        OneTimeCode { tag: self.tag(purpose, &random), random }
    }

    /// `None`: nobody who has this key has made the text for this purpose.
    pub fn open(&self, purpose: Purpose<'_>, text: &str) -> Option<OneTimeCode> {
        let bytes: [u8; CODE_BYTES + TAG_BYTES] = HEXLOWER.decode(text.as_bytes()).ok()?.try_into().ok()?;
        let (random, tag) = bytes.split_first_chunk::<CODE_BYTES>()?;
        let code = OneTimeCode { random: *random, tag: tag.try_into().ok()? };
        let tag_of_ours = self.tag(purpose, random);
        // Of hashes, since those are compared in constant time.
        let is_ours = blake3::hash(&tag_of_ours) == blake3::hash(tag);
        (is_ours || self.untagged.contains(&code.hash())).then_some(code)
    }

    /// What shows that `number` was given to a browser in which `account` had signed in.
    pub fn vouch(&self, account: &str, number: &[u8; 16]) -> blake3::Hash {
        let key = blake3::derive_key("bento-gateway 2026 known browser", &self.key);
        blake3::Hasher::new_keyed(&key).update(number).update(account.as_bytes()).finalize()
    }

    /// What shows that a gateway on this store has begun a sign-in by the provider with these words.
    pub fn seal_begun(&self, begun: &str) -> blake3::Hash {
        let key = blake3::derive_key("bento-gateway 2026 sign-in by the provider", &self.key);
        blake3::keyed_hash(&key, begun.as_bytes())
    }

    fn tag(&self, purpose: Purpose<'_>, random: &[u8; CODE_BYTES]) -> [u8; TAG_BYTES] {
        let letter = match purpose {
            Purpose::ConsoleSession { .. } => b's',
            Purpose::Invitation => b'i',
            Purpose::HandOver { .. } => b'h',
            Purpose::DeviceLogin => b'l',
        };
        let mut hasher = blake3::Hasher::new_keyed(&self.key);
        hasher.update(&[letter]).update(random);
        // All parts but the last have one length.
        if let Purpose::ConsoleSession { until } | Purpose::HandOver { until, .. } = purpose {
            hasher.update(&until.as_millis().to_le_bytes());
        }
        if let Purpose::HandOver { deployment, nonce, .. } = purpose {
            hasher.update(nonce.0.as_bytes()).update(deployment.as_str().as_bytes());
        }
        let mut tag = [0; TAG_BYTES];
        hasher.finalize_xof().fill(&mut tag);
        tag
    }
}

impl OneTimeCode {
    /// The clear text, for the link, cookie or form.
    pub fn expose(&self) -> String {
        HEXLOWER.encode(&self.random) + &HEXLOWER.encode(&self.tag)
    }

    pub fn hash(&self) -> CodeHash {
        CodeHash::of(&[&self.random[..], &self.tag].concat())
    }
}

impl Nonce {
    pub fn from_random(random: [u8; NONCE_BYTES]) -> Self {
        Self(random)
    }

    /// `None`: the text does not have the form of a nonce.
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = HEXLOWER.decode(text.as_bytes()).ok()?;
        bytes.try_into().ok().map(Self)
    }

    /// The clear text, for the cookie.
    pub fn expose(&self) -> String {
        HEXLOWER.encode(&self.0)
    }

    pub fn hash(&self) -> CodeHash {
        CodeHash::of(&self.0)
    }
}

impl CodeHash {
    fn of(random: &[u8]) -> Self {
        Self(blake3::hash(random).to_hex().as_str().into())
    }

    /// What [`CodeHash::as_str`] gave.
    pub fn from_stored(text: String) -> Self {
        Self(text.into())
    }

    /// What a browser brings. `None`: it is no hash.
    pub fn parse(text: &str) -> Option<Self> {
        blake3::Hash::from_hex(text).ok().map(|hash| Self(hash.to_hex().as_str().into()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for OneTimeCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OneTimeCode([redacted])")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_reads_back() {
        let key = CodeKey::from_stored(&[7; 32], HashSet::new()).unwrap();
        let code = key.seal(Purpose::Invitation, [0xa7; CODE_BYTES]);
        let text = code.expose();
        assert_eq!(key.open(Purpose::Invitation, &text).unwrap().hash(), code.hash());
        for wrong in ["", "a7", &text.to_uppercase(), &format!("{text}0"), &text.replace('a', "é")] {
            assert!(key.open(Purpose::Invitation, wrong).is_none(), "{wrong:?}");
        }
    }

    #[test]
    fn an_invented_code_is_none() {
        let key = CodeKey::from_stored(&[7; 32], HashSet::new()).unwrap();
        let text = key.seal(Purpose::Invitation, [0xa7; CODE_BYTES]).expose();
        for other in [Purpose::ConsoleSession { until: Timestamp::MAX }, Purpose::DeviceLogin] {
            assert!(key.open(other, &text).is_none(), "{other:?}");
        }
        assert!(CodeKey::from_stored(&[8; 32], HashSet::new()).unwrap().open(Purpose::Invitation, &text).is_none());
        for place in 0..text.len() {
            let mut changed = text.clone().into_bytes();
            changed[place] = if changed[place] == b'0' { b'1' } else { b'0' };
            assert!(key.open(Purpose::Invitation, std::str::from_utf8(&changed).unwrap()).is_none(), "{place}");
        }
    }

    #[test]
    fn a_hand_over_is_for_one_browser_and_one_deployment_and_ends() {
        let key = CodeKey::from_stored(&[7; 32], HashSet::new()).unwrap();
        let (here, there): (DeploymentName, DeploymentName) = ("here".parse().unwrap(), "there".parse().unwrap());
        let (mine, theirs) = (Nonce::from_random([1; NONCE_BYTES]).hash(), Nonce::from_random([2; NONCE_BYTES]).hash());
        let at =
            |deployment, nonce, millis| Purpose::HandOver { deployment, nonce, until: Timestamp::from_millis(millis) };
        let text = key.seal(at(&here, &mine, 1000), [0xa7; CODE_BYTES]).expose();
        assert!(key.open(at(&here, &mine, 1000), &text).is_some());
        for other in [at(&there, &mine, 1000), at(&here, &theirs, 1000), at(&here, &mine, 1001), Purpose::Invitation] {
            assert!(key.open(other, &text).is_none(), "{other:?}");
        }
    }

    #[test]
    fn a_code_from_before_there_was_a_key_goes_on() {
        let text = "a7".repeat(CODE_BYTES + TAG_BYTES);
        let known = HashSet::from([CodeHash::of(&[0xa7; CODE_BYTES + TAG_BYTES])]);
        let key = CodeKey::from_stored(&[7; 32], known).unwrap();
        let purpose = Purpose::ConsoleSession { until: Timestamp::MAX };
        assert!(key.open(purpose, &text).is_some());
        assert!(key.open(purpose, &text.replace('7', "8")).is_none());
    }

    #[test]
    fn a_nonce_reads_back() {
        let nonce = Nonce::from_random([0xa7; NONCE_BYTES]);
        let (text, hash) = (nonce.expose(), nonce.hash());
        assert_eq!(Nonce::parse(&text).unwrap().hash(), hash);
        assert_eq!(CodeHash::parse(hash.as_str()), Some(hash));
        for wrong in ["", "x", &text, &"g".repeat(64), &"0".repeat(65)] {
            assert_eq!(CodeHash::parse(wrong), None, "{wrong:?}");
        }
    }
}
