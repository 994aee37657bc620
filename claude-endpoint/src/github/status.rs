//! What stands beside a commit: a commit status by a token's owner, a check run by a GitHub App.
//!
//! Setting the same again changes nothing: of commit statuses GitHub shows the newest of a name, and a check run is
//! looked up before it is made, so that a call that was cut off leaves no second one behind.

use std::collections::VecDeque;

use bytes::Bytes;
use http::Method;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::Mutex;
use url::form_urlencoded::byte_serialize;

use super::transport::{GithubError, Who};
use super::{Github, Result, decode, repo, sha};
use crate::status::{Conclusion, Status};

/// Commits whose status is remembered, so that it is not set again.
const MOST_REMEMBERED: usize = 500;
/// For whoever looks at a check run that is not a success although nothing was found.
const NOT_WHOLE: &str = "This commit has no whole review, so this is not a success.";
const TOKEN_ADVICE: &str = "for a status GITHUB_TOKEN needs \"Commit statuses: read and write\" (classic: repo:status); or set STATUS=off";
const APP_ADVICE: &str = "for a status the GitHub App needs \"Checks: read and write\", which the owner of the installation \
    must then accept; or set STATUS=off";

/// What became of setting a status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told {
    /// It is set.
    Set,
    /// It was so already.
    Unchanged,
    /// Nobody wants one (`STATUS=off`), or nobody is there as whom to set it.
    Off,
    /// We may not; the text says what to do. The review is none the worse for it.
    Unpermitted(String),
}

/// The statuses' name, and what was set last.
#[derive(Debug)]
pub(super) struct Statuses {
    context: Option<String>,
    /// Newest last. Locked while one is set, so that no two make a check run each.
    last: Mutex<VecDeque<Last>>,
}

#[derive(Debug)]
struct Last {
    repository: String,
    head: String,
    status: Status,
    /// Of the check run.
    run: Option<Run>,
}

/// A check run of ours.
#[derive(Debug, Clone, Copy)]
struct Run {
    id: u64,
    /// Then GitHub lets only its conclusion change.
    is_completed: bool,
}

impl Statuses {
    pub(super) fn new(context: Option<String>) -> Self {
        Self { context, last: Mutex::default() }
    }
}

#[derive(Deserialize)]
struct WireRuns {
    check_runs: Vec<WireRun>,
}

#[derive(Deserialize)]
struct WireRun {
    id: u64,
    status: String,
    conclusion: Option<String>,
    external_id: Option<String>,
    details_url: Option<String>,
    output: Option<WireOutput>,
    app: Option<WireOwner>,
}

#[derive(Deserialize)]
struct WireOutput {
    title: Option<String>,
}

#[derive(Deserialize)]
struct WireOwner {
    id: u64,
    client_id: Option<String>,
}

impl WireRun {
    /// Other apps may use the same name.
    fn is_of(&self, app: &str, external_id: &str) -> bool {
        let made_by =
            |owner: &WireOwner| owner.id.to_string() == app || owner.client_id.as_deref() == Some(app);
        self.external_id.as_deref() == Some(external_id) && self.app.as_ref().is_some_and(made_by)
    }

    fn shows(&self, status: &Status) -> bool {
        let title = self.output.as_ref().and_then(|output| output.title.as_deref());
        (self.status.as_str(), self.conclusion.as_deref()) == of_check(status.conclusion)
            && title == Some(status.description.as_str())
            && (status.url.is_none() || self.details_url == status.url)
    }

    fn run(&self) -> Run {
        Run { id: self.id, is_completed: self.status == "completed" }
    }
}

impl Github {
    /// Sets the status of `head`: a commit status with a token, a check run as a GitHub App.
    ///
    /// # Errors
    /// [`GithubError`], but not that we may not: that is [`Told::Unpermitted`].
    pub async fn set_status(&self, repository: &str, head: &str, status: &Status) -> Result<Told> {
        let Some(context) = &self.statuses.context else { return Ok(Told::Off) };
        let mut last = self.statuses.last.lock().await;
        let known = last.iter().position(|it| it.repository == repository && it.head == head);
        if known.is_some_and(|at| last[at].status == *status) {
            return Ok(Told::Unchanged);
        }
        // whatever comes of it: what stands there is unknown until it has come to an end
        let run = known.and_then(|at| last.remove(at)).and_then(|it| it.run);
        let set = match self.transport.app() {
            _ if !self.can_post() => return Ok(Told::Off),
            Some(app) => self.set_check(repository, head, status, Name { context, app: app.id() }, run).await,
            None => self.set_commit_status(repository, head, status, context).await,
        };
        let (told, run) = match (set, self.transport.who()) {
            (Ok(set), _) => set,
            (Err(error @ GithubError::Forbidden(_)), Who::App) => return Ok(unpermitted(&error, APP_ADVICE)),
            // GitHub hides what a classic token without the scope may not write
            (Err(error @ (GithubError::Forbidden(_) | GithubError::NotFound(_))), Who::Token) => {
                return Ok(unpermitted(&error, TOKEN_ADVICE));
            }
            (Err(error), _) => return Err(error),
        };
        if last.len() >= MOST_REMEMBERED {
            last.pop_front();
        }
        last.push_back(Last {
            repository: repository.to_owned(),
            head: head.to_owned(),
            status: status.clone(),
            run,
        });
        Ok(told)
    }

    async fn set_commit_status(
        &self,
        repository: &str,
        head: &str,
        status: &Status,
        context: &str,
    ) -> Result<(Told, Option<Run>)> {
        let mut body = json!({
            "state": of_commit(status.conclusion), "context": context, "description": status.description,
        });
        if let Some(url) = &status.url {
            body["target_url"] = url.as_str().into();
        }
        let path = format!("{}/statuses/{}", repo(repository)?, sha(head)?);
        self.write(Method::POST, &path, Some(&body)).await?;
        Ok((Told::Set, None))
    }

    /// Changes our check run, or makes one: the first, or one that goes on after a completed one, which cannot.
    async fn set_check(
        &self,
        repository: &str,
        head: &str,
        status: &Status,
        name: Name<'_>,
        known: Option<Run>,
    ) -> Result<(Told, Option<Run>)> {
        let path = repo(repository)?;
        let found = match known {
            Some(run) => Some(run),
            None => match self.find_check(&path, sha(head)?, name).await? {
                Some(found) if found.shows(status) => return Ok((Told::Unchanged, Some(found.run()))),
                found => found.as_ref().map(WireRun::run),
            },
        };
        let mut body = check_body(status, name.context, &external_id(head));
        let is_open = status.conclusion == Conclusion::Pending;
        let written: Bytes = match found.filter(|run| !(run.is_completed && is_open)) {
            Some(run) => {
                self.write(Method::PATCH, &format!("{path}/check-runs/{}", run.id), Some(&body)).await?
            }
            None => {
                body["head_sha"] = head.into();
                self.write(Method::POST, &format!("{path}/check-runs"), Some(&body)).await?
            }
        };
        Ok((Told::Set, Some(decode::<WireRun>(&written)?.run())))
    }

    async fn find_check(&self, path: &str, head: &str, name: Name<'_>) -> Result<Option<WireRun>> {
        let encoded: String = byte_serialize(name.context.as_bytes()).collect();
        let path =
            format!("{path}/commits/{head}/check-runs?check_name={encoded}&filter=latest&per_page=100");
        let runs: WireRuns = self.get_json(&path).await?;
        Ok(runs.check_runs.into_iter().find(|run| run.is_of(name.app, &external_id(head))))
    }
}

/// Whose check run, and what it is called.
#[derive(Clone, Copy)]
struct Name<'a> {
    context: &'a str,
    app: &'a str,
}

fn external_id(head: &str) -> String {
    format!("ai-relay/{head}")
}

fn unpermitted(error: &GithubError, advice: &str) -> Told {
    Told::Unpermitted(format!("{error}; {advice}"))
}

fn of_commit(conclusion: Conclusion) -> &'static str {
    match conclusion {
        Conclusion::Pending => "pending",
        Conclusion::Success => "success",
        Conclusion::Failure => "failure",
        Conclusion::Error => "error",
    }
}

/// Status and conclusion. A `neutral` or `skipped` one would let a pull request be merged that requires this check, as
/// a success does; so what has no whole review requires somebody to act.
fn of_check(conclusion: Conclusion) -> (&'static str, Option<&'static str>) {
    match conclusion {
        Conclusion::Pending => ("in_progress", None),
        Conclusion::Success => ("completed", Some("success")),
        Conclusion::Failure => ("completed", Some("failure")),
        Conclusion::Error => ("completed", Some("action_required")),
    }
}

fn check_body(status: &Status, context: &str, external_id: &str) -> Value {
    let (state, conclusion) = of_check(status.conclusion);
    let summary = match status.conclusion {
        Conclusion::Error => format!("{}\n\n{NOT_WHOLE}", status.description),
        _ => status.description.clone(),
    };
    let mut body = json!({
        "name": context, "external_id": external_id, "status": state,
        "output": {"title": status.description, "summary": summary},
    });
    if let Some(conclusion) = conclusion {
        body["conclusion"] = conclusion.into();
    }
    if let Some(url) = &status.url {
        body["details_url"] = url.as_str().into();
    }
    body
}

#[cfg(test)]
#[path = "status_tests.rs"]
mod tests;
