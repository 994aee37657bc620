//! The image of `deploy/` in a real Docker engine: what its cage leaves it, that it is healthy without the Mac, and
//! that deployments under load lose nothing.

mod bridge;
mod cage;
mod container;
mod deployments;
mod docs;
mod engine;
mod report;
mod tools;
mod traffic;

use std::{ffi::OsString, path::PathBuf};

use anyhow::{Context, bail, ensure};
use tempfile::TempDir;
use tokio::signal::unix::{SignalKind, signal};

use self::{container::Container, engine::Engine, report::Report, tools::Tools, traffic::Traffic};
use super::say;

/// What is put into the image, and how much is done to it.
#[derive(Debug, clap::Args)]
pub struct Docker {
    /// The relay as a static binary
    #[arg(long, value_name = "FILE")]
    relay: PathBuf,
    /// The most MB that the image may have; without it, its size is only told
    #[arg(long)]
    most_mb: Option<u64>,
    /// Deployments under load
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=20))]
    deployments: u32,
    /// The repository, whose deploy/ is tried
    #[arg(long, default_value = ".", value_name = "FOLDER")]
    root: PathBuf,
    /// Fail where no engine can run, instead of saying so
    #[arg(long)]
    required: bool,
    #[arg(long, env = "PATH", hide = true)]
    path: OsString,
}

/// Does it and prints the table.
///
/// # Errors
/// Something is not as `deploy/` promises, or nothing could be done.
pub async fn run(docker: &Docker) -> anyhow::Result<()> {
    let tools = match Tools::find(&docker.path) {
        Ok(tools) => tools,
        Err(why) if docker.required => bail!("{why}"),
        Err(why) => return say(&format!("SKIPPED: no Docker engine was tried: {why}")),
    };
    ensure!(docker.relay.exists(), "{} is missing; scripts/docker-test.sh builds it", docker.relay.display());
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    // What is dropped here stops its engine, and the engine its containers.
    let report = tokio::select! {
        report = docker.try_it(&tools) => report?,
        _ = interrupt.recv() => bail!("interrupted"),
        _ = terminate.recv() => bail!("stopped"),
    };
    say(&format!("\n{}", report.table()))?;
    let wrong = report.wrong();
    ensure!(wrong.is_empty(), "not as it should be: {}", wrong.join("; "));
    Ok(())
}

impl Docker {
    async fn try_it(&self, tools: &Tools) -> anyhow::Result<Report> {
        let folder = TempDir::with_prefix("ai-relay-docker-")?;
        let mut report = Report::default();
        let mut engine = Engine::start(tools, folder.path()).await.context("the Docker engine")?;
        say(&format!("engine {} runs in {}", engine.version().await?, folder.path().display()))?;
        let mut traffic = Traffic::new(crate::port::port()).await?;
        let relay = Container::new(&engine, &self.root, folder.path(), &traffic)?;
        let result = self.try_container(&relay, &mut traffic, &mut report).await;
        let log =
            if result.is_err() || !report.wrong().is_empty() { relay.log().await } else { String::new() };
        // Also after an error: the volume is not left to the folder's removal.
        let removed = relay.remove().await;
        result.with_context(|| format!("the relay's log ends with:\n{log}"))?;
        removed?;
        engine.stop().await?;
        let mounts = engine::mounts_below(folder.path())?;
        report.row("left behind", &format!("{} mounts, no process", mounts.len()), mounts.is_empty());
        Ok(report)
    }

    async fn try_container(
        &self,
        relay: &Container<'_>,
        traffic: &mut Traffic,
        report: &mut Report,
    ) -> anyhow::Result<()> {
        relay.build(&self.relay).await.context("the image")?;
        relay.describe_image(self.most_mb, report).await?;
        relay.up().await?;
        say("the relay is up, and the tunnel is down")?;
        relay.becomes_healthy(report).await?;
        relay.has_certificates(report).await;
        cage::look(relay, report).await?;
        deployments::under_load(relay, traffic, self.deployments, report).await?;
        deployments::keep_the_volume(relay, traffic, report).await?;
        docs::commands(relay, &self.root, report).await?;
        relay.stops(report).await
    }
}
