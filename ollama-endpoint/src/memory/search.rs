//! A question → the memories that answer it best.

use std::sync::atomic::Ordering;
use std::time::Duration;

use jiff::Timestamp;
use shared::memory::{Explanation, Hit, Mode, SearchResponse, Standing};

use super::{Memory, unit};
use crate::ollama::Purpose;
use crate::rank::{self, Candidate, Ranked};
use crate::store::{Filter, StoreError, Stored, VectorModel};
use crate::words;

/// How many candidates of each kind are fused, if no more answers are wanted. The places behind them weigh less than a quarter
/// of the first, and each of them costs a look at its memory.
const CANDIDATES: usize = 40;

/// How long a search waits for the question's embedding before it answers without.
const QUERY_DEADLINE: Duration = Duration::from_millis(800);

/// A question to the memory.
#[derive(Debug, Clone)]
pub struct Question {
    /// In a person's words; empty: what is most recent.
    pub text: String,
    /// Which memories count.
    pub filter: Filter,
    /// Most answers.
    pub limit: usize,
    /// How to search; what cannot be had is left out, except where vectors alone are asked for.
    pub mode: Mode,
    /// Whether each answer explains its score.
    pub explain: bool,
}

impl Memory {
    /// The memories that answer a question best, found by words, and by meaning too when Ollama answers in time.
    ///
    /// # Errors
    /// The store cannot be read. Never because of Ollama.
    pub async fn search(&self, question: Question, now: Timestamp) -> Result<SearchResponse, StoreError> {
        let Question { text, filter, limit, mode, explain } = question;
        let candidates = CANDIDATES.max(limit);
        let now = filter.as_of.unwrap_or(now);
        if text.trim().is_empty() {
            let recent = self.store.recent(filter, limit).await?;
            return self
                .respond(Mode::Lexical, None, recent.into_iter().map(unranked).collect(), false)
                .await;
        }
        let lexical = async {
            match mode {
                Mode::Vector => Ok(Vec::new()),
                _ => self.store.matching(words::asked(&text), filter.clone(), candidates).await,
            }
        };
        let nearest = async {
            match mode {
                Mode::Lexical => Ok(Vec::new()),
                _ => self.nearest(&text, &filter, candidates).await,
            }
        };
        let (lexical, nearest) = tokio::join!(lexical, nearest);
        let (mode, degraded, nearest) = match nearest {
            Ok(nearest) => (mode, None, nearest),
            Err(Unfound::Store(error)) => return Err(error),
            Err(Unfound::Because(reason)) => {
                tracing::debug!(reason, "searching by words alone");
                let mode = if mode == Mode::Hybrid { Mode::Lexical } else { mode };
                (mode, Some(reason), Vec::new())
            }
        };
        let mut ranked = rank::fuse(&lexical?, &nearest, now);
        ranked.truncate(limit);
        self.respond(mode, degraded, ranked, explain).await
    }

    /// The memories nearest in meaning, by the vectors that serve now; after a change of the model those are the former
    /// one's, as long as they are more and Ollama still has it.
    async fn nearest(&self, text: &str, filter: &Filter, limit: usize) -> Result<Vec<Candidate>, Unfound> {
        let models = self.store.vector_models().await?;
        let mut reason = "no memory has a vector yet".to_owned();
        for VectorModel { model, dimensions, .. } in serving(models, self.ollama.embed_model()) {
            let ollama = self.ollama.with_embed_model(&model);
            let vector = match ollama.embed(&[text], Purpose::Query, QUERY_DEADLINE).await {
                Ok(mut embedded) => embedded.vectors.pop().unwrap_or_default(),
                Err(error) => {
                    reason = error.to_string();
                    continue;
                }
            };
            if vector.len() != dimensions && model == self.ollama.embed_model() {
                self.doubted.store(true, Ordering::Relaxed);
                self.wake();
            }
            let vector = match unit(vector, Some(dimensions)) {
                Ok(vector) => vector,
                Err(why) => {
                    reason = format!("the question cannot be compared: {why}");
                    continue;
                }
            };
            if let Some(found) = self.store.nearest(model, vector, filter.clone(), limit).await? {
                return Ok(found);
            }
        }
        Err(Unfound::Because(reason))
    }

    async fn respond(
        &self,
        mode: Mode,
        degraded: Option<String>,
        ranked: Vec<Ranked>,
        explain: bool,
    ) -> Result<SearchResponse, StoreError> {
        let found = self.store.fetch(ranked.iter().map(|ranked| ranked.position).collect()).await?;
        // A memory deleted since it was found is missing in `found`, so the two are matched by position.
        let mut found = found.into_iter().peekable();
        let results = ranked
            .into_iter()
            .filter_map(|ranked| {
                let stored = found.next_if(|stored| stored.position == ranked.position)?;
                Some(hit(stored, ranked, explain))
            })
            .collect();
        Ok(SearchResponse { mode, degraded, results })
    }
}

/// Why the vectors found nothing.
enum Unfound {
    Store(StoreError),
    Because(String),
}

impl From<StoreError> for Unfound {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// The models to search with, the best first: the configured one, unless another has more vectors still.
fn serving(mut models: Vec<VectorModel>, own: &str) -> Vec<VectorModel> {
    models.sort_by(|a, b| b.vectors.cmp(&a.vectors).then((b.model == own).cmp(&(a.model == own))));
    models
}

fn unranked(found: Candidate) -> Ranked {
    let explanation = Explanation { lexical: None, vector: None, recency: 1.0, validity: 1.0 };
    Ranked { position: found.position, score: 0.0, explanation }
}

fn hit(stored: Stored, ranked: Ranked, explain: bool) -> Hit {
    let source = stored.source();
    let (standing, because) = standing(&stored);
    let Stored { id, draft, .. } = stored;
    let Ranked { score, explanation, .. } = ranked;
    Hit {
        id,
        text: draft.text,
        kind: draft.kind,
        repository: draft.repository,
        score,
        lexical_rank: explanation.lexical.as_ref().map(|found| found.rank),
        vector_rank: explanation.vector.as_ref().map(|found| found.rank),
        source,
        created_at: draft.created_at,
        standing,
        because,
        explanation: explain.then_some(explanation),
    }
}

/// Whether a memory still holds, and why not.
pub(crate) fn standing(stored: &Stored) -> (Standing, Option<String>) {
    match (&stored.superseded_by, &stored.stale) {
        (Some(id), _) => (Standing::Superseded, Some(format!("superseded by {id}"))),
        (None, Some(stale)) => (Standing::Stale, Some(stale.reason.clone())),
        (None, None) => (Standing::Current, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_former_model_serves_until_the_new_one_has_caught_up() {
        let model = |name: &str, vectors| VectorModel { model: name.into(), dimensions: 2, vectors };
        let first = |models: Vec<VectorModel>| serving(models, "new")[0].model.clone();
        assert_eq!(first(vec![model("new", 3), model("old", 9)]), "old");
        assert_eq!(first(vec![model("old", 9), model("new", 9)]), "new");
        assert_eq!(first(vec![model("new", 1)]), "new");
        assert!(serving(Vec::new(), "new").is_empty());
    }
}
