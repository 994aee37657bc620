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
}
