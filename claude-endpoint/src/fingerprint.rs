//! The identity of a finding: where it points and what kind of defect it names, without line numbers. Pure.
//!
//! A new push moves lines, a rebase changes commits and contexts, and a model words the same thing anew each time. What
//! stays is the path, the text of the line that was quoted, and the kind of defect. Where a line says too little to be
//! told from others (`}`), the nearest telling line above it belongs to its identity.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::diff::{File, Hunk, Kind, Line};
use crate::redact::redact;
use crate::text::normalise;
use crate::verdict::{Category, Side};

/// Letters and digits below which a line stands in too many places to be known by its text alone.
const TELLING: usize = 5;
const LONGEST_RULE: usize = 60;

/// Path, line and kind of a finding. Written as `PLACE:RULE:CATEGORY`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Fingerprint {
    place: Place,
    rule: String,
    category: Category,
}

/// A line by its path and text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Place {
    digest: u64,
    /// Whether the line is known by its own text.
    is_telling: bool,
}

/// The content of a changed place, by which it is known again wherever it has moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct HunkId(u64);

impl Fingerprint {
    /// Of a kind of defect at a place. `name` is the model's word for the rule that is broken; empty if it has none.
    pub fn new(place: Place, name: &str, category: Category) -> Self {
        Self { place, rule: rule(name), category }
    }

    /// Where it points.
    pub fn place(&self) -> Place {
        self.place
    }

    /// What kind of thing it is.
    pub fn category(&self) -> Category {
        self.category
    }

    /// Whether both mean the same defect: the same line, and the same rule or, since a model may name a rule anew, the
    /// same category.
    pub fn is_same(&self, other: &Self) -> bool {
        self.place == other.place
            && ((!self.rule.is_empty() && self.rule == other.rule) || self.category == other.category)
    }
}

impl Place {
    /// A line of `path`; `above` is the nearest telling line over it, if there is one.
    pub fn new(path: &str, line: &str, above: Option<&str>) -> Self {
        let line = normalise(line);
        let is_telling = is_telling(&line);
        let above = above.filter(|_| !is_telling).map(normalise).unwrap_or_default();
        Self { digest: digest([path, &line, &above]), is_telling }
    }

    /// Whether it is known by its own text, so that it can be missed when it is gone.
    pub fn is_telling(self) -> bool {
        self.is_telling
    }
}

impl HunkId {
    /// Of a changed place in a file; unchanged lines around it do not count.
    pub fn new(file: &File, hunk: &Hunk) -> Self {
        // as a model sees it, so that it is the same before and after secrets are replaced
        let mut parts = vec![redact(file.path())];
        for line in hunk.lines.iter().filter(|line| line.kind != Kind::Context) {
            parts.push(if line.kind == Kind::Added { "+" } else { "-" }.into());
            parts.push(redact(&line.text));
        }
        Self(digest(parts.iter().map(AsRef::as_ref)))
    }
}

/// The places of a file's lines on one side, as the diff shows them.
pub fn places<'a>(path: &'a str, file: &'a File, side: Side) -> impl Iterator<Item = (u32, Place)> + 'a {
    file.hunks.iter().flat_map(move |hunk| {
        let mut above: Option<&str> = None;
        hunk.lines.iter().filter_map(move |line| {
            let number = number(line, side)?;
            let place = Place::new(path, &line.text, above);
            if place.is_telling {
                above = Some(&line.text);
            }
            Some((number, place))
        })
    })
}

fn number(line: &Line, side: Side) -> Option<u32> {
    if side == Side::Left { line.old_no } else { line.new_no }
}

fn is_telling(normalised: &str) -> bool {
    normalised.chars().filter(|c| c.is_alphanumeric()).count() >= TELLING
}

/// Lower case, words joined by hyphens.
fn rule(given: &str) -> String {
    let words = given.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join("-").to_ascii_lowercase().chars().take(LONGEST_RULE).collect()
}

fn digest<'a>(parts: impl IntoIterator<Item = &'a str>) -> u64 {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part.as_bytes());
    }
    let bytes: [u8; 32] = hash.finalize().into();
    bytes.iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte))
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.place.is_telling { '=' } else { '~' };
        write!(f, "{sign}{:016x}:{}:{}", self.place.digest, self.rule, self.category)
    }
}

impl FromStr for Fingerprint {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let mut parts = text.splitn(3, ':');
        let (Some(place), Some(name), Some(category)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(());
        };
        let is_telling = place.starts_with('=');
        let digest = place.strip_prefix(['=', '~']).ok_or(())?;
        let digest = u64::from_str_radix(digest, 16).map_err(drop)?;
        let category = serde_json::from_value(category.into()).map_err(drop)?;
        Ok(Self { place: Place { digest, is_telling }, rule: rule(name), category })
    }
}

impl Serialize for Fingerprint {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Fingerprint {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(|()| serde::de::Error::custom("not a fingerprint"))
    }
}

#[cfg(test)]
#[path = "fingerprint_tests.rs"]
mod tests;
