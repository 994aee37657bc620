//! Threads: resolving ours, and what stands in one.

use serde_json::{Value, json};

use super::context::ThreadComment;
use super::transport::GithubError;
use super::{Github, Result, repo};

/// Threads that one mutation resolves.
const MOST_AT_ONCE: usize = 50;

impl Github {
    /// Resolves threads by their GraphQL ids, up to fifty in one call; resolving one twice changes nothing. Returns
    /// those that are resolved now: a thread that is gone is missing there.
    ///
    /// # Errors
    /// [`GithubError`] if none could be resolved; [`GithubError::Forbidden`] if the token may not write contents.
    pub async fn resolve_threads(&self, repository: &str, ids: &[String]) -> Result<Vec<String>> {
        let ids: Vec<&String> = ids.iter().filter(|id| !id.is_empty()).collect();
        let (mut resolved, mut failed) = (Vec::new(), None);
        for some in ids.chunks(MOST_AT_ONCE) {
            match self.paced(self.resolve(repository, some)).await {
                Ok(now) => resolved.extend(now),
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        match failed {
            Some(error) if resolved.is_empty() => Err(error),
            _ => Ok(resolved),
        }
    }

    async fn resolve(&self, repository: &str, ids: &[&String]) -> Result<Vec<String>> {
        let mut variables = json!({});
        for (i, id) in ids.iter().enumerate() {
            variables[format!("t{i}")] = json!(id);
        }
        let what = repo(repository)?;
        let asked = self.query(&mutation(ids.len()), &variables, &what).await;
        let Some(answer) = asked.map_err(explained)? else {
            return Err(GithubError::NotFound("/graphql".to_owned()));
        };
        let state = |i: usize| &answer.data[format!("t{i}")]["thread"]["isResolved"];
        let resolved = ids.iter().enumerate().filter(|(i, _)| *state(*i) == Value::Bool(true));
        let resolved: Vec<String> = resolved.map(|(_, id)| (*id).clone()).collect();
        let is_failure = resolved.is_empty() && !ids.is_empty();
        if is_failure { Err(explained(answer.error(&what))) } else { Ok(resolved) }
    }

    /// The thread that a comment belongs to, oldest first; empty if there is no such comment.
    ///
    /// # Errors
    /// [`GithubError`].
    pub async fn thread_of(&self, repository: &str, number: u64, comment: u64) -> Result<Vec<ThreadComment>> {
        let login = self.login().await?;
        let comments = self.review_comments(repository, number).await?;
        let asked = comments.iter().find(|it| it.id == comment);
        let Some(root) = asked.map(|it| it.in_reply_to_id.unwrap_or(it.id)) else { return Ok(Vec::new()) };
        let in_it = comments.iter().filter(|it| it.id == root || it.in_reply_to_id == Some(root));
        Ok(in_it.map(|it| it.in_thread(login)).collect())
    }
}

fn mutation(threads: usize) -> String {
    let declared: Vec<String> = (0..threads).map(|i| format!("$t{i}: ID!")).collect();
    let resolved: Vec<String> = (0..threads)
        .map(|i| {
            format!("t{i}: resolveReviewThread(input: {{threadId: $t{i}}}) {{ thread {{ isResolved }} }}")
        })
        .collect();
    format!("mutation Resolve({}) {{ {} }}", declared.join(", "), resolved.join(" "))
}

/// What nobody would guess from GitHub's words.
fn explained(error: GithubError) -> GithubError {
    match error {
        GithubError::Forbidden(message) => GithubError::Forbidden(format!(
            "resolving review threads needs write access to contents: {message}"
        )),
        error => error,
    }
}
