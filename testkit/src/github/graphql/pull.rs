//! A pull request and what hangs on it.

use std::sync::Arc;

use async_graphql::{Context, Enum, ID, Object, Result, SimpleObject};

use super::Asking;
use super::connection::{Page, connection};
use super::objects::{Actor, BigInt, Commit, DateTime, GitObjectId, Uri, database_id, int};
use super::query::{Repository, Seen};
use super::review::{
    PullRequestReview, PullRequestReviewConnection, PullRequestReviewState, PullRequestReviewThread,
    PullRequestReviewThreadConnection,
};
use crate::github::issues;
use crate::github::pulls::measured;
use crate::github::state::PullState;
use crate::shape::{WEB, id_of, node_id};

pub(crate) struct PullRequest {
    pub(crate) seen: Arc<Seen>,
    pub(crate) it: PullState,
}

#[derive(Clone, Copy, PartialEq, Eq, Enum)]
pub(crate) enum PullRequestState {
    Closed,
    Merged,
    Open,
}

#[derive(SimpleObject)]
pub(crate) struct PullRequestCommit {
    id: ID,
    commit: Commit,
}

connection!(PullRequestCommitConnection of PullRequestCommit);
connection!(IssueConnection of Issue);

impl PullRequest {
    fn id(&self) -> u64 {
        id_of(&format!("{}#{}", self.seen.repo.repo.full_name, self.it.pull.number))
    }
}

#[Object]
impl PullRequest {
    #[graphql(name = "id")]
    async fn node(&self) -> ID {
        node_id("PR", self.id()).into()
    }

    async fn database_id(&self) -> Option<i32> {
        database_id(self.id())
    }

    async fn full_database_id(&self) -> Option<BigInt> {
        Some(self.id().into())
    }

    async fn number(&self) -> i32 {
        int(self.it.pull.number)
    }

    async fn title(&self) -> &str {
        &self.it.pull.title
    }

    async fn body(&self) -> &str {
        self.it.pull.body.as_deref().unwrap_or_default()
    }

    async fn state(&self) -> PullRequestState {
        match (self.it.pull.merged, self.it.pull.open) {
            (true, _) => PullRequestState::Merged,
            (false, true) => PullRequestState::Open,
            (false, false) => PullRequestState::Closed,
        }
    }

    async fn is_draft(&self) -> bool {
        self.it.pull.draft
    }

    async fn author(&self) -> Option<Actor> {
        Actor::of(&self.it.pull.author)
    }

    async fn viewer_did_author(&self) -> bool {
        self.it.pull.author == self.seen.viewer
    }

    async fn head_ref_name(&self) -> &str {
        &self.it.pull.head_ref
    }

    async fn head_ref_oid(&self) -> GitObjectId {
        GitObjectId(self.it.pull.head_sha.clone())
    }

    async fn base_ref_name(&self) -> &str {
        &self.it.pull.base_ref
    }

    async fn base_ref_oid(&self) -> GitObjectId {
        GitObjectId(self.it.pull.base_sha.clone())
    }

    async fn is_cross_repository(&self) -> bool {
        self.it.fork.is_some()
    }

    async fn changed_files(&self) -> i32 {
        int(measured(&self.it).size[1])
    }

    async fn additions(&self) -> i32 {
        int(measured(&self.it).size[2])
    }

    async fn deletions(&self) -> i32 {
        int(measured(&self.it).size[3])
    }

    async fn created_at(&self) -> DateTime {
        DateTime(self.it.pull.created_at.clone())
    }

    async fn updated_at(&self) -> DateTime {
        DateTime(self.it.pull.updated_at.clone())
    }

    async fn url(&self) -> Uri {
        Uri(format!("{WEB}/{}/pull/{}", self.seen.repo.repo.full_name, self.it.pull.number))
    }

    async fn repository(&self) -> Repository {
        Repository::of(&self.seen)
    }

    async fn commits(
        &self,
        after: Option<String>,
        before: Option<String>,
        first: Option<i32>,
        last: Option<i32>,
    ) -> Result<PullRequestCommitConnection> {
        let commit = |sha: &str, message: &str| PullRequestCommit {
            id: format!("PRC_{sha}").into(),
            commit: Commit::of(sha, message),
        };
        let all = self.it.heads.iter().map(|head| commit(&head.sha, &head.message)).collect();
        PullRequestCommitConnection::of("commits", all, &Page { after, before, first, last })
    }

    async fn closing_issues_references(
        &self,
        ctx: &Context<'_>,
        after: Option<String>,
        before: Option<String>,
        first: Option<i32>,
        last: Option<i32>,
    ) -> Result<Option<IssueConnection>> {
        let asking = ctx.data::<Asking>()?;
        let state = asking.site.state();
        let all = self.it.closes.iter().filter_map(|(repo, number)| {
            let repo = state.repos.get(repo).filter(|repo| repo.role(&asking.viewer.login).is_some())?;
            let seen = Seen { repo: repo.clone(), viewer: asking.viewer.clone() };
            repo.issues.get(number).map(|it| Issue { seen: Arc::new(seen), it: it.clone() })
        });
        let page = Page { after, before, first, last };
        IssueConnection::of("closingIssuesReferences", all.collect(), &page).map(Some)
    }

    #[expect(clippy::too_many_arguments, reason = "the arguments of the field in GitHub's schema")]
    async fn reviews(
        &self,
        after: Option<String>,
        author: Option<String>,
        before: Option<String>,
        first: Option<i32>,
        last: Option<i32>,
        states: Option<Vec<PullRequestReviewState>>,
    ) -> Result<Option<PullRequestReviewConnection>> {
        let all = self.it.reviews.iter().filter(|review| {
            let seen = review.state != "PENDING" || review.user == self.seen.viewer;
            let state = PullRequestReviewState::of(review.state);
            seen && author.as_ref().is_none_or(|author| review.user.login == *author)
                && states.as_ref().is_none_or(|states| states.contains(&state))
        });
        let all = all.map(|it| PullRequestReview { seen: Arc::clone(&self.seen), it: it.clone() }).collect();
        PullRequestReviewConnection::of("reviews", all, &Page { after, before, first, last }).map(Some)
    }

    async fn review_threads(
        &self,
        after: Option<String>,
        before: Option<String>,
        first: Option<i32>,
        last: Option<i32>,
    ) -> Result<PullRequestReviewThreadConnection> {
        let all = PullRequestReviewThread::of(&self.seen, &self.it);
        PullRequestReviewThreadConnection::of("reviewThreads", all, &Page { after, before, first, last })
    }
}

pub(crate) struct Issue {
    seen: Arc<Seen>,
    it: issues::Issue,
}

#[derive(Clone, Copy, PartialEq, Eq, Enum)]
pub(crate) enum IssueState {
    Closed,
    Open,
}

#[Object]
impl Issue {
    async fn id(&self) -> ID {
        node_id("I", id_of(&format!("{}#{}", self.seen.repo.repo.full_name, self.it.number))).into()
    }

    async fn number(&self) -> i32 {
        int(self.it.number)
    }

    async fn title(&self) -> &str {
        &self.it.title
    }

    async fn body(&self) -> &str {
        &self.it.body
    }

    async fn state(&self) -> IssueState {
        if self.it.open { IssueState::Open } else { IssueState::Closed }
    }

    async fn author(&self) -> Option<Actor> {
        Actor::of(&self.it.author)
    }

    async fn url(&self) -> Uri {
        Uri(format!("{WEB}/{}/issues/{}", self.seen.repo.repo.full_name, self.it.number))
    }

    async fn repository(&self) -> Repository {
        Repository::of(&self.seen)
    }
}
