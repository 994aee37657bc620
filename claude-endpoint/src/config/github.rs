//! How to talk to GitHub.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::ensure;
use clap::builder::BoolishValueParser;
use clap::{ArgAction, Args};
use secrecy::SecretString;
use shared::config::{AppArgs, secret};
use shared::github::AppKey;
use url::Url;

use crate::status::Threshold;

/// GitHub takes more, but shows no more.
const LONGEST_CONTEXT: usize = 100;
const BOTH: &str = "GITHUB_TOKEN and GITHUB_APP_ID are both set; keep one of them: with the token, the token's owner posts \
    and sets commit statuses; with the GitHub App, its bot posts and writes check runs";

#[derive(Debug, Clone, Args)]
pub(super) struct GithubArgs {
    /// Token that reads contents and writes pull requests and commit statuses; without it or a GitHub App reviews are
    /// made and remembered, not posted
    #[arg(long, env = "GITHUB_TOKEN", hide = true, hide_env_values = true)]
    github_token: Option<SecretString>,
    /// File with GITHUB_TOKEN
    #[arg(long, env = "GITHUB_TOKEN_FILE", value_name = "FILE")]
    github_token_file: Option<PathBuf>,
    #[command(flatten)]
    github_app: AppArgs,
    /// Base URL of GitHub's API
    #[arg(long, env = "GITHUB_API_URL", default_value = "https://api.github.com")]
    pub(super) github_api_url: Url,
    /// Milliseconds between two posts; GitHub asks for a second
    #[arg(long, env = "GITHUB_PACING_MS", default_value = "1000")]
    github_pacing_ms: u64,
    /// Whether a reviewed commit gets a status (as a GitHub App: a check run)
    #[arg(long, env = "STATUS", default_value = "on", value_name = "on|off", value_parser = BoolishValueParser::new(), action = ArgAction::Set)]
    status: bool,
    /// Name of that status
    #[arg(long, env = "STATUS_CONTEXT", default_value = "ai-relay")]
    status_context: String,
    /// The least severity of an open finding with which the status is a failure
    #[arg(long, env = "FAIL_ON", default_value = "major")]
    pub(super) fail_on: Threshold,
}

/// How to talk to GitHub.
#[derive(Debug, Clone, Default)]
pub struct GithubSettings {
    /// Base URL of its API.
    pub url: String,
    /// Without it or an app nothing is posted.
    pub token: Option<SecretString>,
    /// The GitHub App as which everything is done, instead of a token's owner.
    pub app: Option<AppKey>,
    /// Time between two posts.
    pub pacing: Duration,
    /// The name of our statuses; `None`: there are none.
    pub status_context: Option<String>,
}

impl GithubArgs {
    pub(super) fn settings(&self) -> anyhow::Result<GithubSettings> {
        let token = secret("GITHUB_TOKEN", self.github_token.as_ref(), self.github_token_file.as_deref())?;
        let app = self.github_app.key()?;
        ensure!(token.is_none() || app.is_none(), BOTH);
        let context = self.status_context.trim();
        ensure!(
            (1..=LONGEST_CONTEXT).contains(&context.chars().count())
                && !context.chars().any(char::is_control),
            "STATUS_CONTEXT must be a name of 1 to {LONGEST_CONTEXT} characters; STATUS=off sets no status"
        );
        Ok(GithubSettings {
            url: self.github_api_url.to_string(),
            token,
            app,
            pacing: Duration::from_millis(self.github_pacing_ms),
            status_context: self.status.then(|| context.to_owned()),
        })
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use testkit::github::{APP_ID, app_key};

    use super::*;

    #[derive(Debug, Parser)]
    struct Cli {
        #[command(flatten)]
        github: GithubArgs,
    }

    fn settings(flags: &[&str]) -> anyhow::Result<GithubSettings> {
        Cli::try_parse_from(["claude-endpoint"].iter().chain(flags))?.github.settings()
    }

    #[test]
    fn a_token_or_an_app_but_not_both() {
        let key = app_key();
        let app = ["--github-app-id", APP_ID, "--github-app-private-key", &key];
        let as_app = settings(&app).unwrap();
        assert_eq!(as_app.app.as_ref().map(AppKey::id), Some(APP_ID));
        assert!(!format!("{as_app:?}").contains(&key[40..80]));
        // as a file that carries variables has to write it
        let one_line = key.replace('\n', "\\n");
        assert!(settings(&["--github-app-id", APP_ID, "--github-app-private-key", &one_line]).is_ok());
        let both = settings(&[&app[..], &["--github-token", "canary"]].concat()).unwrap_err().to_string();
        assert!(both.contains("keep one") && !both.contains("canary"), "{both}");
        assert!(settings(&app[..2]).unwrap_err().to_string().contains("GITHUB_APP_PRIVATE_KEY"));
    }

    #[test]
    fn statuses_are_on_unless_they_are_off() {
        let usual = settings(&[]).unwrap();
        assert_eq!(usual.status_context.as_deref(), Some("ai-relay"));
        let other = settings(&["--status-context", " AI review ", "--fail-on", "never"]).unwrap();
        assert_eq!(other.status_context.as_deref(), Some("AI review"));
        assert_eq!(settings(&["--status", "off"]).unwrap().status_context, None);
        for wrong in [["--status-context", " "], ["--fail-on", "severe"], ["--status", "perhaps"]] {
            assert!(settings(&wrong).is_err(), "{wrong:?}");
        }
    }
}
