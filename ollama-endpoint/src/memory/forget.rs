//! Forgetting, on request.

use std::collections::HashSet;

use queue::aside::Aside;

use super::Memory;
use crate::store::{Audit, Filter, StoreError, Stored};
use crate::words;

/// The most memories that one request forgets.
const MOST_FORGOTTEN: usize = 1_000;

/// What is to be forgotten.
#[derive(Debug, Clone)]
pub enum Selection {
    /// These memories.
    Ids(Vec<String>),
    /// The memories that contain all words of a query, as a search by words finds them.
    Query {
        /// The words.
        text: String,
        /// Which memories count.
        filter: Filter,
    },
    /// All memories of a repository, those that no search finds included.
    Repository(String),
}

impl Memory {
    /// The memories of a selection, at most [`MOST_FORGOTTEN`].
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn select(&self, selection: Selection) -> Result<Vec<Stored>, StoreError> {
        let ids = match selection {
            Selection::Ids(ids) => ids,
            Selection::Repository(repository) => self.store.ids(repository, MOST_FORGOTTEN).await?,
            Selection::Query { text, filter } => return self.containing(&text, filter).await,
        };
        let mut selected = Vec::new();
        for id in ids.into_iter().take(MOST_FORGOTTEN) {
            selected.extend(self.store.get(id).await?);
        }
        Ok(selected)
    }

    /// The memories that contain all words of `text`.
    async fn containing(&self, text: &str, filter: Filter) -> Result<Vec<Stored>, StoreError> {
        let wanted = words::asked(text);
        let candidates = self.store.matching(wanted.clone(), filter, MOST_FORGOTTEN).await?;
        let found = self.store.fetch(candidates.into_iter().map(|found| found.position).collect()).await?;
        let contains = |memory: &Stored| {
            let said: HashSet<String> = words::words(&memory.draft.text).into_iter().collect();
            wanted.iter().all(|word| said.contains(word))
        };
        Ok(found.into_iter().filter(contains).collect())
    }

    /// Forgets memories: their words, and all that was derived of them. The same deliveries do not bring them back. Answers
    /// those that there were, the ones that they stood for included.
    ///
    /// # Errors
    /// The store cannot write.
    pub async fn forget(&self, ids: Vec<String>, audit: Audit) -> Result<Vec<Stored>, StoreError> {
        let forgotten = self.store.forget(ids, audit.clone()).await?;
        for memory in &forgotten {
            let repository = &memory.draft.repository;
            tracing::info!(memory = memory.id, repository, by = audit.by, reason = audit.reason, "forgotten");
        }
        Ok(forgotten)
    }

    /// The copies from before an upgrade or a restore, which have still what was forgotten since.
    ///
    /// # Errors
    /// They cannot be looked for.
    pub async fn copies(&self) -> Result<Vec<Aside>, StoreError> {
        self.store.copies().await
    }
}
