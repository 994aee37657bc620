//! `claude-endpoint doctor`: the journey from the tunnel's end to the posted review, as the machine at home sees it. It
//! costs nothing and posts nothing: GitHub, the reviewer and the memory are asked who they are.

use std::process::ExitCode;

use inbox::doctor as common;
use shared::config::TunnelArgs;
use shared::doctor::{Diagnosis, Finding, Options, own, secrets, tunnel};
use shared::health::Report;
use shared::signature::SigningKeys;

use crate::NAME;
use crate::config::{Cli, Config, GithubSettings};
use crate::github::Github;

mod memory;
mod reviewers;

/// How the doctor looks.
#[derive(Debug, clap::Args)]
pub struct Doctor {
    #[command(flatten)]
    options: Options,
    #[command(flatten)]
    tunnel: TunnelArgs,
    /// A repository (owner/name, comma-separated) of which it is tried whether the token or the GitHub App can read it
    #[arg(long, value_name = "OWNER/NAME", value_delimiter = ',')]
    repository: Vec<String>,
}

/// Looks, and prints what was found. The code is 0 where nothing is broken, else 1.
///
/// # Errors
/// It cannot be printed.
pub async fn run(doctor: &Doctor, cli: &Cli) -> anyhow::Result<ExitCode> {
    let (offline, service) = (doctor.options.offline, cli.service());
    let mut found = Diagnosis::new(NAME);
    let mut settings = Vec::new();
    let keys = common::keys(service, &mut settings);
    let config = configuration(cli, &keys, &mut settings);
    found.hop("settings", settings);
    let (running, report) = common::running(NAME, service, &keys).await;
    let mut way = tunnel::examine(&doctor.tunnel.folder(), service.port, offline);
    way.extend(report.as_ref().map(tunnel::relay));
    found.hop("tunnel", way);
    let mut here = running;
    here.extend(report.as_ref().map(budget).unwrap_or_default());
    here.extend(common::store("claude", service).await);
    found.hop(NAME, here);
    if let Some(config) = config {
        found.hop("github", github(&config.github, &doctor.repository, offline).await);
        found.hop("reviewer", reviewers::examine(&config.reviewers, offline).await);
        found.hop("memory", memory::examine(config.memory, config.keys, &keys).await);
    }
    found.print(doctor.options)
}

/// The settings that a start would need.
fn configuration(cli: &Cli, keys: &[SigningKeys], found: &mut Vec<Finding>) -> Option<Config> {
    let config = common::configuration(NAME, cli.config(), keys, found)?;
    let signing = cli.service().relay_signing_key.as_ref().map(secrets::split).unwrap_or_default();
    if let Some(token) = &config.memory.token {
        let token = vec![token.clone()];
        found.push(secrets::strength("MEMORY_TOKEN", &token, secrets::MAKE));
        found.extend(secrets::reused(&[("RELAY_SIGNING_KEY", signing), ("MEMORY_TOKEN", token)]));
    }
    found.extend(cli.secret_files().filter_map(|(name, file)| secrets::private(name, file)));
    Some(config)
}

/// What the running service says of today's money.
fn budget(report: &Report) -> Vec<Finding> {
    own::health(
        report,
        &[("budget", "budget")],
        "BUDGET_DAILY_USD, or wait until midnight UTC; `claude-endpoint ledger` shows what was spent",
    )
}

async fn github(settings: &GithubSettings, repositories: &[String], offline: bool) -> Vec<Finding> {
    if settings.token.is_none() && settings.app.is_none() {
        let says =
            "neither GITHUB_TOKEN nor a GitHub App is set: reviews are made and remembered, not posted";
        let mend = "GITHUB_TOKEN in .env: a fine-grained token, Contents: read, Pull requests, Issues and Commit statuses: read and write";
        return vec![Finding::warn("credentials", says, mend)];
    }
    if offline {
        return vec![Finding::skipped("credentials", "GitHub is not asked: --offline")];
    }
    match Github::new(settings) {
        Ok(github) => github.examine(repositories).await,
        Err(error) => vec![Finding::fail(
            "credentials",
            format!("the client for GITHUB_API_URL cannot be set up: {error}"),
            "without CA certificates, on Debian: apt-get install ca-certificates",
        )],
    }
}
