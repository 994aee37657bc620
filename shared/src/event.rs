//! The envelope: a GitHub event as it travels from the relay to the endpoints.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// The version of the envelope that this build writes.
pub const VERSION: u32 = 1;

/// One GitHub event on its way home. The headline fields are what routing and ordering need; `payload` is GitHub's
/// own JSON, byte for byte, or `()` where it lies apart: see [`Envelope::around`].
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Envelope<P = Box<RawValue>> {
    /// Version of this format, [`VERSION`].
    pub version: u32,
    /// GitHub's `X-GitHub-Delivery`: the idempotency key of every hop.
    pub id: String,
    /// GitHub's `X-GitHub-Event`, such as `pull_request`.
    pub event: String,
    /// The payload's `action`, such as `synchronize`.
    pub action: Option<String>,
    /// When the relay took the event.
    pub received_at: Timestamp,
    /// How often an operator asked to send this event again. A receiver that has finished the event works on it once
    /// more when this number is higher than the one it knows; the same number again is a duplicate.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub redelivery: u32,
    /// W3C trace context that ties the logs of all services together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
    /// Absent for events of an organisation or of an app.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repository: Option<Repository>,
    /// Who caused the event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sender: Option<Sender>,
    /// What the event is about.
    pub subject: Subject,
    /// GitHub's payload. The last field, which [`Envelope::around`] relies on.
    pub payload: P,
}

/// For numbers that are left out where they say nothing.
pub(crate) fn is_zero(n: &u32) -> bool {
    *n == 0
}

/// The repository of an event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Repository {
    /// `owner/name`.
    pub full_name: String,
    /// Whether it is private.
    pub private: bool,
    /// Name of the default branch, without `refs/heads/`.
    pub default_branch: String,
}

/// The account that caused an event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sender {
    /// Account name.
    pub login: String,
    /// Person or bot.
    pub kind: SenderKind,
}

/// GitHub's account types, as far as they matter here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SenderKind {
    /// A person (or a personal token in the hand of an agent).
    User,
    /// A GitHub App or a bot account.
    Bot,
}

/// What an event is about: decides the order among events and what a reviewer does with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Subject {
    /// `pull_request` events.
    PullRequest(PullRequest),
    /// `push` events.
    Push(Push),
    /// Comments on issues, pull requests, diffs, and reviews.
    Comment(Comment),
    /// Everything else.
    Other,
}

/// The pull request of a `pull_request` event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PullRequest {
    /// Number within the repository.
    pub number: u64,
    /// Commit at the head of the proposed branch.
    pub head_sha: String,
    /// Commit of the branch it is to be merged into.
    pub base_sha: String,
    /// Title, as its author wrote it.
    pub title: String,
    /// Login of the author.
    pub author: String,
    /// Whether it is a draft.
    pub draft: bool,
    /// GitHub's `updated_at`: tells the newer of two heads when webhooks arrive out of order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub updated_at: Option<Timestamp>,
}

/// The pushed range of a `push` event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Push {
    /// Full name of the ref, such as `refs/heads/main`.
    #[serde(rename = "ref")]
    pub git_ref: String,
    /// Commit before the push; all zeros for a new ref.
    pub before: String,
    /// Commit after the push; all zeros for a deleted ref.
    pub after: String,
    /// Number of commits in the payload.
    pub commits: u32,
    /// Whether history was rewritten.
    pub forced: bool,
}

/// A comment, on whatever it was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Comment {
    /// Number of the issue or pull request.
    pub number: u64,
    /// GitHub's id of the comment or review.
    pub comment_id: u64,
    /// Text, as its author wrote it; empty for a review without one.
    pub body: String,
    /// Login of the author.
    pub author: String,
    /// Whether it was made on a pull request.
    pub is_pull_request: bool,
}

impl Envelope<()> {
    /// The envelope as JSON, around a payload that is known to be JSON: a large one is copied once and not read again.
    ///
    /// # Errors
    /// None in practice: every field can be written.
    pub fn around(&self, payload: &str) -> serde_json::Result<Vec<u8>> {
        const END: &[u8] = b"null}";
        let mut json = Vec::with_capacity(payload.len() + 1024);
        serde_json::to_writer(&mut json, self)?;
        json.truncate(json.len() - END.len());
        json.extend_from_slice(payload.as_bytes());
        json.push(b'}');
        Ok(json)
    }
}

impl<P> Envelope<P> {
    /// The subject whose events must stay in order: one pull request or issue, one branch. Events without such a
    /// subject are independent of each other, so their key is their own id.
    pub fn key(&self) -> String {
        let Some(repository) = self.repository.as_ref().map(|r| r.full_name.as_str()) else {
            return self.id.clone();
        };
        match &self.subject {
            Subject::PullRequest(pr) => format!("{repository}#{}", pr.number),
            Subject::Comment(comment) => format!("{repository}#{}", comment.number),
            Subject::Push(push) => format!("{repository}@{}", push.git_ref),
            Subject::Other => self.id.clone(),
        }
    }

    /// For an event that asks for a review of a pull request's head: the group in which only the newest counts, and
    /// its version (milliseconds of `updated_at`, else of arrival). `closed` and the like replace nothing.
    pub fn replaces(&self) -> Option<(String, i64)> {
        let Subject::PullRequest(pr) = &self.subject else { return None };
        let brings_a_head = matches!(
            self.action.as_deref(),
            Some("opened" | "reopened" | "synchronize" | "ready_for_review")
        );
        let version = pr.updated_at.unwrap_or(self.received_at).as_millisecond();
        brings_a_head.then(|| (format!("{}/head", self.key()), version))
    }

    /// One line that tells a person what this is about: a title, a ref, the start of a comment. At most 120 characters.
    pub fn headline(&self) -> String {
        let text = match &self.subject {
            Subject::PullRequest(pr) => format!("#{} {}", pr.number, pr.title),
            Subject::Push(push) => format!("{} ({} commits)", push.git_ref, push.commits),
            Subject::Comment(comment) => format!("#{} {}: {}", comment.number, comment.author, comment.body),
            Subject::Other => String::new(),
        };
        text.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(120).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn envelope(json: serde_json::Value) -> Envelope {
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn an_envelope_goes_around_its_payload_byte_for_byte() {
        let payload = "{ \"null}\" : [1.10, \"\\u00e9\"] }";
        let head: Envelope<()> =
            serde_json::from_value(serde_json::json!({"version": 1, "id": "d", "event": "push",
            "received_at": "2026-11-22T10:00:00Z", "subject": {"kind": "other"}, "payload": null}))
            .unwrap();
        let read: Envelope = serde_json::from_slice(&head.around(payload).unwrap()).unwrap();
        assert_eq!((read.payload.get(), read.id.as_str()), (payload, "d"));
    }

    fn pull_request(action: &str) -> Envelope {
        envelope(serde_json::json!({
            "version": 1, "id": "d1", "event": "pull_request", "action": action, "received_at": "2026-11-22T10:00:00.123Z",
            "repository": {"full_name": "o/r", "private": true, "default_branch": "main"},
            "sender": {"login": "ann", "kind": "user"},
            "subject": {"kind": "pull_request", "number": 7, "head_sha": "h", "base_sha": "b", "title": "A\n title",
                        "author": "ann", "draft": false},
            "payload": {"a": 1}
        }))
    }

    #[test]
    fn payload_survives_byte_for_byte() {
        let text = r#"{"version":1,"id":"d1","event":"x","action":null,"received_at":"2026-11-22T10:00:00Z","subject":{"kind":"other"},"payload":{ "n" : 1.50e1,"s":"\u00e9"}}"#;
        let envelope: Envelope = serde_json::from_str(text).unwrap();
        assert_eq!(envelope.payload.get(), r#"{ "n" : 1.50e1,"s":"\u00e9"}"#);
        assert_eq!(serde_json::to_string(&envelope).unwrap(), text);
    }

    #[test]
    fn events_of_one_pull_request_share_a_key_and_only_heads_replace() {
        let opened = pull_request("opened");
        let closed = pull_request("closed");
        assert_eq!(opened.key(), "o/r#7");
        assert_eq!(opened.key(), closed.key());
        assert_eq!(opened.replaces(), Some(("o/r#7/head".into(), opened.received_at.as_millisecond())));
        assert_eq!(closed.replaces(), None);
        assert_eq!(opened.headline(), "#7 A title");
    }
}
