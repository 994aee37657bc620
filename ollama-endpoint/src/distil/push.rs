//! A push: what it says, and what it did to the code that older memories speak of. Pure.

use shared::event::{Envelope, Subject};

use super::payload::{Commit, Payload};
use super::templates::{counted, short};
use super::text::{listed, tidy};
use super::{Told, Touch, Touched, junk};

/// Most touches of one push. GitHub tells of 2,048 commits at most.
const MOST_TOUCHES: usize = 4096;

/// Most commits that the text tells of.
const MOST_TOLD: usize = 50;

/// The commits that say something by themselves.
pub(super) fn own(payload: &Payload) -> Vec<&Commit> {
    payload.commits.iter().filter(|commit| !commit.is_merge()).collect()
}

/// The pull request that brought all of it.
pub(super) fn pull_request(payload: &Payload) -> Option<u64> {
    let mut numbers = own(payload).into_iter().map(|commit| brought_by(payload, commit));
    let first = numbers.next()??;
    numbers.all(|number| number == Some(first)).then_some(first)
}

/// A commit names its pull request, or the merge does with which it came.
fn brought_by(payload: &Payload, commit: &Commit) -> Option<u64> {
    let head = payload.head_commit.as_ref().or(payload.commits.last());
    commit.pull_request().or_else(|| head.filter(|head| head.is_merge()).and_then(Commit::pull_request))
}

/// What a push to the default branch did to files and commits; of any other branch it is not settled yet. A commit
/// counts from when it came there, which is when the push's head was made: one that was merged may be much older itself.
/// Nothing counts from later than its arrival, whatever its author's clock says.
pub(super) fn touches(envelope: &Envelope, payload: &Payload) -> Vec<Touch> {
    let (Subject::Push(push), Some(repository)) = (&envelope.subject, &envelope.repository) else {
        return Vec::new();
    };
    if push.git_ref.strip_prefix("refs/heads/") != Some(&repository.default_branch) {
        return Vec::new();
    }
    let head = payload.head_commit.as_ref().and_then(|head| head.timestamp);
    let of_commit = |commit: &&Commit| {
        let changed = commit.added.iter().chain(&commit.modified).cloned().map(Touched::Changed);
        let removed = commit.removed.iter().cloned().map(Touched::Removed);
        let reverted = commit.reverts().map(|id| Touched::Reverted(id.to_lowercase()));
        let at = commit.timestamp.max(head).unwrap_or(envelope.received_at).min(envelope.received_at);
        let (id, pull_request) = (commit.id.clone(), brought_by(payload, commit));
        let touch = move |what| Touch { commit: id.clone(), at, pull_request, what };
        reverted.chain(removed).chain(changed).map(touch).collect::<Vec<_>>()
    };
    own(payload).iter().flat_map(of_commit).take(MOST_TOUCHES).collect()
}

pub(super) fn push(envelope: &Envelope, payload: &Payload, who: &str) -> Told {
    let Subject::Push(push) = &envelope.subject else {
        return Told::new("change", format!("{who} pushed")).junk(Some("it does not say what was pushed"));
    };
    let deleted = push.after.bytes().all(|digit| digit == b'0');
    if let Some(tag) = push.git_ref.strip_prefix("refs/tags/") {
        let verb = if deleted { "deleted" } else { "set" };
        return Told::new("release", format!("{who} {verb} the tag {tag} ({})", short(&push.after)));
    }
    let branch = push.git_ref.trim_start_matches("refs/heads/").to_owned();
    let own = own(payload);
    let mut text = format!("{who} pushed {} to {branch}", counted(own.len(), "commit"));
    if push.forced {
        text.push_str(", rewriting its history (force push)");
    }
    for commit in own.iter().take(MOST_TOLD) {
        let message = tidy(&commit.message).replace("\n\n", "\n").replace('\n', "\n  ");
        text.push_str(&format!("\n- {} {message}", short(&commit.id)));
    }
    let files = own.iter().flat_map(|commit| commit.files());
    if let Some(files) = listed(files, 40) {
        text.push_str(&format!("\nFiles: {files}"));
    }
    let junk = match (deleted, payload.commits.is_empty(), own.is_empty()) {
        (true, ..) => Some("a deleted branch says nothing"),
        (_, true, _) if !push.forced => Some("a push without commits says nothing"),
        (_, false, true) if !push.forced => Some(junk::MERGE),
        _ => None,
    };
    Told::new("change", text).on(Some(&branch)).at(payload.compare.as_ref()).junk(junk)
}
