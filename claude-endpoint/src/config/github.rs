//! How to talk to GitHub.

use std::path::{Path, PathBuf};
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
const HANDOFF_AS_APP: &str = "JULES_HANDOFF=on needs HANDOFF_TOKEN where a GitHub App posts: Jules acts on what the person \
    writes who started its task, not on a bot's words; a fine-grained token with write access to pull requests is enough";
const HANDOFF_AS_NOBODY: &str =
    "JULES_HANDOFF=on needs HANDOFF_TOKEN or GITHUB_TOKEN, of the person who starts Jules' tasks";

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
    /// Whether Jules is asked in a comment to fix what a review of its pull request found
    #[arg(long, env = "JULES_HANDOFF", default_value = "off", value_name = "on|off", value_parser = BoolishValueParser::new(), action = ArgAction::Set)]
    jules_handoff: bool,
    /// Token of the person who starts Jules' tasks, by whom it is asked: it acts for nobody else [default: GITHUB_TOKEN]
    #[arg(long, env = "HANDOFF_TOKEN", hide = true, hide_env_values = true)]
    handoff_token: Option<SecretString>,
    /// File with HANDOFF_TOKEN
    #[arg(long, env = "HANDOFF_TOKEN_FILE", value_name = "FILE")]
    handoff_token_file: Option<PathBuf>,
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
    /// Whether Jules is asked to fix what was found, and by whom.
    pub handoff: HandoffSettings,
}

/// By whom Jules is asked to fix what was found.
#[derive(Debug, Clone, Default)]
pub enum HandoffSettings {
    /// By nobody.
    #[default]
    Off,
    /// By the owner of `GITHUB_TOKEN`.
    Ourselves,
    /// By the owner of this token.
    Person(SecretString),
}

impl GithubArgs {
    pub(super) fn settings(&self) -> anyhow::Result<GithubSettings> {
        let token = secret("GITHUB_TOKEN", self.github_token.as_ref(), self.github_token_file.as_deref())?;
        let app = self.github_app.key()?;
        ensure!(token.is_none() || app.is_none(), BOTH);
        let handoff = self.handoff(token.is_some(), app.is_some())?;
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
            handoff,
        })
    }

    /// Files that hold secrets.
    pub(super) fn secret_files(&self) -> Vec<(&'static str, &Path)> {
        let app = self.github_app.github_app_private_key_file.as_deref();
        let named = [
            ("GITHUB_TOKEN", self.github_token_file.as_deref()),
            ("HANDOFF_TOKEN", self.handoff_token_file.as_deref()),
            ("GITHUB_APP_PRIVATE_KEY", app),
        ];
        named.into_iter().filter_map(|(name, file)| Some((name, file?))).collect()
    }

    fn handoff(&self, has_token: bool, is_app: bool) -> anyhow::Result<HandoffSettings> {
        if !self.jules_handoff {
            return Ok(HandoffSettings::Off);
        }
        let token = secret("HANDOFF_TOKEN", self.handoff_token.as_ref(), self.handoff_token_file.as_deref())?;
        ensure!(token.is_some() || !is_app, HANDOFF_AS_APP);
        ensure!(token.is_some() || has_token, HANDOFF_AS_NOBODY);
        Ok(token.map_or(HandoffSettings::Ourselves, HandoffSettings::Person))
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
    fn jules_is_asked_by_a_person_or_not_at_all() {
        let key = app_key();
        let (app, on) =
            (["--github-app-id", APP_ID, "--github-app-private-key", &key], ["--jules-handoff", "on"]);
        let token = ["--github-token", "canary"];
        let person = ["--handoff-token", "canary-of-a-person"];
        assert!(matches!(settings(&person).unwrap().handoff, HandoffSettings::Off));
        assert!(matches!(settings(&[on, token].concat()).unwrap().handoff, HandoffSettings::Ourselves));
        for flags in [[&on[..], &token, &person].concat(), [&on[..], &app, &person].concat()] {
            let settings = settings(&flags).unwrap();
            assert!(matches!(settings.handoff, HandoffSettings::Person(_)));
            assert!(!format!("{settings:?}").contains("canary"));
        }
        let as_app = settings(&[&on[..], &app].concat()).unwrap_err().to_string();
        assert!(as_app.contains("HANDOFF_TOKEN") && as_app.contains("person"), "{as_app}");
        assert!(settings(&on).unwrap_err().to_string().contains("HANDOFF_TOKEN or GITHUB_TOKEN"));
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
