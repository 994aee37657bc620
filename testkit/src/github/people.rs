//! Who may do what, and what people do while the reviewer works.

use axum::Extension;
use axum::extract::{Path, State as Shared};
use axum::response::Response;
use http::StatusCode;
use serde_json::json;

use super::GitHub;
use super::answer::{Refusal, Viewer, json_answer};
use super::diff::Side;
use super::reactions::{Reaction, Subject};
use super::routes::{Site, visible};
use super::state::{IssueComment, PullState, RepoState, Review, ReviewComment};
use crate::shape::{self, User};

/// What an account may do in a repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Look.
    Read,
    /// Look, and sort issues.
    Triage,
    /// Push.
    Write,
    /// Push, and some settings.
    Maintain,
    /// Everything.
    Admin,
}

impl Role {
    fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Triage => "triage",
            Self::Write => "write",
            Self::Maintain => "maintain",
            Self::Admin => "admin",
        }
    }

    /// The older name, which knows only three.
    fn permission(self) -> &'static str {
        match self {
            Self::Read | Self::Triage => "read",
            Self::Write | Self::Maintain => "write",
            Self::Admin => "admin",
        }
    }
}

impl RepoState {
    /// What `login` may do; `None` for a stranger to a private repository.
    pub(crate) fn role(&self, login: &str) -> Option<Role> {
        match self.roles.get(login) {
            Some(role) => Some(*role),
            None if self.repo.owner() == login => Some(Role::Admin),
            None if self.members.contains(login) => Some(Role::Write),
            None if self.repo.private => None,
            None => Some(Role::Read),
        }
    }
}

impl GitHub {
    /// Gives `login` exactly this access to a repository that was added before.
    pub fn set_role(&self, repo: &str, login: &str, role: Role) {
        self.change(|state| {
            let Some(repo) = state.repos.get_mut(repo) else { return };
            repo.roles.insert(login.to_owned(), role);
            if role >= Role::Write {
                repo.members.insert(login.to_owned());
            } else {
                repo.members.remove(login);
            }
        });
    }

    /// Gives `login` read access only.
    pub fn add_reader(&self, repo: &str, login: &str) {
        self.set_role(repo, login, Role::Read);
    }

    /// Makes the pull request one from a fork.
    pub fn set_fork(&self, repo: &str, number: u64, fork: &str) {
        self.change_pull(repo, number, |it| it.fork = Some(fork.to_owned()));
    }

    /// Changes the message of one of the pull request's commits.
    pub fn set_message(&self, repo: &str, number: u64, sha: &str, message: &str) {
        self.change_pull(repo, number, |it| {
            if let Some(head) = it.heads.iter_mut().find(|head| head.sha == sha) {
                message.clone_into(&mut head.message);
            }
        });
    }

    /// Somebody presses "Resolve conversation" in the thread of a comment.
    pub fn resolve_as(&self, login: &str, repo: &str, number: u64, comment: u64) {
        self.change_pull(repo, number, |it| {
            if let Some(root) = it.root_of(comment).map(|root| root.id) {
                it.resolved.insert(root, User::new(login));
            }
        });
    }

    /// Who resolved the thread of a comment, if somebody did.
    pub fn resolved_by(&self, repo: &str, number: u64, comment: u64) -> Option<String> {
        let state = self.state();
        let it = state.pull(repo, number)?;
        it.resolved.get(&it.root_of(comment)?.id).map(|user| user.login.clone())
    }

    /// Somebody deletes a comment on code.
    pub fn delete_comment(&self, repo: &str, number: u64, comment: u64) {
        self.change_pull(repo, number, |it| it.comments.retain(|it| it.id != comment));
    }

    /// A maintainer edits the body of a review.
    pub fn edit_review(&self, repo: &str, number: u64, review: u64, edit: impl FnOnce(&str) -> String) {
        self.change_pull(repo, number, |it| {
            if let Some(review) = it.reviews.iter_mut().find(|it| it.id == review) {
                review.body = edit(&review.body);
            }
        });
    }

    /// Somebody presses "Unresolve conversation".
    pub fn unresolve(&self, repo: &str, number: u64, comment: u64) {
        self.change_pull(repo, number, |it| {
            if let Some(root) = it.root_of(comment).map(|root| root.id) {
                it.resolved.remove(&root);
            }
        });
    }

    /// Somebody reacts to a comment: `+1`, `-1`, `laugh`, `confused`, `heart`, `hooray`, `rocket` or `eyes`.
    pub fn react_as(&self, login: &str, repo: &str, on: Subject, content: &str) {
        self.change(|state| {
            let id = state.next_id();
            let (user, content) = (User::new(login), content.to_owned());
            if let Some(repo) = state.repos.get_mut(repo) {
                repo.reactions.push(Reaction { id, on, user, content });
            }
        });
    }

    /// Somebody dislikes a comment on code.
    pub fn thumbs_down_as(&self, login: &str, repo: &str, comment: u64) {
        self.react_as(login, repo, Subject::ReviewComment(comment), "-1");
    }

    /// Somebody answers in the thread of a comment; returns the answer's id, 0 if there is no such comment.
    pub fn reply_as(&self, login: &str, repo: &str, number: u64, comment: u64, body: &str) -> u64 {
        let (mut state, mut added) = (self.state(), 0);
        let (at, id, review_id) = (state.tick(), state.next_id(), state.next_id());
        if let Some(repo) = state.repos.get_mut(repo) {
            let html_url = repo.page(number, &format!("discussion_r{id}"));
            let root = repo.pulls.get(&number).and_then(|it| it.root_of(comment)).cloned();
            if let (Some(root), Some(it)) = (root, repo.pulls.get_mut(&number)) {
                it.comments.push(ReviewComment {
                    id,
                    review_id,
                    user: User::new(login),
                    body: body.to_owned(),
                    in_reply_to: Some(root.id),
                    created_at: at,
                    html_url,
                    ..root
                });
                added = id;
            }
        }
        drop(state);
        self.touch();
        added
    }

    /// Somebody comments on a line of the newest head; returns the comment's id. Nothing is checked.
    pub fn remark_as(
        &self,
        login: &str,
        repo: &str,
        number: u64,
        (path, line): (&str, u64),
        body: &str,
    ) -> u64 {
        let mut state = self.state();
        let (at, id, review_id) = (state.tick(), state.next_id(), state.next_id());
        if let Some(repo) = state.repos.get_mut(repo) {
            let html_url = repo.page(number, &format!("discussion_r{id}"));
            if let Some(it) = repo.pulls.get_mut(&number) {
                it.comments.push(ReviewComment {
                    id,
                    review_id,
                    user: User::new(login),
                    path: path.to_owned(),
                    body: body.to_owned(),
                    line: Some(line),
                    side: Side::Right,
                    start_line: None,
                    start_side: None,
                    commit_id: it.pull.head_sha.clone(),
                    in_reply_to: None,
                    created_at: at,
                    html_url,
                });
            }
        }
        drop(state);
        self.touch();
        id
    }

    /// Somebody reviews the newest head, without comments; returns the review's id.
    pub fn review_as(&self, login: &str, repo: &str, number: u64, body: &str) -> u64 {
        let mut state = self.state();
        let (submitted_at, id) = (state.tick(), state.next_id());
        if let Some(repo) = state.repos.get_mut(repo) {
            let html_url = repo.page(number, &format!("pullrequestreview-{id}"));
            let add = |it: &mut PullState| {
                it.reviews.push(Review {
                    id,
                    user: User::new(login),
                    body: body.to_owned(),
                    state: "COMMENTED",
                    commit_id: it.pull.head_sha.clone(),
                    submitted_at,
                    html_url,
                    implicit: false,
                });
            };
            repo.pulls.get_mut(&number).map(add);
        }
        drop(state);
        self.touch();
        id
    }

    /// Somebody writes in the conversation of an issue or pull request; returns the comment's id.
    pub fn comment_as(&self, login: &str, repo: &str, number: u64, body: &str) -> u64 {
        let mut state = self.state();
        let (at, id) = (state.tick(), state.next_id());
        if let Some(repo) = state.repos.get_mut(repo) {
            repo.issue_comments.push(IssueComment {
                id,
                number,
                user: User::new(login),
                body: body.to_owned(),
                created_at: at.clone(),
                updated_at: at,
                html_url: repo.page(number, &format!("issuecomment-{id}")),
            });
        }
        drop(state);
        self.touch();
        id
    }
}

/// `GET …/collaborators/{login}/permission`: for those who may push.
pub(crate) async fn permission(
    Shared(site): Shared<Site>,
    Extension(viewer): Extension<Viewer>,
    Path((owner, name, login)): Path<(String, String, String)>,
) -> Result<Response, Refusal> {
    let asking = viewer.signed_in()?;
    let mut state = site.state();
    let is_known = state.users.values().any(|user| user.login == login);
    let repo = visible(&mut state, &viewer, &owner, &name)?;
    if repo.role(&asking.login) < Some(Role::Write) {
        return Err(Refusal::new(403, "Must have push access to view collaborator permission."));
    }
    let authors = repo.pulls.values().map(|it| &it.pull.author.login);
    let mut here = authors.chain(repo.roles.keys()).chain(&repo.members);
    if !is_known && !here.any(|known| *known == login) {
        return Err(Refusal::new(404, format!("{login} is not a user")));
    }
    let role = repo.role(&login);
    let shown = json!({
        "permission": role.map_or("none", Role::permission), "role_name": role.map_or("", Role::name),
        "user": shape::user(&site.api, &User::new(login)),
    });
    Ok(json_answer(StatusCode::OK, &shown))
}
