//! What is reviewed, and what was made of it, as the checkpoint of a review keeps it.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use shared::event::{Envelope, Push};
use shared::memory::Update;

use crate::anchor::{Anchored, InlineComment, Kept};
use crate::diff::Diff;
use crate::earlier::{Standing, State, Told};
use crate::examine::{Examined, Extent, Inputs};
use crate::github::{Pull, Thread};
use crate::project::{Project, Wishes};
use crate::prompt::{self, Background, LeftOut};
use crate::provenance::{self, Provenance};
use crate::status::Threshold;
use crate::summary::{self, Frame};
use crate::text::{line_for_model, memorable, shorten};
use crate::verdict::Finding;

/// The largest memory of one review, in characters.
const LONGEST_MEMORY: usize = 5_800;
/// What the memory takes for the name of a branch.
const LONGEST_BRANCH: usize = 250;
/// What it takes for the name of an author or a model.
const LONGEST_NAME: usize = 190;
/// Files that it is told to be about.
const MOST_PATHS: usize = 100;
/// The subject of a pushed commit.
pub(super) const COMMIT: &str = "commit";
/// Comments on files, which are made one by one; what is beyond stands in the body.
const MOST_ON_FILES: usize = 5;

/// As in [`crate::marker::Bond::subject`].
pub(super) fn subject_of_pull(number: u64) -> String {
    format!("pull/{number}")
}

/// The change under review.
#[derive(Debug)]
pub(super) struct Topic {
    pub(super) repository: String,
    pub(super) head: String,
    /// As in [`crate::marker::Bond::subject`].
    pub(super) subject: String,
    what: String,
    author: String,
    pub(super) title: String,
    body: String,
    branch: String,
    pull: Option<u64>,
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
            pull: Some(number),
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
            pull: None,
            url: head.url.clone(),
        }
    }

    /// What a review of it is made from.
    pub(super) fn inputs(
        &self,
        diff: Diff,
        background: Background,
        state: State,
        settings: Option<String>,
        limits: Extent,
    ) -> Inputs {
        Inputs {
            repository: self.repository.clone(),
            head: self.head.clone(),
            what: self.what.clone(),
            author: self.author.clone(),
            title: self.title.clone(),
            body: self.body.clone(),
            diff,
            background,
            state,
            settings,
            limits,
        }
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

/// What an attempt leaves to the next one: the checkpoint.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Progress<M> {
    /// Answers that were paid for and of no use.
    pub(super) paid: u32,
    pub(super) made: Option<M>,
}

impl<M> Default for Progress<M> {
    fn default() -> Self {
        Self { paid: 0, made: None }
    }
}

/// A finished review, ready to be posted and remembered.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Made {
    pub(super) repository: String,
    pub(super) head: String,
    pub(super) examined: Examined,
    /// What the summary will keep.
    pub(super) state: State,
    /// Whose change it is.
    pub(super) provenance: Option<Provenance>,
    /// Whether its branch is in the repository, where only those push who may write.
    #[serde(default)]
    pub(super) is_inside: bool,
    /// The comment that asks Jules to fix what is open, or why there is none.
    #[serde(default)]
    pub(super) handed_over: Option<String>,
    /// What the project wants.
    pub(super) wishes: Wishes,
    /// What the summary says beside the review.
    pub(super) notes: Vec<String>,
    /// What the memory is told.
    pub(super) update: Update,
    pub(super) recalled: usize,
    pub(super) recall_error: Option<String>,
    pub(super) milliseconds: BTreeMap<String, u64>,
    pub(super) posted: Option<Posted>,
    /// Comments on files are being made.
    pub(super) files_begun: bool,
    /// How many of them are there.
    pub(super) files_told: usize,
    /// Threads whose finding is fixed; their first comments' addresses until the threads are looked at.
    pub(super) to_resolve: Vec<String>,
    pub(super) resolved: usize,
    /// A finding has come into the body that the summary does not show yet.
    pub(super) is_summary_behind: bool,
    /// Everything stands on GitHub.
    pub(super) is_published: bool,
}

/// What stands on GitHub.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Posted {
    pub(super) url: String,
    /// GitHub refused the inline places.
    pub(super) refused_inline: bool,
}

impl Made {
    /// What was examined, as it will be told and remembered.
    pub(super) fn new(event: &Envelope, topic: &Topic, inputs: &Inputs, mut examined: Examined) -> Self {
        let update = update(event, topic, &examined, &inputs.background.memories);
        match topic.subject == COMMIT {
            true => examined.demote(0, 0),
            false => examined.demote(usize::MAX, MOST_ON_FILES),
        }
        let mut state = inputs.state.clone();
        let fixed = examined.fixed.iter().filter_map(|&index| state.findings.get(index)?.url.clone());
        let to_resolve = fixed.collect();
        state.advance(&topic.head, &examined.fixed, examined.told.clone(), examined.hunks.clone());
        state.gaps = gaps(&examined.left_out);
        Self {
            repository: topic.repository.clone(),
            head: topic.head.clone(),
            recalled: inputs.background.memories.len(),
            examined,
            state,
            provenance: None,
            is_inside: false,
            handed_over: None,
            wishes: Wishes::default(),
            notes: vec![],
            update,
            recall_error: None,
            milliseconds: BTreeMap::new(),
            posted: None,
            files_begun: false,
            files_told: 0,
            to_resolve,
            resolved: 0,
            is_summary_behind: false,
            is_published: false,
        }
    }

    /// What only a pull request has: its project's words, its author's kind, the threads of what is fixed.
    pub(super) fn note(&mut self, project: &Project, from: Provenance, threads: &[Thread]) {
        self.notes.extend(project.trouble.clone());
        if from.is_program() {
            let task = from.task_url().map(|url| format!(", {url}")).unwrap_or_default();
            let by = line_for_model(&from.to_string());
            self.update.context.push_str(&format!("\nThe change was made by a program: {by}{task}"));
        }
        self.wishes = project.wishes();
        self.provenance = Some(from);
        let fixed = std::mem::take(&mut self.to_resolve);
        let is_fixed = |thread: &&Thread| {
            let first = thread.comments.first();
            !thread.is_resolved && first.is_some_and(|first| fixed.contains(&first.url))
        };
        self.to_resolve = threads.iter().filter(is_fixed).map(|thread| thread.id.clone()).collect();
    }

    fn anchored(&self) -> &Anchored {
        &self.examined.anchored
    }

    /// The comments on lines.
    pub(super) fn inline(&self) -> impl Iterator<Item = (&InlineComment, &Told)> {
        self.anchored().inline.iter().zip(&self.examined.told)
    }

    /// The comments on files.
    pub(super) fn files(&self) -> impl Iterator<Item = (&Kept, &Told)> {
        let before = self.anchored().inline.len();
        self.anchored().file.iter().zip(self.examined.told.iter().skip(before))
    }

    pub(super) fn findings(&self) -> impl Iterator<Item = &Finding> {
        self.anchored().findings()
    }

    /// GitHub takes none of the places: all is told in the body.
    pub(super) fn give_up_inline(&mut self) {
        self.examined.demote(0, usize::MAX);
        self.learn_places();
    }

    /// GitHub takes no comment on a file: it is told in the body.
    pub(super) fn give_up_file(&mut self, nth: usize) {
        let Examined { anchored, told, .. } = &mut self.examined;
        let at = anchored.inline.len() + nth;
        if nth < anchored.file.len() && at < told.len() {
            anchored.body.push(anchored.file.remove(nth));
            let moved = told.remove(at);
            told.push(Told { has_comment: false, ..moved });
            self.is_summary_behind = true;
            self.learn_places();
        }
    }

    /// What has no comment of its own is not to be looked for on GitHub.
    fn learn_places(&mut self) {
        for told in self.examined.told.iter().filter(|told| !told.has_comment) {
            let kept = self.state.findings.iter_mut().rev().find(|kept| kept.fingerprint == told.fingerprint);
            if let Some(kept) = kept.filter(|kept| kept.standing == Standing::Open) {
                kept.has_comment = false;
            }
        }
    }

    /// The summary, or a comment on a commit.
    pub(super) fn body(&self, state: Option<&State>, markers: &str) -> String {
        let Examined { review, anchored, left_out, model, label, .. } = &self.examined;
        let (head, label, notes) = (self.head.as_str(), label.as_deref(), self.notes.as_slice());
        summary::body(review, &anchored.body, state, Frame { head, model, label, notes, left_out, markers })
    }

    /// Files that a reviewer would have wanted to see, and did not see, or not whole.
    pub(super) fn gaps(&self) -> usize {
        gaps(&self.examined.left_out)
    }

    /// A pull request is always told; a pushed commit only of what is bad enough.
    pub(super) fn is_worth_a_comment(&self, from: Threshold) -> bool {
        self.findings().any(|finding| from.is_met_by(finding.severity))
    }
}

fn gaps(left_out: &[LeftOut]) -> usize {
    left_out.iter().filter(|left| left.is_gap).count()
}

/// The memory of a review, without what was recalled for it. Its id comes from the delivery, so that telling it twice
/// changes nothing.
fn update(event: &Envelope, topic: &Topic, examined: &Examined, recalled: &[String]) -> Update {
    let review = &examined.review;
    let line = |text: &str| memorable(text, recalled).replace('\n', " ");
    let title = line_for_model(&topic.title);
    let head = topic.head.get(..7).unwrap_or(&topic.head);
    let mut context = format!("Review of {} \"{title}\" at {head}: {}\n", topic.what, line(&review.summary));
    for Told { path, line: number, severity, fingerprint, title, .. } in &examined.told {
        let (path, category) = (line_for_model(path), fingerprint.category());
        context.push_str(&format!("- {severity} {category} in {path}:{number}: {}\n", line(title)));
    }
    for memory in review.remember.iter().map(|memory| line(memory)).filter(|memory| !memory.is_empty()) {
        context.push_str(&format!("- {memory}\n"));
    }
    Update {
        id: Some(format!("review-{}", event.id)),
        repository: topic.repository.clone(),
        context: shorten(context.trim_end(), LONGEST_MEMORY),
        kind: Some("review".to_owned()),
        agent: Some(format!("claude-endpoint/{}", examined.reviewer)),
        branch: Some(shorten(&line_for_model(&topic.branch), LONGEST_BRANCH)),
        event_type: Some(event.event.clone()),
        url: topic.url.clone(),
        timestamp: Some(event.received_at),
        trust: Some(provenance::trust(event)),
        author: Some(shorten(&line_for_model(&topic.author), LONGEST_NAME))
            .filter(|author| !author.is_empty()),
        pull_request: topic.pull,
        commits: Some(topic.head.clone()).filter(|head| is_commit(head)).into_iter().collect(),
        paths: paths(&examined.told),
        model: Some(shorten(&examined.model, LONGEST_NAME)).filter(|model| !model.is_empty()),
        prompt_version: Some(prompt::version()),
    }
}

fn is_commit(id: &str) -> bool {
    (7..=64).contains(&id.len()) && id.bytes().all(|digit| digit.is_ascii_hexdigit())
}

/// The files that something is told about. The memory takes no odd ones.
fn paths(told: &[Told]) -> Vec<String> {
    let paths: BTreeSet<&String> = told.iter().map(|told| &told.path).collect();
    // The others are told as places that the change does not have, or look like a secret.
    let plain = |path: &&String| {
        let absolute = path.starts_with('/') || path.split('/').any(|part| part == "..");
        !path.is_empty() && !absolute && line_for_model(path) == **path
    };
    paths.into_iter().filter(plain).take(MOST_PATHS).cloned().collect()
}
