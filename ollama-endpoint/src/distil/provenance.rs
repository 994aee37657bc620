//! Where a memory comes from, as far as the event or update tells. Pure.

use std::collections::BTreeSet;

use shared::event::Envelope;
use shared::memory::{Source, Update};

use super::mentions::{self, LONGEST_PATH};
use super::payload::{Payload, is_commit_id};
use super::push;

/// Most commits and files of one memory.
const MOST: usize = 100;

/// Most files that are taken from a text because it names them.
const MOST_MENTIONED: usize = 20;

/// Of an event whose memory says `text`; what its template knows (branch, address) is left open.
pub(super) fn of_event(envelope: &Envelope, payload: &Payload, text: &str) -> Source {
    let own = push::own(payload);
    let pushed = own.iter().flat_map(|commit| commit.files());
    let commented = payload.comment.iter().filter_map(|comment| comment.path.as_deref());
    // A push lists its files; what its messages mention besides is of other times.
    let mentioned = if own.is_empty() { mentions::paths(text, MOST_MENTIONED) } else { Vec::new() };
    Source {
        agent: envelope.sender.as_ref().map(|sender| sender.login.clone()),
        event: Some(envelope.event.clone()),
        trust: payload.trust(envelope),
        author: author(envelope, payload),
        pull_request: number(payload),
        commits: distinct(commits(payload).filter(|id| is_commit_id(id)), MOST),
        paths: distinct(commented.chain(pushed).chain(mentioned.iter().map(String::as_str)), MOST),
        ..Source::default()
    }
}

/// Of a local agent's update: what it says of itself, and the files that its text names.
pub(super) fn of_update(update: &Update, text: &str) -> Source {
    let mentioned = mentions::paths(text, MOST_MENTIONED);
    let given = update.paths.iter().map(|path| path.trim().trim_start_matches("./"));
    Source {
        delivery: None,
        agent: update.agent.clone(),
        branch: update.branch.clone(),
        event: update.event_type.clone(),
        url: update.url.clone(),
        trust: update.trust,
        author: update.author.clone(),
        pull_request: update.pull_request,
        commits: distinct(update.commits.iter().map(|id| id.trim()).filter(|id| is_commit_id(id)), MOST),
        paths: distinct(given.chain(mentioned.iter().map(String::as_str)), MOST),
        model: update.model.clone(),
        prompt_version: update.prompt_version.clone(),
    }
}

/// Whose words or change the memory is about: the innermost part of the payload that has an author.
fn author(envelope: &Envelope, payload: &Payload) -> Option<String> {
    let login = |user: &super::payload::User| user.login.clone();
    let said = if let Some(comment) = &payload.comment {
        login(&comment.user)
    } else if let Some(review) = &payload.review {
        login(&review.user)
    } else if let Some(pull) = &payload.pull_request {
        login(&pull.user)
    } else if let Some(release) = &payload.release {
        login(&release.author)
    } else if let Some(run) = &payload.workflow_run {
        login(&run.actor)
    } else {
        payload.issue.as_ref().or(payload.discussion.as_ref()).and_then(|issue| login(&issue.user))
    };
    let authors: BTreeSet<&str> = push::own(payload).iter().filter_map(|commit| commit.author()).collect();
    let of_all = authors.first().filter(|_| authors.len() == 1).map(|author| (*author).to_owned());
    said.or(of_all).or_else(|| envelope.sender.as_ref().map(|sender| sender.login.clone()))
}

/// The number of the pull request or issue; all that a repository has share one count.
fn number(payload: &Payload) -> Option<u64> {
    let issue = payload.issue.as_ref().or(payload.discussion.as_ref());
    let run = payload.workflow_run.as_ref().and_then(|run| run.pull_requests.first());
    let pull = payload.pull_request.as_ref().or(run).and_then(|pull| pull.number);
    pull.or(issue.and_then(|issue| issue.number)).or_else(|| push::pull_request(payload))
}

fn commits(payload: &Payload) -> impl Iterator<Item = &str> {
    let comment = payload.comment.as_ref().and_then(|comment| comment.commit_id.as_deref());
    let review = payload.review.as_ref().and_then(|review| review.commit_id.as_deref());
    let pull = payload.pull_request.as_ref();
    // A comment or review is about the head that its author saw, and the pull request may have a newer one.
    let head = pull.and_then(|pull| pull.head.sha.as_deref()).filter(|_| comment.or(review).is_none());
    // Before the merge this is GitHub's trial merge, which nobody will find.
    let merge =
        pull.filter(|pull| pull.merged == Some(true)).and_then(|pull| pull.merge_commit_sha.as_deref());
    let release = payload.release.as_ref().and_then(|release| release.target_commitish.as_deref());
    let run = payload.workflow_run.as_ref().and_then(|run| run.head_sha.as_deref());
    let pushed = push::own(payload).into_iter().map(|commit| commit.id.as_str());
    [comment, review, head, merge, release.filter(|id| id.len() >= 40), run]
        .into_iter()
        .flatten()
        .chain(pushed)
}

/// The distinct ones that fit on a line, in their order, at most `most`.
fn distinct<'a>(texts: impl Iterator<Item = &'a str>, most: usize) -> Vec<String> {
    let mut seen = BTreeSet::new();
    let plain =
        texts.filter(|text| (1..=LONGEST_PATH).contains(&text.len()) && !text.contains(char::is_control));
    plain.filter(|text| seen.insert(*text)).take(most).map(str::to_owned).collect()
}
