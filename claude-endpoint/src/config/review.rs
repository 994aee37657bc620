//! How reviews are made.

use std::time::Duration;

use anyhow::ensure;
use clap::builder::BoolishValueParser;
use clap::{ArgAction, Args};

use crate::status::Threshold;

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
    /// Prompts that a change too large for one may take; what does not fit is named as not reviewed
    #[arg(long, env = "REVIEW_PROMPTS", default_value = "4")]
    review_prompts: usize,
    /// From which severity on a pushed commit is commented on
    #[arg(long, env = "PUSH_COMMENT_FROM", default_value = "major")]
    push_comment_from: Threshold,
    /// Reviews of one pull request by an agent or bot until a person is asked
    #[arg(long, env = "AGENT_ROUNDS", default_value = "3")]
    agent_rounds: u32,
    /// Whether the thread of a finding that is fixed is resolved; needs write access to contents
    #[arg(long, env = "RESOLVE_FIXED", default_value = "true", value_parser = BoolishValueParser::new(), action = ArgAction::Set)]
    resolve_fixed: bool,
}

/// A review that takes longer is announced. One that is quicker, or is skipped, needs no announcement, and costs no call.
const ANNOUNCED_AFTER: Duration = Duration::from_secs(3);

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
    /// For one review.
    pub most_prompts: usize,
    /// From which severity on a pushed commit is commented on.
    pub push_severity: Threshold,
    /// Reviews of an agent's pull request until a person is asked.
    pub agent_rounds: u32,
    /// Whether threads of what is fixed are resolved.
    pub resolve_fixed: bool,
    /// The least severity of an open finding with which the status is a failure.
    pub fail_on: Threshold,
    /// After how long a review that is being made is announced by a pending status.
    pub announced_after: Duration,
}

impl ReviewArgs {
    /// `timeout` is for one question.
    pub(super) fn limits(&self, timeout: Duration, fail_on: Threshold) -> anyhow::Result<Limits> {
        ensure!(self.review_concurrency > 0, "REVIEW_CONCURRENCY must be at least 1");
        ensure!(self.review_token_budget >= 4_000, "REVIEW_TOKEN_BUDGET must be at least 4000 tokens");
        ensure!((1..=20).contains(&self.review_prompts), "REVIEW_PROMPTS must be 1 to 20");
        ensure!(self.agent_rounds > 0, "AGENT_ROUNDS must be at least 1");
        ensure!(!timeout.is_zero(), "REVIEW_TIMEOUT must be at least 1 second");
        Ok(Limits {
            concurrency: self.review_concurrency,
            timeout,
            token_budget: self.review_token_budget,
            drafts: self.review_drafts,
            most_prompts: self.review_prompts,
            push_severity: self.push_comment_from,
            agent_rounds: self.agent_rounds,
            resolve_fixed: self.resolve_fixed,
            fail_on,
            announced_after: ANNOUNCED_AFTER,
        })
    }
}
