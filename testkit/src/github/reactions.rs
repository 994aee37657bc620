//! Reactions to comments.

use axum::Extension;
use axum::body::Bytes;
use axum::extract::{Path, State as Shared};
use axum::response::{IntoResponse, Response};
use http::{StatusCode, Uri};
use serde::Deserialize;
use serde_json::{Value, json};

use super::GitHub;
use super::answer::{Refusal, Viewer, json_answer, page, parsed};
use super::routes::{Site, visible};
use super::rules::invalid_request;
use super::state::RepoState;
use crate::shape::{self, User};

/// REST's name of each reaction, and GraphQL's.
pub(crate) const CONTENTS: [(&str, &str); 8] = [
    ("+1", "THUMBS_UP"),
    ("-1", "THUMBS_DOWN"),
    ("laugh", "LAUGH"),
    ("hooray", "HOORAY"),
    ("confused", "CONFUSED"),
    ("heart", "HEART"),
    ("rocket", "ROCKET"),
    ("eyes", "EYES"),
];

/// What is reacted to, by its id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject {
    /// A comment in the conversation of an issue or pull request.
    IssueComment(u64),
    /// A comment on code.
    ReviewComment(u64),
}

/// Somebody's reaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reaction {
    /// Unique id.
    pub id: u64,
    /// What it is on.
    pub on: Subject,
    /// Whose it is.
    pub user: User,
    /// `+1`, `-1`, `laugh`, `confused`, `heart`, `hooray`, `rocket` or `eyes`.
    pub content: String,
}

#[derive(Deserialize)]
struct NewReaction {
    content: String,
}

impl RepoState {
    pub(crate) fn reactions_on(&self, on: Subject) -> impl Iterator<Item = &Reaction> {
        self.reactions.iter().filter(move |reaction| reaction.on == on)
    }

    fn has(&self, on: Subject) -> bool {
        match on {
            Subject::IssueComment(id) => self.issue_comments.iter().any(|comment| comment.id == id),
            Subject::ReviewComment(id) => {
                self.pulls.values().flat_map(|it| &it.comments).any(|comment| comment.id == id)
            }
        }
    }
}

impl GitHub {
    /// The reactions to a comment, oldest first.
    pub fn reactions(&self, repo: &str, on: Subject) -> Vec<Reaction> {
        let state = self.state();
        state.repos.get(repo).map(|repo| repo.reactions_on(on).cloned().collect()).unwrap_or_default()
    }
}

/// `…/issues/comments/{id}/reactions…` or `…/pulls/comments/{id}/reactions…`.
fn subject(uri: &Uri, id: u64) -> Subject {
    if uri.path().contains("/pulls/comments/") {
        Subject::ReviewComment(id)
    } else {
        Subject::IssueComment(id)
    }
}

pub(crate) async fn list(
    Shared(site): Shared<Site>,
    Extension(viewer): Extension<Viewer>,
    Path((owner, name, id)): Path<(String, String, u64)>,
    uri: Uri,
) -> Result<Response, Refusal> {
    let mut state = site.state();
    let repo = visible(&mut state, &viewer, &owner, &name)?;
    let on = subject(&uri, id);
    if !repo.has(on) {
        return Err(Refusal::not_found());
    }
    let shown: Vec<_> = repo.reactions_on(on).map(|reaction| reaction_json(&site.api, reaction)).collect();
    Ok(page(&site.api, &uri, &shown))
}

/// 201, or 200 if the viewer has reacted so before.
pub(crate) async fn create(
    Shared(site): Shared<Site>,
    Extension(viewer): Extension<Viewer>,
    Path((owner, name, id)): Path<(String, String, u64)>,
    uri: Uri,
    body: Bytes,
) -> Result<Response, Refusal> {
    let user = viewer.signed_in()?;
    let (mut state, on) = (site.state(), subject(&uri, id));
    let fresh = state.next_id();
    let repo = visible(&mut state, &viewer, &owner, &name)?;
    if !repo.has(on) {
        return Err(Refusal::not_found());
    }
    let new: NewReaction = parsed(&body)?;
    if !CONTENTS.iter().any(|(name, _)| *name == new.content) {
        return Err(invalid_request("\"content\" is not a permitted value."));
    }
    let known = repo.reactions_on(on).find(|it| it.user == *user && it.content == new.content);
    if let Some(known) = known {
        return Ok(json_answer(StatusCode::OK, &reaction_json(&site.api, known)));
    }
    let reaction = Reaction { id: fresh, on, user: user.clone(), content: new.content };
    let shown = reaction_json(&site.api, &reaction);
    repo.reactions.push(reaction);
    Ok(json_answer(StatusCode::CREATED, &shown))
}

/// 204; only one's own.
pub(crate) async fn delete(
    Shared(site): Shared<Site>,
    Extension(viewer): Extension<Viewer>,
    Path((owner, name, id, reaction)): Path<(String, String, u64, u64)>,
    uri: Uri,
) -> Result<Response, Refusal> {
    let user = viewer.signed_in()?;
    let (mut state, on) = (site.state(), subject(&uri, id));
    let repo = visible(&mut state, &viewer, &owner, &name)?;
    let at = repo.reactions.iter().position(|it| it.id == reaction && it.on == on && it.user == *user);
    repo.reactions.remove(at.ok_or_else(Refusal::not_found)?);
    Ok(StatusCode::NO_CONTENT.into_response())
}

fn reaction_json(api: &str, reaction: &Reaction) -> Value {
    json!({
        "id": reaction.id, "node_id": shape::node_id("REA", reaction.id), "content": reaction.content,
        "user": shape::user(api, &reaction.user), "created_at": "2026-11-22T10:00:00Z",
    })
}

/// How many of each, as comments carry it.
pub(crate) fn rollup(repo: &RepoState, on: Subject, comment_url: &str) -> Value {
    let count = |content: &str| repo.reactions_on(on).filter(|it| it.content == content).count();
    let mut counts =
        json!({"url": format!("{comment_url}/reactions"), "total_count": repo.reactions_on(on).count()});
    for (name, _) in CONTENTS {
        counts[name] = json!(count(name));
    }
    counts
}
