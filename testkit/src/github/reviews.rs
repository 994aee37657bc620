//! Reviews; the comments that belong to them are in `review_comments.rs`.

use axum::Extension;
use axum::body::Bytes;
use axum::extract::{Path, State as Shared};
use axum::response::Response;
use http::{StatusCode, Uri};
use serde::Deserialize;
use serde_json::{Value, json};

use super::answer::{Refusal, Viewer, json_answer, page, parsed};
use super::diff::Side;
use super::pulls::NumberPath;
use super::routes::{Site, visible};
use super::rules::{self, Event, NewReview};
use super::state::{PullState, RepoState, Review, ReviewComment};
use crate::shape::{self, User};

pub(crate) type Answer = Result<Response, Refusal>;
/// `{owner}/{repo}`, a number, and an id.
pub(crate) type ReviewPath = Path<(String, String, u64, u64)>;

#[derive(Deserialize)]
struct NewBody {
    body: String,
}

pub(crate) fn pull_of(repo: &mut RepoState, number: u64) -> Result<&mut PullState, Refusal> {
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

pub(crate) fn review_of(
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

/// Changes the body of a review.
pub(crate) async fn update(
    Shared(site): Shared<Site>,
    Extension(viewer): Extension<Viewer>,
    Path((owner, name, number, id)): ReviewPath,
    body: Bytes,
) -> Answer {
    let user = viewer.signed_in()?;
    let mut state = site.state();
    visible(&mut state, &viewer, &owner, &name)?;
    let new: NewBody = parsed(&body)?;
    let at = state.tick();
    let repo = visible(&mut state, &viewer, &owner, &name)?;
    let (full, member) = (repo.repo.full_name.clone(), repo.members.contains(&user.login));
    let it = pull_of(repo, number)?;
    let review = it.reviews.iter_mut().find(|review| review.id == id).ok_or_else(Refusal::not_found)?;
    if review.user != *user && !member {
        return Err(Refusal::new(403, "Must have admin rights to Repository."));
    }
    rules::check_body(&new.body)?;
    review.body = new.body;
    let shown = review_json(&site.api, &full, number, review);
    it.pull.updated_at = at;
    Ok(json_answer(StatusCode::OK, &shown))
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
