//! Comments on the code of a pull request.

use axum::Extension;
use axum::body::Bytes;
use axum::extract::{Path, State as Shared};
use http::{StatusCode, Uri};
use serde::Deserialize;
use serde_json::{Value, json};

use super::answer::{Refusal, Viewer, json_answer, page, parsed, text};
use super::diff::Side;
use super::pulls::NumberPath;
use super::reactions::{self, Subject};
use super::reviews::{Answer, ReviewPath, pull_of, review_of};
use super::routes::{Site, visible};
use super::rules::{self, Event, NewComment, NewReview, SubjectType};
use super::state::{PullState, RepoState, Review, ReviewComment};
use crate::shape;

#[derive(Deserialize)]
struct NewReply {
    body: String,
}

pub(crate) async fn of_review(
    Shared(site): Shared<Site>,
    Extension(viewer): Extension<Viewer>,
    Path((owner, name, number, id)): ReviewPath,
    uri: Uri,
) -> Answer {
    let mut state = site.state();
    let repo = visible(&mut state, &viewer, &owner, &name)?;
    let it = repo.pulls.get(&number).ok_or_else(Refusal::not_found)?;
    if !it.reviews.iter().any(|review| review.id == id) {
        return Err(Refusal::not_found());
    }
    let own = it.comments.iter().filter(|comment| comment.review_id == id);
    let shown: Vec<_> = own.map(|comment| comment_json(&site.api, repo, it, comment)).collect();
    Ok(page(&site.api, &uri, &shown))
}

pub(crate) async fn list(
    Shared(site): Shared<Site>,
    Extension(viewer): Extension<Viewer>,
    Path((owner, name, number)): NumberPath,
    uri: Uri,
) -> Answer {
    let mut state = site.state();
    let repo = visible(&mut state, &viewer, &owner, &name)?;
    let it = repo.pulls.get(&number).ok_or_else(Refusal::not_found)?;
    let mut listed: Vec<_> = it.comments.iter().collect();
    if text(&uri, "direction") == Some("desc") && text(&uri, "sort").is_some() {
        listed.reverse();
    }
    let shown: Vec<_> =
        listed.into_iter().map(|comment| comment_json(&site.api, repo, it, comment)).collect();
    Ok(page(&site.api, &uri, &shown))
}

pub(crate) async fn show(
    Shared(site): Shared<Site>,
    Extension(viewer): Extension<Viewer>,
    Path((owner, name, id)): NumberPath,
) -> Answer {
    let mut state = site.state();
    let repo = visible(&mut state, &viewer, &owner, &name)?;
    let all = repo.pulls.values().flat_map(|it| it.comments.iter().map(move |comment| (it, comment)));
    let (it, comment) = all.into_iter().find(|(_, it)| it.id == id).ok_or_else(Refusal::not_found)?;
    Ok(json_answer(StatusCode::OK, &comment_json(&site.api, repo, it, comment)))
}

pub(crate) async fn create(
    Shared(site): Shared<Site>,
    Extension(viewer): Extension<Viewer>,
    Path((owner, name, number)): NumberPath,
    body: Bytes,
) -> Answer {
    let new = |it: &PullState| {
        let new: NewComment = parsed(&body)?;
        rules::check_comment(it, &new)?;
        Ok(new)
    };
    post(&site, &viewer, (&owner, &name, number), new)
}

/// An answer in a thread, to the comment that begins it.
pub(crate) async fn reply(
    Shared(site): Shared<Site>,
    Extension(viewer): Extension<Viewer>,
    Path((owner, name, number, id)): ReviewPath,
    body: Bytes,
) -> Answer {
    let new = |it: &PullState| {
        if !it.comments.iter().any(|comment| comment.id == id) {
            return Err(Refusal::not_found());
        }
        let NewReply { body } = parsed(&body)?;
        let new = NewComment { body, in_reply_to: Some(id), ..NewComment::default() };
        rules::check_comment(it, &new)?;
        Ok(new)
    };
    post(&site, &viewer, (&owner, &name, number), new)
}

/// GitHub puts a review of its own around each comment that is posted by itself.
fn post(
    site: &Site,
    viewer: &Viewer,
    (owner, name, number): (&str, &str, u64),
    new: impl FnOnce(&PullState) -> Result<NewComment, Refusal>,
) -> Answer {
    let mut state = site.state();
    let user = viewer.signed_in()?;
    let new = new(pull_of(visible(&mut state, viewer, owner, name)?, number)?)?;
    let (at, id, review_id) = (state.tick(), state.next_id(), state.next_id());
    let repo = visible(&mut state, viewer, owner, name)?;
    let html_url = repo.page(number, &format!("discussion_r{id}"));
    let around =
        NewReview { commit_id: new.commit_id.clone(), event: Some(Event::Comment), ..Default::default() };
    let review = Review { implicit: true, ..review_of(repo, user, number, &around, (review_id, &at))? };
    let it = pull_of(repo, number)?;
    let own = ReviewComment {
        id,
        review_id,
        user: user.clone(),
        body: new.body,
        path: new.path.unwrap_or_default(),
        line: if new.subject_type == Some(SubjectType::File) { None } else { new.line },
        side: new.side.unwrap_or(Side::Right),
        start_line: new.start_line,
        start_side: new.start_side,
        commit_id: review.commit_id.clone(),
        in_reply_to: new.in_reply_to,
        created_at: at.clone(),
        html_url,
    };
    let parent = new.in_reply_to.and_then(|id| it.root_of(id).cloned());
    let comment = match parent {
        None => own,
        Some(parent) => ReviewComment {
            path: parent.path,
            line: parent.line,
            side: parent.side,
            start_line: parent.start_line,
            start_side: parent.start_side,
            commit_id: parent.commit_id,
            ..own
        },
    };
    it.pull.updated_at = at;
    it.reviews.push(review);
    it.comments.push(comment.clone());
    let it = repo.pulls.get(&number).ok_or_else(Refusal::not_found)?;
    Ok(json_answer(StatusCode::CREATED, &comment_json(&site.api, repo, it, &comment)))
}

fn comment_json(api: &str, repo: &RepoState, it: &PullState, comment: &ReviewComment) -> Value {
    let (full, number) = (&repo.repo.full_name, it.pull.number);
    let (pull, own) = (
        format!("{api}/repos/{full}/pulls/{number}"),
        format!("{api}/repos/{full}/pulls/comments/{}", comment.id),
    );
    let files = it.files_at(&comment.commit_id).unwrap_or_default();
    let patch = files.into_iter().find(|file| file.path == comment.path).and_then(|file| file.patch);
    // GitHub shows `line: null` once the comment is on an older head.
    let line = comment.line.filter(|_| !it.is_outdated(comment));
    let mut shown = json!({
        "id": comment.id, "node_id": shape::node_id("PRRC", comment.id), "url": own, "html_url": comment.html_url,
        "pull_request_url": pull, "pull_request_review_id": comment.review_id, "path": comment.path,
        "diff_hunk": patch.unwrap_or_default(), "commit_id": comment.commit_id,
        "original_commit_id": comment.commit_id, "user": shape::user(api, &comment.user),
        "body": comment.body, "created_at": comment.created_at, "updated_at": comment.created_at,
        "author_association": "COLLABORATOR", "position": line.map(|_| 1), "original_position": 1,
        "line": line, "original_line": comment.line, "side": comment.side,
        "start_line": comment.start_line.filter(|_| line.is_some()), "original_start_line": comment.start_line,
        "start_side": comment.start_side, "subject_type": if comment.line.is_none() { "file" } else { "line" },
        "reactions": reactions::rollup(repo, Subject::ReviewComment(comment.id), &own),
        "_links": {"self": {"href": own}, "html": {"href": comment.html_url}, "pull_request": {"href": pull}},
    });
    if let Some(parent) = comment.in_reply_to {
        shown["in_reply_to_id"] = json!(parent);
    }
    shown
}
