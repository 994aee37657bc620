//! Pull requests and their diffs, read only.

use axum::Extension;
use axum::extract::{Path, State as Shared};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, StatusCode, Uri, header};
use serde_json::{Value, json};

use super::answer::{Refusal, Viewer, json_answer, page, wants_diff};
use super::diff::{self, FileDiff};
use super::routes::{Site, visible};
use super::state::PullState;
use crate::shape::{self, Pull, Repo, User, WEB};

/// Limits of the diff media type (REST documentation, "Get a pull request").
const MAX_DIFF_FILES: usize = 300;
const MAX_DIFF_LINES: usize = 20_000;
const MAX_DIFF_BYTES: usize = 1 << 20;
/// Beyond these a file comes without its `patch`.
const MAX_PATCH_LINES: usize = 20_000;
const MAX_PATCH_BYTES: usize = 500 << 10;
/// Files a pull request lists at most.
const MAX_LISTED_FILES: usize = 3_000;

/// `{owner}/{repo}` and a number.
pub(crate) type NumberPath = Path<(String, String, u64)>;

pub(crate) async fn show(
    Shared(site): Shared<Site>,
    Extension(viewer): Extension<Viewer>,
    Path((owner, name, number)): NumberPath,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let mut state = site.state();
    let repo = visible(&mut state, &viewer, &owner, &name)?;
    let it = repo.pulls.get(&number).ok_or_else(Refusal::not_found)?;
    if wants_diff(&headers) {
        return diff_answer(it.diff(), "PullRequest");
    }
    let mut shown = shape::pull_request(&site.api, &repo.repo, &measured(it));
    if let Some(fork) = &it.fork {
        shown["head"]["repo"]["full_name"] = json!(fork);
        shown["head"]["repo"]["fork"] = json!(true);
    }
    let counts = json!({"review_comments": it.comments.len(),
        "comments": repo.issue_comments.iter().filter(|comment| comment.number == number).count()});
    Ok(json_answer(StatusCode::OK, &shape::extended(shown, counts)))
}

/// The pull request with the counts of its diff.
pub(crate) fn measured(it: &PullState) -> Pull {
    let files = diff::read(it.diff());
    let (added, deleted) = files.iter().fold((0, 0), |(a, d), file| (a + file.additions, d + file.deletions));
    Pull { size: [it.heads.len(), files.len(), added, deleted], ..it.pull.clone() }
}

pub(crate) async fn files(
    Shared(site): Shared<Site>,
    Extension(viewer): Extension<Viewer>,
    Path((owner, name, number)): NumberPath,
    uri: Uri,
) -> Result<Response, Refusal> {
    let mut state = site.state();
    let repo = visible(&mut state, &viewer, &owner, &name)?;
    let it = repo.pulls.get(&number).ok_or_else(Refusal::not_found)?;
    let files = diff::read(it.diff());
    let shown: Vec<_> = files
        .iter()
        .take(MAX_LISTED_FILES)
        .map(|file| file_json(&site.api, &repo.repo, &it.pull.head_sha, file))
        .collect();
    Ok(page(&site.api, &uri, &shown))
}

fn file_json(api: &str, repo: &Repo, sha: &str, file: &FileDiff) -> Value {
    let (full, path) = (&repo.full_name, &file.path);
    let mut shown = json!({
        "sha": shape::sha_of(&format!("{sha} {path}")), "filename": path, "status": file.status,
        "additions": file.additions, "deletions": file.deletions, "changes": file.additions + file.deletions,
        "blob_url": format!("{WEB}/{full}/blob/{sha}/{path}"), "raw_url": format!("{WEB}/{full}/raw/{sha}/{path}"),
        "contents_url": format!("{api}/repos/{full}/contents/{path}?ref={sha}"),
    });
    if let Some(patch) = file.patch.as_ref().filter(|patch| {
        patch.len() <= MAX_PATCH_BYTES
            && patch.bytes().filter(|byte| *byte == b'\n').count() < MAX_PATCH_LINES
    }) {
        shown["patch"] = json!(patch);
    }
    if let Some(previous) = &file.previous_path {
        shown["previous_filename"] = json!(previous);
    }
    shown
}

pub(crate) async fn commits(
    Shared(site): Shared<Site>,
    Extension(viewer): Extension<Viewer>,
    Path((owner, name, number)): NumberPath,
    uri: Uri,
) -> Result<Response, Refusal> {
    let mut state = site.state();
    let repo = visible(&mut state, &viewer, &owner, &name)?;
    let it = repo.pulls.get(&number).ok_or_else(Refusal::not_found)?;
    let parents = std::iter::once(&it.pull.base_sha).chain(it.heads.iter().map(|head| &head.sha));
    let shown: Vec<_> = it
        .heads
        .iter()
        .zip(parents)
        .map(|(head, parent)| {
            commit_json(&site.api, &repo.repo, &it.pull.author, (&head.sha, parent), &head.message)
        })
        .collect();
    Ok(page(&site.api, &uri, &shown))
}

fn commit_json(api: &str, repo: &Repo, author: &User, (sha, parent): (&str, &str), message: &str) -> Value {
    let full = &repo.full_name;
    let (own, html) = (format!("{api}/repos/{full}/commits"), format!("{WEB}/{full}/commit"));
    let person = json!({"name": author.login, "email": format!("{}@users.noreply.github.com", author.login),
        "date": "2026-11-22T09:58:00Z"});
    json!({
        "sha": sha, "node_id": format!("C_{sha}"), "url": format!("{own}/{sha}"),
        "html_url": format!("{html}/{sha}"), "comments_url": format!("{own}/{sha}/comments"),
        "commit": {
            "author": person, "committer": person, "message": message, "comment_count": 0,
            "tree": {"sha": shape::sha_of(&format!("tree {sha}")),
                "url": format!("{api}/repos/{full}/git/trees/{sha}")},
            "url": format!("{api}/repos/{full}/git/commits/{sha}"),
            "verification": {"verified": false, "reason": "unsigned", "signature": null, "payload": null,
                "verified_at": null},
        },
        "author": shape::user(api, author), "committer": shape::user(api, author),
        "parents": [{"sha": parent, "url": format!("{own}/{parent}"), "html_url": format!("{html}/{parent}")}],
    })
}

pub(crate) async fn compare(
    Shared(site): Shared<Site>,
    Extension(viewer): Extension<Viewer>,
    Path((owner, name, range)): Path<(String, String, String)>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let mut state = site.state();
    let repo = visible(&mut state, &viewer, &owner, &name)?;
    let (base, head) = range.split_once("...").ok_or_else(Refusal::not_found)?;
    let text = repo.range(base, head).ok_or_else(Refusal::not_found)?;
    if wants_diff(&headers) {
        return diff_answer(text, "Comparison");
    }
    let (api, full) = (&*site.api, &repo.repo.full_name);
    let files: Vec<_> = diff::read(text)
        .iter()
        .take(MAX_DIFF_FILES)
        .map(|file| file_json(api, &repo.repo, head, file))
        .collect();
    let author = User::new(repo.repo.owner());
    let first = commit_json(api, &repo.repo, &author, (base, &shape::sha_of(base)), "Before");
    let (own, html) = (format!("{api}/repos/{full}/compare"), format!("{WEB}/{full}/compare"));
    Ok(json_answer(
        StatusCode::OK,
        &json!({
            "url": format!("{own}/{range}"), "html_url": format!("{html}/{range}"),
            "permalink_url": format!("{html}/{range}"), "diff_url": format!("{html}/{range}.diff"),
            "patch_url": format!("{html}/{range}.patch"), "base_commit": first, "merge_base_commit": first,
            "status": "ahead", "ahead_by": 1, "behind_by": 0, "total_commits": 1,
            "commits": [commit_json(api, &repo.repo, &author, (head, base), "Change")], "files": files,
        }),
    ))
}

/// The raw diff, or 406 beyond GitHub's limits.
fn diff_answer(text: &str, resource: &str) -> Result<Response, Refusal> {
    let files = text.split('\n').filter(|line| line.starts_with("diff --git ")).count();
    let exceeded = match () {
        () if files > MAX_DIFF_FILES => Some(format!("number of files ({MAX_DIFF_FILES})")),
        () if text.split('\n').count() > MAX_DIFF_LINES + 1 => {
            Some(format!("number of lines ({MAX_DIFF_LINES})"))
        }
        () if text.len() > MAX_DIFF_BYTES => Some("size (1 MB)".to_owned()),
        () => None,
    };
    if let Some(exceeded) = exceeded {
        let message = format!(
            "Sorry, the diff exceeded the maximum {exceeded}. Consider using 'List pull requests files' API or \
             locally cloning the repository instead."
        );
        let errors = json!([{"resource": resource, "field": "diff", "code": "too_large"}]);
        return Err(Refusal::new(406, message).errors(errors));
    }
    let content_type = "application/vnd.github.diff; charset=utf-8";
    Ok(([(header::CONTENT_TYPE, content_type)], text.to_owned()).into_response())
}
