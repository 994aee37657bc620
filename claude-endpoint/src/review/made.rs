//! What is reviewed, and what was made of it, as the checkpoint of a review keeps it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use shared::event::{Envelope, Push};
use shared::memory::Update;

use crate::anchor::{self, Anchored};
use crate::diff::Diff;
use crate::github::Pull;
use crate::marker::Bond;
use crate::prompt::{Change, LeftOut};
use crate::provenance;
use crate::render::Frame;
use crate::reviewer::{Answer, Usage};
use crate::text::{line_for_model, memorable, shorten};
use crate::verdict::{Finding, Review, Severity};

/// The largest memory of one review, in characters.
const LONGEST_MEMORY: usize = 6_000;
/// What the memory takes for the name of a branch.
const LONGEST_BRANCH: usize = 250;
/// The subject of a pushed commit.
const COMMIT: &str = "commit";

/// As in [`Bond::subject`].
pub(super) fn subject_of_pull(number: u64) -> String {
    format!("pull/{number}")
}

/// The change under review.
#[derive(Debug)]
pub(super) struct Topic {
    pub(super) repository: String,
    pub(super) head: String,
    /// As in [`Bond::subject`].
    subject: String,
    what: String,
    author: String,
    pub(super) title: String,
    body: String,
    branch: String,
    url: Option<String>,
}

impl Topic {
    pub(super) fn of_pull(repository: &str, number: u64, pull: &Pull) -> Self {
        Self {
            repository: repository.to_owned(),
            head: pull.head_sha.clone(),
            subject: subject_of_pull(number),
            what: format!("pull request #{number}"),
            author: pull.author.clone(),
            title: pull.title.clone(),
            body: pull.body.clone(),
            branch: pull.head_ref.clone(),
            url: Some(pull.url.clone()),
        }
    }

    pub(super) fn of_push(repository: &str, push: &Push, branch: &str, head: &HeadCommit) -> Self {
        let (title, body) = head.message.split_once('\n').unwrap_or((&head.message, ""));
        Self {
            repository: repository.to_owned(),
            head: push.after.clone(),
            subject: COMMIT.to_owned(),
            what: format!("push of {} commits to {branch}", push.commits),
            author: head.author.name.clone(),
            title: title.to_owned(),
            body: body.trim().to_owned(),
            branch: branch.to_owned(),
            url: head.url.clone(),
        }
    }

    pub(super) fn bond(&self) -> Bond<'_> {
        Bond { repository: &self.repository, subject: &self.subject, head: &self.head }
    }

    pub(super) fn change(&self) -> Change<'_> {
        let Self { repository, what, author, title, body, .. } = self;
        Change { repository, what, author, title, body }
    }
}

/// The newest commit of GitHub's `push` payload.
#[derive(Debug, Default, Deserialize)]
pub(super) struct HeadCommit {
    #[serde(default)]
    message: String,
    url: Option<String>,
    #[serde(default)]
    author: Author,
}

#[derive(Debug, Default, Deserialize)]
struct Author {
    #[serde(default)]
    name: String,
}

/// An answer, who gave it, and what it does not cover.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) reviewer: &'static str,
    pub(super) answer: Answer,
    pub(super) left_out: Vec<LeftOut>,
}

/// What an attempt leaves to the next one: the checkpoint.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Progress<M> {
    /// Answers that were paid for and of no use.
    pub(super) paid: u32,
    pub(super) made: Option<M>,
}

/// A finished review, ready to be posted and remembered.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Made {
    pub(super) head: String,
    pub(super) reviewer: String,
    pub(super) model: String,
    pub(super) usage: Usage,
    /// Its findings are in `anchored`.
    pub(super) review: Review,
    /// For a commit, where nothing is inline.
    on_commit: bool,
    pub(super) anchored: Anchored,
    pub(super) left_out: Vec<LeftOut>,
    /// What the memory is told.
    pub(super) update: Update,
    pub(super) recalled: usize,
    pub(super) recall_error: Option<String>,
    pub(super) milliseconds: BTreeMap<String, u64>,
    pub(super) posted: Option<Posted>,
}

/// What stands on GitHub.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Posted {
    pub(super) url: String,
    /// GitHub refused the inline places.
    pub(super) refused_inline: bool,
}

impl Made {
    /// Anchors the findings and words the memory, without what was `recalled` from it.
    pub(super) fn new(
        event: &Envelope,
        topic: &Topic,
        asked: Asked,
        diff: &Diff,
        recalled: &[String],
    ) -> Self {
        let Asked { reviewer, answer, left_out } = asked;
        let mut review = answer.review;
        let update = update(event, topic, reviewer, &review, recalled);
        let mut anchored = anchor::anchor(diff, std::mem::take(&mut review.findings));
        let on_commit = topic.subject == COMMIT;
        if on_commit {
            anchored = Anchored { inline: vec![], body: anchored.into_body() };
        }
        Self {
            head: topic.head.clone(),
            reviewer: reviewer.to_owned(),
            model: answer.model,
            usage: answer.usage,
            review,
            on_commit,
            anchored,
            left_out,
            update,
            recalled: recalled.len(),
            recall_error: None,
            milliseconds: BTreeMap::new(),
            posted: None,
        }
    }

    pub(super) fn findings(&self) -> impl Iterator<Item = &Finding> {
        let inline = self.anchored.inline.iter().map(|comment| &comment.finding);
        inline.chain(self.anchored.body.iter().map(|kept| &kept.finding))
    }

    /// A pull request is always told; a pushed commit only of what is major or worse.
    pub(super) fn is_worth_posting(&self) -> bool {
        !self.on_commit || self.findings().any(|finding| finding.severity <= Severity::Major)
    }

    pub(super) fn frame<'a>(&'a self, marker: &'a str) -> Frame<'a> {
        Frame { head: &self.head, model: &self.model, left_out: &self.left_out, marker }
    }
}

/// The memory of a review. Its id comes from the delivery, so that telling it twice changes nothing.
fn update(event: &Envelope, topic: &Topic, reviewer: &str, review: &Review, recalled: &[String]) -> Update {
    let line = |text: &str| memorable(text, recalled).replace('\n', " ");
    let head = topic.head.get(..7).unwrap_or(&topic.head);
    let (title, summary) = (line(&topic.title), memorable(&review.summary, recalled));
    let mut context = format!("Review of {} \"{title}\" at {head}: {summary}\n", topic.what);
    for Finding { path, line: number, severity, category, title, .. } in &review.findings {
        let (path, title) = (line_for_model(path), line(title));
        context.push_str(&format!("- {severity} {category} in {path}:{number}: {title}\n"));
    }
    for memory in review.remember.iter().map(|memory| line(memory)).filter(|memory| !memory.is_empty()) {
        context.push_str(&format!("- {memory}\n"));
    }
    Update {
        id: Some(format!("review-{}", event.id)),
        repository: topic.repository.clone(),
        context: shorten(context.trim_end(), LONGEST_MEMORY),
        kind: Some("review".to_owned()),
        agent: Some(format!("claude-endpoint/{reviewer}")),
        branch: Some(shorten(&line_for_model(&topic.branch), LONGEST_BRANCH)),
        event_type: Some(event.event.clone()),
        url: topic.url.clone(),
        timestamp: Some(event.received_at),
        trust: Some(provenance::trust(event)),
    }
}
