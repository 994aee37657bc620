//! What the files of a commit say, as far as a test has told.

use axum::Extension;
use axum::extract::{Path, State as Shared};
use axum::response::{IntoResponse, Response};
use base64::{Engine, engine::general_purpose::STANDARD};
use http::{HeaderMap, StatusCode, Uri, header};
use serde_json::json;

use super::GitHub;
use super::answer::{Refusal, Viewer, json_answer};
use super::routes::{Site, visible};
use crate::shape::{self, WEB};

impl GitHub {
    /// Says what a file holds at a commit, also one of a fork's: a fork shares its objects with the base repository.
    pub fn set_file(&self, repo: &str, sha: &str, path: &str, text: impl Into<Vec<u8>>) {
        self.change(|state| {
            if let Some(repo) = state.repos.get_mut(repo) {
                repo.files.insert((sha.to_owned(), path.to_owned()), text.into());
            }
        });
    }
}

/// `GET …/contents/{path}?ref=`: with `application/vnd.github.raw+json` the text itself.
pub(crate) async fn contents(
    Shared(site): Shared<Site>,
    Extension(viewer): Extension<Viewer>,
    Path((owner, name, path)): Path<(String, String, String)>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let mut state = site.state();
    let repo = visible(&mut state, &viewer, &owner, &name)?;
    let sha = super::answer::text(&uri, "ref").unwrap_or(&repo.repo.default_branch).to_owned();
    let text = repo.files.get(&(sha.clone(), path.clone())).ok_or_else(Refusal::not_found)?;
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if accept.contains("application/vnd.github.raw") {
        let content_type = "application/vnd.github.raw+json; charset=utf-8";
        return Ok(([(header::CONTENT_TYPE, content_type)], text.clone()).into_response());
    }
    let full = &repo.repo.full_name;
    let shown = json!({
        "type": "file", "encoding": "base64", "size": text.len(), "name": path.rsplit('/').next(), "path": path,
        "content": STANDARD.encode(text), "sha": shape::sha_of(&format!("{sha}:{path}")),
        "url": format!("{}/repos/{full}/contents/{path}?ref={sha}", site.api),
        "html_url": format!("{WEB}/{full}/blob/{sha}/{path}"),
    });
    Ok(json_answer(StatusCode::OK, &shown))
}
