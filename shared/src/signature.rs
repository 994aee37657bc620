//! Two signature schemes: GitHub's, for what comes from outside, and Standard Webhooks', between our own services.
//!
//! A body that was checked is a different type ([`Verified`]) from one that was not, so that a parser can insist on it.
//! Nothing here reads a clock: the caller says what time it is.

mod keys;

use base64::prelude::{BASE64_STANDARD, Engine};
use bytes::Bytes;
use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret, SecretSlice, SecretString};
use sha2::Sha256;
use subtle::ConstantTimeEq;
use thiserror::Error;

pub use keys::{KeyId, Keys, MOST_KEYS, Tokens};

/// How far the sender's clock may be off, in seconds (Standard Webhooks leaves the number to the receiver).
pub const TOLERANCE_SECONDS: i64 = 300;
/// Header with the id of the message (Standard Webhooks).
pub const ID: &str = "webhook-id";
/// Header with the Unix time of sending, in seconds (Standard Webhooks).
pub const TIMESTAMP: &str = "webhook-timestamp";
/// Header with the space-separated signatures (Standard Webhooks).
pub const SIGNATURE: &str = "webhook-signature";
/// Header of an answer: the same scheme over `id.status.body`.
pub const ANSWER: &str = "relay-signature";

/// The shortest webhook secret that is accepted.
const SHORTEST_SECRET: usize = 16;
/// What people leave in an example file; compared in lower case.
const PLACEHOLDERS: [&str; 8] = [
    "changeme",
    "change-me",
    "change_me",
    "your-secret",
    "your_secret",
    "your-webhook-secret",
    "placeholder",
    "example",
];
/// The shortest key of Standard Webhooks, in bytes.
const SHORTEST_KEY: usize = 24;

/// Why a signature was not accepted. None of the texts contains a part of a key.
#[derive(Debug, Error, Clone, Copy, PartialEq, Eq)]
pub enum SignatureError {
    /// A header is absent.
    #[error("the signature header is missing")]
    Missing,
    /// A header is not of the scheme's form.
    #[error("the signature header is not of the expected form")]
    Malformed,
    /// No key gives this signature.
    #[error("the signature does not match any configured key")]
    Mismatch,
    /// Sent too long ago or in the future.
    #[error("the timestamp is more than {TOLERANCE_SECONDS} seconds off this machine's clock")]
    Stale,
}

/// Why a configured key cannot be used. None of the texts contains the key.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
pub enum KeyError {
    /// Nothing was given.
    #[error("no key is given")]
    Empty,
    /// More than are tried for each request.
    #[error(
        "there are {0} keys; {MOST_KEYS} is the limit: leave out those that are not used any more (the command `keys` shows which)"
    )]
    TooMany(usize),
    /// Too easy to guess.
    #[error("key {0} is shorter than {1} characters: make one with `openssl rand -hex 32`")]
    Short(usize, usize),
    /// Copied from an example.
    #[error("key {0} is a placeholder from an example: make one with `openssl rand -hex 32`")]
    Placeholder(usize),
    /// Not `whsec_` and base64 of at least 24 bytes.
    #[error(
        "key {0} is not `whsec_` followed by base64 of at least {SHORTEST_KEY} bytes: make one with `echo whsec_$(openssl rand -hex 32)`"
    )]
    NotWhsec(usize),
}

/// Bytes whose signature was checked.
#[derive(Debug, Clone)]
pub struct Verified(Bytes, KeyId);

impl Verified {
    /// The checked bytes.
    pub fn into_bytes(self) -> Bytes {
        self.0
    }

    /// The key that the signature was made with; the first one, if it was made with several.
    pub fn key(&self) -> KeyId {
        self.1
    }
}

impl AsRef<[u8]> for Verified {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

/// GitHub's webhook secrets. Each is valid, so that one can be changed without losing an event.
#[derive(Debug, Clone)]
pub struct GithubSecrets(Keys);

impl GithubSecrets {
    /// Reads a comma-separated list.
    ///
    /// # Errors
    /// A secret that is too short, or a known placeholder, is refused.
    pub fn parse(list: &SecretString) -> Result<Self, KeyError> {
        Keys::parse(list, |secret, index| {
            let lower = secret.to_lowercase();
            if PLACEHOLDERS.iter().any(|p| lower.contains(p)) {
                return Err(KeyError::Placeholder(index));
            }
            if secret.chars().count() < SHORTEST_SECRET {
                return Err(KeyError::Short(index, SHORTEST_SECRET));
            }
            Ok(secret.as_bytes().to_vec())
        })
        .map(Self)
    }

    /// Checks `X-Hub-Signature-256` (`sha256=` and 64 hex digits) over the raw body, in constant time.
    /// Source: GitHub, "Validating webhook deliveries".
    ///
    /// # Errors
    /// [`SignatureError`]; the older SHA-1 header is never enough.
    pub fn verify(&self, header: Option<&str>, body: Bytes) -> Result<Verified, SignatureError> {
        let digits = header
            .ok_or(SignatureError::Missing)?
            .strip_prefix("sha256=")
            .ok_or(SignatureError::Malformed)?;
        let claimed = hex::decode(digits).map_err(|_| SignatureError::Malformed)?;
        let found = self.0.find(|secret| mac(secret, &[&body]).verify_slice(&claimed).is_ok());
        found.map(|key| Verified(body, key)).ok_or(SignatureError::Mismatch)
    }

    /// What names a body that was verified by this header: the signature itself, which no other body has. It is at hand,
    /// where a digest would read the body once more.
    pub fn digest(header: &str) -> Option<[u8; 32]> {
        hex::decode(header.strip_prefix("sha256=")?).ok()?.try_into().ok()
    }

    /// The header value GitHub would send: the other side of [`verify`](Self::verify), for test events.
    pub fn sign(&self, body: &[u8]) -> String {
        let all = self.0.all();
        let key = all.first().map_or(&[][..], |key| key.secret.expose_secret());
        format!("sha256={}", hex::encode(mac(key, &[body]).finalize().into_bytes()))
    }

    /// The keys themselves.
    pub fn keys(&self) -> &Keys {
        &self.0
    }
}

/// The keys of `RELAY_SIGNING_KEY`. Each signs and each verifies: while one is replaced, it does not matter which side
/// learns of the new one first.
#[derive(Debug, Clone)]
pub struct SigningKeys(Keys);

/// The three headers of a signed request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Headers {
    /// [`ID`].
    pub id: String,
    /// [`TIMESTAMP`].
    pub timestamp: i64,
    /// [`SIGNATURE`].
    pub signature: String,
}

impl SigningKeys {
    /// Reads a comma-separated list of `whsec_` keys.
    ///
    /// # Errors
    /// A key that is not of that form, or shorter than 24 bytes.
    pub fn parse(list: &SecretString) -> Result<Self, KeyError> {
        Keys::parse(list, |text, index| {
            let bytes = text.strip_prefix("whsec_").and_then(|base64| BASE64_STANDARD.decode(base64).ok());
            bytes.filter(|bytes| bytes.len() >= SHORTEST_KEY).ok_or(KeyError::NotWhsec(index))
        })
        .map(Self)
    }

    /// Signs a request. Source: Standard Webhooks specification, "Signature scheme"; one signature for each key, as its
    /// chapter on rotation has it.
    pub fn sign(&self, id: &str, now: i64, body: &[u8]) -> Headers {
        let signature = self.signature(&[id.as_bytes(), b".", now.to_string().as_bytes(), b".", body]);
        Headers { id: id.to_owned(), timestamp: now, signature }
    }

    /// Checks a request's headers over its body; `now` is Unix time in seconds.
    ///
    /// # Errors
    /// [`SignatureError`].
    pub fn verify(&self, headers: &Headers, now: i64, body: Bytes) -> Result<Verified, SignatureError> {
        if now.saturating_sub(headers.timestamp).saturating_abs() > TOLERANCE_SECONDS {
            return Err(SignatureError::Stale);
        }
        let timestamp = headers.timestamp.to_string();
        let parts = [headers.id.as_bytes(), b".", timestamp.as_bytes(), b".", &body];
        let key = self.check(&headers.signature, &parts)?;
        Ok(Verified(body, key))
    }

    /// Signs an answer: [`ANSWER`] over `id.status.body`, so that nobody else on the port can give it.
    pub fn sign_answer(&self, id: &str, status: u16, body: &[u8]) -> String {
        self.signature(&[id.as_bytes(), b".", status.to_string().as_bytes(), b".", body])
    }

    /// Checks an answer.
    ///
    /// # Errors
    /// [`SignatureError`].
    pub fn verify_answer(
        &self,
        header: Option<&str>,
        id: &str,
        status: u16,
        body: Bytes,
    ) -> Result<Verified, SignatureError> {
        let (header, status) = (header.ok_or(SignatureError::Missing)?, status.to_string());
        let key = self.check(header, &[id.as_bytes(), b".", status.as_bytes(), b".", &body])?;
        Ok(Verified(body, key))
    }

    /// A key for another purpose, such as `review-marker`, that tells nothing about the signing keys. One per signing
    /// key, by whose name it goes, the current one first, so that what the older ones made is still recognised.
    pub fn derive(&self, purpose: &str) -> Vec<(KeyId, SecretSlice<u8>)> {
        let derived = |key: &keys::Key| {
            let parts = [b"ai-relay/", purpose.as_bytes()];
            let made = mac(key.secret.expose_secret(), &parts).finalize().into_bytes().to_vec();
            (key.id, SecretSlice::from(made))
        };
        self.0.all().iter().map(derived).collect()
    }

    /// The keys themselves.
    pub fn keys(&self) -> &Keys {
        &self.0
    }

    fn signature(&self, parts: &[&[u8]]) -> String {
        let one = |key: &keys::Key| {
            let code = mac(key.secret.expose_secret(), parts).finalize().into_bytes();
            format!("v1,{}", BASE64_STANDARD.encode(code))
        };
        self.0.all().iter().map(one).collect::<Vec<_>>().join(" ")
    }

    fn check(&self, header: &str, parts: &[&[u8]]) -> Result<KeyId, SignatureError> {
        let versions = header.split(' ').filter_map(|one| one.strip_prefix("v1,"));
        let claimed: Vec<_> =
            versions.filter_map(|base64| BASE64_STANDARD.decode(base64).ok()).take(MOST_KEYS).collect();
        if claimed.is_empty() {
            return Err(SignatureError::Malformed);
        }
        // Once for each key, however many signatures are claimed: a sender who is not known yet may have sent a large body.
        let fits = |key: &[u8]| {
            let code = mac(key, parts).finalize().into_bytes();
            let hits = claimed.iter().filter(|claim| bool::from(code.as_slice().ct_eq(claim))).count();
            hits > 0
        };
        self.0.find(fits).ok_or(SignatureError::Mismatch)
    }
}

/// The id of a request without a body. The scheme signs the body but neither method nor path nor host, so they stand
/// in the id: whoever records the request on one port cannot use it for another route or service.
pub fn bound_id(method: &str, service: &str, path: &str, nonce: &str) -> String {
    format!("{}{nonce}", binding(method, service, path))
}

/// Whether an id that a request without a body was signed with allows this route. An id that is bound to nothing is
/// the sender's own risk.
pub fn is_bound_elsewhere(id: &str, method: &str, service: &str, path: &str) -> bool {
    id.starts_with(BOUND) && !id.starts_with(&binding(method, service, path))
}

const BOUND: &str = "bound:";

fn binding(method: &str, service: &str, path: &str) -> String {
    format!("{BOUND}{method}:{service}:{path}:")
}

#[expect(clippy::expect_used, reason = "HMAC takes a key of any length (RFC 2104, section 2)")]
fn mac(key: &[u8], parts: &[&[u8]]) -> Hmac<Sha256> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes a key of any length");
    for part in parts {
        mac.update(part);
    }
    mac
}

#[cfg(test)]
#[path = "signature_tests.rs"]
mod tests;
