//! The memory as the refiner sees it: what is to be worded, and what is to be compared with what.

use std::sync::Arc;

use async_trait::async_trait;

use super::Memory;
use crate::refine::{Backlog, Neighbour};
use crate::store::{Filter, Judgement, Refined, StoreError, Stored};
use crate::words;

/// How many older memories one is compared with.
const NEIGHBOURS: usize = 5;

/// As many candidates are looked at: some are newer, or judged already.
const CANDIDATES: usize = 4 * NEIGHBOURS;

#[async_trait]
impl Backlog for Memory {
    async fn unrefined(&self, after: i64, limit: usize) -> Result<Vec<Stored>, StoreError> {
        self.store.unrefined(after, limit).await
    }

    async fn keep_refined(&self, id: &str, version: u32, refined: Refined) -> Result<bool, StoreError> {
        let kept = self.store.keep_refined(id.to_owned(), version, refined).await?;
        self.note_changed();
        Ok(kept)
    }

    async fn uncompared(
        &self,
        after: i64,
        limit: usize,
    ) -> Result<Vec<(Stored, Vec<Neighbour>)>, StoreError> {
        let mut uncompared = Vec::new();
        for memory in self.store.uncompared(after, limit).await? {
            let neighbours = self.neighbours(&memory).await?;
            uncompared.push((memory, neighbours));
        }
        Ok(uncompared)
    }

    async fn keep_judgement(
        &self,
        newer: (&str, u32),
        older: (&str, u32),
        judgement: Judgement,
    ) -> Result<bool, StoreError> {
        let owned = |(id, version): (&str, u32)| (id.to_owned(), version);
        self.store.keep_judgement(owned(newer), owned(older), judgement).await
    }

    async fn set_compared(&self, id: &str) -> Result<(), StoreError> {
        self.store.set_compared(id.to_owned()).await
    }

    async fn written(&self) {
        Arc::clone(&self.woken.refiner).notified_owned().await;
    }
}

impl Memory {
    /// The older memories of the same repository that lie nearest to one, and that it was not judged against yet.
    async fn neighbours(&self, memory: &Stored) -> Result<Vec<Neighbour>, StoreError> {
        let model = self.ollama.embed_model().to_owned();
        let filter = Filter { repository: Some(memory.draft.repository.clone()), ..Filter::default() };
        let vector = self.store.vector(memory.position, model.clone()).await?;
        let near = match vector {
            Some(vector) => self.store.nearest(model, vector, filter.clone(), CANDIDATES).await?,
            None => None,
        };
        let by_meaning = near.is_some();
        let candidates = match near {
            Some(near) => near,
            None => self.store.matching(words::asked(&memory.draft.text), filter, CANDIDATES).await?,
        };
        let judged = self.store.judged(memory.id.clone()).await?;
        let older = |position: &i64| *position < memory.position;
        let positions = candidates.iter().map(|found| found.position).filter(older).collect();
        let mut neighbours = Vec::new();
        for found in self.store.fetch(positions).await? {
            let candidate = candidates.iter().find(|candidate| candidate.position == found.position);
            let is_new = !judged.contains(&found.id)
                && neighbours.iter().all(|neighbour: &Neighbour| neighbour.memory.id != found.id);
            if let Some(candidate) = candidate.filter(|_| is_new) {
                #[expect(clippy::cast_possible_truncation, reason = "a cosine was an f32")]
                let similarity = by_meaning.then_some(candidate.measure as f32);
                neighbours.push(Neighbour { memory: found, similarity });
            }
        }
        neighbours.truncate(NEIGHBOURS);
        Ok(neighbours)
    }
}
