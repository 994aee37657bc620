//! What GitHub refuses about reviews and comments. Messages follow its real answers.

use serde::Deserialize;
use serde_json::{Value, json};

use super::answer::Refusal;
use super::diff::{FileDiff, Side};
use super::state::PullState;
use crate::shape::User;

/// Longest body of a review or comment, in characters.
pub const MAX_BODY: usize = 65_536;

/// `POST …/pulls/{n}/reviews`.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct NewReview {
    pub(crate) commit_id: Option<String>,
    pub(crate) body: Option<String>,
    pub(crate) event: Option<Event>,
    #[serde(default)]
    pub(crate) comments: Vec<DraftComment>,
}

/// What the review decides; none leaves it pending.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(crate) enum Event {
    Approve,
    RequestChanges,
    Comment,
}

/// A comment inside a review. No other keys are permitted, `subject_type` in particular.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct DraftComment {
    pub(crate) path: String,
    pub(crate) body: String,
    pub(crate) position: Option<u64>,
    pub(crate) line: Option<u64>,
    pub(crate) side: Option<Side>,
    pub(crate) start_line: Option<u64>,
    pub(crate) start_side: Option<Side>,
}

/// `POST …/pulls/{n}/comments`.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct NewComment {
    pub(crate) body: String,
    pub(crate) commit_id: Option<String>,
    pub(crate) path: Option<String>,
    pub(crate) position: Option<u64>,
    pub(crate) line: Option<u64>,
    pub(crate) side: Option<Side>,
    pub(crate) start_line: Option<u64>,
    pub(crate) start_side: Option<Side>,
    pub(crate) subject_type: Option<SubjectType>,
    pub(crate) in_reply_to: Option<u64>,
}

/// What a comment is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum SubjectType {
    Line,
    File,
}

/// Checks a review as a whole: one bad comment refuses all of it.
pub(crate) fn check_review(it: &PullState, viewer: &User, new: &NewReview) -> Result<(), Refusal> {
    let own = it.pull.author.login == viewer.login;
    let body = new.body.as_deref().unwrap_or_default();
    match new.event {
        Some(Event::Approve) if own => return Err(unprocessable("Can not approve your own pull request")),
        Some(Event::RequestChanges) if own => {
            return Err(unprocessable("Can not request changes on your own pull request"));
        }
        Some(Event::RequestChanges | Event::Comment) if body.trim().is_empty() => {
            return Err(unprocessable("You need to leave a comment indicating the requested changes."));
        }
        None if it.reviews.iter().any(|old| old.state == "PENDING" && old.user == *viewer) => {
            return Err(unprocessable("User can only have one pending review per pull request"));
        }
        _ => {}
    }
    check_length(body)?;
    let files = files_of(it, new.commit_id.as_deref())?;
    let bad: Vec<_> = new.comments.iter().filter_map(|draft| fault_of(&files, draft)).collect();
    if bad.is_empty() { Ok(()) } else { Err(unprocessable_all(&bad)) }
}

/// Checks a comment posted by itself.
pub(crate) fn check_comment(it: &PullState, new: &NewComment) -> Result<(), Refusal> {
    check_length(&new.body)?;
    if new.body.trim().is_empty() {
        return Err(invalid_comment("body", "body can't be blank"));
    }
    if let Some(parent) = new.in_reply_to {
        let known = it.comments.iter().any(|comment| comment.id == parent && comment.in_reply_to.is_none());
        return if known {
            Ok(())
        } else {
            Err(invalid_comment("in_reply_to", "in_reply_to is not a top-level comment"))
        };
    }
    let Some(path) = &new.path else { return Err(invalid_request("\"path\" wasn't supplied.")) };
    if new.commit_id.is_none() {
        return Err(invalid_request("\"commit_id\" wasn't supplied."));
    }
    let files = files_of(it, new.commit_id.as_deref())?;
    if new.subject_type == Some(SubjectType::File) {
        let known = files.iter().any(|file| file.path == *path);
        let unknown = || invalid_comment("pull_request_review_thread.path", "path could not be resolved");
        return if known { Ok(()) } else { Err(unknown()) };
    }
    let draft = DraftComment {
        path: path.clone(),
        body: new.body.clone(),
        position: new.position,
        line: new.line,
        side: new.side,
        start_line: new.start_line,
        start_side: new.start_side,
    };
    match fault_of(&files, &draft) {
        None => Ok(()),
        Some(fault) => Err(invalid_comment("pull_request_review_thread.line", fault)),
    }
}

fn files_of(it: &PullState, commit: Option<&str>) -> Result<Vec<FileDiff>, Refusal> {
    it.files_at(commit.unwrap_or(&it.pull.head_sha))
        .ok_or_else(|| unprocessable("commit_id is not part of the pull request"))
}

/// What is wrong with where the comment is, in GitHub's words.
fn fault_of(files: &[FileDiff], draft: &DraftComment) -> Option<&'static str> {
    if draft.body.trim().is_empty() {
        return Some("Body can't be blank");
    }
    if draft.body.chars().count() > MAX_BODY {
        return Some("Body is too long (maximum is 65536 characters)");
    }
    let Some(file) = files.iter().find(|file| file.path == draft.path) else {
        return Some("Path could not be resolved");
    };
    let Some(line) = draft.line else {
        let last = file.patch.as_deref().map_or(0, |patch| patch.split('\n').count() as u64 - 1);
        let inside = draft.position.is_some_and(|position| (1..=last).contains(&position));
        return if inside { None } else { Some("Position could not be resolved") };
    };
    let side = draft.side.unwrap_or(Side::Right);
    let Some(hunk) = file.hunk_at(side, line) else { return Some("Line could not be resolved") };
    fault_of_start(file, draft, hunk, side, line)
}

fn fault_of_start(
    file: &FileDiff,
    draft: &DraftComment,
    hunk: usize,
    side: Side,
    line: u64,
) -> Option<&'static str> {
    let Some(start) = draft.start_line else {
        return draft.start_side.map(|_| "Start side can't be set without a start line");
    };
    let start_side = draft.start_side.unwrap_or(side);
    if start_side == side && start >= line {
        return Some("Pull request review thread start line must precede the end line.");
    }
    match file.hunk_at(start_side, start) {
        None => Some("Start line could not be resolved"),
        Some(other) if other != hunk => {
            Some("Pull request review thread start line must be part of the same hunk as the line.")
        }
        Some(_) => None,
    }
}

/// A body that replaces another.
pub(crate) fn check_body(body: &str) -> Result<(), Refusal> {
    if body.trim().is_empty() {
        return Err(unprocessable("Body can't be blank"));
    }
    check_length(body)
}

/// Bodies have the same limit everywhere.
pub(crate) fn check_length(body: &str) -> Result<(), Refusal> {
    if body.chars().count() > MAX_BODY {
        return Err(unprocessable("Body is too long (maximum is 65536 characters)"));
    }
    Ok(())
}

fn unprocessable(error: &str) -> Refusal {
    unprocessable_all(&[error])
}

fn unprocessable_all(errors: &[&str]) -> Refusal {
    Refusal::new(422, "Unprocessable Entity").errors(json!(errors))
}

/// The body's schema is violated.
pub(crate) fn invalid_request(detail: &str) -> Refusal {
    Refusal::new(422, format!("Invalid request.\n\n{detail}"))
}

fn invalid_comment(field: &str, message: &str) -> Refusal {
    validation_failed("PullRequestReviewComment", field, message)
}

/// A value GitHub refuses after the schema passed.
pub(crate) fn validation_failed(resource: &str, field: &str, message: &str) -> Refusal {
    let error: Value = json!({"resource": resource, "code": "custom", "field": field, "message": message});
    Refusal::new(422, "Validation Failed").errors(json!([error]))
}
