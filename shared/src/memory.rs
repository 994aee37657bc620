//! The memory's wire types: an update from a local agent, and what a search answers.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// What a local agent sends to `POST /memory-update` (the relay sends an [`Envelope`](crate::event::Envelope)).
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
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
    /// Whose words or change it is about, where that is somebody else than the agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
    /// The pull request or issue it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pull_request: Option<u64>,
    /// The commits it is about, as full ids.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub commits: Vec<String>,
    /// The files it is about, from the root of the repository.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub paths: Vec<String>,
    /// The model that wrote it, if one did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// The version of the prompt that the model had.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt_version: Option<String>,
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
    /// Why it was not found in the best way, where that is so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub degraded: Option<String>,
    /// Best first.
    pub results: Vec<Hit>,
}

/// How a search was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Full text and vectors, fused.
    Hybrid,
    /// Full text alone: no embedding was to be had, or none was wanted.
    Lexical,
    /// Vectors alone, because the caller asked for that.
    Vector,
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
    /// Whether it still holds.
    #[serde(default)]
    pub standing: Standing,
    /// Why it does not, in one line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub because: Option<String>,
    /// How the score came about, for callers who asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub explanation: Option<Explanation>,
}

/// Whether a memory still holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// Nothing is known against it.
    #[default]
    Current,
    /// Later commits changed, removed or reverted what it speaks of.
    Stale,
    /// A later memory says otherwise.
    Superseded,
}

/// How a score came about: the sum of both contributions times the factors.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Explanation {
    /// Why the full text found it.
    pub lexical: Option<Found>,
    /// Why the vectors found it.
    pub vector: Option<Found>,
    /// Factor for its age, at most 1.
    pub recency: f64,
    /// Factor for its standing, at most 1.
    pub validity: f64,
}

/// A memory's place in one of the two rankings.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Found {
    /// Rank, from 1.
    pub rank: u32,
    /// What the ranking is by: BM25 (higher is better) or the cosine.
    pub measure: f64,
    /// How much that tells, from 0 to 1: of the words, the share of the question's that it has, the rarer ones counting more.
    pub weight: f64,
    /// What the rank adds to the score: `weight / (60 + rank)`.
    pub contribution: f64,
}

/// The answer of `GET /memory/briefing`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Briefing {
    /// How its memories were found.
    pub mode: Mode,
    /// The knowledge as one text, one memory a line; empty if nothing is known.
    pub text: String,
    /// What the text costs, as it is estimated here.
    pub tokens: usize,
    /// What it was allowed to cost.
    pub budget: usize,
    /// The lines of the text with their sources, in its order.
    pub lines: Vec<BriefingLine>,
    /// Memories that were found and left out: repetitions, or for want of room.
    pub left_out: usize,
}

/// One line of a [`Briefing`].
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct BriefingLine {
    /// Id for `GET /memory/{id}`.
    pub id: String,
    /// The line as it stands in the text: what it is about, what it says, and the first digits of the id.
    pub line: String,
    /// What it is, when it was said, by whom and about what; what is to be known before one believes it.
    pub about: String,
    /// What it says, as far as there was room, on one line.
    pub text: String,
    /// Where it comes from.
    pub source: Source,
}

impl BriefingLine {
    /// Whether nobody of the project has said it.
    pub fn is_untrusted(&self) -> bool {
        self.source.trust == Some(Trust::Fork)
    }
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
    /// Whose words or change it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
    /// The pull request or issue it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pull_request: Option<u64>,
    /// The commits it is about.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub commits: Vec<String>,
    /// The files it is about.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub paths: Vec<String>,
    /// The model that wrote the text; absent where it is the author's own, or a template's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// The version of the prompt that the model had.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt_version: Option<String>,
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
