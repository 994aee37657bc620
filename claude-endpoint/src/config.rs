//! The settings: with the files in `config/` the only place that reads the environment.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Parser;
use shared::config::{Defaults, Loaded, RetentionArgs, ServiceArgs, plain_url};
use shared::keys::Ring;
use shared::signature::SigningKeys;
use shared::version::VERSION;
use url::Url;

use crate::cli::Command;
use crate::desk::Desk;
use crate::redact::redact;
use crate::reviewer::{Reviewer, Reviewers};

mod budget;
mod github;
mod memory;
mod review;
mod reviewer;

pub use budget::DeskSettings;
pub use github::{GithubSettings, HandoffSettings};
pub use memory::MemorySettings;
pub use review::Limits;
pub use reviewer::Choice;

/// Where this service differs from the others.
const DEFAULTS: Defaults =
    Defaults { values: &[("port", "5050"), ("data_dir", "./data/claude-endpoint")], tables: &[] };

/// Reads the diff, asks the reviewer, posts the review
#[derive(Debug, Parser)]
#[command(name = "claude-endpoint", version = VERSION)]
pub struct Cli {
    #[command(flatten)]
    service: ServiceArgs,
    #[command(flatten)]
    github: github::GithubArgs,
    #[command(flatten)]
    reviewer: reviewer::ReviewerArgs,
    #[command(flatten)]
    budget: budget::BudgetArgs,
    #[command(flatten)]
    review: review::ReviewArgs,
    #[command(flatten)]
    memory: memory::MemoryArgs,
    /// What to do; without a word: serve.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// What the service is built from.
#[derive(Debug)]
pub struct Config {
    /// Where the queue lives.
    pub queue_url: String,
    /// How long what has ended stays in it.
    pub retention: RetentionArgs,
    /// Folder of the service's data.
    pub data_dir: PathBuf,
    /// Keys between our services.
    pub keys: SigningKeys,
    /// Where it is noted what they are used for.
    pub rings: Vec<Ring>,
    /// How to talk to GitHub.
    pub github: GithubSettings,
    /// How to talk to the memory.
    pub memory: MemorySettings,
    /// Who may review.
    pub reviewers: Reviewers,
    /// How they are asked.
    pub desk: DeskSettings,
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
    /// The settings that every service has.
    pub fn service(&self) -> &ServiceArgs {
        &self.service
    }

    /// The ledger's file.
    pub fn ledger(&self) -> PathBuf {
        budget::ledger(&self.service.data_dir)
    }

    /// Files that hold secrets, by the settings that they are for.
    pub(crate) fn secret_files(&self) -> impl Iterator<Item = (&'static str, &Path)> {
        let files = [self.github.secret_files(), self.reviewer.secret_files(), self.memory.secret_files()];
        files.into_iter().flatten()
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

    fn check_urls(&self) -> anyhow::Result<()> {
        self.urls().try_for_each(|(name, url)| plain_url(name, url))
    }

    /// A desk of its own, for a review by hand. What that costs stands in its report: the ledger is the service's, which
    /// may be running.
    ///
    /// # Errors
    /// As for [`Cli::config`].
    pub fn desk(&self) -> anyhow::Result<Desk> {
        self.check_urls()?;
        let ollama = || Ok(Arc::new(self.reviewer.ollama()?) as Arc<dyn Reviewer>);
        let models = self.reviewer.paid_models();
        let timeout = self.reviewer.timeout();
        let settings = self.budget.settings(timeout, &models, ollama, &self.service.data_dir)?;
        let settings = DeskSettings { ledger: None, ..settings };
        crate::open_desk(settings, Arc::new(self.reviewer.reviewers()?), redact)
    }

    /// How much one review may ask, and from which severity on it fails.
    ///
    /// # Errors
    /// As for [`Cli::config`].
    pub fn limits(&self) -> anyhow::Result<Limits> {
        self.review.limits(self.reviewer.timeout(), self.github.fail_on)
    }

    /// Checks the settings and reads the secrets.
    ///
    /// # Errors
    /// A setting is missing or not usable; the text says which one and what to do.
    pub fn config(&self) -> anyhow::Result<Config> {
        self.check_urls()?;
        let ollama = || Ok(Arc::new(self.reviewer.ollama()?) as Arc<dyn Reviewer>);
        let (timeout, models) = (self.reviewer.timeout(), self.reviewer.paid_models());
        let keys = self.service.signing_keys()?;
        Ok(Config {
            desk: self.budget.settings(timeout, &models, ollama, &self.service.data_dir)?,
            queue_url: self.service.queue_url(),
            retention: self.service.retention,
            data_dir: self.service.data_dir.clone(),
            rings: vec![self.service.signing_ring(&keys)],
            keys,
            github: self.github.settings()?,
            memory: self.memory.settings()?,
            reviewers: self.reviewer.reviewers()?,
            review: self.limits()?,
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
    fn a_budget_needs_prices() {
        let budget = ["--budget-daily-usd", "5", "--claude-model", "mystery-1"];
        let error = format!("{:#}", config(&budget).unwrap_err());
        assert!(error.contains("MODEL_PRICES") && error.contains("mystery-1"), "{error}");
        for more in [["--model-prices", "claude=1/2,mystery=3/4"], ["--reviewer", "ollama"]] {
            config(&[budget.as_slice(), &more].concat()).unwrap();
        }
        let desk = |more: &[&str]| config(more).unwrap().desk;
        assert!(desk(&budget[2..]).terms.budgets.are_endless());
        assert!(desk(&["--over-budget", "ollama"]).ollama.is_none(), "nothing to go over");
        assert!(desk(&["--over-budget", "ollama", "--budget-review-usd", "0.5"]).ollama.is_some());
        assert!(desk(&[]).terms.second_look && !desk(&["--second-look", "off"]).terms.second_look);
    }

    #[test]
    fn a_bad_setting_is_named_and_no_secret_shown() {
        let error = |flags: &[&str]| format!("{:#}", config(flags).unwrap_err());
        assert!(error(&["--review-concurrency", "0"]).contains("REVIEW_CONCURRENCY"));
        assert!(error(&["--reviewer", "anthropic"]).contains("ANTHROPIC_API_KEY"));
        for wrong in ["0", "-1", "inf", "NaN"] {
            for name in ["BUDGET_DAILY_USD", "BUDGET_REVIEW_USD"] {
                let flag = format!("--{}={wrong}", name.to_lowercase().replace('_', "-"));
                assert!(error(&[flag.as_str()]).contains(name), "{flag}");
            }
        }
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
