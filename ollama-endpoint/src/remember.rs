//! Leased job → memory → outcome.

use bytes::Bytes;
use queue::{Finish, Handler, Job, Lease, Verdict};
use serde_json::json;
use shared::outcome::State;
use shared::trace::{self, TraceParent};

use crate::memory::{LearnError, Learnt, Memory};

/// Works off the lane of everything that is to be remembered.
#[derive(Debug)]
pub(crate) struct Remember {
    memory: Memory,
}

impl Remember {
    pub(crate) fn new(memory: Memory) -> Self {
        Self { memory }
    }
}

#[async_trait::async_trait]
impl Handler for Remember {
    async fn handle(&self, lease: &Lease) -> Verdict {
        let job = lease.job();
        trace::within(TraceParent::of_envelope(&job.payload), self.remember(job)).await
    }
}

impl Remember {
    async fn remember(&self, job: &Job) -> Verdict {
        let body = Bytes::copy_from_slice(&job.payload);
        match self.memory.learn(&job.id, body, job.received_at).await {
            Ok(learnt) => {
                let finish = finish(learnt);
                tracing::info!(state = finish.state, summary = finish.summary, "ended");
                Verdict::Done(finish)
            }
            Err(error @ LearnError::Unreadable(_)) => Verdict::Dead { error: error.to_string() },
            Err(LearnError::Store(error)) => {
                Verdict::Retry { error: shared::error::chain(&error), after: None }
            }
        }
    }
}

fn finish(learnt: Learnt) -> Finish {
    let (state, summary, id) = match learnt {
        Learnt::Stored { id } => (State::Completed, "1 memory stored".to_owned(), Some(id)),
        Learnt::Known { id } => (State::Skipped, "already remembered".to_owned(), Some(id)),
        Learnt::Junk { reason } => (State::Skipped, format!("on record, but not searchable: {reason}"), None),
    };
    let mut finish = Finish::new(state.as_str(), summary);
    if let Some(id) = id {
        finish.detail.insert("memory".to_owned(), json!(id));
    }
    finish
}
