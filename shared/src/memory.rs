//! The memory's wire types: an update from a local agent, and what a search answers.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// What a local agent sends to `POST /memory-update` (the relay sends an [`Envelope`](crate::event::Envelope)).
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Update {
    /// Idempotency key: the same key again changes nothing. Without one the content decides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// `owner/name`.
    pub repository: String,
    /// The text to remember.
    pub context: String,
    /// What it is: `decision`, `convention`, `review`, `note`, …
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Who says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<String>,
    /// The branch it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub branch: Option<String>,
    /// The kind of event it comes from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event_type: Option<String>,
    /// Where it can be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// When it was true; the time of arrival if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timestamp: Option<Timestamp>,
    /// How far those who wrote what it was made of are trusted; absent where an agent says it of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trust: Option<Trust>,
}

/// How far those are trusted who wrote what a memory was made of; the least first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Trust {
    /// It comes from a fork, or from somebody outside of the project: nobody who may write to it has said it.
    Fork,
    /// Somebody who may write to the repository.
    Member,
    /// Its owner.
    Maintainer,
}

impl Trust {
    /// Of an author with GitHub's `author_association`. A fork's text stays a fork's, whoever made it; `inside` is a text
    /// that only those can have written who have access: in a private repository, or with a branch of its own.
    pub fn of(association: Option<&str>, from_fork: bool, inside: bool) -> Self {
        match association {
            _ if from_fork => Self::Fork,
            Some("OWNER") => Self::Maintainer,
            Some("MEMBER" | "COLLABORATOR") => Self::Member,
            // GitHub does not tell everybody of private memberships
            _ if inside => Self::Member,
            _ => Self::Fork,
        }
    }
}

/// The answer of `GET /memory/search`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SearchResponse {
    /// How the results were found.
    pub mode: Mode,
    /// Best first.
    pub results: Vec<Hit>,
}

/// How a search was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Full text and vectors, fused.
    Hybrid,
    /// Full text alone: no embedding was to be had.
    Lexical,
}

/// One found memory.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Hit {
    /// Id for `GET /memory/{id}`.
    pub id: String,
    /// The memory.
    pub text: String,
    /// What it is.
    pub kind: String,
    /// `owner/name`.
    pub repository: String,
    /// Fused score; comparable within one answer only.
    pub score: f64,
    /// Rank among the full-text candidates, from 1.
    pub lexical_rank: Option<u32>,
    /// Rank among the vector candidates, from 1.
    pub vector_rank: Option<u32>,
    /// Where it comes from.
    pub source: Source,
    /// When it was said.
    pub created_at: Timestamp,
}

impl Hit {
    /// Whether nobody of the project has said it.
    pub fn is_untrusted(&self) -> bool {
        self.source.trust == Some(Trust::Fork)
    }
}

/// Where a memory comes from.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// The delivery that brought it.
    #[serde(default)]
    pub delivery: Option<String>,
    /// Who said it.
    #[serde(default)]
    pub agent: Option<String>,
    /// The branch it is about.
    #[serde(default)]
    pub branch: Option<String>,
    /// The event it was made from.
    #[serde(default)]
    pub event: Option<String>,
    /// Where it can be read.
    #[serde(default)]
    pub url: Option<String>,
    /// How far its authors are trusted; absent where nobody told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trust: Option<Trust>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trust_is_given_by_github_and_never_to_a_fork() {
        for (association, from_fork, inside, trust) in [
            (Some("OWNER"), false, false, Trust::Maintainer),
            (Some("MEMBER"), false, false, Trust::Member),
            (Some("COLLABORATOR"), false, true, Trust::Member),
            (Some("CONTRIBUTOR"), false, true, Trust::Member),
            (Some("CONTRIBUTOR"), false, false, Trust::Fork),
            (Some("NONE"), false, false, Trust::Fork),
            (None, false, false, Trust::Fork),
            (Some("OWNER"), true, true, Trust::Fork),
        ] {
            assert_eq!(Trust::of(association, from_fork, inside), trust, "{association:?}");
        }
        assert!(Trust::Fork < Trust::Member && Trust::Member < Trust::Maintainer);
    }

    #[test]
    fn an_update_without_trust_is_written_as_before() {
        let text = r#"{"repository":"o/r","context":"c"}"#;
        let mut update: Update = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_string(&update).unwrap(), text);
        update.trust = Some(Trust::Fork);
        let text = serde_json::to_string(&update).unwrap();
        assert_eq!(text, r#"{"repository":"o/r","context":"c","trust":"fork"}"#);
        assert_eq!(serde_json::from_str::<Update>(&text).unwrap().trust, Some(Trust::Fork));
    }
}
