//! How to talk to GitHub.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use secrecy::SecretString;
use shared::config::secret;
use url::Url;

#[derive(Debug, Clone, Args)]
pub(super) struct GithubArgs {
    /// Token that reads contents and writes pull requests; without it reviews are made and remembered, not posted
    #[arg(long, env = "GITHUB_TOKEN", hide = true, hide_env_values = true)]
    github_token: Option<SecretString>,
    /// File with GITHUB_TOKEN
    #[arg(long, env = "GITHUB_TOKEN_FILE", value_name = "FILE")]
    github_token_file: Option<PathBuf>,
    /// Base URL of GitHub's API
    #[arg(long, env = "GITHUB_API_URL", default_value = "https://api.github.com")]
    pub(super) github_api_url: Url,
    /// Milliseconds between two posts; GitHub asks for a second
    #[arg(long, env = "GITHUB_PACING_MS", default_value = "1000")]
    github_pacing_ms: u64,
}

/// How to talk to GitHub.
#[derive(Debug, Clone)]
pub struct GithubSettings {
    /// Base URL of its API.
    pub url: String,
    /// Without it nothing is posted.
    pub token: Option<SecretString>,
    /// Time between two posts.
    pub pacing: Duration,
}

impl GithubArgs {
    pub(super) fn settings(&self) -> anyhow::Result<GithubSettings> {
        Ok(GithubSettings {
            url: self.github_api_url.to_string(),
            token: secret("GITHUB_TOKEN", self.github_token.as_ref(), self.github_token_file.as_deref())?,
            pacing: Duration::from_millis(self.github_pacing_ms),
        })
    }
}
