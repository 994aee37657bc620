//! The words of the queue: deliveries, jobs, and what became of them.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use thiserror::Error;

/// The result of a queue operation.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What can go wrong with the store.
#[derive(Debug, Error)]
pub enum Error {
    /// The backlog limit is reached.
    #[error("the backlog limit of {limit} {of} is reached")]
    Full {
        /// How many.
        limit: u64,
        /// Of what.
        of: &'static str,
    },
    /// The lease expired, and somebody else has the job.
    #[error("the lease is not held any more")]
    LeaseLost,
    /// A URL that no back end takes.
    #[error("QUEUE_URL starts with `{0}:`, which this build does not know; use sqlite://PATH")]
    Unsupported(String),
    /// Two processes on one file.
    #[error("{0} is in use by another process; stop that one, or give this one its own DATA_DIR")]
    InUse(String),
    /// Written by a later version.
    #[error(
        "{path} was written by a newer version (schema {found}, this build knows {known}); install that version again, or {way_back}"
    )]
    TooNew {
        /// The file.
        path: String,
        /// Its schema version.
        found: i64,
        /// The newest that this build knows.
        known: i64,
        /// What else can be done.
        way_back: String,
    },
    /// The file cannot be opened.
    #[error("cannot open {path}: {cause}")]
    Open {
        /// The file.
        path: String,
        /// Why.
        cause: String,
    },
    /// The file's structure is broken; nothing more is written to it.
    #[error("the store is damaged ({0}); stop the service and bring back a backup")]
    Damaged(String),
    /// A read or write failed; nothing was changed.
    #[error("the store failed: {0}")]
    Store(String),
    /// The queue was shut down.
    #[error("the queue is closed")]
    Closed,
}

/// A delivery to store.
#[derive(Debug, Clone)]
pub struct NewDelivery {
    /// The idempotency key.
    pub id: String,
    /// SHA-256 of what was received, if a replay under another id is to be recognised by it.
    pub digest: Option<[u8; 32]>,
    /// How far back a digest counts; zero: not at all.
    pub replay_window: Duration,
    /// How often an operator asked to send it again.
    pub redelivery: u32,
    /// Kind of event.
    pub event: String,
    /// What happened, if the kind has several.
    pub action: Option<String>,
    /// `owner/name`.
    pub repository: Option<String>,
    /// One line for a listing.
    pub headline: String,
    /// Why no lane wants it, when `routes` is empty.
    pub note: Option<String>,
    /// When it arrived.
    pub received_at: Timestamp,
    /// What the jobs work on.
    pub payload: Vec<u8>,
    /// One job each.
    pub routes: Vec<Route>,
}

/// One job of a delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// Who works on it.
    pub lane: String,
    /// Jobs of one lane with the same key keep their order and never run at the same time.
    pub key: String,
    /// Which waiting jobs it makes pointless.
    pub replaces: Option<Replaces>,
}

/// Of a group's jobs that have not been begun only the one with the highest version counts. Equal versions may have
/// arrived in either order, so each of them is worked on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replaces {
    /// Name of the group within the lane.
    pub group: String,
    /// Grows with time.
    pub version: i64,
}

/// What [`put`](crate::Queue::put) did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Put {
    /// Stored.
    Stored,
    /// It was known and has been sent on its way again.
    Revived,
    /// It was known under this id; nothing changed.
    Duplicate {
        /// Its own id, or the one under which the same body arrived.
        of: String,
    },
}

/// What [`redeliver`](crate::Queue::redeliver) did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Redelivered {
    /// How often the delivery has now been asked for again.
    pub count: u32,
    /// Jobs that were sent on their way; none if all are still open, or if no lane wanted it.
    pub jobs: usize,
}

/// A leased job.
#[derive(Debug, Clone)]
pub struct Job {
    pub(crate) seq: i64,
    pub(crate) token: i64,
    /// Id of the delivery.
    pub id: String,
    /// Kind of event.
    pub event: String,
    /// The lane.
    pub lane: String,
    /// The key.
    pub key: String,
    /// This attempt, from 1.
    pub attempt: u32,
    /// When the first attempt began.
    pub first_attempt_at: Timestamp,
    /// How often an operator asked to send it again.
    pub redelivery: u32,
    /// When the delivery arrived.
    pub received_at: Timestamp,
    /// What to work on.
    pub payload: Vec<u8>,
    /// What an earlier attempt kept.
    pub checkpoint: Option<Vec<u8>>,
}

/// What a job came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finish {
    /// One word, such as `completed`. `failed` makes a dead letter.
    pub state: String,
    /// One sentence.
    pub summary: String,
    /// Where the effect can be seen.
    #[serde(default)]
    pub url: Option<String>,
    /// Anything else.
    #[serde(default)]
    pub detail: Map<String, Value>,
}

impl Finish {
    /// A finish of only a word and a sentence.
    pub fn new(state: impl Into<String>, summary: impl Into<String>) -> Self {
        Self { state: state.into(), summary: summary.into(), url: None, detail: Map::new() }
    }
}

/// Where a job stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobState {
    /// Waits.
    Pending,
    /// Is being worked on.
    Leased,
    /// Done; its [`Finish`] says how.
    Done,
    /// Failed for good.
    Dead,
    /// A newer one took its place before it was begun.
    Superseded,
}

impl JobState {
    /// The word that the store keeps.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Leased => "leased",
            Self::Done => "done",
            Self::Dead => "dead",
            Self::Superseded => "superseded",
        }
    }

    /// The state of a stored word.
    pub fn from_word(word: &str) -> Option<Self> {
        [Self::Pending, Self::Leased, Self::Done, Self::Dead, Self::Superseded]
            .into_iter()
            .find(|state| state.as_str() == word)
    }
}

/// One thing that happened to a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryEntry {
    /// When.
    pub at: Timestamp,
    /// What, as one word or two.
    pub what: String,
    /// Why, or what came of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// One lane's part of a delivery.
#[derive(Debug, Clone, PartialEq)]
pub struct JobRecord {
    /// The lane.
    pub lane: String,
    /// Where it stands.
    pub state: JobState,
    /// Attempts so far.
    pub attempts: u32,
    /// When a waiting job is due; `None`: at once.
    pub due_at: Option<Timestamp>,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
    /// The last error.
    pub error: Option<String>,
    /// What it came to.
    pub finish: Option<Finish>,
    /// What happened to it, oldest first; only in [`find`](crate::Queue::find).
    pub history: Vec<HistoryEntry>,
}

/// A stored delivery.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// Position in the order of arrival.
    pub seq: u64,
    /// The idempotency key.
    pub id: String,
    /// Kind of event.
    pub event: String,
    /// What happened.
    pub action: Option<String>,
    /// `owner/name`.
    pub repository: Option<String>,
    /// One line.
    pub headline: String,
    /// Why no lane wants it.
    pub note: Option<String>,
    /// Redeliveries asked for.
    pub redelivery: u32,
    /// When it arrived.
    pub received_at: Timestamp,
    /// Its jobs.
    pub jobs: Vec<JobRecord>,
}

/// Which deliveries to list.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// A [`JobState`] word, or a [`Finish::state`] word.
    pub state: Option<String>,
    /// Only with a job in this lane.
    pub lane: Option<String>,
    /// Only of this repository.
    pub repository: Option<String>,
    /// Only of this kind of event.
    pub event: Option<String>,
    /// Only what arrived at that time or later.
    pub since: Option<Timestamp>,
    /// Only before this [`Record::seq`].
    pub before: Option<u64>,
    /// At most so many.
    pub limit: usize,
}

/// One entry of the feed of ended jobs.
#[derive(Debug, Clone, PartialEq)]
pub struct Finished {
    /// Position in the feed.
    pub seq: u64,
    /// Id of the delivery.
    pub id: String,
    /// The lane.
    pub lane: String,
    /// The round that it ended: how often the delivery had been asked for again.
    pub redelivery: u32,
    /// What it came to; a dead or superseded job has one too.
    pub finish: Finish,
    /// When.
    pub finished_at: Timestamp,
}

/// How full a lane is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaneStats {
    /// The lane.
    pub lane: String,
    /// Waiting jobs.
    pub pending: u64,
    /// Jobs being worked on.
    pub leased: u64,
    /// Dead letters.
    pub dead: u64,
    /// Arrival of the oldest unfinished delivery.
    pub oldest: Option<Timestamp>,
}

/// Where the feed of ended jobs stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FeedEnd {
    /// The last position given out.
    pub last: u64,
    /// A number of this store's own: another one is another feed, whatever its positions.
    pub epoch: u64,
}

/// How much room the store takes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Unfinished jobs.
    pub open_jobs: u64,
    /// Their stored (compressed) payloads in bytes; one that two lanes wait for counts twice.
    pub open_bytes: u64,
    /// All that is stored, in bytes.
    pub store_bytes: u64,
}

/// What a backup holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backup {
    /// Size of the file.
    pub bytes: u64,
    /// Deliveries in it.
    pub deliveries: u64,
}

/// What a look from outside found of a queue that is not damaged as far as was looked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Examined {
    /// Whether the time was enough to look all of it through.
    pub looked_through: bool,
    /// Whether it is of this build's version; an earlier one is upgraded when a service opens it.
    pub is_current: bool,
    /// Its lanes, if it is.
    pub lanes: Vec<LaneStats>,
    /// How much room it takes, if it is.
    pub usage: Option<Usage>,
}
