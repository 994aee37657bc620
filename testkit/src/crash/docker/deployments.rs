//! What a deployment costs: some seconds in which GitHub meets nobody, and no event.

use std::time::Duration;

use anyhow::ensure;
use tokio::time::Instant;

use super::{super::say, container::Container, report::Report, traffic::Traffic};

/// Webhooks that go well before each deployment, and that fail in it.
const BETWEEN: usize = 100;
const MEANWHILE: usize = 25;

/// Replaces the container again and again while events happen, then counts.
pub(super) async fn under_load(
    relay: &Container<'_>,
    traffic: &mut Traffic,
    deployments: u32,
    report: &mut Report,
) -> anyhow::Result<()> {
    traffic.start();
    // The first ones wait for the tunnel.
    traffic.happens(BETWEEN, true).await?;
    traffic.targets_come_back();
    let (mut id, mut gaps) = (relay.id().await?, Vec::new());
    for number in 1..=deployments {
        traffic.happens(BETWEEN, true).await?;
        let began = Instant::now();
        relay.take_away().await?;
        traffic.happens(MEANWHILE, false).await?;
        relay.up().await?;
        gaps.push(began.elapsed());
        let next = relay.id().await?;
        ensure!(next != id, "the container was not replaced");
        id = next;
        say(&format!("deployment {number} of {deployments}"))?;
    }
    traffic.happens(BETWEEN, true).await?;
    traffic.stop().await;
    let began = Instant::now();
    let arrived = traffic.arrives().await;
    let it = traffic.account();
    let missed = format!("{} of {} events failed at GitHub, {} found again", it.failed, it.sent, it.found);
    report.row(
        &format!("{deployments} deployments under load"),
        &missed,
        it.found >= it.failed && it.failed > 0,
    );
    let longest = gaps.into_iter().max().unwrap_or_default();
    report.row("longest gap", &seconds(longest), true);
    report.row("all handed over after the load", &seconds(began.elapsed()), arrived);
    report.row("lost", &it.lost.to_string(), it.lost == 0);
    report.row("doubled in effect", &it.doubled.to_string(), it.doubled == 0);
    report.row("altered", &it.altered.to_string(), it.altered == 0);
    Ok(())
}

/// Containers go, the volume stays: the relay remembers what it took before.
pub(super) async fn keep_the_volume(
    relay: &Container<'_>,
    traffic: &Traffic,
    report: &mut Report,
) -> anyhow::Result<()> {
    relay.down().await?;
    relay.up().await?;
    let again = traffic.send_the_first_again().await?;
    report.row("the first event again, after `down` and `up`", &again, again == "200 duplicate");
    Ok(())
}

fn seconds(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}
