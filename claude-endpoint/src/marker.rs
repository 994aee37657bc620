//! The hidden, authenticated marker by which our own reviews are found again. Pure, but that it is noted which key
//! proved one: a key that still does must not go.
//!
//! Anybody can write a comment that *looks* like ours; only the holder of `RELAY_SIGNING_KEY` can make
//! the HMAC in it, and it is bound to the repository, the subject and the commit, so a copied marker
//! proves nothing elsewhere.

use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret, SecretSlice};
use sha2::Sha256;
use shared::config::SIGNING_KEY;
use shared::keys::KeyBook;
use shared::signature::{KeyId, SigningKeys};

pub(crate) const START: &str = "<!-- ai-relay v1 ";
const END: &str = " -->";

/// Makes and recognises markers. The first key makes them, every key is believed.
#[derive(Debug, Clone)]
pub struct Marker {
    keys: SigningKeys,
    book: KeyBook,
}

/// What a marker is bound to.
#[derive(Debug, Clone, Copy)]
pub struct Bond<'a> {
    /// `owner/name`.
    pub repository: &'a str,
    /// `pull/7`, or `commit` for a pushed commit.
    pub subject: &'a str,
    /// The reviewed commit.
    pub head: &'a str,
}

/// What a marker of ours says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    /// The commit it was made for.
    pub head: String,
    /// The delivery it was made for.
    pub delivery: String,
    /// What else it carries; mostly empty.
    pub note: String,
}

impl Mark {
    /// Whether it was made for this delivery.
    pub fn is_of(&self, delivery: &str) -> bool {
        self.delivery == plain(delivery)
    }
}

impl Marker {
    /// Markers by keys that are made of the signing keys.
    pub fn new(keys: &SigningKeys) -> Self {
        Self { keys: keys.clone(), book: KeyBook::default() }
    }

    /// Notes in `book` which key proved a marker.
    #[must_use]
    pub fn noting(self, book: KeyBook) -> Self {
        Self { book, ..self }
    }

    /// Keys of their own, so that a marker tells nothing about those that sign.
    fn keys(&self) -> Vec<(KeyId, SecretSlice<u8>)> {
        self.keys.derive("review-marker/v1")
    }

    /// The marker for the end of a posted body. `note` is of base64's letters, and `:`, `~` or `-`.
    pub fn make(&self, bond: Bond<'_>, delivery: &str, note: &str) -> String {
        let delivery = plain(delivery);
        let keys = self.keys();
        let code = keys.first().map(|(_, key)| code(key, bond, &delivery, note).finalize().into_bytes());
        let mac = code.map(hex::encode).unwrap_or_default();
        let note = if note.is_empty() { String::new() } else { format!(" note={note}") };
        format!("{START}delivery={delivery} head={}{note} mac={mac}{END}", bond.head)
    }

    /// Whether the body looks like one of ours, proven or not: nobody has a reason to write this by hand.
    pub fn is_like_ours(&self, body: &str) -> bool {
        body.contains(START)
    }

    /// Whether the body carries a marker of ours for this commit, whichever delivery it was made for.
    pub fn is_in(&self, body: &str, bond: Bond<'_>) -> bool {
        self.marks(body, bond.repository, bond.subject).any(|mark| mark.head == bond.head)
    }

    /// The body's first marker of ours for a subject, whichever commit and delivery it was made for.
    pub fn find(&self, body: &str, repository: &str, subject: &str) -> Option<Mark> {
        self.marks(body, repository, subject).next()
    }

    fn marks<'a>(
        &'a self,
        body: &'a str,
        repository: &'a str,
        subject: &'a str,
    ) -> impl Iterator<Item = Mark> + 'a {
        body.match_indices(START).filter_map(move |(at, _)| {
            let (fields, _) = body[at + START.len()..].split_once(END)?;
            self.proven(fields, repository, subject)
        })
    }

    fn proven(&self, fields: &str, repository: &str, subject: &str) -> Option<Mark> {
        let value =
            |name: &str| fields.split(' ').find_map(|field| field.strip_prefix(name)?.strip_prefix('='));
        let (delivery, head, mac) = (value("delivery")?, value("head")?, hex::decode(value("mac")?).ok()?);
        let note = value("note").unwrap_or_default();
        let bond = Bond { repository, subject, head };
        // verify_slice compares in constant time
        let proves = |key: &SecretSlice<u8>| code(key, bond, delivery, note).verify_slice(&mac).is_ok();
        let (key, _) = self.keys().into_iter().find(|(_, key)| proves(key))?;
        self.book.used(SIGNING_KEY, key, "markers of reviews", repository);
        Some(Mark { head: head.to_owned(), delivery: delivery.to_owned(), note: note.to_owned() })
    }
}

/// A delivery id as it can stand in a comment.
fn plain(delivery: &str) -> String {
    delivery
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || c == '-' || c == '.' { c } else { '_' })
        .take(100)
        .collect()
}

#[expect(clippy::expect_used, reason = "HMAC takes a key of any length (RFC 2104, section 2)")]
fn code(key: &SecretSlice<u8>, bond: Bond<'_>, delivery: &str, note: &str) -> Hmac<Sha256> {
    let mut mac =
        Hmac::<Sha256>::new_from_slice(key.expose_secret()).expect("HMAC takes a key of any length");
    let note = Some(note).filter(|note| !note.is_empty());
    for part in [bond.repository, bond.subject, bond.head, delivery].into_iter().chain(note) {
        mac.update(&(part.len() as u64).to_be_bytes());
        mac.update(part.as_bytes());
    }
    mac
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEW: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const OLD: &str = "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    const BOND: Bond<'_> = Bond { repository: "o/r", subject: "pull/7", head: "abc" };

    fn marker(keys: &str) -> Marker {
        Marker::new(&SigningKeys::parse(&keys.into()).unwrap())
    }

    #[test]
    fn is_found_again_for_its_own_commit_only() {
        let body = format!("Review\n\n{}", marker(NEW).make(BOND, "72d3162e-1 -->", ""));
        assert!(body.contains("delivery=72d3162e-1_--_ head=abc mac="), "{body}");
        assert!(marker(NEW).is_in(&body, BOND));
        assert!(!marker(NEW).is_in(&body, Bond { head: "def", ..BOND }));
        assert!(!marker(NEW).is_in(&body, Bond { subject: "pull/8", ..BOND }));
        assert!(!marker(NEW).is_in(&body, Bond { repository: "o/x", ..BOND }));
        assert!(!marker(NEW).is_in(&body.replace("head=abc", "head=def"), Bond { head: "def", ..BOND }));
    }

    #[test]
    fn survives_a_rotation_and_refuses_a_forgery() {
        let body = marker(OLD).make(BOND, "d", "");
        assert!(marker(&format!("{NEW},{OLD}")).is_in(&body, BOND));
        assert!(!marker(NEW).is_in(&body, BOND));
        let forged = format!("{START}delivery=d head=abc mac=00{END}");
        let both = format!("{forged}\n{}", marker(NEW).make(BOND, "d", ""));
        assert!(!marker(NEW).is_in(&forged, BOND) && marker(NEW).is_in(&both, BOND));
        assert!(!marker(NEW).is_in("<!-- ai-relay v1 delivery=d head=abc mac=", BOND));
    }
    #[test]
    fn a_note_is_part_of_what_is_proven() {
        let body = marker(NEW).make(BOND, "d", "=0a:rule:bug");
        let mark = Mark { head: "abc".into(), delivery: "d".into(), note: "=0a:rule:bug".into() };
        assert_eq!(marker(NEW).find(&body, "o/r", "pull/7"), Some(mark));
        assert!(marker(NEW).is_in(&body, BOND));
        for other in [body.replace("=0a", "=0b"), body.replace(" note==0a:rule:bug", "")] {
            assert_eq!(marker(NEW).find(&other, "o/r", "pull/7"), None, "{other}");
        }
        let two = format!("{body}{}", marker(NEW).make(Bond { subject: "pull/7/summary", ..BOND }, "e", ""));
        assert_eq!(
            marker(NEW).find(&two, "o/r", "pull/7/summary").map(|mark| mark.delivery),
            Some("e".into())
        );
    }
}
