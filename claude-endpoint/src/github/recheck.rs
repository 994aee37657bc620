//! The last look before posting: is this still the head, and has our review not been posted already?

use jiff::Timestamp;
use serde_json::{Value, json};

use super::context::{MOST_MORE_PAGES, OwnReview, OwnReviews, Paged, RECHECK};
use super::transport::GithubError;
use super::{Github, Pull, Result, names};

/// A pull request as it stands right now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recheck {
    /// The newest commit.
    pub head_sha: String,
    /// Whether it is open.
    pub open: bool,
    /// Whether it is a draft.
    pub draft: bool,
    /// When it changed last.
    pub updated_at: Option<Timestamp>,
    /// Reviews of ours, oldest first.
    pub reviews: Vec<OwnReview>,
}

impl Recheck {
    fn of(pull: Pull, reviews: Vec<OwnReview>) -> Self {
        Self {
            head_sha: pull.head_sha,
            open: pull.open,
            draft: pull.draft,
            updated_at: pull.updated_at,
            reviews,
        }
    }
}

impl Github {
    /// The pull request as it stands right now, with our reviews: those submitted at `since` or later at least (one
    /// call unless there are more than a hundred of anybody's), all without it.
    ///
    /// # Errors
    /// [`GithubError`]. Without all these reviews there is no answer: a review must not be posted twice.
    pub async fn recheck(&self, repository: &str, number: u64, since: Option<Timestamp>) -> Result<Recheck> {
        if self.can_post()
            && let Some(read) = self.recheck_by_graphql(repository, number, since).await?
        {
            return Ok(read);
        }
        let pull = self.pull(repository, number).await?;
        let reviews = match self.can_post() {
            true => self.own_reviews_by_rest(repository, number).await?,
            false => Vec::new(),
        };
        Ok(Recheck::of(pull, reviews))
    }

    /// `None` where there is no GraphQL API.
    async fn recheck_by_graphql(
        &self,
        repository: &str,
        number: u64,
        since: Option<Timestamp>,
    ) -> Result<Option<Recheck>> {
        let (owner, name) = names(repository)?;
        let what = format!("/repos/{repository}/pulls/{number}");
        let (mut before, mut reviews) = (Value::Null, Vec::new());
        for _ in 0..=MOST_MORE_PAGES {
            let variables = json!({"owner": owner, "name": name, "number": number, "before": before});
            let Some(answer) = self.query(RECHECK, &variables, &what).await? else { return Ok(None) };
            let Paged { pull, reviews: page } = Paged::of(&answer, &what)?;
            let OwnReviews { mut own, before: older, oldest } = page;
            own.append(&mut reviews);
            reviews = own;
            let reaches = since.zip(oldest).is_some_and(|(since, oldest)| oldest < since);
            match (older, pull) {
                (Some(older), _) if !reaches => before = older,
                (_, Some(pull)) => return Ok(Some(Recheck::of(pull, reviews))),
                (_, None) => break,
            }
        }
        Err(GithubError::Unexpected("there are more reviews than can be looked through".to_owned()))
    }
}
