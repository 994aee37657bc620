//! Reviews, threads and the comments in them.

use std::sync::Arc;

use async_graphql::{Enum, ID, Object, Result, SimpleObject};

use super::connection::{Page, connection};
use super::objects::{Actor, BigInt, Commit, DateTime, Uri, User, database_id, int};
use super::query::Seen;
use crate::github::diff::Side;
use crate::github::reactions::{CONTENTS, Reaction, Subject};
use crate::github::state::{PullState, Review, ReviewComment};
use crate::shape::{self, node_id};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
pub(crate) enum PullRequestReviewState {
    Approved,
    ChangesRequested,
    Commented,
    Dismissed,
    Pending,
}

impl PullRequestReviewState {
    pub(crate) fn of(state: &str) -> Self {
        match state {
            "APPROVED" => Self::Approved,
            "CHANGES_REQUESTED" => Self::ChangesRequested,
            "PENDING" => Self::Pending,
            _ => Self::Commented,
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Enum)]
pub(crate) enum DiffSide {
    Left,
    Right,
}

#[derive(Clone, Copy, PartialEq, Eq, Enum)]
pub(crate) enum PullRequestReviewThreadSubjectType {
    File,
    Line,
}

#[derive(Clone, Copy, PartialEq, Eq, Enum)]
pub(crate) enum ReactionContent {
    Confused,
    Eyes,
    Heart,
    Hooray,
    Laugh,
    Rocket,
    ThumbsDown,
    ThumbsUp,
}

impl ReactionContent {
    fn of(rest: &str) -> Self {
        match CONTENTS.iter().find(|(name, _)| *name == rest).map_or("", |(_, name)| name) {
            "CONFUSED" => Self::Confused,
            "EYES" => Self::Eyes,
            "HEART" => Self::Heart,
            "HOORAY" => Self::Hooray,
            "LAUGH" => Self::Laugh,
            "ROCKET" => Self::Rocket,
            "THUMBS_DOWN" => Self::ThumbsDown,
            _ => Self::ThumbsUp,
        }
    }
}

connection!(PullRequestReviewConnection of PullRequestReview);
connection!(PullRequestReviewThreadConnection of PullRequestReviewThread);
connection!(PullRequestReviewCommentConnection of PullRequestReviewComment);

pub(crate) struct PullRequestReview {
    pub(crate) seen: Arc<Seen>,
    pub(crate) it: Review,
}

#[Object]
impl PullRequestReview {
    async fn id(&self) -> ID {
        node_id("PRR", self.it.id).into()
    }

    async fn database_id(&self) -> Option<i32> {
        database_id(self.it.id)
    }

    async fn full_database_id(&self) -> Option<BigInt> {
        Some(self.it.id.into())
    }

    async fn author(&self) -> Option<Actor> {
        Actor::of(&self.it.user)
    }

    async fn viewer_did_author(&self) -> bool {
        self.it.user == self.seen.viewer
    }

    async fn body(&self) -> &str {
        &self.it.body
    }

    async fn state(&self) -> PullRequestReviewState {
        PullRequestReviewState::of(self.it.state)
    }

    async fn submitted_at(&self) -> Option<DateTime> {
        (self.it.state != "PENDING").then(|| DateTime(self.it.submitted_at.clone()))
    }

    async fn url(&self) -> Uri {
        Uri(self.it.html_url.clone())
    }

    async fn commit(&self) -> Option<Commit> {
        Some(Commit::of(&self.it.commit_id, ""))
    }
}

pub(crate) struct PullRequestReviewThread {
    seen: Arc<Seen>,
    /// The first one begins it.
    comments: Vec<ReviewComment>,
    is_outdated: bool,
    resolved_by: Option<shape::User>,
}

impl PullRequestReviewThread {
    /// All threads of a pull request, in the order in which they began.
    pub(crate) fn of(seen: &Arc<Seen>, it: &PullState) -> Vec<Self> {
        let roots = it.comments.iter().filter(|comment| comment.in_reply_to.is_none());
        roots.map(|root| Self::beginning_with(seen, it, root)).collect()
    }

    pub(crate) fn beginning_with(seen: &Arc<Seen>, it: &PullState, root: &ReviewComment) -> Self {
        let own = it
            .comments
            .iter()
            .filter(|comment| it.root_of(comment.id).is_some_and(|begins| begins.id == root.id));
        Self {
            seen: Arc::clone(seen),
            comments: own.cloned().collect(),
            is_outdated: it.is_outdated(root),
            resolved_by: it.resolved.get(&root.id).cloned(),
        }
    }

    /// The id of the thread that a comment begins.
    pub(crate) fn id_of(root: u64) -> String {
        node_id("PRRT", root)
    }

    fn root(&self) -> Result<&ReviewComment> {
        self.comments.first().ok_or_else(|| "a thread without comments".into())
    }
}

#[Object]
impl PullRequestReviewThread {
    async fn id(&self) -> Result<ID> {
        Ok(Self::id_of(self.root()?.id).into())
    }

    async fn is_resolved(&self) -> bool {
        self.resolved_by.is_some()
    }

    async fn is_collapsed(&self) -> bool {
        self.resolved_by.is_some()
    }

    async fn is_outdated(&self) -> bool {
        self.is_outdated
    }

    /// Nobody if an app did it: the type is `User`.
    async fn resolved_by(&self) -> Option<User> {
        self.resolved_by.as_ref().and_then(User::person)
    }

    async fn viewer_can_resolve(&self) -> bool {
        self.resolved_by.is_none() && self.seen.may_write()
    }

    async fn path(&self) -> Result<&str> {
        Ok(&self.root()?.path)
    }

    async fn line(&self) -> Result<Option<i32>> {
        Ok(self.root()?.line.filter(|_| !self.is_outdated).map(int))
    }

    async fn start_line(&self) -> Result<Option<i32>> {
        Ok(self.root()?.start_line.filter(|_| !self.is_outdated).map(int))
    }

    async fn original_line(&self) -> Result<Option<i32>> {
        Ok(self.root()?.line.map(int))
    }

    async fn diff_side(&self) -> Result<DiffSide> {
        Ok(if self.root()?.side == Side::Left { DiffSide::Left } else { DiffSide::Right })
    }

    async fn subject_type(&self) -> Result<PullRequestReviewThreadSubjectType> {
        use PullRequestReviewThreadSubjectType::{File, Line};
        Ok(if self.root()?.line.is_none() { File } else { Line })
    }

    async fn comments(
        &self,
        after: Option<String>,
        before: Option<String>,
        first: Option<i32>,
        last: Option<i32>,
    ) -> Result<PullRequestReviewCommentConnection> {
        let shown = |it: &ReviewComment| PullRequestReviewComment {
            seen: Arc::clone(&self.seen),
            it: it.clone(),
            is_outdated: self.is_outdated,
        };
        let all = self.comments.iter().map(shown).collect();
        PullRequestReviewCommentConnection::of("comments", all, &Page { after, before, first, last })
    }
}

pub(crate) struct PullRequestReviewComment {
    seen: Arc<Seen>,
    it: ReviewComment,
    is_outdated: bool,
}

#[Object]
impl PullRequestReviewComment {
    async fn id(&self) -> ID {
        node_id("PRRC", self.it.id).into()
    }

    async fn database_id(&self) -> Option<i32> {
        database_id(self.it.id)
    }

    async fn full_database_id(&self) -> Option<BigInt> {
        Some(self.it.id.into())
    }

    async fn author(&self) -> Option<Actor> {
        Actor::of(&self.it.user)
    }

    async fn viewer_did_author(&self) -> bool {
        self.it.user == self.seen.viewer
    }

    async fn body(&self) -> &str {
        &self.it.body
    }

    async fn path(&self) -> &str {
        &self.it.path
    }

    async fn outdated(&self) -> bool {
        self.is_outdated
    }

    async fn created_at(&self) -> DateTime {
        DateTime(self.it.created_at.clone())
    }

    async fn url(&self) -> Uri {
        Uri(self.it.html_url.clone())
    }

    async fn reactions(
        &self,
        after: Option<String>,
        before: Option<String>,
        content: Option<ReactionContent>,
        first: Option<i32>,
        last: Option<i32>,
    ) -> Result<ReactionConnection> {
        let on = Subject::ReviewComment(self.it.id);
        let is_wanted =
            |it: &&Reaction| content.is_none_or(|content| ReactionContent::of(&it.content) == content);
        let wanted: Vec<_> = self.seen.repo.reactions_on(on).filter(is_wanted).collect();
        let viewer_has_reacted = wanted.iter().any(|reaction| reaction.user == self.seen.viewer);
        let nodes = wanted.into_iter().map(|it| ReactionNode {
            id: node_id("REA", it.id).into(),
            content: ReactionContent::of(&it.content),
            user: User::person(&it.user),
        });
        let page = Page { after, before, first, last };
        let (nodes, page_info, total_count) = super::connection::cut("reactions", nodes.collect(), &page)?;
        Ok(ReactionConnection { nodes: Some(nodes), page_info, total_count, viewer_has_reacted })
    }
}

#[derive(SimpleObject)]
pub(crate) struct ReactionConnection {
    nodes: Option<Vec<Option<ReactionNode>>>,
    page_info: super::connection::PageInfo,
    total_count: i32,
    viewer_has_reacted: bool,
}

#[derive(SimpleObject)]
#[graphql(name = "Reaction")]
pub(crate) struct ReactionNode {
    id: ID,
    content: ReactionContent,
    user: Option<User>,
}
