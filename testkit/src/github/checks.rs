//! Check runs: what only a GitHub App can write, and only the one that made it can change.

use std::collections::BTreeMap;

use axum::Extension;
use axum::body::Bytes;
use axum::extract::{Path, Query, State as Shared};
use axum::response::Response;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::GitHub;
use super::answer::{Refusal, Viewer, json_answer, parsed};
use super::app::APP_SLUG;
use super::pulls::NumberPath;
use super::routes::{RepoPath, Site, visible};
use super::rules::{MAX_BODY, invalid_request};
use super::state::State;
use crate::shape::{self, WEB};

type Answer = Result<Response, Refusal>;

const STATUSES: [&str; 3] = ["queued", "in_progress", "completed"];
const CONCLUSIONS: [&str; 7] =
    ["success", "failure", "neutral", "cancelled", "skipped", "timed_out", "action_required"];

/// A check run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CheckRun {
    /// Unique id.
    pub id: u64,
    /// `owner/name`.
    pub repository: String,
    /// The commit.
    pub head_sha: String,
    /// Which checker it is from.
    pub name: String,
    /// Slug of the app that made it.
    pub app: String,
    /// `queued`, `in_progress` or completed.
    pub status: String,
    /// Of a completed one.
    pub conclusion: Option<String>,
    /// What its maker calls it.
    pub external_id: String,
    /// Link.
    pub details_url: Option<String>,
    /// One line.
    pub title: Option<String>,
    /// Markdown.
    pub summary: Option<String>,
    /// Times it was changed after it was made.
    pub updates: usize,
}

/// What makes a check run or changes one. GitHub permits no other keys; those that are not here, nobody needs yet.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Change {
    name: Option<String>,
    head_sha: Option<String>,
    external_id: Option<String>,
    details_url: Option<String>,
    status: Option<String>,
    conclusion: Option<String>,
    output: Option<Output>,
}

#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Output {
    title: String,
    summary: String,
}

impl Change {
    fn check(&self) -> Result<(), Refusal> {
        let is_in = |value: &Option<String>, list: &[&str]| {
            value.as_ref().is_none_or(|value| list.contains(&value.as_str()))
        };
        if !is_in(&self.status, &STATUSES) || !is_in(&self.conclusion, &CONCLUSIONS) {
            return Err(invalid_request("No subschema in \"anyOf\" matched."));
        }
        if self.status.as_deref() == Some("completed") && self.conclusion.is_none() {
            return Err(invalid_request("\"conclusion\" wasn't supplied."));
        }
        if self.details_url.as_ref().is_some_and(|url| !url.starts_with("http")) {
            return Err(invalid_request("\"details_url\" must use the http or https scheme."));
        }
        if self.output.as_ref().is_some_and(|output| output.summary.chars().count() > MAX_BODY - 1) {
            return Err(invalid_request("Only 65535 characters are allowed."));
        }
        Ok(())
    }

    /// Lays the change over `run`. One that is completed stays so: only its conclusion can change.
    fn apply(self, run: &mut CheckRun) {
        let set = |to: &mut String, value: Option<String>| {
            if let Some(value) = value {
                *to = value;
            }
        };
        set(&mut run.name, self.name);
        set(&mut run.external_id, self.external_id);
        run.details_url = self.details_url.or(run.details_url.take());
        if let Some(conclusion) = self.conclusion {
            (run.status, run.conclusion) = ("completed".to_owned(), Some(conclusion));
        } else if run.status != "completed" {
            set(&mut run.status, self.status);
        }
        if let Some(output) = self.output {
            (run.title, run.summary) = (Some(output.title), Some(output.summary));
        }
    }
}

impl GitHub {
    /// Check runs of a commit, oldest first.
    pub fn check_runs(&self, repo: &str, sha: &str) -> Vec<CheckRun> {
        let of_commit = |run: &&CheckRun| run.repository == repo && run.head_sha == sha;
        self.state().checks.iter().filter(of_commit).cloned().collect()
    }

    /// Adds a check run as another app would; returns its id.
    pub fn add_check_run(&self, run: CheckRun) -> u64 {
        let mut state = self.state();
        let id = state.next_id();
        state.checks.push(CheckRun { id, ..run });
        id
    }
}

/// Only a bot of the app's comes so far: everybody else has a token.
fn by_app(state: &State, viewer: &Viewer) -> Result<(), Refusal> {
    let is_bot = viewer.signed_in()?.login == format!("{APP_SLUG}[bot]");
    let is_app = is_bot && state.hooks.app.is_some();
    if is_app { Ok(()) } else { Err(Refusal::new(403, "You must authenticate via a GitHub App.")) }
}

/// `POST …/check-runs`.
pub(crate) async fn create(
    Shared(site): Shared<Site>,
    Extension(viewer): Extension<Viewer>,
    Path((owner, name)): RepoPath,
    body: Bytes,
) -> Answer {
    let mut state = site.state();
    visible(&mut state, &viewer, &owner, &name)?;
    by_app(&state, &viewer)?;
    let new: Change = parsed(&body)?;
    new.check()?;
    let missing = |field: &str| invalid_request(&format!("\"{field}\" wasn't supplied."));
    let head_sha = new.head_sha.clone().ok_or_else(|| missing("head_sha"))?;
    if new.name.is_none() {
        return Err(missing("name"));
    }
    if !visible(&mut state, &viewer, &owner, &name)?.knows(&head_sha) {
        return Err(Refusal::new(422, format!("No commit found for SHA: {head_sha}")));
    }
    let mut run = CheckRun {
        id: state.next_id(),
        repository: format!("{owner}/{name}"),
        head_sha,
        app: APP_SLUG.to_owned(),
        status: "queued".to_owned(),
        ..CheckRun::default()
    };
    new.apply(&mut run);
    let shown = run_json(&site.api, &state, &run);
    state.checks.push(run);
    Ok(json_answer(StatusCode::CREATED, &shown))
}

/// `PATCH …/check-runs/{id}`.
pub(crate) async fn update(
    Shared(site): Shared<Site>,
    Extension(viewer): Extension<Viewer>,
    Path((owner, name, id)): NumberPath,
    body: Bytes,
) -> Answer {
    let (mut state, full) = (site.state(), format!("{owner}/{name}"));
    visible(&mut state, &viewer, &owner, &name)?;
    by_app(&state, &viewer)?;
    let change: Change = parsed(&body)?;
    change.check()?;
    let found = state.checks.iter_mut().find(|run| run.id == id && run.repository == full);
    let run = found.ok_or_else(Refusal::not_found)?;
    if run.app != APP_SLUG {
        let message = "Invalid app_id - check run can only be modified by the GitHub App that created it.";
        return Err(Refusal::new(403, message));
    }
    change.apply(run);
    run.updates += 1;
    let run = run.clone();
    Ok(json_answer(StatusCode::OK, &run_json(&site.api, &state, &run)))
}

/// `GET …/commits/{sha}/check-runs`: of each name of each app the latest, unless all are asked for.
pub(crate) async fn list(
    Shared(site): Shared<Site>,
    Extension(viewer): Extension<Viewer>,
    Path((owner, name, sha)): Path<(String, String, String)>,
    Query(query): Query<BTreeMap<String, String>>,
) -> Answer {
    let mut state = site.state();
    if !visible(&mut state, &viewer, &owner, &name)?.knows(&sha) {
        return Err(Refusal::new(422, format!("No commit found for SHA: {sha}")));
    }
    let asked = |key: &str| query.get(key).map(String::as_str);
    let full = format!("{owner}/{name}");
    let mut found: Vec<&CheckRun> = Vec::new();
    for run in state.checks.iter().rev().filter(|run| run.repository == full && run.head_sha == sha) {
        let is_named = asked("check_name").is_none_or(|wanted| wanted == run.name);
        let has_later = found.iter().any(|later| later.name == run.name && later.app == run.app);
        if is_named && (asked("filter") == Some("all") || !has_later) {
            found.push(run);
        }
    }
    let per_page = asked("per_page").and_then(|number| number.parse().ok()).unwrap_or(30).clamp(1, 100);
    let shown: Vec<Value> = found.iter().take(per_page).map(|run| run_json(&site.api, &state, run)).collect();
    Ok(json_answer(StatusCode::OK, &json!({"total_count": found.len(), "check_runs": shown})))
}

fn run_json(api: &str, state: &State, run: &CheckRun) -> Value {
    let full = &run.repository;
    let app = match (&state.hooks.app, run.app == APP_SLUG) {
        (Some(app), true) => app.json(),
        _ => json!({"id": shape::id_of(&run.app), "slug": run.app, "name": run.app}),
    };
    json!({
        "id": run.id, "node_id": shape::node_id("CR", run.id), "head_sha": run.head_sha, "name": run.name,
        "external_id": run.external_id, "url": format!("{api}/repos/{full}/check-runs/{}", run.id),
        "html_url": format!("{WEB}/{full}/runs/{}", run.id), "details_url": run.details_url,
        "status": run.status, "conclusion": run.conclusion, "started_at": "2026-11-22T10:00:00Z",
        "completed_at": run.conclusion.as_ref().map(|_| "2026-11-22T10:00:30Z"), "app": app,
        "output": {"title": run.title, "summary": run.summary, "text": null, "annotations_count": 0,
                   "annotations_url": format!("{api}/repos/{full}/check-runs/{}/annotations", run.id)},
        "check_suite": {"id": shape::id_of(&run.head_sha)}, "pull_requests": [],
    })
}
