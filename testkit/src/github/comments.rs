//! Comments outside the code, and commit statuses.

use axum::Extension;
use axum::body::Bytes;
use axum::extract::{Path, State as Shared};
use axum::response::Response;
use http::{StatusCode, Uri};
use serde::Deserialize;
use serde_json::{Value, json};

use super::answer::{Refusal, Viewer, json_answer, page, parsed, text};
use super::pulls::NumberPath;
use super::reactions::{self, Subject};
use super::routes::{Site, visible};
use super::rules::{MAX_BODY, validation_failed};
use super::state::{CommitComment, IssueComment, RepoState, Status};
use crate::shape::{self, WEB};

type Answer = Result<Response, Refusal>;
type ShaPath = Path<(String, String, String)>;

#[derive(Deserialize)]
struct NewIssueComment {
    body: String,
}

#[derive(Deserialize)]
struct NewCommitComment {
    body: String,
    path: Option<String>,
    position: Option<u64>,
}

#[derive(Deserialize)]
struct NewStatus {
    state: String,
    context: Option<String>,
    description: Option<String>,
    target_url: Option<String>,
}

fn check(resource: &str, body: &str) -> Result<(), Refusal> {
    if body.trim().is_empty() {
        return Err(validation_failed(resource, "body", "Body can't be blank"));
    }
    if body.chars().count() > MAX_BODY {
        return Err(validation_failed(resource, "body", "Body is too long (maximum is 65536 characters)"));
    }
    Ok(())
}

pub(crate) async fn of_issue(
    Shared(site): Shared<Site>,
    Extension(viewer): Extension<Viewer>,
    Path((owner, name, number)): NumberPath,
    uri: Uri,
) -> Answer {
    let mut state = site.state();
    let repo = visible(&mut state, &viewer, &owner, &name)?;
    // RFC 3339 in UTC without fractions sorts as text
    let since = text(&uri, "since").unwrap_or_default();
    let is_meant = |it: &&IssueComment| it.number == number && it.updated_at.as_str() >= since;
    let own = repo.issue_comments.iter().filter(is_meant);
    let shown: Vec<_> = own.map(|comment| issue_comment_json(&site.api, repo, comment)).collect();
    Ok(page(&site.api, &uri, &shown))
}

pub(crate) async fn on_issue(
    Shared(site): Shared<Site>,
    Extension(viewer): Extension<Viewer>,
    Path((owner, name, number)): NumberPath,
    body: Bytes,
) -> Answer {
    let user = viewer.signed_in()?;
    let mut state = site.state();
    visible(&mut state, &viewer, &owner, &name)?;
    let new: NewIssueComment = parsed(&body)?;
    check("IssueComment", &new.body)?;
    let (at, id) = (state.tick(), state.next_id());
    let repo = visible(&mut state, &viewer, &owner, &name)?;
    let comment = IssueComment {
        id,
        number,
        user: user.clone(),
        body: new.body,
        created_at: at.clone(),
        updated_at: at.clone(),
        html_url: repo.page(number, &format!("issuecomment-{id}")),
    };
    let shown = issue_comment_json(&site.api, repo, &comment);
    repo.issue_comments.push(comment);
    if let Some(it) = repo.pulls.get_mut(&number) {
        it.pull.updated_at = at;
    }
    Ok(json_answer(StatusCode::CREATED, &shown))
}

pub(crate) async fn edit_on_issue(
    Shared(site): Shared<Site>,
    Extension(viewer): Extension<Viewer>,
    Path((owner, name, id)): NumberPath,
    body: Bytes,
) -> Answer {
    let user = viewer.signed_in()?;
    let mut state = site.state();
    visible(&mut state, &viewer, &owner, &name)?;
    let new: NewIssueComment = parsed(&body)?;
    check("IssueComment", &new.body)?;
    let at = state.tick();
    let repo = visible(&mut state, &viewer, &owner, &name)?;
    let member = repo.members.contains(&user.login);
    let found = repo.issue_comments.iter_mut().find(|comment| comment.id == id);
    let comment = found.ok_or_else(Refusal::not_found)?;
    if comment.user != *user && !member {
        return Err(Refusal::new(403, "Must have write access to the repository to edit others' comments."));
    }
    comment.body = new.body;
    comment.updated_at = at;
    let comment = comment.clone();
    let shown = issue_comment_json(&site.api, repo, &comment);
    Ok(json_answer(StatusCode::OK, &shown))
}

pub(crate) async fn of_commit(
    Shared(site): Shared<Site>,
    Extension(viewer): Extension<Viewer>,
    Path((owner, name, sha)): ShaPath,
    uri: Uri,
) -> Answer {
    let mut state = site.state();
    let repo = visible(&mut state, &viewer, &owner, &name)?;
    let own = repo.commit_comments.iter().filter(|comment| comment.sha == sha);
    let shown: Vec<_> =
        own.map(|comment| commit_comment_json(&site.api, &repo.repo.full_name, comment)).collect();
    Ok(page(&site.api, &uri, &shown))
}

pub(crate) async fn on_commit(
    Shared(site): Shared<Site>,
    Extension(viewer): Extension<Viewer>,
    Path((owner, name, sha)): ShaPath,
    body: Bytes,
) -> Answer {
    let user = viewer.signed_in()?;
    let mut state = site.state();
    if !visible(&mut state, &viewer, &owner, &name)?.knows(&sha) {
        return Err(Refusal::new(422, format!("No commit found for SHA: {sha}")));
    }
    let new: NewCommitComment = parsed(&body)?;
    check("CommitComment", &new.body)?;
    let (at, id) = (state.tick(), state.next_id());
    let repo = visible(&mut state, &viewer, &owner, &name)?;
    let comment = CommitComment {
        id,
        html_url: format!("{WEB}/{}/commit/{sha}#commitcomment-{id}", repo.repo.full_name),
        sha,
        user: user.clone(),
        body: new.body,
        path: new.path,
        position: new.position,
        created_at: at,
    };
    let shown = commit_comment_json(&site.api, &repo.repo.full_name, &comment);
    repo.commit_comments.push(comment);
    Ok(json_answer(StatusCode::CREATED, &shown))
}

pub(crate) async fn statuses(
    Shared(site): Shared<Site>,
    Extension(viewer): Extension<Viewer>,
    Path((owner, name, sha)): ShaPath,
    uri: Uri,
) -> Answer {
    let mut state = site.state();
    let repo = visible(&mut state, &viewer, &owner, &name)?;
    let own = repo.statuses.iter().rev().filter(|status| status.sha == sha);
    let shown: Vec<_> = own.map(|status| status_json(&site.api, &repo.repo.full_name, status)).collect();
    Ok(page(&site.api, &uri, &shown))
}

pub(crate) async fn set_status(
    Shared(site): Shared<Site>,
    Extension(viewer): Extension<Viewer>,
    Path((owner, name, sha)): ShaPath,
    body: Bytes,
) -> Answer {
    let user = viewer.signed_in()?;
    let mut state = site.state();
    let repo = visible(&mut state, &viewer, &owner, &name)?;
    if !repo.members.contains(&user.login) {
        return Err(Refusal::new(403, "Resource not accessible by personal access token"));
    }
    if !repo.knows(&sha) {
        return Err(Refusal::new(422, format!("No commit found for SHA: {sha}")));
    }
    let new: NewStatus = parsed(&body)?;
    if !["error", "failure", "pending", "success"].contains(&new.state.as_str()) {
        return Err(validation_failed("Status", "state", "state is not included in the list"));
    }
    if new.description.as_ref().is_some_and(|text| text.chars().count() > 140) {
        let message = "description is too long (maximum is 140 characters)";
        return Err(validation_failed("Status", "description", message));
    }
    let (created_at, id) = (state.tick(), state.next_id());
    let repo = visible(&mut state, &viewer, &owner, &name)?;
    let status = Status {
        id,
        sha,
        state: new.state,
        context: new.context.unwrap_or_else(|| "default".into()),
        description: new.description,
        target_url: new.target_url,
        user: user.clone(),
        created_at,
    };
    let shown = status_json(&site.api, &repo.repo.full_name, &status);
    repo.statuses.push(status);
    Ok(json_answer(StatusCode::CREATED, &shown))
}

fn issue_comment_json(api: &str, repo: &RepoState, comment: &IssueComment) -> Value {
    let full = &repo.repo.full_name;
    let own = format!("{api}/repos/{full}/issues/comments/{}", comment.id);
    json!({
        "id": comment.id, "node_id": shape::node_id("IC", comment.id),
        "url": own, "html_url": comment.html_url,
        "reactions": reactions::rollup(repo, Subject::IssueComment(comment.id), &own),
        "issue_url": format!("{api}/repos/{full}/issues/{}", comment.number), "body": comment.body,
        "user": shape::user(api, &comment.user), "created_at": comment.created_at,
        "updated_at": comment.updated_at, "author_association": "COLLABORATOR",
        "performed_via_github_app": null,
    })
}

fn commit_comment_json(api: &str, full: &str, comment: &CommitComment) -> Value {
    json!({
        "id": comment.id, "node_id": shape::node_id("CC", comment.id),
        "url": format!("{api}/repos/{full}/comments/{}", comment.id), "html_url": comment.html_url,
        "user": shape::user(api, &comment.user), "position": comment.position, "line": null,
        "path": comment.path, "commit_id": comment.sha, "body": comment.body, "created_at": comment.created_at,
        "updated_at": comment.created_at, "author_association": "COLLABORATOR",
    })
}

fn status_json(api: &str, full: &str, status: &Status) -> Value {
    let more = json!({
        "node_id": shape::node_id("SC", status.id), "url": format!("{api}/repos/{full}/statuses/{}", status.sha),
        "avatar_url": null, "updated_at": status.created_at, "creator": shape::user(api, &status.user),
    });
    shape::extended(json!(status), more)
}
