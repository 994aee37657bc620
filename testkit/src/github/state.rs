//! What the stand-in remembers. Time is made up and moves a second per write, so answers are repeatable.

use std::collections::{BTreeMap, BTreeSet};

use http::{HeaderMap, header};
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use super::checks::CheckRun;
use super::diff::{self, FileDiff, Side};
use super::graphql::Wishes;
use super::hooks::Hooks;
use super::issues::Issue;
use super::limits::ContentLimits;
use super::people::Role;
use super::reactions::Reaction;
use crate::shape::{Pull, Repo, User, WEB};

/// A submitted (or pending) review.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Review {
    /// Unique id.
    pub id: u64,
    /// The reviewer.
    pub user: User,
    /// Markdown; empty for the review GitHub makes around a single comment.
    pub body: String,
    /// APPROVED, `CHANGES_REQUESTED`, COMMENTED or PENDING.
    pub state: &'static str,
    /// The commit that was reviewed.
    pub commit_id: String,
    /// RFC 3339.
    pub submitted_at: String,
    /// The review's page.
    pub html_url: String,
    /// Made by GitHub around a comment that was posted by itself.
    pub implicit: bool,
}

/// A comment on a line, a range or a file of a pull request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReviewComment {
    /// Unique id.
    pub id: u64,
    /// The review it belongs to.
    pub review_id: u64,
    /// The author.
    pub user: User,
    /// Path of the file.
    pub path: String,
    /// Markdown.
    pub body: String,
    /// Last (or only) line; `None` for a comment on the whole file.
    pub line: Option<u64>,
    /// Side of `line`.
    pub side: Side,
    /// First line of a range.
    pub start_line: Option<u64>,
    /// Side of `start_line`.
    pub start_side: Option<Side>,
    /// The commit it was made on.
    pub commit_id: String,
    /// The comment it answers.
    pub in_reply_to: Option<u64>,
    /// RFC 3339.
    pub created_at: String,
    /// The comment's page.
    pub html_url: String,
}

/// A comment in the conversation of an issue or pull request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IssueComment {
    /// Unique id.
    pub id: u64,
    /// Number of the issue or pull request.
    pub number: u64,
    /// The author.
    pub user: User,
    /// Markdown.
    pub body: String,
    /// RFC 3339.
    pub created_at: String,
    /// RFC 3339.
    pub updated_at: String,
    /// The comment's page.
    pub html_url: String,
}

/// A comment on a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommitComment {
    /// Unique id.
    pub id: u64,
    /// The commit.
    pub sha: String,
    /// The author.
    pub user: User,
    /// Markdown.
    pub body: String,
    /// Path, if the comment is on a file.
    pub path: Option<String>,
    /// Line index in that file's diff.
    pub position: Option<u64>,
    /// RFC 3339.
    pub created_at: String,
    /// The comment's page.
    pub html_url: String,
}

/// A commit status.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Status {
    /// Unique id.
    pub id: u64,
    /// The commit.
    #[serde(skip)]
    pub sha: String,
    /// error, failure, pending or success.
    pub state: String,
    /// Which checker it is from.
    pub context: String,
    /// One line.
    pub description: Option<String>,
    /// Link.
    pub target_url: Option<String>,
    /// The author.
    #[serde(skip)]
    pub user: User,
    /// RFC 3339.
    pub created_at: String,
}

/// A commit that was the head of a pull request, with the diff from the base to it.
#[derive(Debug, Clone)]
pub(crate) struct Head {
    pub(crate) sha: String,
    pub(crate) diff: String,
    pub(crate) message: String,
}

/// A pull request and what happened on it.
#[derive(Debug, Clone)]
pub(crate) struct PullState {
    pub(crate) pull: Pull,
    pub(crate) heads: Vec<Head>,
    pub(crate) reviews: Vec<Review>,
    pub(crate) comments: Vec<ReviewComment>,
    /// Who resolved the thread that begins with this comment.
    pub(crate) resolved: BTreeMap<u64, User>,
    /// Issues that it closes: repository and number.
    pub(crate) closes: Vec<(String, u64)>,
    /// The fork that the head is in.
    pub(crate) fork: Option<String>,
}

impl PullState {
    pub(crate) fn new(pull: Pull, head: Head) -> Self {
        Self {
            pull,
            heads: vec![head],
            reviews: Vec::new(),
            comments: Vec::new(),
            resolved: BTreeMap::new(),
            closes: Vec::new(),
            fork: None,
        }
    }

    /// Whether the line of a comment is not part of the newest diff any more.
    pub(crate) fn is_outdated(&self, comment: &ReviewComment) -> bool {
        comment.line.is_some() && comment.commit_id != self.pull.head_sha
    }

    /// The comment that begins the thread of comment `id`.
    pub(crate) fn root_of(&self, id: u64) -> Option<&ReviewComment> {
        let comment = self.comments.iter().find(|comment| comment.id == id)?;
        comment.in_reply_to.map_or(Some(comment), |root| self.root_of(root))
    }

    /// The files of the diff as of `sha`; `None` if `sha` is not of this pull request.
    pub(crate) fn files_at(&self, sha: &str) -> Option<Vec<FileDiff>> {
        self.heads.iter().find(|head| head.sha == sha).map(|head| diff::read(&head.diff))
    }

    /// The diff as of the newest commit.
    pub(crate) fn diff(&self) -> &str {
        self.heads.last().map_or("", |head| head.diff.as_str())
    }
}

/// A repository and what happened in it.
#[derive(Debug, Clone)]
pub(crate) struct RepoState {
    pub(crate) repo: Repo,
    /// Those with write access.
    pub(crate) members: BTreeSet<String>,
    /// Those whose access was set to something else.
    pub(crate) roles: BTreeMap<String, Role>,
    pub(crate) pulls: BTreeMap<u64, PullState>,
    /// Diffs of pushes, by base and head.
    pub(crate) ranges: BTreeMap<(String, String), String>,
    pub(crate) issue_comments: Vec<IssueComment>,
    pub(crate) commit_comments: Vec<CommitComment>,
    pub(crate) statuses: Vec<Status>,
    pub(crate) issues: BTreeMap<u64, Issue>,
    pub(crate) reactions: Vec<Reaction>,
    /// Contents by commit and path.
    pub(crate) files: BTreeMap<(String, String), Vec<u8>>,
}

impl RepoState {
    pub(crate) fn new(repo: Repo) -> Self {
        let members = BTreeSet::from([repo.owner().to_owned()]);
        Self {
            repo,
            members,
            roles: BTreeMap::new(),
            pulls: BTreeMap::new(),
            ranges: BTreeMap::new(),
            issue_comments: Vec::new(),
            commit_comments: Vec::new(),
            statuses: Vec::new(),
            issues: BTreeMap::new(),
            reactions: Vec::new(),
            files: BTreeMap::new(),
        }
    }

    /// The diff between two commits: of a pull request from its base to one of its heads, or of a push.
    pub(crate) fn range(&self, base: &str, head: &str) -> Option<&str> {
        let of_base = self.pulls.values().filter(|it| it.pull.base_sha == base || it.pull.base_ref == base);
        let proposed = of_base.flat_map(|it| &it.heads).find(|it| it.sha == head).map(|it| it.diff.as_str());
        proposed.or_else(|| self.ranges.get(&(base.to_owned(), head.to_owned())).map(String::as_str))
    }

    /// Whether a commit with this sha was ever seen here.
    pub(crate) fn knows(&self, sha: &str) -> bool {
        self.ranges.keys().any(|(base, head)| base == sha || head == sha)
            || self.files.keys().any(|(commit, _)| commit == sha)
            || self
                .pulls
                .values()
                .any(|it| it.pull.base_sha == sha || it.heads.iter().any(|head| head.sha == sha))
    }

    /// The page of something on pull request or issue `number`.
    pub(crate) fn page(&self, number: u64, anchor: &str) -> String {
        format!("{WEB}/{}/pull/{number}#{anchor}", self.repo.full_name)
    }
}

/// Everything the stand-in remembers.
#[derive(Debug, Default)]
pub struct State {
    pub(crate) users: BTreeMap<String, User>,
    /// Headers of the answers to whoever has a token.
    pub(crate) token_headers: BTreeMap<String, HeaderMap>,
    pub(crate) repos: BTreeMap<String, RepoState>,
    pub(crate) limits: ContentLimits,
    pub(crate) hooks: Hooks,
    pub(crate) graphql: Wishes,
    pub(crate) checks: Vec<CheckRun>,
    pub(crate) requests: u64,
    writes: i64,
    ids: u64,
}

impl State {
    /// A fresh id.
    pub(crate) fn next_id(&mut self) -> u64 {
        self.ids += 1;
        2_400_000_000 + self.ids
    }

    /// What is told about the token that a request came with.
    pub(crate) fn told(&self, request: &HeaderMap) -> HeaderMap {
        let token = request.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()?.split_once(' '));
        token.and_then(|(_, token)| self.token_headers.get(token)).cloned().unwrap_or_default()
    }

    /// The made-up time of the next write; RFC 3339.
    pub(crate) fn tick(&mut self) -> String {
        self.writes += 1;
        // 2026-11-22T10:00:00Z
        let start = Timestamp::constant(1_795_341_600, 0);
        (start + SignedDuration::from_secs(self.writes)).to_string()
    }

    pub(crate) fn pull(&self, repo: &str, number: u64) -> Option<&PullState> {
        self.repos.get(repo)?.pulls.get(&number)
    }

    /// Reviews submitted on a pull request, oldest first, without those GitHub makes around single comments.
    pub fn reviews(&self, repo: &str, number: u64) -> Vec<Review> {
        let reviews = self.pull(repo, number).map(|it| it.reviews.as_slice()).unwrap_or_default();
        reviews.iter().filter(|review| !review.implicit).cloned().collect()
    }

    /// All comments on the code of a pull request, oldest first.
    pub fn comments(&self, repo: &str, number: u64) -> Vec<ReviewComment> {
        self.pull(repo, number).map(|it| it.comments.clone()).unwrap_or_default()
    }

    /// Comments in the conversation of a pull request or issue, oldest first.
    pub fn issue_comments(&self, repo: &str, number: u64) -> Vec<IssueComment> {
        let comments = self.repos.get(repo).map(|it| it.issue_comments.as_slice()).unwrap_or_default();
        comments.iter().filter(|comment| comment.number == number).cloned().collect()
    }

    /// Comments on a commit, oldest first.
    pub fn commit_comments(&self, repo: &str, sha: &str) -> Vec<CommitComment> {
        let comments = self.repos.get(repo).map(|it| it.commit_comments.as_slice()).unwrap_or_default();
        comments.iter().filter(|comment| comment.sha == sha).cloned().collect()
    }

    /// Statuses of a commit, newest first.
    pub fn statuses(&self, repo: &str, sha: &str) -> Vec<Status> {
        let statuses = self.repos.get(repo).map(|it| it.statuses.as_slice()).unwrap_or_default();
        statuses.iter().rev().filter(|status| status.sha == sha).cloned().collect()
    }
}
