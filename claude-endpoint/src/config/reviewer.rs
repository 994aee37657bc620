//! Who reviews.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use clap::{Args, ValueEnum};
use secrecy::SecretString;
use shared::config::secret;
use url::Url;

use crate::reviewer::anthropic::Anthropic;
use crate::reviewer::claude_cli::{ClaudeCli, Variables};
use crate::reviewer::ollama::Ollama;
use crate::reviewer::{Reviewer, Reviewers};

/// The model that is asked unless `CLAUDE_MODEL` says otherwise.
const DEFAULT_MODEL: &str = "claude-sonnet-5-5";
/// The one that is asked where less will do, unless `CLAUDE_CHEAP_MODEL` says otherwise.
const DEFAULT_CHEAP_MODEL: &str = "claude-haiku-5-5";
/// What `/health` says with `REVIEWER=none`.
const NO_REVIEWER: &str =
    "REVIEWER=none; set it to auto, anthropic (with ANTHROPIC_API_KEY), claude-cli or ollama";
const DEFAULT_ANTHROPIC_URL: &str = "https://api.anthropic.com";

#[derive(Debug, Clone, Args)]
pub(super) struct ReviewerArgs {
    /// Who reviews
    #[arg(long, env = "REVIEWER", default_value = "auto")]
    reviewer: Choice,
    /// API key of Anthropic
    #[arg(long, env = "ANTHROPIC_API_KEY", hide = true, hide_env_values = true)]
    anthropic_api_key: Option<SecretString>,
    /// File with ANTHROPIC_API_KEY
    #[arg(long, env = "ANTHROPIC_API_KEY_FILE", value_name = "FILE")]
    anthropic_api_key_file: Option<PathBuf>,
    /// Base URL of Anthropic's API [default: https://api.anthropic.com]
    #[arg(long, env = "ANTHROPIC_BASE_URL")]
    pub(super) anthropic_base_url: Option<Url>,
    /// Model of the API and of the Claude CLI
    #[arg(long, env = "CLAUDE_MODEL", default_value = DEFAULT_MODEL)]
    claude_model: String,
    /// Cheaper model of the same, for second looks and when a budget is used up, or `none`
    #[arg(long, env = "CLAUDE_CHEAP_MODEL", default_value = DEFAULT_CHEAP_MODEL)]
    claude_cheap_model: String,
    /// The Claude CLI: a name on the PATH, or a path
    #[arg(long, env = "CLAUDE_CLI", default_value = "claude")]
    claude_cli: PathBuf,
    /// Long-lived token of the Claude CLI, from `claude setup-token`
    #[arg(long, env = "CLAUDE_CODE_OAUTH_TOKEN", hide = true, hide_env_values = true)]
    claude_code_oauth_token: Option<SecretString>,
    /// File with CLAUDE_CODE_OAUTH_TOKEN
    #[arg(long, env = "CLAUDE_CODE_OAUTH_TOKEN_FILE", value_name = "FILE")]
    claude_code_oauth_token_file: Option<PathBuf>,
    /// Where Ollama listens
    #[arg(long, env = "OLLAMA_URL", default_value = "http://127.0.0.1:11434")]
    pub(super) ollama_url: Url,
    /// Ollama's model that reviews
    #[arg(long, env = "OLLAMA_CHAT_MODEL", default_value = "llama3.2")]
    ollama_chat_model: String,
    /// Seconds that one question may take
    #[arg(long, env = "REVIEW_TIMEOUT", default_value = "600")]
    review_timeout: u64,
    #[arg(long, env = "HOME", hide = true)]
    home: Option<OsString>,
    #[arg(long, env = "PATH", hide = true)]
    path: Option<OsString>,
    #[arg(long, env = "USER", hide = true)]
    user: Option<OsString>,
}

/// `REVIEWER`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Choice {
    /// The API if there is a key, else the CLI if it is logged in, else Ollama.
    Auto,
    /// Anthropic's API.
    Anthropic,
    /// The Claude CLI.
    ClaudeCli,
    /// Ollama.
    Ollama,
    /// Nobody; events wait.
    None,
}

impl ReviewerArgs {
    /// The back ends that `REVIEWER` allows, best first.
    pub(super) fn reviewers(&self) -> anyhow::Result<Reviewers> {
        let key = secret(
            "ANTHROPIC_API_KEY",
            self.anthropic_api_key.as_ref(),
            self.anthropic_api_key_file.as_deref(),
        )?;
        let candidates: Vec<Arc<dyn Reviewer>> = match self.reviewer {
            Choice::None => return Ok(Reviewers::new(vec![], NO_REVIEWER)),
            Choice::Anthropic => {
                let key =
                    key.context("REVIEWER=anthropic needs ANTHROPIC_API_KEY or ANTHROPIC_API_KEY_FILE")?;
                vec![Arc::new(self.anthropic(key)?)]
            }
            Choice::ClaudeCli => vec![Arc::new(self.claude_cli(key)?)],
            Choice::Ollama => vec![Arc::new(self.ollama()?)],
            // with a key the API is meant: falling back to a weaker model when it is away for a minute is not
            Choice::Auto => match key {
                Some(key) => vec![Arc::new(self.anthropic(key)?)],
                None => {
                    let candidates: Vec<Arc<dyn Reviewer>> =
                        vec![Arc::new(self.claude_cli(None)?), Arc::new(self.ollama()?)];
                    return Ok(Reviewers::new(candidates, "or set ANTHROPIC_API_KEY"));
                }
            },
        };
        Ok(Reviewers::new(candidates, ""))
    }

    /// Files that hold secrets.
    pub(super) fn secret_files(&self) -> Vec<(&'static str, &Path)> {
        let named = [
            ("ANTHROPIC_API_KEY", self.anthropic_api_key_file.as_deref()),
            ("CLAUDE_CODE_OAUTH_TOKEN", self.claude_code_oauth_token_file.as_deref()),
        ];
        named.into_iter().filter_map(|(name, file)| Some((name, file?))).collect()
    }

    pub(super) fn timeout(&self) -> Duration {
        Duration::from_secs(self.review_timeout)
    }

    /// Empty if there is none.
    fn cheap_model(&self) -> &str {
        if self.claude_cheap_model == "none" { "" } else { &self.claude_cheap_model }
    }

    /// The models that could be asked and are paid for.
    pub(super) fn paid_models(&self) -> Vec<&str> {
        match self.reviewer {
            Choice::Ollama | Choice::None => vec![],
            _ => [self.claude_model.as_str(), self.cheap_model()]
                .into_iter()
                .filter(|name| !name.is_empty())
                .collect(),
        }
    }

    fn anthropic(&self, key: SecretString) -> anyhow::Result<Anthropic> {
        let base = match &self.anthropic_base_url {
            Some(base) => base.clone(),
            None => Url::parse(DEFAULT_ANTHROPIC_URL)?,
        };
        let anthropic = Anthropic::new(base, key, self.claude_model.clone(), self.timeout())?;
        Ok(anthropic.with_cheaper(self.cheap_model()))
    }

    fn claude_cli(&self, key: Option<SecretString>) -> anyhow::Result<ClaudeCli> {
        let token = secret(
            "CLAUDE_CODE_OAUTH_TOKEN",
            self.claude_code_oauth_token.as_ref(),
            self.claude_code_oauth_token_file.as_deref(),
        )?;
        let base = self.anthropic_base_url.as_ref().map(|base| base.as_str().trim_end_matches('/').into());
        // USER: the macOS keychain entry of the login is found by it
        let plain = [
            ("HOME", self.home.clone()),
            ("PATH", self.path.clone()),
            ("USER", self.user.clone()),
            ("ANTHROPIC_BASE_URL", base),
        ];
        let secret = [("ANTHROPIC_API_KEY", key), ("CLAUDE_CODE_OAUTH_TOKEN", token)];
        let variables = Variables {
            plain: plain.into_iter().filter_map(|(name, value)| Some((name, value?))).collect(),
            secret: secret.into_iter().filter_map(|(name, value)| Some((name, value?))).collect(),
        };
        let (program, model) = (self.claude_cli.clone(), self.claude_model.clone());
        Ok(ClaudeCli::new(program, model, self.timeout(), variables).with_cheaper(self.cheap_model()))
    }

    pub(super) fn ollama(&self) -> anyhow::Result<Ollama> {
        Ok(Ollama::new(self.ollama_url.clone(), self.ollama_chat_model.clone(), self.timeout())?)
    }
}
