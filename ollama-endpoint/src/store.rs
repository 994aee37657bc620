//! Where memories are kept: the verbs every back end must have.
//!
//! Records are what was sent, append-only; memories, full-text index and vectors are derived from them.

pub mod sqlite;
#[cfg(test)]
mod tests;
mod thread;
mod vectors;

use std::collections::BTreeMap;

use async_trait::async_trait;
use bytes::Bytes;
use jiff::Timestamp;
use shared::memory::Source;

use crate::distil::Draft;
use crate::rank::Candidate;

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

/// A memory with where it comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// Its id.
    pub id: String,
    /// Its place in the order of arrival, from 1; never used twice.
    pub position: i64,
    /// The [`Record`] it was made from.
    pub delivery: String,
    /// What it says, and about what.
    pub draft: Draft,
    /// How often what it says was decided anew, from 1: tells whether it changed since it was read.
    pub version: u32,
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
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// `owner/name`, in any case; all repositories if absent.
    pub repository: Option<String>,
    /// Only this kind.
    pub kind: Option<String>,
    /// Only what had been said by then.
    pub as_of: Option<Timestamp>,
}

/// What the embedder made of one memory.
#[derive(Debug, Clone)]
pub enum Embedding {
    /// Its vector, of norm 1.
    Vector(Vec<f32>),
    /// It cannot be embedded, and why; it is not offered for this model again.
    Rejected(String),
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
    /// Of those: how many that model cannot embed.
    pub rejected: u64,
    /// Why the most recent of them was rejected.
    pub last_rejection: Option<String>,
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
        "the memory was written by a newer version of this program (schema {found}, this one knows {known}); install the newer version or use another DATA_DIR"
    )]
    Newer {
        /// Schema version found.
        found: u32,
        /// Newest schema version this build knows.
        known: u32,
    },
    /// The data cannot be opened.
    #[error("cannot open the memory at {path}: {source}; check DATA_DIR, its permissions and the free space")]
    Open {
        /// Where it was looked for.
        path: String,
        /// The back end's own error.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
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
    /// Appends `record` and makes `drafts` the memories of its delivery, all or nothing; answers in the order of
    /// `drafts`. The same call again changes nothing. A draft that [takes back](Draft::takes_back) removes what was
    /// said there, and keeps what is said there later from being indexed: events may arrive in any order.
    async fn record(&self, record: Record, drafts: Vec<Draft>) -> Result<Vec<Kept>, StoreError>;

    /// Indexed memories that contain any of `terms` (single words), best first.
    async fn matching(
        &self,
        terms: Vec<String>,
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

    /// The memories of these ids, in that order; unknown ids are left out.
    async fn fetch(&self, ids: Vec<String>) -> Result<Vec<Stored>, StoreError>;

    /// Removes a memory and everything derived from it. Answers whether there was one.
    async fn delete(&self, id: String) -> Result<bool, StoreError>;

    /// Up to `limit` indexed memories behind position `after`, in order, that have neither a vector of `model` nor a
    /// rejection by it.
    async fn unembedded(&self, model: String, after: i64, limit: usize) -> Result<Vec<Stored>, StoreError>;

    /// Removes the vectors and rejections of `model`, so that all memories are its backlog again.
    async fn forget_embeddings(&self, model: String) -> Result<(), StoreError>;

    /// Length of the vectors of `model`, if there are any.
    async fn dimensions(&self, model: String) -> Result<Option<usize>, StoreError>;

    /// Keeps what the embedder made of these memories; ids deleted meanwhile are skipped.
    async fn keep_embeddings(
        &self,
        model: String,
        embeddings: Vec<(String, Embedding)>,
    ) -> Result<(), StoreError>;

    /// How much there is, vectors counted for `model`.
    async fn counts(&self, model: String) -> Result<Counts, StoreError>;
}
