//! Where memories are kept: the verbs every back end must have.
//!
//! Records are what was sent, append-only; memories, full-text index and vectors are derived from them.

pub mod portable;
pub mod sqlite;
#[cfg(test)]
pub(crate) mod tests;
mod thread;
mod vectors;

use std::collections::BTreeMap;

use async_trait::async_trait;
use bytes::Bytes;
use jiff::Timestamp;
use queue::aside::Aside;
use serde::{Deserialize, Serialize};
use shared::memory::Source;
use tokio::sync::mpsc;

use self::portable::{Imported, Line};
use crate::distil::{Distilled, Draft};
use crate::rank::Candidate;
use crate::staleness::Stale;

/// What was sent, as it was sent.
#[derive(Debug, Clone)]
pub struct Record {
    /// Delivery id or idempotency key.
    pub id: String,
    /// When it arrived.
    pub received_at: Timestamp,
    /// The request's body.
    pub body: Bytes,
}

/// A memory with where it comes from and how it fares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// Its id; it depends on the delivery alone, and stays when the text is refined.
    pub id: String,
    /// Its place in the order of arrival, from 1; never used twice.
    pub position: i64,
    /// Counts its changes, from 1, so that what was decided about an older version is not written over a newer one.
    pub version: u32,
    /// The [`Record`] it was made from.
    pub delivery: String,
    /// What it says, and about what.
    pub draft: Draft,
    /// The template's text, where a model has refined it.
    pub template: Option<String>,
    /// Why it does not hold any more.
    pub stale: Option<Stale>,
    /// The memory that says otherwise since.
    pub superseded_by: Option<String>,
    /// The memory that said the same before, and stands for this one.
    pub merged_into: Option<String>,
    /// How many other deliveries have said the same.
    pub confirmations: u32,
}

impl Stored {
    /// Where it comes from, as it is told to callers.
    pub fn source(&self) -> Source {
        Source { delivery: Some(self.delivery.clone()), ..self.draft.source.clone() }
    }
}

/// What became of one [`Draft`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// Id of the memory that says this now.
    pub id: String,
    /// Whether another delivery had already said the same in this repository, or taken it back; nothing was added then.
    pub known: bool,
    /// Whether a search can find it.
    pub indexed: bool,
}

/// Which memories a search may answer with.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// `owner/name`, in any case; all repositories if absent.
    pub repository: Option<String>,
    /// Only this kind.
    pub kind: Option<String>,
    /// Only what this agent said.
    pub agent: Option<String>,
    /// Only what speaks of this file, or of one below this folder.
    pub path: Option<String>,
    /// Only what was said then or later.
    pub since: Option<Timestamp>,
    /// Only what was said before.
    pub until: Option<Timestamp>,
    /// Only what had been said by then, and as it stood then.
    pub as_of: Option<Timestamp>,
}

impl Filter {
    /// Whether it asks for more than a repository.
    pub fn is_narrow(&self) -> bool {
        *self != Self { repository: self.repository.clone(), ..Self::default() }
    }
}

/// The vectors of one model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct VectorModel {
    /// Name of the model.
    pub model: String,
    /// Length of its vectors.
    pub dimensions: usize,
    /// How many there are.
    pub vectors: usize,
}

/// Why something is forgotten, for the audit line.
#[derive(Debug, Clone, Default)]
pub struct Audit {
    /// Who asked.
    pub by: String,
    /// Why, in their words.
    pub reason: String,
}

/// What the embedder made of one memory.
#[derive(Debug, Clone)]
pub enum Embedding {
    /// Its vector, of norm 1.
    Vector(Vec<f32>),
    /// That of its beginning, of norm 1: the model takes no longer text.
    Cut(Vec<f32>),
    /// It cannot be embedded, and why; it is not offered for this model again.
    Rejected(String),
}

/// What a model made of a memory's text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refined {
    /// A better text.
    Text {
        /// What kind of memory it is, after the model.
        kind: String,
        /// The text.
        text: String,
        /// The model.
        model: String,
        /// The version of the prompt it had.
        prompt_version: String,
    },
    /// Nothing that can be used; the template's text stays, and it is not asked again.
    Rejected {
        /// Why.
        reason: String,
        /// The model.
        model: String,
        /// The version of the prompt it had.
        prompt_version: String,
    },
}

/// How a memory relates to an older one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judgement {
    /// What was found.
    pub relation: Relation,
    /// Who found it: model and prompt version, or `rule`.
    pub by: String,
}

/// What a memory says beside an older one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Relation {
    /// Another thing.
    Different,
    /// The same: the older one stands for both.
    Same,
    /// The contrary: the older one does not hold any more.
    Contradicts,
}

/// Counts for `GET /memory/stats`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts {
    /// Bodies received.
    pub records: u64,
    /// Memories made of them, whether or not indexed.
    pub memories: u64,
    /// Memories by kind.
    pub by_kind: BTreeMap<String, u64>,
    /// Memories that a search can find.
    pub indexed: u64,
    /// Of those: how many have a vector of the model asked about.
    pub with_vector: u64,
    /// Of those: how many have a vector of their beginning alone.
    pub cut: u64,
    /// Of the findable ones: how many that model cannot embed.
    pub rejected: u64,
    /// Why the most recent of them was rejected.
    pub last_rejection: Option<String>,
    /// Memories that a later one contradicts.
    pub superseded: u64,
    /// Memories whose code has changed since.
    pub stale: u64,
    /// Memories that another one stands for.
    pub merged: u64,
    /// Memories that a model has refined.
    pub refined: u64,
    /// Memories that a model could not refine.
    pub unrefinable: u64,
    /// Memories that wait for being refined.
    pub unrefined: u64,
    /// Memories that wait for being compared with their neighbours.
    pub uncompared: u64,
    /// Memories that were forgotten on request.
    pub forgotten: u64,
}

impl Counts {
    /// Memories whose turn at the model is still to come.
    pub fn waiting(&self) -> u64 {
        self.indexed.saturating_sub(self.with_vector + self.rejected)
    }
}

/// Why the store could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The data was written by a newer build.
    #[error(
        "the memory was written by a newer version of this program (schema {found}, this one knows {known}); install that version again, or {way_back}"
    )]
    Newer {
        /// Schema version found.
        found: u32,
        /// Newest schema version this build knows.
        known: u32,
        /// What else can be done.
        way_back: String,
    },
    /// The data cannot be opened.
    #[error("cannot open the memory at {path}: {source}; check DATA_DIR, its permissions and the free space")]
    Open {
        /// Where it was looked for.
        path: String,
        /// The back end's own error.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Another process works on it.
    #[error("the memory at {0} is in use by a running ollama-endpoint; stop that one first")]
    InUse(String),
    /// What is left of it is what can be saved.
    #[error(
        "the memory is damaged ({0}); stop the service, and `ollama-endpoint restore FILE` with your last backup"
    )]
    Damaged(String),
    /// It cannot be done with this file.
    #[error("{0}")]
    Unfit(String),
    /// The back end refused.
    #[error("the memory's store failed: {0}")]
    Backend(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The store has been shut down.
    #[error("the memory's store is closed")]
    Closed,
}

/// The verbs. Every write is durable when it returns.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// Appends `record` and makes what was distilled of it the memory of its delivery, all or nothing. The same call again
    /// changes nothing. A draft that [takes back](Draft::takes_back) removes what was said there, and keeps what is said
    /// there later from being indexed: events may arrive in any order.
    async fn record(&self, record: Record, distilled: Distilled) -> Result<Kept, StoreError>;

    /// Indexed memories that contain any of `words` (as [`words`](crate::words) gives them), best first.
    async fn matching(
        &self,
        words: Vec<String>,
        filter: Filter,
        limit: usize,
    ) -> Result<Vec<Candidate>, StoreError>;

    /// Indexed memories whose vector of `model` lies nearest to `vector` (norm 1), best first. `None` if no memory
    /// has a vector of that model and length.
    async fn nearest(
        &self,
        model: String,
        vector: Vec<f32>,
        filter: Filter,
        limit: usize,
    ) -> Result<Option<Vec<Candidate>>, StoreError>;

    /// Indexed memories, newest first.
    async fn recent(&self, filter: Filter, limit: usize) -> Result<Vec<Candidate>, StoreError>;

    /// The memories at these positions, in that order; those that are gone are left out.
    async fn fetch(&self, positions: Vec<i64>) -> Result<Vec<Stored>, StoreError>;

    /// The memory of this id, or of the only id that begins with these eight digits or more.
    async fn get(&self, id: String) -> Result<Option<Stored>, StoreError>;

    /// Ids of up to `limit` memories of a repository, in the order of arrival, indexed or not.
    async fn ids(&self, repository: String, limit: usize) -> Result<Vec<String>, StoreError>;

    /// Removes memories, everything derived from them, and the words of their records; the same deliveries do not bring
    /// them back. Leaves an audit line for each. Answers those that there were.
    async fn forget(&self, ids: Vec<String>, audit: Audit) -> Result<Vec<Stored>, StoreError>;

    /// Up to `limit` deliveries that were recorded before a moment, behind line `after` of the record, and have their words
    /// still, although no memory that a search finds was made of them, nor anything else is known by them; with their lines.
    async fn unneeded(
        &self,
        before: Timestamp,
        after: i64,
        limit: usize,
    ) -> Result<Vec<(i64, String)>, StoreError>;

    /// Takes the words of such deliveries out of the record, as forgetting does, with an audit line for each. Answers of how
    /// many; a delivery that is needed by now is left alone.
    async fn strip(&self, deliveries: Vec<String>, audit: Audit, now: Timestamp) -> Result<u64, StoreError>;

    /// Removes the copies from before an upgrade that were kept for long enough. Answers the others, and what restores moved
    /// aside: they have still what was forgotten since.
    async fn copies(&self) -> Result<Vec<Aside>, StoreError>;

    /// Ids of up to `limit` memories that nobody has said since a moment.
    async fn expired(&self, before: Timestamp, limit: usize) -> Result<Vec<String>, StoreError>;

    /// Up to `limit` indexed memories behind position `after`, in order, that have neither a vector of `model` nor a
    /// rejection by it.
    async fn unembedded(&self, model: String, after: i64, limit: usize) -> Result<Vec<Stored>, StoreError>;

    /// Removes the vectors and rejections of `model`, so that all memories are its backlog again.
    async fn forget_embeddings(&self, model: String) -> Result<(), StoreError>;

    /// The models there are vectors of.
    async fn vector_models(&self) -> Result<Vec<VectorModel>, StoreError>;

    /// Keeps what the embedder made of these memories, each in the version it had. Those that were deleted or changed
    /// meanwhile are skipped: they are in the backlog still.
    async fn keep_embeddings(
        &self,
        model: String,
        embeddings: Vec<(i64, u32, Embedding)>,
    ) -> Result<(), StoreError>;

    /// Up to `limit` indexed memories of events behind position `after`, in order, that no model has looked at yet.
    async fn unrefined(&self, after: i64, limit: usize) -> Result<Vec<Stored>, StoreError>;

    /// Keeps what a model made of a memory; `false`: it has changed since that version, look again.
    async fn keep_refined(&self, id: String, version: u32, refined: Refined) -> Result<bool, StoreError>;

    /// Up to `limit` indexed memories behind position `after`, in order, that were not compared with older ones yet.
    async fn uncompared(&self, after: i64, limit: usize) -> Result<Vec<Stored>, StoreError>;

    /// The vector of a memory by `model`.
    async fn vector(&self, position: i64, model: String) -> Result<Option<Vec<f32>>, StoreError>;

    /// Ids of the older memories that one was judged against.
    async fn judged(&self, id: String) -> Result<Vec<String>, StoreError>;

    /// Keeps how two memories relate; `false`: one has changed since that version, look again.
    async fn keep_judgement(
        &self,
        newer: (String, u32),
        older: (String, u32),
        judgement: Judgement,
    ) -> Result<bool, StoreError>;

    /// Notes that a memory has been compared with all that lie near it.
    async fn set_compared(&self, id: String) -> Result<(), StoreError>;

    /// Everything as lines of [`portable`], in pieces, as it is at this moment; of one repository if given. An error breaks
    /// it off.
    async fn export(
        &self,
        repository: Option<String>,
    ) -> Result<mpsc::Receiver<Result<Bytes, StoreError>>, StoreError>;

    /// Takes lines in, all or nothing. What is there already stays as it is.
    async fn import(&self, lines: Vec<Line>) -> Result<Imported, StoreError>;

    /// How much there is, vectors counted for `model`.
    async fn counts(&self, model: String) -> Result<Counts, StoreError>;
}
