//! The memory as lines of JSON, for another store, and for other tools. Pure.
//!
//! First a [`Header`], then what the memory is made of in the order in which it is to be taken in: the record, what models
//! made of it, what was forgotten. Then, for reading, one line for each memory that follows from that; last an [`End`].

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use shared::memory::Source;

use super::Relation;

/// What the format calls itself.
pub const FORMAT: &str = "ai-relay-memory";

/// The version that is written and read.
pub const VERSION: u32 = 1;

/// The first line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// [`FORMAT`].
    pub format: String,
    /// [`VERSION`].
    pub version: u32,
}

impl Header {
    /// That of today.
    pub fn today() -> Self {
        Self { format: FORMAT.to_owned(), version: VERSION }
    }

    /// Whether `line` is a header that can be understood.
    ///
    /// # Errors
    /// What is wrong with it, as a clause.
    pub fn check(line: &[u8]) -> Result<(), String> {
        let header: Option<Self> = serde_json::from_slice(line).ok();
        match header {
            Some(header) if header == Self::today() => Ok(()),
            Some(header) if header.format == FORMAT => Err(format!(
                "it is of version {}, and this program knows version {VERSION}; install a newer one",
                header.version
            )),
            _ => Err(format!("it does not begin with {{\"format\":\"{FORMAT}\",\"version\":{VERSION}}}")),
        }
    }
}

/// Any other line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Line {
    /// What was sent.
    Record(Recorded),
    /// What a model made of a memory's text.
    Derivation(Derived),
    /// How two memories relate.
    Judgement(Judged),
    /// What was forgotten.
    Audit(Audited),
    /// A memory, for reading: it follows from the lines above.
    Memory(Value),
    /// The last line.
    End(End),
}

/// What was sent: its body as text, or in Base64 if it is none, or the digest of what was forgotten.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recorded {
    /// Delivery id or idempotency key.
    pub id: String,
    /// When it arrived.
    pub received_at: Timestamp,
    /// The request's body.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// The same, if it is no UTF-8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body_base64: Option<String>,
    /// The digest of a body that was forgotten, in hexadecimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forgotten: Option<String>,
}

/// The words of a [`Recorded`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Words {
    /// The request's body.
    Body(Vec<u8>),
    /// The digest of one that was forgotten.
    Forgotten(Vec<u8>),
}

impl Recorded {
    /// A line of what was sent.
    pub fn new(id: String, received_at: Timestamp, words: Words) -> Self {
        let mut line = Self { id, received_at, body: None, body_base64: None, forgotten: None };
        match words {
            Words::Forgotten(digest) => line.forgotten = Some(hex::encode(digest)),
            Words::Body(body) => match String::from_utf8(body) {
                Ok(text) => line.body = Some(text),
                Err(error) => line.body_base64 = Some(BASE64_STANDARD.encode(error.as_bytes())),
            },
        }
        line
    }

    /// The words.
    ///
    /// # Errors
    /// There are none, or several, or they cannot be decoded.
    pub fn words(&self) -> Result<Words, String> {
        match (&self.body, &self.body_base64, &self.forgotten) {
            (Some(text), None, None) => Ok(Words::Body(text.clone().into_bytes())),
            (None, Some(text), None) => BASE64_STANDARD
                .decode(text)
                .map(Words::Body)
                .map_err(|error| format!("`body_base64` cannot be decoded: {error}")),
            (None, None, Some(digest)) => hex::decode(digest)
                .ok()
                .filter(|digest| digest.len() == 32)
                .map(Words::Forgotten)
                .ok_or_else(|| "`forgotten` is no SHA-256 in hexadecimal".to_owned()),
            _ => Err("a record has one of `body`, `body_base64` and `forgotten`".to_owned()),
        }
    }
}

/// What a model made of a memory's text: a better one, or nothing that can be used, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Derived {
    /// The memory.
    pub memory: String,
    /// Which words it had, see [`short`].
    pub of: String,
    /// What kind of memory it is, after the model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// The text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// Why there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The model.
    pub model: String,
    /// The version of the prompt it had.
    pub prompt_version: String,
}

/// How a memory relates to an older one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Judged {
    /// The newer memory.
    pub newer: String,
    /// Which words it had.
    pub newer_of: String,
    /// The older one.
    pub older: String,
    /// Which words that had.
    pub older_of: String,
    /// What was found.
    pub relation: Relation,
    /// Who found it.
    pub by: String,
}

/// What was forgotten.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Audited {
    /// When.
    pub at: Timestamp,
    /// The memory.
    pub memory: String,
    /// The delivery that had brought it.
    pub delivery: String,
    /// Its repository.
    pub repository: String,
    /// On whose word.
    pub by: String,
    /// Why.
    pub reason: String,
}

/// A memory, for reading.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Remembered {
    /// Its id.
    pub id: String,
    /// `owner/name`.
    pub repository: String,
    /// What it is.
    pub kind: String,
    /// What it says.
    pub text: String,
    /// The template's text, where a model has refined it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub template: Option<String>,
    /// When it was said.
    pub created_at: Timestamp,
    /// Whether a search finds it.
    pub indexed: bool,
    /// Where it comes from.
    pub source: Source,
    /// How many other deliveries have said the same.
    pub confirmations: u32,
    /// Why it does not hold any more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stale: Option<String>,
    /// The memory that says otherwise since.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub superseded_by: Option<String>,
    /// The memory that stands for this one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub merged_into: Option<String>,
}

/// How many lines of each kind there were, so that a file that was cut off is known as one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct End {
    /// Lines of the record.
    pub records: u64,
    /// What models made of memories.
    pub derivations: u64,
    /// How memories relate.
    pub judgements: u64,
    /// What was forgotten.
    pub audit: u64,
    /// Memories.
    pub memories: u64,
}

impl End {
    /// Counts a line.
    pub fn count(&mut self, line: &Line) {
        match line {
            Line::Record(_) => self.records += 1,
            Line::Derivation(_) => self.derivations += 1,
            Line::Judgement(_) => self.judgements += 1,
            Line::Audit(_) => self.audit += 1,
            Line::Memory(_) => self.memories += 1,
            Line::End(_) => {}
        }
    }
}

/// What became of lines that were taken in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Taken {
    /// What was not there yet.
    pub added: u64,
    /// What was there already, or speaks of a memory that is not there, or has other words here.
    pub skipped: u64,
}

impl Taken {
    /// Counts a line.
    pub fn count(&mut self, added: bool) {
        *(if added { &mut self.added } else { &mut self.skipped }) += 1;
    }

    fn add(&mut self, other: Self) {
        self.added += other.added;
        self.skipped += other.skipped;
    }
}

/// What became of all lines of an import.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Imported {
    /// Lines of the record.
    pub records: Taken,
    /// What models made of memories.
    pub derivations: Taken,
    /// How memories relate.
    pub judgements: Taken,
    /// What was forgotten.
    pub audit: Taken,
}

impl Imported {
    /// Adds what became of more lines.
    pub fn add(&mut self, other: Self) {
        self.records.add(other.records);
        self.derivations.add(other.derivations);
        self.judgements.add(other.judgements);
        self.audit.add(other.audit);
    }
}

/// Enough of the digest of a memory's words to tell them from others.
pub fn short(digest: &[u8]) -> String {
    hex::encode(digest.get(..8).unwrap_or(digest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lines_read_as_they_are_documented() {
        let at: Timestamp = "2026-11-22T10:00:00.000001Z".parse().unwrap();
        let line = |words| {
            let recorded = Recorded::new("update:1".into(), at, words);
            let line = serde_json::to_string(&Line::Record(recorded.clone())).unwrap();
            assert_eq!(serde_json::from_str::<Line>(&line).unwrap(), Line::Record(recorded));
            line
        };
        assert_eq!(
            line(Words::Body(b"{\"a\":1}".to_vec())),
            r#"{"record":{"id":"update:1","received_at":"2026-11-22T10:00:00.000001Z","body":"{\"a\":1}"}}"#
        );
        assert!(line(Words::Body(vec![0xff])).contains(r#""body_base64":"/w==""#));
        assert!(line(Words::Forgotten(vec![7; 32])).contains(r#""forgotten":"0707"#));
        assert_eq!(
            serde_json::to_string(&Header::today()).unwrap(),
            r#"{"format":"ai-relay-memory","version":1}"#
        );
    }

    #[test]
    fn what_is_no_export_is_told_from_one_of_a_newer_version() {
        assert!(Header::check(br#"{"format":"ai-relay-memory","version":1}"#).is_ok());
        let newer = Header::check(br#"{"format":"ai-relay-memory","version":2}"#).unwrap_err();
        assert!(newer.contains("install a newer one"), "{newer}");
        assert!(Header::check(b"{}").unwrap_err().contains("does not begin with"));
        let both = Recorded {
            forgotten: Some("00".into()),
            ..Recorded::new("x".into(), Timestamp::UNIX_EPOCH, Words::Body(vec![]))
        };
        assert!(both.words().unwrap_err().contains("one of"));
        assert!(Recorded { body: None, ..both }.words().unwrap_err().contains("no SHA-256"));
    }
}
