//! Reviews and the comments on code that belong to them.

use axum::Extension;
use axum::body::Bytes;
use axum::extract::{Path, State as Shared};
use axum::response::Response;
use http::{StatusCode, Uri};
use serde_json::{Value, json};

use super::answer::{Refusal, Viewer, json_answer, page, parsed};
use super::diff::Side;
use super::pulls::NumberPath;
use super::routes::{Site, visible};
use super::rules::{self, Event, NewComment, NewReview, SubjectType};
use super::state::{PullState, RepoState, Review, ReviewComment};
use crate::shape::{self, User};

type Answer = Result<Response, Refusal>;
type ReviewPath = Path<(String, String, u64, u64)>;

fn pull_of(repo: &mut RepoState, number: u64) -> Result<&mut PullState, Refusal> {
    repo.pulls.get_mut(&number).ok_or_else(Refusal::not_found)
}

pub(crate) async fn list(
    Shared(site): Shared<Site>,
    Extension(viewer): Extension<Viewer>,
    Path((owner, name, number)): NumberPath,
    uri: Uri,
) -> Answer {
    let mut state = site.state();
    let repo = visible(&mut state, &viewer, &owner, &name)?;
    let full = repo.repo.full_name.clone();
    let it = pull_of(repo, number)?;
    // A pending review is seen by its author only.
    let seen = it
        .reviews
        .iter()
        .filter(|review| review.state != "PENDING" || Some(&review.user) == viewer.0.as_ref());
    let shown: Vec<_> = seen.map(|review| review_json(&site.api, &full, number, review)).collect();
    Ok(page(&site.api, &uri, &shown))
}

pub(crate) async fn show(
    Shared(site): Shared<Site>,
    Extension(viewer): Extension<Viewer>,
    Path((owner, name, number, id)): ReviewPath,
) -> Answer {
    let mut state = site.state();
    let repo = visible(&mut state, &viewer, &owner, &name)?;
    let full = repo.repo.full_name.clone();
    let it = pull_of(repo, number)?;
    let review = it.reviews.iter().find(|review| review.id == id).ok_or_else(Refusal::not_found)?;
    Ok(json_answer(StatusCode::OK, &review_json(&site.api, &full, number, review)))
}

pub(crate) async fn create(
    Shared(site): Shared<Site>,
    Extension(viewer): Extension<Viewer>,
    Path((owner, name, number)): NumberPath,
    body: Bytes,
) -> Answer {
    let mut state = site.state();
    let new: NewReview = {
        pull_of(visible(&mut state, &viewer, &owner, &name)?, number)?;
        parsed(&body)?
    };
    let user = viewer.signed_in()?;
    rules::check_review(pull_of(visible(&mut state, &viewer, &owner, &name)?, number)?, user, &new)?;
    let at = state.tick();
    let ids: Vec<_> = (0..=new.comments.len()).map(|_| state.next_id()).collect();
    let repo = visible(&mut state, &viewer, &owner, &name)?;
    let review = review_of(repo, user, number, &new, (ids[0], &at))?;
    let comments: Vec<_> = new
        .comments
        .into_iter()
        .zip(&ids[1..])
        .map(|(draft, id)| ReviewComment {
            id: *id,
            review_id: review.id,
            user: user.clone(),
            path: draft.path,
            body: draft.body,
            line: draft.line,
            side: draft.side.unwrap_or(Side::Right),
            start_line: draft.start_line,
            start_side: draft.start_line.map(|_| draft.start_side.or(draft.side).unwrap_or(Side::Right)),
            commit_id: review.commit_id.clone(),
            in_reply_to: None,
            created_at: at.clone(),
            html_url: repo.page(number, &format!("discussion_r{id}")),
        })
        .collect();
    let shown = review_json(&site.api, &repo.repo.full_name, number, &review);
    let it = pull_of(repo, number)?;
    it.pull.updated_at = at;
    it.reviews.push(review);
    it.comments.extend(comments);
    Ok(json_answer(StatusCode::OK, &shown))
}

fn review_of(
    repo: &mut RepoState,
    user: &User,
    number: u64,
    new: &NewReview,
    (id, at): (u64, &str),
) -> Result<Review, Refusal> {
    let html_url = repo.page(number, &format!("pullrequestreview-{id}"));
    let head = &pull_of(repo, number)?.pull.head_sha;
    Ok(Review {
        id,
        user: user.clone(),
        body: new.body.clone().unwrap_or_default(),
        state: match new.event {
            Some(Event::Approve) => "APPROVED",
            Some(Event::RequestChanges) => "CHANGES_REQUESTED",
            Some(Event::Comment) => "COMMENTED",
            None => "PENDING",
        },
        commit_id: new.commit_id.clone().unwrap_or_else(|| head.clone()),
        submitted_at: at.to_owned(),
        html_url,
        implicit: false,
    })
}

pub(crate) async fn comments_of(
    Shared(site): Shared<Site>,
    Extension(viewer): Extension<Viewer>,
    Path((owner, name, number, id)): ReviewPath,
    uri: Uri,
) -> Answer {
    let mut state = site.state();
    let repo = visible(&mut state, &viewer, &owner, &name)?;
    let full = repo.repo.full_name.clone();
    let it = pull_of(repo, number)?;
    if !it.reviews.iter().any(|review| review.id == id) {
        return Err(Refusal::not_found());
    }
    let own = it.comments.iter().filter(|comment| comment.review_id == id);
    let shown: Vec<_> = own.map(|comment| comment_json(&site.api, &full, it, comment)).collect();
    Ok(page(&site.api, &uri, &shown))
}

pub(crate) async fn list_comments(
    Shared(site): Shared<Site>,
    Extension(viewer): Extension<Viewer>,
    Path((owner, name, number)): NumberPath,
    uri: Uri,
) -> Answer {
    let mut state = site.state();
    let repo = visible(&mut state, &viewer, &owner, &name)?;
    let full = repo.repo.full_name.clone();
    let it = pull_of(repo, number)?;
    let shown: Vec<_> =
        it.comments.iter().map(|comment| comment_json(&site.api, &full, it, comment)).collect();
    Ok(page(&site.api, &uri, &shown))
}

pub(crate) async fn create_comment(
    Shared(site): Shared<Site>,
    Extension(viewer): Extension<Viewer>,
    Path((owner, name, number)): NumberPath,
    body: Bytes,
) -> Answer {
    let mut state = site.state();
    let user = viewer.signed_in()?;
    let new: NewComment = {
        let it = pull_of(visible(&mut state, &viewer, &owner, &name)?, number)?;
        let new = parsed(&body)?;
        rules::check_comment(it, &new)?;
        new
    };
    let (at, id, review_id) = (state.tick(), state.next_id(), state.next_id());
    let repo = visible(&mut state, &viewer, &owner, &name)?;
    let full = repo.repo.full_name.clone();
    let html_url = repo.page(number, &format!("discussion_r{id}"));
    let around =
        NewReview { commit_id: new.commit_id.clone(), event: Some(Event::Comment), ..Default::default() };
    let review = Review { implicit: true, ..review_of(repo, user, number, &around, (review_id, &at))? };
    let it = pull_of(repo, number)?;
    let parent = new.in_reply_to.and_then(|id| it.comments.iter().find(|comment| comment.id == id).cloned());
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
    let shown = comment_json(&site.api, &full, it, &comment);
    it.pull.updated_at = at;
    it.reviews.push(review);
    it.comments.push(comment);
    Ok(json_answer(StatusCode::CREATED, &shown))
}

fn review_json(api: &str, full: &str, number: u64, review: &Review) -> Value {
    let pull = format!("{api}/repos/{full}/pulls/{number}");
    let mut shown = json!({
        "id": review.id, "node_id": shape::node_id("PRR", review.id),
        "user": shape::user(api, &review.user), "body": review.body, "state": review.state,
        "html_url": review.html_url, "pull_request_url": pull, "author_association": "COLLABORATOR",
        "_links": {"html": {"href": review.html_url}, "pull_request": {"href": pull}},
        "commit_id": review.commit_id,
    });
    if review.state != "PENDING" {
        shown["submitted_at"] = json!(review.submitted_at);
    }
    shown
}

fn comment_json(api: &str, full: &str, it: &PullState, comment: &ReviewComment) -> Value {
    let number = it.pull.number;
    let (pull, own) = (
        format!("{api}/repos/{full}/pulls/{number}"),
        format!("{api}/repos/{full}/pulls/comments/{}", comment.id),
    );
    let files = it.files_at(&comment.commit_id).unwrap_or_default();
    let patch = files.into_iter().find(|file| file.path == comment.path).and_then(|file| file.patch);
    // GitHub shows `line: null` once the comment is on an older head.
    let line = comment.line.filter(|_| comment.commit_id == it.pull.head_sha);
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
        "_links": {"self": {"href": own}, "html": {"href": comment.html_url}, "pull_request": {"href": pull}},
    });
    if let Some(parent) = comment.in_reply_to {
        shown["in_reply_to_id"] = json!(parent);
    }
    shown
}
