//! The keys of one setting. Several are valid at a time, so that one can be replaced without losing an event; all that
//! hold them see it when they are replaced. Pure.

use std::{
    fmt,
    sync::{Arc, PoisonError, RwLock},
};

use hmac::Mac;
use secrecy::{ExposeSecret, SecretSlice, SecretString};
use sha2::{Digest, Sha256};

use super::{KeyError, mac};

/// The most keys of one setting: each is tried for each request.
pub const MOST_KEYS: usize = 8;

/// The shortest bearer token that is accepted.
const SHORTEST_TOKEN: usize = 16;

/// What a key is called where its value must not stand: the same for the same key on every machine, and of no use for
/// finding it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId([u8; 4]);

impl KeyId {
    fn of(key: &[u8]) -> Self {
        let [a, b, c, d, ..] =
            <[u8; 32]>::from(Sha256::new().chain_update("ai-relay key id").chain_update(key).finalize());
        Self([a, b, c, d])
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

/// One of the keys.
#[derive(Debug)]
pub(super) struct Key {
    pub(super) id: KeyId,
    pub(super) secret: SecretSlice<u8>,
}

/// The keys of one setting, the one that is used first in front. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Keys(Arc<RwLock<Arc<[Key]>>>);

impl Keys {
    /// Reads a comma-separated list; `read` makes a key of its text and its position, which begins at 1.
    pub(super) fn parse(
        list: &SecretString,
        read: impl Fn(&str, usize) -> Result<Vec<u8>, KeyError>,
    ) -> Result<Self, KeyError> {
        let texts = list.expose_secret().split(',').map(str::trim).filter(|text| !text.is_empty());
        let key = |(index, text)| {
            let secret = read(text, index + 1)?;
            Ok(Key { id: KeyId::of(&secret), secret: secret.into() })
        };
        let keys: Vec<Key> = texts.enumerate().map(key).collect::<Result<_, KeyError>>()?;
        match keys.len() {
            0 => Err(KeyError::Empty),
            many if many > MOST_KEYS => Err(KeyError::TooMany(many)),
            _ => Ok(Self(Arc::new(RwLock::new(keys.into())))),
        }
    }

    pub(super) fn all(&self) -> Arc<[Key]> {
        // Nothing in here panics half-way.
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// What they are called, in their order.
    pub fn ids(&self) -> Vec<KeyId> {
        self.all().iter().map(|key| key.id).collect()
    }

    /// Takes the keys of `other` instead, for all that hold these.
    pub fn replace(&self, other: &Self) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = other.all();
    }

    /// The first that `fits`. Every key is tried, so that the time taken does not tell which one it was.
    pub(super) fn find(&self, fits: impl Fn(&[u8]) -> bool) -> Option<KeyId> {
        let all = self.all();
        let fitting: Vec<KeyId> =
            all.iter().filter(|key| fits(key.secret.expose_secret())).map(|key| key.id).collect();
        fitting.first().copied()
    }
}

/// Bearer tokens. Each is valid; a client sends the first.
#[derive(Debug, Clone)]
pub struct Tokens(Keys);

impl Tokens {
    /// Reads a comma-separated list.
    ///
    /// # Errors
    /// There is none, one is too short, or there are too many.
    pub fn parse(list: &SecretString) -> Result<Self, KeyError> {
        Keys::parse(list, |text, index| {
            if text.chars().count() < SHORTEST_TOKEN {
                return Err(KeyError::Short(index, SHORTEST_TOKEN));
            }
            Ok(text.as_bytes().to_vec())
        })
        .map(Self)
    }

    /// Which of them was sent, in a time that does not depend on where they differ.
    pub fn find(&self, sent: &str) -> Option<KeyId> {
        let compare = b"ai-relay/compare";
        let sent = mac(compare, &[sent.as_bytes()]).finalize().into_bytes();
        self.0.find(|token| mac(compare, &[token]).verify_slice(&sent).is_ok())
    }

    /// Their texts, for whoever looks at how strong they are.
    pub fn texts(&self) -> Vec<SecretString> {
        let text = |key: &Key| String::from_utf8_lossy(key.secret.expose_secret()).into_owned().into();
        self.0.all().iter().map(text).collect()
    }

    /// The one that a client sends.
    pub fn first(&self) -> SecretString {
        self.texts().into_iter().next().unwrap_or_default()
    }

    /// The keys themselves.
    pub fn keys(&self) -> &Keys {
        &self.0
    }
}
