//! The memory: update → distil → store, embedded when Ollama answers; search. The only door to the store.

mod terms;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use shared::event::Envelope;
use shared::memory::{Hit, Mode, SearchResponse, Update};
use tokio::sync::Notify;

use crate::distil::{self, Distilled};
use crate::ollama::{Ollama, Purpose};
use crate::rank::{self, Candidate, Ranked};
use crate::store::{Counts, Embedding, Filter, Record, Store, StoreError, Stored};

/// How many candidates of each kind are fused.
const CANDIDATES: usize = 100;

/// How long a search waits for the question's embedding before it answers without.
const QUERY_DEADLINE: Duration = Duration::from_millis(800);

/// Something to remember, as it was received.
#[derive(Debug)]
pub enum Incoming {
    /// A GitHub event from the relay.
    Event(Box<Envelope>),
    /// A local agent's words.
    Update(Box<Update>),
}

/// What became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Learnt {
    /// A search finds it from now on.
    Stored {
        /// Id of the memory.
        id: String,
    },
    /// Another delivery had said the same, and a search finds it.
    Known {
        /// Id of the memory that says it.
        id: String,
    },
    /// It is on record, but no search will find it.
    Junk {
        /// Why.
        reason: &'static str,
    },
}

/// A question to the memory.
#[derive(Debug, Clone, Default)]
pub struct Question {
    /// In a person's words; empty: what is most recent.
    pub text: String,
    /// Which memories count.
    pub filter: Filter,
    /// Most answers.
    pub limit: usize,
}

/// The memory. Cheap to clone.
#[derive(Clone)]
pub struct Memory {
    store: Arc<dyn Store>,
    ollama: Ollama,
    written: Arc<Notify>,
    /// Whether a question's vector was of another length than the memories'.
    doubted: Arc<AtomicBool>,
}

impl std::fmt::Debug for Memory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Memory").field("ollama", &self.ollama).finish_non_exhaustive()
    }
}

impl Memory {
    /// A memory kept in `store` that embeds with `ollama`.
    pub fn new(store: Arc<dyn Store>, ollama: Ollama) -> Self {
        Self { store, ollama, written: Arc::default(), doubted: Arc::default() }
    }

    /// Records what was received under `id` and makes a memory of it. The same call again changes nothing.
    ///
    /// # Errors
    /// The store cannot write.
    pub async fn learn(
        &self,
        id: &str,
        incoming: &Incoming,
        body: Bytes,
        received_at: Timestamp,
    ) -> Result<Learnt, StoreError> {
        let Distilled { draft, junk, .. } = match incoming {
            Incoming::Event(envelope) => distil::envelope(envelope),
            Incoming::Update(update) => distil::update(update, received_at),
        };
        let record = Record { id: id.to_owned(), received_at, body };
        let kept = self.store.record(record, vec![draft]).await?;
        self.written.notify_one();
        let kept = kept.into_iter().next().ok_or(StoreError::Closed)?;
        Ok(match junk {
            Some(reason) => Learnt::Junk { reason },
            None if !kept.indexed => Learnt::Junk { reason: distil::TAKEN_BACK },
            None if kept.known => Learnt::Known { id: kept.id },
            None => Learnt::Stored { id: kept.id },
        })
    }

    /// The memories that answer a question best, found by words, and by meaning too when Ollama answers in time.
    ///
    /// # Errors
    /// The store cannot be read. Never because of Ollama.
    pub async fn search(&self, question: Question, now: Timestamp) -> Result<SearchResponse, StoreError> {
        let Question { text, filter, limit } = question;
        let now = filter.as_of.unwrap_or(now);
        if text.trim().is_empty() {
            let recent = self.store.recent(filter, limit).await?;
            let unranked =
                |found: Candidate| Ranked { id: found.id, score: 0.0, lexical: None, vector: None };
            return self.respond(Mode::Lexical, recent.into_iter().map(unranked).collect()).await;
        }
        let (lexical, nearest) = tokio::join!(
            self.store.matching(terms::terms(&text), filter.clone(), CANDIDATES),
            self.nearest(&text, filter.clone()),
        );
        let mode = if nearest.is_some() { Mode::Hybrid } else { Mode::Lexical };
        let mut ranked = rank::fuse(&lexical?, &nearest.unwrap_or_default(), now);
        ranked.truncate(limit);
        self.respond(mode, ranked).await
    }

    /// `None` when the question cannot be compared with anything: Ollama away or slow, nothing embedded yet.
    async fn nearest(&self, text: &str, filter: Filter) -> Option<Vec<Candidate>> {
        let model = self.ollama.embed_model().to_owned();
        let dimensions = self.store.dimensions(model.clone()).await.ok()??;
        let mut vectors = match self.ollama.embed(&[text], Purpose::Query, QUERY_DEADLINE).await {
            Ok(embedded) => embedded.vectors,
            Err(error) => {
                tracing::debug!(%error, "searching by words alone");
                return None;
            }
        };
        let vector = vectors.pop()?;
        if vector.len() != dimensions {
            self.doubted.store(true, Ordering::Relaxed);
            self.written.notify_one();
        }
        let vector = unit(vector, Some(dimensions)).ok()?;
        self.store.nearest(model, vector, filter, CANDIDATES).await.ok()?
    }

    async fn respond(&self, mode: Mode, ranked: Vec<Ranked>) -> Result<SearchResponse, StoreError> {
        let found = self.store.fetch(ranked.iter().map(|ranked| ranked.id.clone()).collect()).await?;
        // A memory deleted since it was found is missing in `found`, so the two are matched by id.
        let mut found = found.into_iter().peekable();
        let results = ranked
            .into_iter()
            .filter_map(|ranked| {
                found.next_if(|stored| stored.id == ranked.id).map(|stored| hit(stored, &ranked))
            })
            .collect();
        Ok(SearchResponse { mode, degraded: None, results })
    }

    /// One memory.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn get(&self, id: &str) -> Result<Option<Stored>, StoreError> {
        Ok(self.store.fetch(vec![id.to_owned()]).await?.pop())
    }

    /// Forgets one memory; `false` if there was none.
    ///
    /// # Errors
    /// The store cannot write.
    pub async fn forget(&self, id: &str) -> Result<bool, StoreError> {
        self.store.delete(id.to_owned()).await
    }

    /// How much there is.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn counts(&self) -> Result<Counts, StoreError> {
        self.store.counts(self.ollama.embed_model().to_owned()).await
    }

    /// Up to `limit` memories behind position `after` that have no vector yet.
    pub(crate) async fn unembedded(&self, after: i64, limit: usize) -> Result<Vec<Stored>, StoreError> {
        self.store.unembedded(self.ollama.embed_model().to_owned(), after, limit).await
    }

    /// Length of the vectors there are.
    pub(crate) async fn dimensions(&self) -> Result<Option<usize>, StoreError> {
        self.store.dimensions(self.ollama.embed_model().to_owned()).await
    }

    /// Forgets all vectors there are: they cannot be compared with what the model gives now.
    pub(crate) async fn forget_embeddings(&self) -> Result<(), StoreError> {
        self.store.forget_embeddings(self.ollama.embed_model().to_owned()).await
    }

    /// Whether a question since the last call could not be compared with the memories.
    pub(crate) fn take_doubt(&self) -> bool {
        self.doubted.swap(false, Ordering::Relaxed)
    }

    /// Keeps what the embedder made of them.
    pub(crate) async fn keep_embeddings(
        &self,
        embeddings: Vec<(String, Embedding)>,
    ) -> Result<(), StoreError> {
        self.store.keep_embeddings(self.ollama.embed_model().to_owned(), embeddings).await
    }

    /// Completes when something was written, or came into doubt, since the last call completed.
    pub(crate) async fn written(&self) {
        self.written.notified().await;
    }
}

/// A vector of norm 1, or why it is none that can be compared.
pub(crate) fn unit(vector: Vec<f32>, dimensions: Option<usize>) -> Result<Vec<f32>, String> {
    if let Some(dimensions) = dimensions.filter(|dimensions| *dimensions != vector.len()) {
        return Err(format!(
            "its vector has {} numbers, the others of this model have {dimensions}",
            vector.len()
        ));
    }
    let norm = vector.iter().map(|number| f64::from(*number).powi(2)).sum::<f64>().sqrt();
    if !norm.is_finite() || norm < 1e-12 {
        return Err("its vector has no direction (all zero, or not a number)".to_owned());
    }
    #[expect(clippy::cast_possible_truncation, reason = "a quotient of at most 1 fits")]
    Ok(vector.into_iter().map(|number| (f64::from(number) / norm) as f32).collect())
}

fn hit(stored: Stored, ranked: &Ranked) -> Hit {
    let source = stored.source();
    let Stored { id, draft, .. } = stored;
    Hit {
        id,
        text: draft.text,
        kind: draft.kind,
        repository: draft.repository,
        score: ranked.score,
        lexical_rank: ranked.lexical,
        vector_rank: ranked.vector,
        source,
        created_at: draft.created_at,
        standing: Default::default(),
        because: None,
        explanation: None,
    }
}
