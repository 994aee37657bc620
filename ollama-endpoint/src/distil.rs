//! Event or update → the text worth remembering, by one template per kind of event. Pure.

pub(crate) mod junk;
pub(crate) mod mentions;
mod payload;
mod provenance;
mod push;
mod templates;
mod text;
pub(crate) mod thoughts;

use jiff::Timestamp;
use shared::event::{Envelope, SenderKind};
use shared::memory::{Source, Update};

use self::payload::Payload;
use self::text::{LONGEST, LONGEST_READ, cut, start};
use self::thoughts::without_thoughts;

/// The kind of what is kept of a text that was deleted at its origin.
pub const RETRACTION: &str = "retraction";

/// Why a text that was deleted at its origin is not worth finding.
pub const TAKEN_BACK: &str = "what was taken back is not remembered";

/// A memory before it is stored: what it says, and about what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft {
    /// `owner/name`; empty for events of an organisation.
    pub repository: String,
    /// `change`, `decision`, `discussion`, `review`, `release`, `incident`, `note`, or what an agent called it.
    pub kind: String,
    /// The memory, at most 8 KiB.
    pub text: String,
    /// When it was said.
    pub created_at: Timestamp,
    /// Where it comes from; the store adds the delivery.
    pub source: Source,
    /// Whether a search may find it; junk is kept, but not indexed.
    pub indexed: bool,
}

impl Draft {
    /// The address and kind of event whose memories this one takes back, those that are still to arrive included.
    pub fn takes_back(&self) -> Option<(&str, &str)> {
        let taken = self.kind == RETRACTION && !self.indexed;
        self.source.url.as_deref().zip(self.source.event.as_deref()).filter(|_| taken)
    }
}

/// What a template made of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Distilled {
    /// The memory.
    pub draft: Draft,
    /// Why it is not worth finding, if it is not.
    pub junk: Option<&'static str>,
    /// What the event did to the code that older memories may speak of.
    pub touches: Vec<Touch>,
}

/// What one commit on the default branch did to the code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Touch {
    /// The commit that did it, as its full id.
    pub commit: String,
    /// When it came to the default branch.
    pub at: Timestamp,
    /// The pull request that brought it, where its message says so.
    pub pull_request: Option<u64>,
    /// What it did.
    pub what: Touched,
}

/// What happened to a file or a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Touched {
    /// The file of this path has other contents now, or is new.
    Changed(String),
    /// There is no file of this path any more.
    Removed(String),
    /// The commit of this id was taken back.
    Reverted(String),
}

/// The part of a [`Draft`] that depends on the kind of event.
struct Told {
    kind: &'static str,
    text: String,
    branch: Option<String>,
    url: Option<String>,
    junk: Option<&'static str>,
}

impl Told {
    fn new(kind: &'static str, text: String) -> Self {
        Self { kind, text, branch: None, url: None, junk: None }
    }

    fn on(mut self, branch: Option<&String>) -> Self {
        self.branch = branch.cloned();
        self
    }

    fn at(mut self, url: Option<&String>) -> Self {
        self.url = url.cloned();
        self
    }

    fn junk(mut self, reason: Option<&'static str>) -> Self {
        self.junk = self.junk.or(reason);
        self
    }

    /// What is left of a deleted text: where it stood, so that its memories are found, and none of its words.
    fn taken_back(self, who: &str) -> Self {
        let Self { branch, url: Some(url), .. } = self else { return self.junk(Some(TAKEN_BACK)) };
        let text = format!("{who} took back what was said at {url}");
        Self { kind: RETRACTION, text, branch, url: Some(url), junk: Some(TAKEN_BACK) }
    }
}

/// The prefix of a local agent's delivery ids, which keeps them apart from GitHub's.
pub const LOCAL_PREFIX: &str = "update:";

/// What was received under a delivery id, whichever of the two forms it has.
///
/// # Errors
/// It is neither an [`Envelope`] nor an [`Update`].
pub fn distil(delivery: &str, body: &[u8], received_at: Timestamp) -> serde_json::Result<Distilled> {
    if delivery.starts_with(LOCAL_PREFIX) {
        return serde_json::from_slice::<Update>(body).map(|sent| update(&sent, received_at));
    }
    serde_json::from_slice::<Envelope>(body).map(|sent| envelope(&sent))
}

/// A local agent's own words are the memory.
pub fn update(update: &Update, received_at: Timestamp) -> Distilled {
    let words = without_thoughts(start(update.context.trim(), LONGEST_READ));
    let junk = junk::of_words(&words);
    let text = cut(&words, LONGEST);
    let draft = Draft {
        repository: update.repository.clone(),
        kind: update.kind.clone().unwrap_or_else(|| "note".to_owned()),
        created_at: update.timestamp.unwrap_or(received_at),
        source: provenance::of_update(update, &text),
        indexed: junk.is_none(),
        text,
    };
    Distilled { draft, junk, touches: Vec::new() }
}

/// What happened, in words that a later search is likely to use.
pub fn envelope(envelope: &Envelope) -> Distilled {
    let payload = Payload::parse(&envelope.payload);
    let action = envelope.action.as_deref().unwrap_or_default();
    let who = envelope.sender.as_ref().map_or("somebody", |sender| &sender.login);
    let told = match envelope.event.as_str() {
        "push" => push::push(envelope, &payload, who),
        "pull_request" => templates::pull_request(&payload, action, who),
        "issue_comment" => templates::issue_comment(&payload, who),
        "pull_request_review" => templates::review(&payload, action, who),
        "pull_request_review_comment" => templates::review_comment(&payload, who),
        "issues" => templates::issue(&payload, action, who),
        "release" => templates::release(&payload, action, who),
        "workflow_run" => templates::workflow_run(&payload),
        event => templates::other(event, &payload, action, who),
    };
    let taken_back = action == "deleted" && envelope.event != "release";
    // A release that is published again has the same address.
    let told = if taken_back {
        told.taken_back(who)
    } else {
        told.junk(ours(&payload)).junk(chatter(envelope, &payload))
    };
    let repository = envelope.repository.as_ref().map(|repository| repository.full_name.clone());
    let told = told.junk(repository.is_none().then_some("it belongs to no repository"));
    let text = cut(&told.text, LONGEST);
    let source = provenance::of_event(envelope, &payload, &text);
    let draft = Draft {
        repository: repository.unwrap_or_default(),
        kind: told.kind.to_owned(),
        text,
        created_at: envelope.received_at,
        source: Source { branch: told.branch, url: told.url, ..source },
        indexed: told.junk.is_none(),
    };
    Distilled { draft, junk: told.junk, touches: push::touches(envelope, &payload) }
}

/// Bots comment on everything. What one of them decides in a review counts all the same.
fn chatter(envelope: &Envelope, payload: &Payload) -> Option<&'static str> {
    let by_bot = envelope.sender.as_ref().is_some_and(|sender| sender.kind == SenderKind::Bot);
    let comment = payload.comment.as_ref().is_some_and(|comment| by_bot || comment.user.is_bot());
    let decides =
        |state: &str| ["approved", "changes_requested"].iter().any(|known| state.eq_ignore_ascii_case(known));
    let review = payload.review.as_ref().is_some_and(|review| {
        (by_bot || review.user.is_bot()) && !review.state.as_deref().is_some_and(decides)
    });
    (comment || review).then_some(junk::CHATTER)
}

/// Our own reviews come back as events of several kinds; the reviewer has remembered what they say already.
fn ours(payload: &Payload) -> Option<&'static str> {
    let comment = payload.comment.as_ref().and_then(|comment| comment.body.as_deref());
    let review = payload.review.as_ref().and_then(|review| review.body.as_deref());
    let marked = comment.or(review).is_some_and(|body| body.contains("<!-- ai-relay"));
    marked.then_some("it is our own; its author remembers it")
}

#[cfg(test)]
mod tests;
