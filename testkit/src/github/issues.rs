//! Issues, read only.

use axum::Extension;
use axum::extract::{Path, State as Shared};
use axum::response::Response;
use http::StatusCode;
use serde_json::{Value, json};

use super::GitHub;
use super::answer::{Refusal, Viewer, json_answer};
use super::pulls::NumberPath;
use super::routes::{Site, visible};
use crate::shape::{self, User, WEB, id_of, node_id};

/// An issue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Issue {
    pub(crate) number: u64,
    pub(crate) title: String,
    pub(crate) body: String,
    pub(crate) author: User,
    pub(crate) open: bool,
}

impl GitHub {
    /// Adds an open issue to a repository that was added before.
    pub fn add_issue(&self, repo: &str, number: u64, author: &str, title: &str, body: &str) {
        self.change(|state| {
            if let Some(repo) = state.repos.get_mut(repo) {
                let (title, body) = (title.to_owned(), body.to_owned());
                let issue = Issue { number, title, body, author: User::new(author), open: true };
                repo.issues.insert(number, issue);
            }
        });
    }

    /// The pull request says that it closes an issue, perhaps one of another repository.
    pub fn link_issue(&self, repo: &str, number: u64, issue_repo: &str, issue: u64) {
        self.change_pull(repo, number, |it| it.closes.push((issue_repo.to_owned(), issue)));
    }
}

/// What an issue and the issue side of a pull request share.
struct Shown<'a> {
    number: u64,
    title: &'a str,
    body: Option<&'a str>,
    author: &'a User,
    open: bool,
    is_pull: bool,
}

pub(crate) async fn show(
    Shared(site): Shared<Site>,
    Extension(viewer): Extension<Viewer>,
    Path((owner, name, number)): NumberPath,
) -> Result<Response, Refusal> {
    let mut state = site.state();
    let repo = visible(&mut state, &viewer, &owner, &name)?;
    let of_issue = repo.issues.get(&number).map(|issue| Shown {
        number,
        title: &issue.title,
        body: Some(&issue.body),
        author: &issue.author,
        open: issue.open,
        is_pull: false,
    });
    let of_pull = || {
        repo.pulls.get(&number).map(|it| Shown {
            number,
            title: &it.pull.title,
            body: it.pull.body.as_deref(),
            author: &it.pull.author,
            open: it.pull.open,
            is_pull: true,
        })
    };
    let shown = of_issue.or_else(of_pull).ok_or_else(Refusal::not_found)?;
    Ok(json_answer(StatusCode::OK, &issue_json(&site.api, &repo.repo.full_name, &shown)))
}

fn issue_json(api: &str, full: &str, it: &Shown<'_>) -> Value {
    let own = format!("{api}/repos/{full}/issues/{}", it.number);
    let kind = if it.is_pull { "pull" } else { "issues" };
    let page = format!("{WEB}/{full}/{kind}/{}", it.number);
    let id = id_of(&page);
    let mut shown = json!({
        "id": id, "node_id": node_id("I", id), "url": own, "html_url": page, "number": it.number,
        "title": it.title, "body": it.body, "user": shape::user(api, it.author),
        "state": if it.open { "open" } else { "closed" }, "state_reason": null, "locked": false, "labels": [],
        "assignees": [], "milestone": null, "comments": 0, "author_association": "CONTRIBUTOR",
        "comments_url": format!("{own}/comments"), "repository_url": format!("{api}/repos/{full}"),
        "created_at": "2026-11-20T08:00:00Z", "updated_at": "2026-11-20T08:00:00Z", "closed_at": null,
    });
    if it.is_pull {
        let pull = format!("{api}/repos/{full}/pulls/{}", it.number);
        shown["pull_request"] = json!({"url": pull, "html_url": page, "merged_at": null});
    }
    shown
}
