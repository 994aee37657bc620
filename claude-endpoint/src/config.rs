//! The settings: with the files in `config/` the only place that reads the environment.

use std::ffi::OsString;

use clap::Parser;
use shared::config::{Defaults, Loaded, RetentionArgs, ServiceArgs, plain_url};
use shared::service::Verb;
use shared::signature::SigningKeys;
use url::Url;

use crate::reviewer::Reviewers;

mod github;
mod memory;
mod review;
mod reviewer;

pub use github::GithubSettings;
pub use memory::MemorySettings;
pub use review::Limits;
pub use reviewer::Choice;

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
    github: github::GithubArgs,
    #[command(flatten)]
    reviewer: reviewer::ReviewerArgs,
    #[command(flatten)]
    review: review::ReviewArgs,
    #[command(flatten)]
    memory: memory::MemoryArgs,
    #[command(subcommand)]
    verb: Option<Verb>,
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
    /// How to talk to GitHub.
    pub github: GithubSettings,
    /// How to talk to the memory.
    pub memory: MemorySettings,
    /// Who may review.
    pub reviewers: Reviewers,
    /// How reviews are made.
    pub review: Limits,
    /// Limits of the listener.
    pub server: shared::server::Limits,
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
            ("MEMORY_URL", &self.memory.memory_url),
            ("OLLAMA_URL", &self.reviewer.ollama_url),
        ];
        always.into_iter().chain(anthropic)
    }

    /// Checks the settings and reads the secrets.
    ///
    /// # Errors
    /// A setting is missing or not usable; the text says which one and what to do.
    pub fn config(&self) -> anyhow::Result<Config> {
        for (name, url) in self.urls() {
            plain_url(name, url)?;
        }
        Ok(Config {
            queue_url: self.service.queue_url(),
            retention: self.service.retention,
            keys: self.service.signing_keys()?,
            github: self.github.settings()?,
            memory: self.memory.settings()?,
            reviewers: self.reviewer.reviewers()?,
            review: self.review.limits(self.reviewer.timeout())?,
            server: self.service.limits(),
        })
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
        assert_eq!(config.github.url, "https://api.github.com/");
        assert_eq!(config.queue_url, "sqlite://./data/claude-endpoint/queue.db");
        assert_eq!(config.memory.url.as_str(), "http://127.0.0.1:8090/");
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
