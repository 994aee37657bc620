//! GitHub's headers and bytes → an envelope. Pure.
//!
//! Whatever GitHub signed is taken: only a body that is no JSON object is an error. A known event whose payload has an
//! unexpected shape travels as `other`, so that nothing is lost to a change on GitHub's side.

use std::{borrow::Cow, collections::BTreeMap};

use http::{HeaderMap, header::CONTENT_TYPE};
use jiff::Timestamp;
use serde::{Deserialize, de::DeserializeOwned, de::IgnoredAny};
use serde_json::value::RawValue;
use shared::{
    event::{Comment, Envelope, PullRequest, Push, Repository, Sender, SenderKind, Subject, VERSION},
    signature::Verified,
};
use thiserror::Error;

/// Characters of a comment: GitHub's own limit. The whole of it is in the payload in any case.
const LONGEST_COMMENT: usize = 65_536;

/// What cannot be taken as a webhook.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum PayloadError {
    /// Neither JSON nor a form.
    #[error("the content type must be application/json or application/x-www-form-urlencoded")]
    ContentType,
    /// A header is absent or no plain word.
    #[error("the header {0} is missing or not valid")]
    Header(&'static str),
    /// A form without `payload`.
    #[error("the form has no field `payload`")]
    NoPayload,
    /// Not UTF-8.
    #[error("the payload is not UTF-8")]
    NotText,
    /// Not a JSON object.
    #[error("the payload is not a JSON object: {0}")]
    NotJson(String),
}

/// How the body is encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// The body is the payload.
    Json,
    /// The payload is the form's field `payload`.
    Form,
}

/// GitHub's own headers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Meta {
    /// `X-GitHub-Event`.
    pub event: String,
    /// `X-GitHub-Delivery`.
    pub delivery: String,
}

/// A received webhook.
#[derive(Debug)]
pub enum Received<'a> {
    /// GitHub says hello.
    Ping {
        /// A line of GitHub's wisdom.
        zen: String,
    },
    /// Something happened.
    Event {
        /// What there is to know of it.
        envelope: Box<Envelope<()>>,
        /// GitHub's JSON.
        payload: Cow<'a, str>,
    },
}

/// Which hook sent a webhook, as its page at GitHub is numbered.
pub fn hook(headers: &HeaderMap) -> String {
    let word = |name: &str| {
        let text = headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let is_word = (1..=32).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric());
        if is_word { text.to_owned() } else { "?".to_owned() }
    };
    let of = ["x-github-hook-installation-target-type", "x-github-hook-installation-target-id"].map(word);
    format!("hook {} of {} {}", word("x-github-hook-id"), of[0], of[1])
}

/// The encoding that the content type names.
///
/// # Errors
/// [`PayloadError::ContentType`].
pub fn encoding(headers: &HeaderMap) -> Result<Encoding, PayloadError> {
    let value = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    match value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase().as_str() {
        "application/json" => Ok(Encoding::Json),
        "application/x-www-form-urlencoded" => Ok(Encoding::Form),
        _ => Err(PayloadError::ContentType),
    }
}

/// Reads GitHub's headers.
///
/// # Errors
/// [`PayloadError::Header`].
pub fn meta(headers: &HeaderMap) -> Result<Meta, PayloadError> {
    let word = |name: &'static str, longest: usize| {
        let value = headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
        let plain = |text: &&str| {
            !text.is_empty() && text.len() <= longest && text.bytes().all(|b| b.is_ascii_graphic())
        };
        value.filter(plain).map(str::to_owned).ok_or(PayloadError::Header(name))
    };
    Ok(Meta { event: word("x-github-event", 64)?, delivery: word("x-github-delivery", 128)? })
}

/// Reads a verified body.
///
/// # Errors
/// The form has no payload, or the payload is not a JSON object.
pub fn parse<'a>(
    meta: Meta,
    encoding: Encoding,
    body: &'a Verified,
    received_at: Timestamp,
    traceparent: Option<String>,
) -> Result<Received<'a>, PayloadError> {
    let payload = match encoding {
        Encoding::Json => {
            let text = std::str::from_utf8(body.as_ref()).map_err(|_| PayloadError::NotText)?;
            Cow::Borrowed(text.trim_matches([' ', '\t', '\r', '\n']))
        }
        Encoding::Form => {
            let field = form_urlencoded::parse(body.as_ref()).find(|(name, _)| name == "payload");
            field.ok_or(PayloadError::NoPayload)?.1
        }
    };
    let fields: BTreeMap<String, &RawValue> =
        serde_json::from_str(&payload).map_err(|error| PayloadError::NotJson(error.to_string()))?;
    if meta.event == "ping" {
        return Ok(Received::Ping { zen: field(&fields, "zen").unwrap_or_default() });
    }
    let envelope = Envelope {
        version: VERSION,
        action: field(&fields, "action"),
        repository: field::<RepositoryView>(&fields, "repository").map(RepositoryView::into_repository),
        sender: field::<Account>(&fields, "sender").map(Account::into_sender),
        subject: subject(&meta.event, &fields),
        id: meta.delivery,
        event: meta.event,
        received_at,
        redelivery: 0,
        traceparent,
        payload: (),
    };
    Ok(Received::Event { envelope: Box::new(envelope), payload })
}

/// A field, if it is there and of the expected shape.
fn field<T: DeserializeOwned>(fields: &BTreeMap<String, &RawValue>, name: &str) -> Option<T> {
    serde_json::from_str(fields.get(name)?.get()).ok()
}

fn subject(event: &str, fields: &BTreeMap<String, &RawValue>) -> Subject {
    let known = match event {
        "pull_request" => pull_request(fields),
        "push" => push(fields),
        "issue_comment" => issue_comment(fields),
        "pull_request_review" => review(fields, "review"),
        "pull_request_review_comment" => review(fields, "comment"),
        _ => None,
    };
    known.unwrap_or(Subject::Other)
}

fn pull_request(fields: &BTreeMap<String, &RawValue>) -> Option<Subject> {
    let pr: PullRequestView = field(fields, "pull_request")?;
    Some(Subject::PullRequest(PullRequest {
        number: pr.number,
        head_sha: pr.head.sha,
        base_sha: pr.base.sha,
        title: pr.title,
        author: login(pr.user),
        draft: pr.draft.unwrap_or(false),
        updated_at: pr.updated_at,
    }))
}

fn push(fields: &BTreeMap<String, &RawValue>) -> Option<Subject> {
    let commits: Vec<IgnoredAny> = field(fields, "commits").unwrap_or_default();
    Some(Subject::Push(Push {
        git_ref: field(fields, "ref")?,
        before: field(fields, "before")?,
        after: field(fields, "after")?,
        commits: u32::try_from(commits.len()).unwrap_or(u32::MAX),
        forced: field(fields, "forced").unwrap_or(false),
    }))
}

fn issue_comment(fields: &BTreeMap<String, &RawValue>) -> Option<Subject> {
    let issue: IssueView = field(fields, "issue")?;
    let comment: CommentView = field(fields, "comment")?;
    Some(comment.into_subject(issue.number, issue.pull_request.is_some()))
}

fn review(fields: &BTreeMap<String, &RawValue>, said_in: &str) -> Option<Subject> {
    let pr: NumberView = field(fields, "pull_request")?;
    let comment: CommentView = field(fields, said_in)?;
    Some(comment.into_subject(pr.number, true))
}

#[derive(Deserialize)]
struct RepositoryView {
    full_name: String,
    #[serde(default)]
    private: bool,
    #[serde(default)]
    default_branch: String,
}

impl RepositoryView {
    fn into_repository(self) -> Repository {
        Repository { full_name: self.full_name, private: self.private, default_branch: self.default_branch }
    }
}

#[derive(Deserialize)]
struct Account {
    login: String,
    #[serde(default, rename = "type")]
    kind: String,
}

impl Account {
    fn into_sender(self) -> Sender {
        let bot = self.kind == "Bot" || self.login.ends_with("[bot]");
        Sender { login: self.login, kind: if bot { SenderKind::Bot } else { SenderKind::User } }
    }
}

/// GitHub names deleted accounts `ghost`.
fn login(account: Option<Account>) -> String {
    account.map_or_else(|| "ghost".to_owned(), |account| account.login)
}

#[derive(Deserialize)]
struct PullRequestView {
    number: u64,
    title: String,
    user: Option<Account>,
    head: Commit,
    base: Commit,
    draft: Option<bool>,
    updated_at: Option<Timestamp>,
}

#[derive(Deserialize)]
struct Commit {
    sha: String,
}

#[derive(Deserialize)]
struct NumberView {
    number: u64,
}

#[derive(Deserialize)]
struct IssueView {
    number: u64,
    pull_request: Option<IgnoredAny>,
}

#[derive(Deserialize)]
struct CommentView {
    id: u64,
    body: Option<String>,
    user: Option<Account>,
}

impl CommentView {
    fn into_subject(self, number: u64, is_pull_request: bool) -> Subject {
        Subject::Comment(Comment {
            number,
            comment_id: self.id,
            body: self.body.unwrap_or_default().chars().take(LONGEST_COMMENT).collect(),
            author: login(self.user),
            is_pull_request,
        })
    }
}

#[cfg(test)]
#[path = "github_tests.rs"]
mod tests;
