//! The settings: the only file that reads the environment.

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, ensure};
use clap::builder::BoolishValueParser;
use clap::{ArgAction, Args, Parser, ValueEnum};
use secrecy::SecretString;
use shared::config::{Defaults, Loaded, RetentionArgs, ServiceArgs, plain_url, secret};
use shared::service::Verb;
use shared::signature::SigningKeys;
use url::Url;

use crate::reviewer::anthropic::Anthropic;
use crate::reviewer::claude_cli::{ClaudeCli, Variables};
use crate::reviewer::ollama::Ollama;
use crate::reviewer::{Reviewer, Reviewers};

/// The model that is asked unless `CLAUDE_MODEL` says otherwise.
const DEFAULT_MODEL: &str = "claude-sonnet-5-5";
/// What `/health` says with `REVIEWER=none`.
const NO_REVIEWER: &str =
    "REVIEWER=none; set it to auto, anthropic (with ANTHROPIC_API_KEY), claude-cli or ollama";
const DEFAULT_ANTHROPIC_URL: &str = "https://api.anthropic.com";

/// Where this service differs from the others.
const DEFAULTS: Defaults =
    Defaults { values: &[("port", "5050"), ("data_dir", "./data/claude-endpoint")], tables: &[] };

/// Reads the diff, asks the reviewer, posts the review
#[derive(Debug, Parser)]
#[command(name = "claude-endpoint", version)]
pub struct Cli {
    #[command(flatten)]
    service: ServiceArgs,
    #[command(flatten)]
    github: GithubArgs,
    #[command(flatten)]
    reviewer: ReviewerArgs,
    #[command(flatten)]
    review: ReviewArgs,
    #[command(subcommand)]
    verb: Option<Verb>,
}

#[derive(Debug, Clone, Args)]
struct GithubArgs {
    /// Token that reads contents and writes pull requests; without it reviews are made and remembered, not posted
    #[arg(long, env = "GITHUB_TOKEN", hide = true, hide_env_values = true)]
    github_token: Option<SecretString>,
    /// File with GITHUB_TOKEN
    #[arg(long, env = "GITHUB_TOKEN_FILE", value_name = "FILE")]
    github_token_file: Option<PathBuf>,
    /// Base URL of GitHub's API
    #[arg(long, env = "GITHUB_API_URL", default_value = "https://api.github.com")]
    github_api_url: Url,
    /// Milliseconds between two posts; GitHub asks for a second
    #[arg(long, env = "GITHUB_PACING_MS", default_value = "1000")]
    github_pacing_ms: u64,
}

#[derive(Debug, Clone, Args)]
struct ReviewerArgs {
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
    anthropic_base_url: Option<Url>,
    /// Model of the API and of the Claude CLI
    #[arg(long, env = "CLAUDE_MODEL", default_value = DEFAULT_MODEL)]
    claude_model: String,
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
    ollama_url: Url,
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

#[derive(Debug, Clone, Args)]
struct ReviewArgs {
    /// Where the memory listens
    #[arg(long, env = "MEMORY_URL", default_value = "http://127.0.0.1:8090")]
    memory_url: Url,
    /// Bearer token of the memory; without it requests are signed
    #[arg(long, env = "MEMORY_TOKEN", hide = true, hide_env_values = true)]
    memory_token: Option<SecretString>,
    /// File with MEMORY_TOKEN
    #[arg(long, env = "MEMORY_TOKEN_FILE", value_name = "FILE")]
    memory_token_file: Option<PathBuf>,
    /// Reviews at a time
    #[arg(long, env = "REVIEW_CONCURRENCY", default_value = "2")]
    review_concurrency: usize,
    /// Longest prompt in tokens; what does not fit is named as not reviewed
    #[arg(long, env = "REVIEW_TOKEN_BUDGET", default_value = "100000")]
    review_token_budget: usize,
    /// Whether drafts are reviewed too
    #[arg(long, env = "REVIEW_DRAFTS", default_value = "false", value_parser = BoolishValueParser::new(), action = ArgAction::Set)]
    review_drafts: bool,
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

/// What the service is built from.
#[derive(Debug)]
pub struct Config {
    /// Where the queue lives.
    pub queue_url: String,
    /// How long what has ended stays in it.
    pub retention: RetentionArgs,
    /// Keys between our services.
    pub keys: SigningKeys,
    /// Base URL of GitHub's API.
    pub github_url: String,
    /// Token for it.
    pub github_token: Option<SecretString>,
    /// Time between two posts.
    pub github_pacing: Duration,
    /// Where the memory listens.
    pub memory_url: Url,
    /// Token for it.
    pub memory_token: Option<SecretString>,
    /// Who may review.
    pub reviewers: Reviewers,
    /// How reviews are made.
    pub review: Limits,
    /// Limits of the listener.
    pub server: shared::server::Limits,
}

/// How reviews are made.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// At a time.
    pub concurrency: usize,
    /// For one question.
    pub timeout: Duration,
    /// For one prompt, in tokens.
    pub token_budget: usize,
    /// Whether drafts are reviewed.
    pub drafts: bool,
}

/// Parses the command line over environment, file and defaults.
///
/// # Errors
/// The file cannot be read, or has an unknown key.
pub fn load(arguments: impl IntoIterator<Item = OsString>) -> anyhow::Result<Loaded<Cli>> {
    shared::config::load(arguments, &DEFAULTS)
}

impl Cli {
    /// What to do; `None`: serve.
    pub fn side_verb(&self) -> Option<&Verb> {
        self.verb.as_ref().filter(|verb| !matches!(verb, Verb::Serve))
    }

    /// The settings that every service has.
    pub fn service(&self) -> &ServiceArgs {
        &self.service
    }

    fn urls(&self) -> impl Iterator<Item = (&'static str, &Url)> {
        let anthropic = self.reviewer.anthropic_base_url.as_ref().map(|url| ("ANTHROPIC_BASE_URL", url));
        let always = [
            ("GITHUB_API_URL", &self.github.github_api_url),
            ("MEMORY_URL", &self.review.memory_url),
            ("OLLAMA_URL", &self.reviewer.ollama_url),
        ];
        always.into_iter().chain(anthropic)
    }

    /// Checks the settings and reads the secrets.
    ///
    /// # Errors
    /// A setting is missing or not usable; the text says which one and what to do.
    pub fn config(&self) -> anyhow::Result<Config> {
        let Self { service, github, reviewer, review, .. } = self;
        ensure!(review.review_concurrency > 0, "REVIEW_CONCURRENCY must be at least 1");
        ensure!(review.review_token_budget >= 4_000, "REVIEW_TOKEN_BUDGET must be at least 4000 tokens");
        for (name, url) in self.urls() {
            plain_url(name, url)?;
        }
        ensure!(reviewer.review_timeout > 0, "REVIEW_TIMEOUT must be at least 1 second");
        let github_token =
            secret("GITHUB_TOKEN", github.github_token.as_ref(), github.github_token_file.as_deref())?;
        let memory_token =
            secret("MEMORY_TOKEN", review.memory_token.as_ref(), review.memory_token_file.as_deref())?;
        Ok(Config {
            queue_url: service.queue_url(),
            retention: service.retention,
            keys: service.signing_keys()?,
            github_url: github.github_api_url.to_string(),
            github_token,
            github_pacing: Duration::from_millis(github.github_pacing_ms),
            memory_url: review.memory_url.clone(),
            memory_token,
            reviewers: reviewer.reviewers()?,
            review: Limits {
                concurrency: review.review_concurrency,
                timeout: Duration::from_secs(reviewer.review_timeout),
                token_budget: review.review_token_budget,
                drafts: review.review_drafts,
            },
            server: service.limits(),
        })
    }
}

impl ReviewerArgs {
    /// The back ends that `REVIEWER` allows, best first.
    fn reviewers(&self) -> anyhow::Result<Reviewers> {
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

    fn timeout(&self) -> Duration {
        Duration::from_secs(self.review_timeout)
    }

    fn anthropic(&self, key: SecretString) -> anyhow::Result<Anthropic> {
        let base = match &self.anthropic_base_url {
            Some(base) => base.clone(),
            None => Url::parse(DEFAULT_ANTHROPIC_URL)?,
        };
        Ok(Anthropic::new(base, key, self.claude_model.clone(), self.timeout())?)
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
        Ok(ClaudeCli::new(self.claude_cli.clone(), self.claude_model.clone(), self.timeout(), variables))
    }

    fn ollama(&self) -> anyhow::Result<Ollama> {
        Ok(Ollama::new(self.ollama_url.clone(), self.ollama_chat_model.clone(), self.timeout())?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

    fn config(flags: &[&str]) -> anyhow::Result<Config> {
        let flags = ["claude-endpoint", "--relay-signing-key", KEY].iter().chain(flags);
        shared::config::load::<Cli>(flags.map(Into::into), &DEFAULTS)?.cli.config()
    }

    #[test]
    fn the_defaults_are_those_of_the_design() {
        let config = config(&[]).unwrap();
        assert_eq!(config.github_url, "https://api.github.com/");
        assert_eq!(config.queue_url, "sqlite://./data/claude-endpoint/queue.db");
        assert_eq!(config.memory_url.as_str(), "http://127.0.0.1:8090/");
        assert_eq!((config.review.concurrency, config.review.drafts), (2, false));
    }

    #[test]
    fn a_bad_setting_is_named_and_no_secret_shown() {
        let error = |flags: &[&str]| format!("{:#}", config(flags).unwrap_err());
        assert!(error(&["--review-concurrency", "0"]).contains("REVIEW_CONCURRENCY"));
        assert!(error(&["--reviewer", "anthropic"]).contains("ANTHROPIC_API_KEY"));
        for name in ["GITHUB_API_URL", "ANTHROPIC_BASE_URL", "MEMORY_URL", "OLLAMA_URL"] {
            let flag = format!("--{}", name.to_lowercase().replace('_', "-"));
            let error = error(&[flag.as_str(), "https://ann:canary@example.org"]);
            assert!(error.contains(name) && !error.contains("canary"), "{error}");
        }
        let fine = config(&[
            "--github-token",
            "ghp_canary",
            "--anthropic-api-key",
            "sk-canary",
            "--claude-code-oauth-token",
            "oat-canary",
        ]);
        assert!(!format!("{:?}", fine.unwrap()).contains("canary"));
    }
}
