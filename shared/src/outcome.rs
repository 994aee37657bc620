//! What became of an event, as an endpoint tells the relay.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// How an event ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// All of it was done.
    Completed,
    /// Some of it was done; the summary says what is missing.
    Partial,
    /// Nothing had to be done; the summary says why.
    Skipped,
    /// It could not be done; the summary says why. It can be sent again.
    Failed,
    /// A newer event took its place.
    Superseded,
}

impl State {
    /// The name used on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Partial => "partial",
            Self::Skipped => "skipped",
            Self::Failed => "failed",
            Self::Superseded => "superseded",
        }
    }
}

/// One entry of an endpoint's outcome feed.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Outcome {
    /// Position in the feed; grows with every outcome of that endpoint.
    pub seq: u64,
    /// The delivery that ended.
    pub delivery: String,
    /// The round that it ended: the envelope's `redelivery`. An outcome of an earlier round than the relay's own is old.
    #[serde(default, skip_serializing_if = "crate::event::is_zero")]
    pub redelivery: u32,
    /// How it ended.
    pub state: State,
    /// One sentence for a person.
    pub summary: String,
    /// Where the effect can be seen, such as the posted review.
    #[serde(default)]
    pub url: Option<String>,
    /// Numbers and names that depend on the endpoint.
    #[serde(default)]
    pub detail: Map<String, Value>,
    /// When it ended.
    pub finished_at: Timestamp,
}

/// The answer of `GET /outcomes?after=SEQ&wait=SECONDS`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Feed {
    /// In the order of `seq`; empty when nothing ended within the wait.
    pub outcomes: Vec<Outcome>,
    /// What to send as `after` next time.
    pub next: u64,
    /// Which feed this is: another number than before means that the endpoint's store was lost and begun again, and that
    /// `after` must begin again with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch: Option<u64>,
}

/// The query of `GET /outcomes`.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub struct FeedQuery {
    /// Outcomes after this `seq`.
    #[serde(default)]
    pub after: u64,
    /// How many seconds to wait for one, at most [`MAX_WAIT_SECONDS`].
    #[serde(default)]
    pub wait: u64,
}

/// The longest long poll of the outcome feed.
pub const MAX_WAIT_SECONDS: u64 = 25;
