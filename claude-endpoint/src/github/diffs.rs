//! What changed: the diff of a pull request or of a pushed range.

use super::transport::{DIFF, GithubError};
use super::{Github, Result, repo, sha, wire};
use crate::diff::{self, Diff, File};

/// GitHub lists at most 3,000 files of a pull request.
const MOST_FILE_PAGES: usize = 30;
/// GitHub lists at most so many files of a comparison, and does not say how many there are.
const MOST_COMPARED: usize = 300;

impl Github {
    /// The diff between a pull request's base and its head, as its own page shows it: both compare with the merge base,
    /// but a comparison names its commits. File by file where GitHub does not show it whole, up to 3,000 files: only the
    /// pull request itself tells how many there are.
    ///
    /// # Errors
    /// [`GithubError`].
    pub async fn pull_diff(&self, repository: &str, number: u64, (base, head): (&str, &str)) -> Result<Diff> {
        let path = comparison(repository, base, head)?;
        match self.whole_diff(&path).await {
            Err(GithubError::TooLarge | GithubError::Unexpected(_)) => {
                self.files(&format!("{}/pulls/{number}/files", repo(repository)?)).await
            }
            whole => whole,
        }
    }

    /// The diff of a pushed range; at most the 300 files that GitHub compares where it does not show it whole.
    ///
    /// # Errors
    /// [`GithubError`].
    pub async fn range_diff(&self, repository: &str, before: &str, after: &str) -> Result<Diff> {
        let path = comparison(repository, before, after)?;
        match self.whole_diff(&path).await {
            Err(GithubError::TooLarge | GithubError::Unexpected(_)) => {
                let listed: wire::Comparison = self.get_json(&path).await?;
                let unlisted = usize::from(listed.files.len() >= MOST_COMPARED);
                Ok(Diff { files: listed.files.into_iter().map(File::from).collect(), unlisted })
            }
            whole => whole,
        }
    }

    /// A file in an encoding other than UTF-8 loses single characters, never a line.
    async fn whole_diff(&self, path: &str) -> Result<Diff> {
        let text = self.get(path, DIFF).await?;
        diff::parse(&String::from_utf8_lossy(&text))
            .map_err(|error| GithubError::Unexpected(error.to_string()))
    }

    async fn files(&self, path: &str) -> Result<Diff> {
        let files = self.pages::<wire::File>(path, MOST_FILE_PAGES, |_| false).await?;
        Ok(Diff { files: files.into_iter().map(File::from).collect(), unlisted: 0 })
    }
}

fn comparison(repository: &str, base: &str, head: &str) -> Result<String> {
    Ok(format!("{}/compare/{}...{}", repo(repository)?, sha(base)?, sha(head)?))
}
