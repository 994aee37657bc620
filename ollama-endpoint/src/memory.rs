//! The memory: what is sent → distilled → stored, embedded when Ollama answers; search, briefing, forgetting. The only door
//! to the store.

mod backlog;
mod brief;
mod forget;
mod retention;
mod search;
#[cfg(test)]
mod tests;
mod transfer;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use jiff::Timestamp;
use tokio::sync::Notify;

pub use self::brief::Brief;
pub use self::forget::Selection;
pub use self::retention::Retention;
pub use self::search::Question;
pub(crate) use self::search::standing;
pub use self::transfer::{ImportError, Importing};
use crate::distil::{self, Distilled};
use crate::ollama::Ollama;
use crate::store::{Counts, Embedding, Record, Store, StoreError, Stored, VectorModel};

/// What became of something that was sent.
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

/// Why nothing was learnt.
#[derive(Debug, thiserror::Error)]
pub enum LearnError {
    /// It is nothing that could be sent to us. It stays that way.
    #[error("cannot be read: {0}")]
    Unreadable(#[from] serde_json::Error),
    /// The store cannot write now.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The memory. Cheap to clone.
#[derive(Clone)]
pub struct Memory {
    store: Arc<dyn Store>,
    ollama: Ollama,
    woken: Woken,
    /// Whether a question's vector was of another length than the memories'.
    doubted: Arc<AtomicBool>,
    /// Whether a memory that was embedded may say something else now.
    changed: Arc<AtomicBool>,
}

/// Those who have work when something was written.
#[derive(Clone, Default)]
struct Woken {
    embedder: Arc<Notify>,
    refiner: Arc<Notify>,
}

impl std::fmt::Debug for Memory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Memory").field("ollama", &self.ollama).finish_non_exhaustive()
    }
}

impl Memory {
    /// A memory kept in `store` that embeds with `ollama`.
    pub fn new(store: Arc<dyn Store>, ollama: Ollama) -> Self {
        Self { store, ollama, woken: Woken::default(), doubted: Arc::default(), changed: Arc::default() }
    }

    /// Records what was received under `delivery` and makes a memory of it. The same call again changes nothing.
    ///
    /// # Errors
    /// [`LearnError`].
    pub async fn learn(
        &self,
        delivery: &str,
        body: Bytes,
        received_at: Timestamp,
    ) -> Result<Learnt, LearnError> {
        let distilled = distil::distil(delivery, &body, received_at)?;
        let Distilled { junk, .. } = distilled;
        let record = Record { id: delivery.to_owned(), received_at, body };
        let kept = self.store.record(record, distilled).await?;
        self.wake();
        Ok(match junk {
            Some(reason) => Learnt::Junk { reason },
            None if !kept.indexed => Learnt::Junk { reason: distil::TAKEN_BACK },
            None if kept.known => Learnt::Known { id: kept.id },
            None => Learnt::Stored { id: kept.id },
        })
    }

    /// One memory.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn get(&self, id: &str) -> Result<Option<Stored>, StoreError> {
        self.store.get(id.to_owned()).await
    }

    /// How much there is.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn counts(&self) -> Result<Counts, StoreError> {
        self.store.counts(self.ollama.embed_model().to_owned()).await
    }

    /// The models there are vectors of.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn vector_models(&self) -> Result<Vec<VectorModel>, StoreError> {
        self.store.vector_models().await
    }

    /// Up to `limit` memories behind position `after` that have no vector yet.
    pub(crate) async fn unembedded(&self, after: i64, limit: usize) -> Result<Vec<Stored>, StoreError> {
        self.store.unembedded(self.ollama.embed_model().to_owned(), after, limit).await
    }

    /// Length of the vectors there are of the model that embeds.
    pub(crate) async fn dimensions(&self) -> Result<Option<usize>, StoreError> {
        let models = self.store.vector_models().await?;
        let own = models.into_iter().find(|model| model.model == self.ollama.embed_model());
        Ok(own.map(|model| model.dimensions))
    }

    /// Forgets all vectors there are of the model that embeds: they cannot be compared with what it gives now.
    pub(crate) async fn forget_embeddings(&self) -> Result<(), StoreError> {
        self.store.forget_embeddings(self.ollama.embed_model().to_owned()).await
    }

    /// Forgets the vectors of all other models, which nothing needs any more.
    pub(crate) async fn retire_other_models(&self) -> Result<(), StoreError> {
        for VectorModel { model, .. } in self.store.vector_models().await? {
            if model != self.ollama.embed_model() {
                tracing::info!(
                    model,
                    "its vectors are not needed any more: another model has embedded everything"
                );
                self.store.forget_embeddings(model).await?;
            }
        }
        Ok(())
    }

    /// Whether a question since the last call could not be compared with the memories.
    pub(crate) fn take_doubt(&self) -> bool {
        self.doubted.swap(false, Ordering::Relaxed)
    }

    /// Whether a memory that was embedded may say something else since the last call.
    pub(crate) fn take_changed(&self) -> bool {
        self.changed.swap(false, Ordering::Relaxed)
    }

    /// Lets the embedder look at all memories again.
    fn note_changed(&self) {
        self.changed.store(true, Ordering::Relaxed);
        self.wake();
    }

    /// Whether there are vectors of other models than the one that embeds.
    pub(crate) async fn has_other_models(&self) -> Result<bool, StoreError> {
        let models = self.store.vector_models().await?;
        Ok(models.iter().any(|model| model.model != self.ollama.embed_model()))
    }

    /// Keeps what the embedder made of the memories at these positions, in these versions.
    pub(crate) async fn keep_embeddings(
        &self,
        embeddings: Vec<(i64, u32, Embedding)>,
    ) -> Result<(), StoreError> {
        self.store.keep_embeddings(self.ollama.embed_model().to_owned(), embeddings).await?;
        self.woken.refiner.notify_one();
        Ok(())
    }

    /// Completes when something was written, or came into doubt, since the last call completed.
    pub(crate) async fn written(&self) {
        self.woken.embedder.notified().await;
    }

    fn wake(&self) {
        self.woken.embedder.notify_one();
        self.woken.refiner.notify_one();
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
