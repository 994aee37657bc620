//! One small change with real defects, for the webhooks, the GitHub stand-in and the model alike.
//!
//! The pull request adds a search to a shop. Its diff has two files with five hunks; among the added lines are SQL
//! put together from user input, a page that skips its first row, a loop that runs one too far, an `unwrap` on
//! user input and an HTML injection.

use crate::github::{GitHub, Repo};
use crate::shape::{Pull, User, sha_of};

/// A token the GitHub stand-in accepts after [`Scenario::load_into`].
pub const REVIEWER_TOKEN: &str = "ghp_testkitReviewer0000000000000000000000";
/// The account of [`REVIEWER_TOKEN`]; it has write access.
pub const REVIEWER: &str = "acme-reviewer";

const OPENED: &str = include_str!("scenario/opened.diff");
const FIXED: &str = include_str!("scenario/fixed.diff");
const FIX: &str = include_str!("scenario/fix.diff");

/// A pull request at one point of its life. Change fields at will: `Scenario { number: 8, ..Scenario::default() }`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scenario {
    /// `owner/name`.
    pub repository: String,
    /// Whether the repository is private.
    pub private: bool,
    /// Number of the pull request.
    pub number: u64,
    /// Its title.
    pub title: String,
    /// Its description.
    pub body: String,
    /// Login of its author, who is also the sender of the events.
    pub author: String,
    /// Not ready for review.
    pub draft: bool,
    /// Branch it goes into; also the repository's default branch.
    pub base_ref: String,
    /// Branch it comes from.
    pub head_ref: String,
    /// Commit it is compared with.
    pub base_sha: String,
    /// Newest commit.
    pub head_sha: String,
    /// The head before the newest push (the base before the first).
    pub before: String,
    /// Diff from `base_sha` to `head_sha`.
    pub diff: String,
    /// Diff from `before` to `head_sha`.
    pub increment: String,
    /// RFC 3339.
    pub updated_at: String,
    /// Id of the GitHub App's installation, if the hook belongs to an app.
    pub installation: Option<u64>,
}

impl Default for Scenario {
    fn default() -> Self {
        let base_sha = "ed0fcf4709fd5678fbf00a51998c391f07070333".to_owned();
        Self {
            repository: "acme/shop".into(),
            private: true,
            number: 7,
            title: "Search orders by customer".into(),
            body: "Adds a paged search over the customers' names, and shows the name on invoices.\n\nThe cart's \
                   total no longer allocates."
                .into(),
            author: "ann".into(),
            draft: false,
            base_ref: "main".into(),
            head_ref: "search".into(),
            before: base_sha.clone(),
            base_sha,
            head_sha: "18be027a1a547219327de627f5f81533f432e0f2".into(),
            diff: OPENED.into(),
            increment: OPENED.into(),
            updated_at: "2026-11-22T09:58:12Z".into(),
            installation: None,
        }
    }
}

impl Scenario {
    /// The same pull request after a push that binds the search text instead of pasting it into the SQL. The other
    /// defects are still there.
    #[must_use]
    pub fn fixed(&self) -> Self {
        Self {
            before: self.head_sha.clone(),
            head_sha: sha_of(&format!("fix of {}", self.head_sha)),
            diff: FIXED.into(),
            increment: FIX.into(),
            updated_at: "2026-11-22T10:05:40Z".into(),
            ..self.clone()
        }
    }

    /// Puts repository, pull request and [`REVIEWER_TOKEN`] into the stand-in.
    pub fn load_into(&self, github: &GitHub) {
        github.add_user(REVIEWER_TOKEN, REVIEWER);
        github.add_repository(self.repo());
        github.add_member(&self.repository, REVIEWER);
        github.add_pull(&self.repository, self.pull(), &self.diff);
        github.add_range(&self.repository, &self.before, &self.head_sha, &self.increment);
    }

    /// Pushes this scenario's head to a pull request that was loaded before.
    pub fn push_to(&self, github: &GitHub) {
        github.set_head(&self.repository, self.number, &self.head_sha, &self.diff);
        github.add_range(&self.repository, &self.before, &self.head_sha, &self.increment);
    }

    pub(crate) fn repo(&self) -> Repo {
        Repo {
            full_name: self.repository.clone(),
            private: self.private,
            default_branch: self.base_ref.clone(),
        }
    }

    pub(crate) fn pull(&self) -> Pull {
        let count = |sign: char, header: &str| {
            self.diff.lines().filter(|line| line.starts_with(sign) && !line.starts_with(header)).count()
        };
        let files = self.diff.matches("diff --git ").count();
        Pull {
            number: self.number,
            title: self.title.clone(),
            body: Some(self.body.clone()),
            author: User::new(&self.author),
            draft: self.draft,
            open: true,
            merged: false,
            base_ref: self.base_ref.clone(),
            base_sha: self.base_sha.clone(),
            head_ref: self.head_ref.clone(),
            head_sha: self.head_sha.clone(),
            created_at: "2026-11-22T09:58:12Z".into(),
            updated_at: self.updated_at.clone(),
            size: [1, files, count('+', "+++"), count('-', "---")],
        }
    }
}
