//! What can be changed: whether a thread is resolved.

use std::sync::Arc;

use async_graphql::{Context, ID, InputObject, Object, Result, SimpleObject};

use super::Asking;
use super::query::Seen;
use super::refusal::refuse;
use super::review::PullRequestReviewThread;
use crate::github::people::Role;

pub(crate) struct Mutation;

#[derive(InputObject)]
pub(crate) struct ResolveReviewThreadInput {
    client_mutation_id: Option<String>,
    thread_id: ID,
}

#[derive(SimpleObject)]
pub(crate) struct ResolveReviewThreadPayload {
    client_mutation_id: Option<String>,
    thread: Option<PullRequestReviewThread>,
}

#[Object]
impl Mutation {
    /// Wants `contents: write` of the token, and write access (or one's own pull request) of its owner.
    async fn resolve_review_thread(
        &self,
        ctx: &Context<'_>,
        input: ResolveReviewThreadInput,
    ) -> Result<Option<ResolveReviewThreadPayload>> {
        match resolve(ctx.data::<Asking>()?, &input.thread_id) {
            Ok(thread) => Ok(Some(ResolveReviewThreadPayload {
                client_mutation_id: input.client_mutation_id,
                thread: Some(thread),
            })),
            Err(error) => {
                // returned, it would end the whole mutation; GitHub goes on with the next field
                ctx.add_error(ctx.set_error_path(error.into_server_error(ctx.item.pos)));
                Ok(None)
            }
        }
    }
}

fn resolve(asking: &Asking, id: &str) -> Result<PullRequestReviewThread> {
    let viewer = &asking.viewer;
    let mut state = asking.site.state();
    let is_denied = state.graphql.contents_read_only.contains(&viewer.login);
    let seen_repos = state.repos.values_mut().filter(|repo| repo.role(&viewer.login).is_some());
    for repo in seen_repos {
        let role = repo.role(&viewer.login);
        for it in repo.pulls.values_mut() {
            let is_it = |root: u64| PullRequestReviewThread::id_of(root) == id;
            let root = it.comments.iter().find(|it| it.in_reply_to.is_none() && is_it(it.id)).cloned();
            let Some(root) = root else { continue };
            if is_denied || (role < Some(Role::Write) && it.pull.author != *viewer) {
                let kind = if viewer.bot { "integration" } else { "personal access token" };
                return Err(refuse("FORBIDDEN", format!("Resource not accessible by {kind}")));
            }
            it.resolved.entry(root.id).or_insert_with(|| viewer.clone());
            let it = it.clone();
            let seen = Arc::new(Seen { repo: repo.clone(), viewer: viewer.clone() });
            return Ok(PullRequestReviewThread::beginning_with(&seen, &it, &root));
        }
    }
    Err(refuse("NOT_FOUND", format!("Could not resolve to a node with the global id of '{id}'.")))
}
