//! How reviews are made.

use std::time::Duration;

use anyhow::ensure;
use clap::builder::BoolishValueParser;
use clap::{ArgAction, Args};

#[derive(Debug, Clone, Args)]
pub(super) struct ReviewArgs {
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

impl ReviewArgs {
    /// `timeout` is for one question.
    pub(super) fn limits(&self, timeout: Duration) -> anyhow::Result<Limits> {
        ensure!(self.review_concurrency > 0, "REVIEW_CONCURRENCY must be at least 1");
        ensure!(self.review_token_budget >= 4_000, "REVIEW_TOKEN_BUDGET must be at least 4000 tokens");
        ensure!(!timeout.is_zero(), "REVIEW_TIMEOUT must be at least 1 second");
        Ok(Limits {
            concurrency: self.review_concurrency,
            timeout,
            token_budget: self.review_token_budget,
            drafts: self.review_drafts,
        })
    }
}
