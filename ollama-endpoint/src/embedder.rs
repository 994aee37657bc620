//! The background loop that gives a vector to every memory that has none yet.

use std::time::Duration;

use serde::Serialize;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::memory::{Memory, unit};
use crate::ollama::{Embedded, Ollama, OllamaError, Purpose};
use crate::store::{Embedding, StoreError, Stored};

/// Memories embedded in one call.
const BATCH: usize = 32;

/// How long one call may take: a cold model is loaded first.
const TIMEOUT: Duration = Duration::from_secs(180);

/// How often all memories are looked at although nothing was written.
const IDLE: Duration = Duration::from_secs(600);

/// The pause after a failure, doubled up to the longest.
const SHORTEST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// A text that any embedding model takes; tells a bad text from a bad Ollama.
const HARMLESS: &str = "a harmless text";

/// How the embedder fares.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(tag = "state", content = "error", rename_all = "snake_case")]
pub enum Status {
    /// Nothing waits for a vector.
    #[default]
    Idle,
    /// Ollama answers.
    Working,
    /// It cannot go on now, and why; it tries again by itself.
    Waiting(String),
}

#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Ollama(#[from] OllamaError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Embeds the backlog until `stop`.
pub async fn run(memory: Memory, ollama: Ollama, status: watch::Sender<Status>, stop: CancellationToken) {
    let mut pause = SHORTEST_PAUSE;
    // Everything up to here is settled, so that a new memory costs no look at all the old ones.
    let mut settled = 0;
    loop {
        // A round that is dropped loses at most one call to Ollama: its memories are still in the backlog.
        let Some(round) = stop.run_until_cancelled(embed_some(&memory, &ollama, settled)).await else {
            return;
        };
        match round {
            Ok(Some(position)) => {
                report(&status, Status::Working);
                (settled, pause) = (position, SHORTEST_PAUSE);
            }
            Ok(None) => {
                report(&status, Status::Idle);
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = memory.written() => {}
                    () = tokio::time::sleep(IDLE) => settled = 0,
                }
            }
            Err(error) => {
                report(&status, Status::Waiting(error.to_string()));
                if stop.run_until_cancelled(tokio::time::sleep(pause)).await.is_none() {
                    return;
                }
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
    }
}

/// Logs a change of state once, not each round.
fn report(status: &watch::Sender<Status>, now: Status) {
    status.send_if_modified(|before| {
        if *before == now {
            return false;
        }
        match (&now, &*before) {
            (Status::Waiting(error), _) => tracing::warn!(error, "embedding waits; search goes on by words"),
            (_, Status::Waiting(_)) => tracing::info!("embedding goes on"),
            _ => {}
        }
        *before = now;
        true
    });
}

/// Embeds one batch of the backlog behind `after` and says how far it came; `None` if there is no backlog.
async fn embed_some(memory: &Memory, ollama: &Ollama, after: i64) -> Result<Option<i64>, Failure> {
    if memory.take_doubt() && forgot_outgrown(memory, ollama).await? {
        return Ok(Some(0));
    }
    let after = if memory.take_changed() { 0 } else { after };
    let backlog = memory.unembedded(after, BATCH).await?;
    if backlog.is_empty() && memory.has_other_models().await? && memory.unembedded(0, 1).await?.is_empty() {
        memory.retire_other_models().await?;
    }
    // Halves that are still to be done: a batch that is refused is split until the culprit is alone.
    let mut parts = vec![backlog.as_slice()];
    while let Some(part) = parts.pop().filter(|part| !part.is_empty()) {
        let embeddings = match embed(memory, ollama, part).await {
            Ok(embeddings) => embeddings,
            Err(Failure::Ollama(OllamaError::Refused(_))) if part.len() > 1 => {
                let (first, second) = part.split_at(part.len() / 2);
                parts.extend([second, first]);
                continue;
            }
            Err(Failure::Ollama(OllamaError::Refused(_))) => embed_again(memory, ollama, part).await?,
            Err(error) => return Err(error),
        };
        let Some(embeddings) = embeddings else { return Ok(Some(0)) };
        memory.keep_embeddings(embeddings).await?;
    }
    Ok(backlog.last().map(|memory| memory.position))
}

/// A text that was refused alone is tried once more when Ollama has taken another: if that fails as well it is the text,
/// and not a model that had just crashed.
async fn embed_again(
    memory: &Memory,
    ollama: &Ollama,
    part: &[Stored],
) -> Result<Option<Vec<(i64, u32, Embedding)>>, Failure> {
    ollama.embed(&[HARMLESS], Purpose::Document, TIMEOUT).await?;
    match embed(memory, ollama, part).await {
        Err(Failure::Ollama(OllamaError::Refused(reason))) => {
            let rejected =
                |memory: &Stored| (memory.position, memory.version, Embedding::Rejected(reason.clone()));
            Ok(Some(part.iter().map(rejected).collect()))
        }
        embedded => embedded,
    }
}

/// What the model makes of `part`; `None` if it is not the model any more that made the vectors there are.
async fn embed(
    memory: &Memory,
    ollama: &Ollama,
    part: &[Stored],
) -> Result<Option<Vec<(i64, u32, Embedding)>>, Failure> {
    let texts: Vec<&str> = part.iter().map(|memory| memory.draft.text.as_str()).collect();
    let Embedded { vectors, cut } = ollama.embed(&texts, Purpose::Document, TIMEOUT).await?;
    let mut dimensions = memory.dimensions().await?;
    let differ = dimensions.is_some_and(|length| vectors.iter().any(|vector| vector.len() != length));
    if differ && forgot_outgrown(memory, ollama).await? {
        return Ok(None);
    }
    let mut embeddings = Vec::with_capacity(part.len());
    for (at, (memory, vector)) in part.iter().zip(vectors).enumerate() {
        let embedding = match unit(vector, dimensions) {
            Err(reason) => Embedding::Rejected(reason),
            Ok(vector) => {
                dimensions.get_or_insert(vector.len());
                if cut.contains(&at) { Embedding::Cut(vector) } else { Embedding::Vector(vector) }
            }
        };
        embeddings.push((memory.position, memory.version, embedding));
    }
    Ok(Some(embeddings))
}

/// Whether the model's vectors have another length than those there are, which are forgotten then: another model was
/// pulled under the same name. A harmless text decides, so that one odd vector does not cost all the others.
async fn forgot_outgrown(memory: &Memory, ollama: &Ollama) -> Result<bool, Failure> {
    let vectors = ollama.embed(&[HARMLESS], Purpose::Document, TIMEOUT).await?.vectors;
    let now = vectors.first().map(Vec::len).filter(|length| *length > 0);
    let (Some(before), Some(now)) = (memory.dimensions().await?, now) else { return Ok(false) };
    if before != now {
        let model = ollama.embed_model();
        tracing::warn!(
            model,
            before,
            now,
            "the model's vectors have another length; everything is embedded again"
        );
        memory.forget_embeddings().await?;
    }
    Ok(before != now)
}

#[cfg(test)]
mod tests;
