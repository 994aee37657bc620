//! Where queries begin: the rate limit, the viewer, a repository and its contents.

use std::sync::Arc;

use async_graphql::{Context, ID, Object, Result, SimpleObject};

use super::Asking;
use super::objects::{Blob, Commit, DateTime, GitObject, GitObjectId, Tree, Uri, User, int};
use super::pull::PullRequest;
use super::refusal::refuse;
use crate::github::people::Role;
use crate::github::routes::{self, PRIMARY_LIMIT};
use crate::github::state::RepoState;
use crate::shape::{self, WEB, id_of, node_id};

pub(crate) struct Query;

#[derive(SimpleObject)]
pub(crate) struct RateLimit {
    cost: i32,
    limit: i32,
    node_count: i32,
    remaining: i32,
    reset_at: DateTime,
    used: i32,
}

#[Object]
impl Query {
    async fn rate_limit(&self, ctx: &Context<'_>) -> Result<Option<RateLimit>> {
        let asking = ctx.data::<Asking>()?;
        let used = asking.site.state().requests.min(PRIMARY_LIMIT);
        let reset = jiff::Timestamp::from_second(routes::reset()).unwrap_or_default();
        Ok(Some(RateLimit {
            cost: int(asking.nodes / 100).max(1),
            limit: int(PRIMARY_LIMIT),
            node_count: int(asking.nodes),
            remaining: int(PRIMARY_LIMIT - used),
            reset_at: DateTime(reset.to_string()),
            used: int(used),
        }))
    }

    /// With an app's token its bot, whose login keeps the `[bot]` here.
    async fn viewer(&self, ctx: &Context<'_>) -> Result<User> {
        Ok(User::of(&ctx.data::<Asking>()?.viewer))
    }

    async fn repository(
        &self,
        ctx: &Context<'_>,
        owner: String,
        name: String,
        follow_renames: Option<bool>,
    ) -> Result<Option<Repository>> {
        let _ = follow_renames;
        let asking = ctx.data::<Asking>()?;
        let full = format!("{owner}/{name}");
        let state = asking.site.state();
        let repo = state.repos.get(&full).filter(|repo| repo.role(&asking.viewer.login).is_some());
        let Some(repo) = repo else {
            let message = format!("Could not resolve to a Repository with the name '{full}'.");
            return Err(refuse("NOT_FOUND", message));
        };
        let seen = Seen { repo: repo.clone(), viewer: asking.viewer.clone() };
        Ok(Some(Repository(Arc::new(seen))))
    }
}

/// The repository as it was when the query began, and who looks at it.
pub(crate) struct Seen {
    pub(crate) repo: RepoState,
    pub(crate) viewer: shape::User,
}

impl Seen {
    pub(crate) fn may_write(&self) -> bool {
        self.repo.role(&self.viewer.login) >= Some(Role::Write)
    }
}

pub(crate) struct Repository(Arc<Seen>);

impl Repository {
    pub(crate) fn of(seen: &Arc<Seen>) -> Self {
        Self(Arc::clone(seen))
    }
}

#[Object]
impl Repository {
    async fn id(&self) -> ID {
        node_id("R", id_of(&self.0.repo.repo.full_name)).into()
    }

    async fn name(&self) -> &str {
        self.0.repo.repo.name()
    }

    async fn name_with_owner(&self) -> &str {
        &self.0.repo.repo.full_name
    }

    async fn is_private(&self) -> bool {
        self.0.repo.repo.private
    }

    async fn url(&self) -> Uri {
        Uri(format!("{WEB}/{}", self.0.repo.repo.full_name))
    }

    async fn pull_request(&self, number: i32) -> Result<Option<PullRequest>> {
        let it = u64::try_from(number).ok().and_then(|number| self.0.repo.pulls.get(&number));
        let Some(it) = it else {
            let message = format!("Could not resolve to a PullRequest with the number of {number}.");
            return Err(refuse("NOT_FOUND", message));
        };
        Ok(Some(PullRequest { seen: Arc::clone(&self.0), it: it.clone() }))
    }

    async fn object(
        &self,
        expression: Option<String>,
        oid: Option<GitObjectId>,
    ) -> Result<Option<GitObject>> {
        Ok(expression.or(oid.map(|oid| oid.0)).and_then(|expression| object(&self.0.repo, &expression)))
    }
}

/// `{sha}` or `{sha}:{path}`; everything after the first colon is the path.
fn object(repo: &RepoState, expression: &str) -> Option<GitObject> {
    let Some((sha, path)) = expression.split_once(':') else {
        let heads = repo.pulls.values().flat_map(|it| &it.heads);
        let message = heads.into_iter().find(|head| head.sha == expression).map(|head| head.message.as_str());
        let commit = repo.knows(expression).then(|| Commit::of(expression, message.unwrap_or_default()));
        return commit.map(GitObject::Commit);
    };
    if let Some(contents) = repo.files.get(&(sha.to_owned(), path.to_owned())) {
        return Some(GitObject::Blob(Blob::of(contents)));
    }
    let folder = if path.is_empty() { String::new() } else { format!("{path}/") };
    let is_folder = repo.files.keys().any(|(commit, file)| commit == sha && file.starts_with(&folder));
    is_folder.then(|| GitObject::Tree(Tree::of(expression)))
}
