//! From the webhook's first byte to the far side of a real SSH tunnel, and how fast what has waited is worked off.

use std::{
    collections::HashMap,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{bail, ensure};
use clap::Args;
use hdrhistogram::Histogram;
use serde::Serialize;
use serde_json::json;
use tokio::time::{MissedTickBehavior, interval};

use super::{
    Part, Setup,
    distinct::{Distinct, send, send_all},
    machine, remove,
    report::{Bound, Goal, milliseconds},
    servers::{self, Running},
    target::Target,
    wire::Connection,
};
use crate::{
    port::port,
    sshd::{Sshd, Tunnel, listens_at},
};

const CONNECTIONS: usize = 16;
/// The relay asks whether a target is back every 20 s at the least; the rest is for a slow machine.
const PATIENCE: Duration = Duration::from_secs(300);

/// How many events.
#[derive(Debug, Args)]
pub(super) struct Journey {
    /// Events one after the other, for the latency.
    #[arg(long, default_value_t = Self::default().events)]
    events: u64,
    /// Events a second.
    #[arg(long, default_value_t = Self::default().per_second, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    per_second: u32,
    /// Events that wait until the tunnel is back.
    #[arg(long, default_value_t = Self::default().backlog)]
    backlog: u64,
    /// Only the latency, and without the tunnel: the difference is what the tunnel costs.
    #[arg(long)]
    direct: bool,
}

/// The relay at one end of the tunnel, the targets at the other.
struct Road {
    relay: Running,
    /// Where there is a tunnel.
    sshd: Option<Sshd>,
    /// As the VPS sees the targets.
    vps: [u16; 2],
    targets: [Target; 2],
}

impl Road {
    async fn start(setup: &Setup, folder: &Path, direct: bool) -> anyhow::Result<Self> {
        let targets = [Target::start("claude-endpoint").await?, Target::start("ollama-endpoint").await?];
        let (vps, sshd) = if direct {
            ([targets[0].address.port(), targets[1].address.port()], None)
        } else {
            let vps = [port(), port()];
            (vps, Some(Sshd::start(folder, &vps.map(|port| format!("127.0.0.1:{port}"))).await?))
        };
        let relay = servers::start_relay(setup, folder, vps).await?;
        Ok(Self { relay, sshd, vps, targets })
    }

    /// Opens the tunnel and waits until the VPS's ports are there.
    async fn tunnel(&self) -> anyhow::Result<Option<Tunnel>> {
        let Some(sshd) = &self.sshd else { return Ok(None) };
        let [claude, ollama] = &self.targets;
        let tunnel =
            sshd.tunnel(&[(self.vps[0], claude.address.port()), (self.vps[1], ollama.address.port())])?;
        for port in self.vps {
            ensure!(listens_at(port).await, "the tunnel does not come up");
        }
        Ok(Some(tunnel))
    }

    async fn all_have_taken(&self, events: u64) -> anyhow::Result<()> {
        for target in &self.targets {
            if let Err(taken) = target.has_taken(usize::try_from(events)?, PATIENCE).await {
                bail!("after {PATIENCE:?} only {taken} of {events} events have come through the tunnel");
            }
        }
        Ok(())
    }

    /// Waits until the relay knows that so many events were done: a tunnel that is cut before may swallow an answer,
    /// and the event rightly comes again.
    async fn all_are_done(&self, events: u64) -> anyhow::Result<()> {
        for target in &self.targets {
            ensure!(
                target.is_followed_to(usize::try_from(events)?, PATIENCE).await,
                "after {PATIENCE:?} the relay still does not know all outcomes"
            );
        }
        Ok(())
    }
}

impl Default for Journey {
    fn default() -> Self {
        Self { events: 2_000, per_second: 50, backlog: 10_000, direct: false }
    }
}

impl Journey {
    /// Shows that it runs.
    pub(super) fn quick() -> Self {
        Self { events: 50, backlog: 300, ..Self::default() }
    }

    /// Measures and prints.
    pub(super) fn run(&self, setup: &Setup) -> anyhow::Result<Part> {
        tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(self.measure(setup))
    }

    async fn measure(&self, setup: &Setup) -> anyhow::Result<Part> {
        let folder = setup.folder("journey")?;
        println!(
            "journey: {}, {}",
            if self.direct { "without a tunnel" } else { "through sshd and ssh -R on loopback" },
            machine::describe(&folder)?
        );
        let road = Road::start(setup, &folder, self.direct).await?;
        let mut source = Distinct::new(&setup.tools)?;
        let tunnel = road.tunnel().await?;
        let latencies = self.pace(&road, &mut source).await?;
        drop(tunnel);
        let drain = if self.direct { None } else { Some(self.drain(&road, &mut source).await?) };
        // A stopped relay hands nothing over any more: what came twice has come by then.
        let Road { relay, targets, .. } = road;
        relay.process.stop()?;
        let repeated: usize = targets.iter().map(Target::repeated).sum();
        remove(&folder)?;
        let goals = self.goals(&latencies, drain.as_ref());
        let failure = (repeated > 0).then(|| format!("{repeated} events came more than once"));
        let numbers = json!({
            "events": self.events, "per_second": self.per_second, "backlog": self.backlog,
            "direct": self.direct, "drain": drain, "repeated": repeated, "goals": goals,
        });
        Ok(Part { name: "journey", goals, numbers, failure })
    }

    /// Events one after the other, each in its own time; for each target the times from first byte to arrival.
    async fn pace(&self, road: &Road, source: &mut Distinct) -> anyhow::Result<[Histogram<u64>; 2]> {
        let mut connection = Connection::new(road.relay.address);
        // Until the lanes have found out that the targets are there.
        send_all(road.relay.address, source, 1, 1, |_| ()).await?;
        road.all_have_taken(1).await?;
        let mut sent = HashMap::new();
        let mut ticks = interval(Duration::from_secs(1) / self.per_second);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        for _ in 0..self.events {
            let event = source.event();
            ticks.tick().await;
            sent.insert(event.id.clone(), Instant::now());
            send(&mut connection, &event).await?;
        }
        road.all_have_taken(1 + self.events).await?;
        road.all_are_done(1 + self.events).await?;
        let mut latencies = [
            Histogram::new_with_bounds(1_000, 60_000_000_000, 3)?,
            Histogram::new_with_bounds(1_000, 60_000_000_000, 3)?,
        ];
        for (target, times) in road.targets.iter().zip(&mut latencies) {
            for (id, came) in target.arrivals(1) {
                let took = sent.get(&id).map(|sent| came.saturating_duration_since(*sent));
                times.saturating_record(
                    took.map_or(u64::MAX, |took| took.as_nanos().try_into().unwrap_or(u64::MAX)),
                );
            }
        }
        Ok(latencies)
    }

    /// Stores events while nobody is there, then opens the tunnel.
    async fn drain(&self, road: &Road, source: &mut Distinct) -> anyhow::Result<Drain> {
        let before = 1 + self.events;
        let started = Instant::now();
        send_all(road.relay.address, source, self.backlog, CONNECTIONS, |_| ()).await?;
        let stored_per_second = self.backlog as f64 / started.elapsed().as_secs_f64();
        let (back, cpu) = (Instant::now(), machine::cpu(road.relay.process.pid()));
        let _tunnel = road.tunnel().await?;
        road.all_have_taken(before + self.backlog).await?;
        let mut arrivals = Vec::new();
        for target in &road.targets {
            arrivals.extend(target.arrivals(usize::try_from(before)?).into_iter().map(|(_, came)| came));
        }
        let cpu = machine::cpu(road.relay.process.pid()).own.saturating_sub(cpu.own);
        let first = arrivals.iter().min().copied().unwrap_or(back);
        let last = arrivals.iter().max().copied().unwrap_or(back);
        Ok(Drain {
            stored_per_second,
            noticed: first.saturating_duration_since(back).as_secs_f64(),
            took: last.saturating_duration_since(first).as_secs_f64(),
            cpu_us: cpu.as_secs_f64() * 1e6 / self.backlog as f64,
        })
    }

    fn goals(&self, latencies: &[Histogram<u64>; 2], drain: Option<&Drain>) -> Vec<Goal> {
        let mut goals = Vec::new();
        for (target, times) in ["claude", "ollama"].into_iter().zip(latencies) {
            for (percentile, bound) in [(50.0, Bound::AtMost(5.0)), (99.0, Bound::AtMost(25.0))] {
                let what = format!("webhook to {target}, {}/s, p{percentile}", self.per_second);
                goals.push(Goal::new(what, milliseconds(times, percentile), "ms", bound));
            }
        }
        let Some(drain) = drain else { return goals };
        let rate = self.backlog as f64 / drain.took;
        goals.push(Goal::new(
            "stored while the targets are away",
            drain.stored_per_second,
            "/s",
            Bound::None,
        ));
        goals.push(Goal::new("from the tunnel's return to the first event", drain.noticed, "s", Bound::None));
        goals.push(Goal::new("the relay's CPU time per drained event", drain.cpu_us, "µs", Bound::None));
        let what = format!("{} events drained to both targets", self.backlog);
        goals.push(Goal::new(what, rate, "/s", Bound::AtLeast(1_000.0)));
        goals
    }
}

/// How what had waited was worked off.
#[derive(Debug, Serialize)]
struct Drain {
    stored_per_second: f64,
    /// Seconds from the tunnel's return to the first event.
    noticed: f64,
    /// Seconds from the first event to the last one, at both targets.
    took: f64,
    /// CPU time of the relay per event, in microseconds.
    cpu_us: f64,
}
