//! The background loop in which a model words events as memories worth keeping, and finds out which memories say the same
//! or otherwise. It asks its [`Backlog`] for work and hands the results back: nothing is locked while a model thinks, and
//! what changed meanwhile is looked at again. What a model makes is only accepted if `prompt` and `compare` find nothing
//! wrong with it; whatever it does, the record and the template's text stay.

pub mod compare;
mod fence;
mod identifiers;
pub mod prompt;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
mod wording;

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use self::compare::NEAR;
pub use crate::embedder::Status;
use crate::ollama::OllamaError;
use crate::ollama::chat::{Chat, Question};
pub use crate::store::{Judgement, Refined, Relation};
use crate::store::{StoreError, Stored};

/// Memories taken from the backlog at a time.
const BATCH: usize = 16;

/// How often the whole backlog is looked at although nothing was written.
const IDLE: Duration = Duration::from_secs(600);

/// The pause after a failure, doubled up to the longest.
const SHORTEST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// What [`Judgement::by`] says where no model was asked.
pub const RULE: &str = "rule";

/// An older memory that may be about the same.
#[derive(Debug, Clone)]
pub struct Neighbour {
    /// The memory.
    pub memory: Stored,
    /// Cosine of both vectors; `None` where it was found by words.
    pub similarity: Option<f32>,
}

/// Where the work comes from, and the results go. A call is short: no model is asked within one.
#[async_trait]
pub trait Backlog: Send + Sync {
    /// Up to `limit` memories of events behind position `after`, in order, that have neither a derivation by the present
    /// model and prompt nor a rejection of it.
    async fn unrefined(&self, after: i64, limit: usize) -> Result<Vec<Stored>, StoreError>;

    /// Keeps what became of version `version` of a memory; `false` if it has another version now, or is gone.
    async fn keep_refined(&self, id: &str, version: u32, refined: Refined) -> Result<bool, StoreError>;

    /// Up to `limit` memories behind position `after`, in order, that have not been compared, each with at most five older
    /// ones, nearest first, against which it has not been judged.
    async fn uncompared(&self, after: i64, limit: usize)
    -> Result<Vec<(Stored, Vec<Neighbour>)>, StoreError>;

    /// Keeps a judgement of these versions; `false` if one of them has another version now, or is gone.
    async fn keep_judgement(
        &self,
        newer: (&str, u32),
        older: (&str, u32),
        judgement: Judgement,
    ) -> Result<bool, StoreError>;

    /// All neighbours of this memory have been looked at. Nothing happens if it is gone.
    async fn set_compared(&self, id: &str) -> Result<(), StoreError>;

    /// Completes when something was written since the last call completed.
    async fn written(&self);
}

/// How hard the model is worked.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// How long one call may take: a cold model is loaded first.
    pub timeout: Duration,
    /// The longest rest after a call. It rests for as long as the call took, so that half of Ollama is left for others.
    pub rest: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self { timeout: Duration::from_secs(180), rest: Duration::from_secs(10) }
    }
}

#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Ollama(#[from] OllamaError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Works off `backlog` until `stop`. Without `chat` only rules compare.
pub async fn run(
    backlog: Arc<dyn Backlog>,
    chat: Option<Chat>,
    pace: Pace,
    status: watch::Sender<Status>,
    stop: CancellationToken,
) {
    let mut desk = Desk { backlog, chat, pace, at: Places::default(), again: None };
    let mut pause = SHORTEST_PAUSE;
    loop {
        // A round that is dropped loses at most one call to Ollama: its memory is still in the backlog.
        let Some(round) = stop.run_until_cancelled(desk.round()).await else { return };
        match round {
            Ok(true) => {
                report(&status, Status::Working);
                pause = SHORTEST_PAUSE;
            }
            Ok(false) => {
                report(&status, Status::Idle);
                // What changed is settled soon; the whole backlog is looked at now and then.
                let again = desk.again.take();
                desk.at.not_behind(again.unwrap_or(i64::MAX));
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = desk.backlog.written() => {}
                    () = tokio::time::sleep(again.map_or(IDLE, |_| SHORTEST_PAUSE)) => {
                        desk.at.not_unasked_behind(again.unwrap_or(0));
                    }
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
            (Status::Waiting(error), _) => tracing::warn!(error, "refining waits; memories stay as they are"),
            (_, Status::Waiting(_)) => tracing::info!("refining goes on"),
            _ => {}
        }
        *before = now;
        true
    });
}

/// How far each of the three passes has come; everything up to there is settled.
#[derive(Debug, Default)]
struct Places {
    refined: i64,
    ruled: i64,
    judged: i64,
}

impl Places {
    /// Goes back to `position` where it is further.
    fn not_behind(&mut self, position: i64) {
        self.ruled = position.min(self.ruled);
        self.not_unasked_behind(position);
    }

    /// The same, where a model is asked: what it could not be asked before it may be asked now. Rules stay as they are.
    fn not_unasked_behind(&mut self, position: i64) {
        self.refined = position.min(self.refined);
        self.judged = position.min(self.judged);
    }
}

struct Desk {
    backlog: Arc<dyn Backlog>,
    chat: Option<Chat>,
    pace: Pace,
    at: Places,
    /// The place before the first memory that changed while it was looked at.
    again: Option<i64>,
}

impl Desk {
    /// Works off a part of the backlog; `false` if there is none. Rules come first, so that they are not held up by a model.
    async fn round(&mut self) -> Result<bool, Failure> {
        let mut worked = self.compare(None).await?;
        if let Some(chat) = self.chat.clone() {
            worked |= self.refine(&chat).await?;
            worked |= self.compare(Some(&chat)).await?;
        }
        Ok(worked)
    }

    async fn refine(&mut self, chat: &Chat) -> Result<bool, Failure> {
        let backlog = self.backlog.unrefined(self.at.refined, BATCH).await?;
        for memory in &backlog {
            let refined = self.refined(chat, memory).await?;
            let other_words = matches!(refined, Refined::Text { .. });
            self.at.refined = memory.position;
            if !self.backlog.keep_refined(&memory.id, memory.version, refined).await? {
                self.look_again(memory);
            } else if other_words {
                // It may have been compared while it had the template's words.
                self.at.ruled = self.at.ruled.min(memory.position - 1);
                self.at.judged = self.at.judged.min(memory.position - 1);
            }
        }
        Ok(!backlog.is_empty())
    }

    async fn refined(&self, chat: &Chat, memory: &Stored) -> Result<Refined, Failure> {
        let draft = &memory.draft;
        let answer = match prompt::skipped(draft) {
            Some(reason) => Err(reason.to_owned()),
            None => {
                let question = prompt::question(draft);
                self.ask(chat, &question, |answer| prompt::accept(draft, answer)).await?
            }
        };
        let (model, prompt_version) = (chat.model().to_owned(), prompt::PROMPT_VERSION.to_owned());
        Ok(match answer {
            Ok(prompt::Answer { kind, text }) => Refined::Text { kind, text, model, prompt_version },
            Err(reason) => {
                tracing::debug!(memory = memory.id, reason, "the template's text stays");
                Refined::Rejected { reason, model, prompt_version }
            }
        })
    }

    /// Compares a batch, with `chat` or by rules alone.
    async fn compare(&mut self, chat: Option<&Chat>) -> Result<bool, Failure> {
        let after = if chat.is_some() { self.at.judged } else { self.at.ruled };
        let backlog = self.backlog.uncompared(after, BATCH).await?;
        for (newer, neighbours) in &backlog {
            match self.compare_one(chat, newer, neighbours).await? {
                Compared::Settled => self.backlog.set_compared(&newer.id).await?,
                Compared::Changed => self.look_again(newer),
                Compared::Open => {}
            }
            *(if chat.is_some() { &mut self.at.judged } else { &mut self.at.ruled }) = newer.position;
        }
        Ok(!backlog.is_empty())
    }

    async fn compare_one(
        &self,
        chat: Option<&Chat>,
        newer: &Stored,
        neighbours: &[Neighbour],
    ) -> Result<Compared, Failure> {
        let mut compared = Compared::Settled;
        for Neighbour { memory: older, similarity } in neighbours {
            if older.id == newer.id || !compare::comparable(&older.draft, &newer.draft) {
                continue;
            }
            let by_rule = compare::by_rule(&older.draft, &newer.draft);
            let judgement = match (by_rule, chat) {
                (Some(relation), _) => Judgement { relation, by: RULE.to_owned() },
                (None, _) if similarity.is_some_and(|similarity| similarity < NEAR) => continue,
                (None, Some(chat)) if similarity.is_some() => self.judge(chat, older, newer).await?,
                // It is left for the model, unless there will be none; and until its vector tells what lies near.
                (None, _) => {
                    compared = if self.chat.is_some() { Compared::Open } else { compared };
                    continue;
                }
            };
            let is_same = judgement.relation == Relation::Same;
            let (new, old) = ((newer.id.as_str(), newer.version), (older.id.as_str(), older.version));
            if !self.backlog.keep_judgement(new, old, judgement).await? {
                return Ok(Compared::Changed);
            }
            // Its other neighbours are those of the older one.
            if is_same {
                return Ok(Compared::Settled);
            }
        }
        Ok(compared)
    }

    async fn judge(&self, chat: &Chat, older: &Stored, newer: &Stored) -> Result<Judgement, Failure> {
        let question = compare::question(&older.draft, &newer.draft);
        let accept = |answer| compare::accept(&older.draft, &newer.draft, answer);
        let by = format!("{} {}", chat.model(), compare::PROMPT_VERSION);
        Ok(match self.ask(chat, &question, accept).await? {
            Ok(relation) => Judgement { relation, by },
            Err(reason) => {
                Judgement { relation: Relation::Different, by: format!("{by}, no answer: {reason}") }
            }
        })
    }

    /// What the model makes of `question`, or why this question has no answer. A question that fails is asked once more when
    /// Ollama has answered a harmless one: if it fails again it is the question, and not a model that had just crashed.
    async fn ask<T>(
        &self,
        chat: &Chat,
        question: &Question,
        accept: impl Fn(Value) -> Result<T, String>,
    ) -> Result<Result<T, String>, OllamaError> {
        match self.ask_once(chat, question, &accept).await {
            Ok(answer) => return Ok(Ok(answer)),
            Err(OllamaError::Unusable { reason, .. }) => return Ok(Err(reason)),
            Err(OllamaError::Refused(_) | OllamaError::Slow { .. }) => {}
            Err(error) => return Err(error),
        }
        match self.ask_once(chat, &harmless(), &Ok).await {
            Ok(_) | Err(OllamaError::Unusable { .. }) => {}
            Err(error) => return Err(error),
        }
        match self.ask_once(chat, question, &accept).await {
            Ok(answer) => Ok(Ok(answer)),
            Err(OllamaError::Unusable { reason, .. }) => Ok(Err(reason)),
            Err(error @ (OllamaError::Refused(_) | OllamaError::Slow { .. })) => Ok(Err(error.to_string())),
            Err(error) => Err(error),
        }
    }

    async fn ask_once<T>(
        &self,
        chat: &Chat,
        question: &Question,
        accept: &impl Fn(Value) -> Result<T, String>,
    ) -> Result<T, OllamaError> {
        let started = Instant::now();
        let answer = chat.ask(question, self.pace.timeout, accept).await;
        tokio::time::sleep(started.elapsed().min(self.pace.rest)).await;
        answer
    }

    fn look_again(&mut self, memory: &Stored) {
        let before = memory.position - 1;
        self.again = Some(self.again.map_or(before, |again| again.min(before)));
    }
}

/// How far the comparison of one memory came.
enum Compared {
    /// There is nothing left to compare.
    Settled,
    /// A model is needed.
    Open,
    /// It is another memory now.
    Changed,
}

/// A question that any model answers; tells a bad question from a bad Ollama.
fn harmless() -> Question {
    let schema = json!({"type": "object", "properties": {"ok": {"type": "boolean"}}, "required": ["ok"]});
    Question { instructions: "Say that all is well.".to_owned(), text: "Is all well?".to_owned(), schema }
}
