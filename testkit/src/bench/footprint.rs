//! How much memory the relay takes when nothing happens and when much waits, and how soon it is ready with that.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use clap::Args;
use serde::Serialize;
use serde_json::json;

use super::{
    Part, Setup,
    distinct::{Distinct, send_all},
    machine::{self, Resident},
    remove,
    report::{Bound, Goal, median},
    servers,
};
use crate::port::port;

const CONNECTIONS: usize = 64;
const RESTARTS: usize = 5;
/// What is freed after a start or a burst is given back by then.
const SETTLE: Duration = Duration::from_secs(3);

/// How much waits.
#[derive(Debug, Args)]
pub(super) struct Footprint {
    /// Events that wait for both targets.
    #[arg(long, default_value_t = Self::default().events)]
    events: u64,
}

/// What was seen.
#[derive(Debug, Serialize)]
struct Seen {
    idle: Resident,
    sent: Resident,
    restarted: Resident,
    /// From the process's start to a 200 of `/readyz`, in milliseconds.
    ready: Vec<f64>,
}

impl Default for Footprint {
    fn default() -> Self {
        Self { events: 100_000 }
    }
}

impl Footprint {
    /// Shows that it runs.
    pub(super) fn quick() -> Self {
        Self { events: 1_000 }
    }

    /// Measures and prints.
    pub(super) fn run(&self, setup: &Setup) -> anyhow::Result<Part> {
        let folder = setup.folder("footprint")?;
        println!("footprint: {} events wait for two targets, {}", self.events, machine::describe(&folder)?);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let seen = runtime.block_on(self.measure(setup, &folder))?;
        remove(&folder)?;
        let ready = median(seen.ready.iter().copied());
        let waiting = format!("with {} events waiting", self.events);
        let goals = vec![
            Goal::new("idle, VmRSS", seen.idle.all, "MB", Bound::AtMost(15.0)),
            Goal::new("idle, RssAnon", seen.idle.anonymous, "MB", Bound::None),
            Goal::new(
                format!("{waiting}, after they were sent, VmRSS"),
                seen.sent.all,
                "MB",
                Bound::AtMost(48.0),
            ),
            Goal::new("the same, RssAnon", seen.sent.anonymous, "MB", Bound::None),
            Goal::new(
                format!("{waiting}, after a restart, VmRSS"),
                seen.restarted.all,
                "MB",
                Bound::AtMost(48.0),
            ),
            Goal::new("the same, RssAnon", seen.restarted.anonymous, "MB", Bound::None),
            Goal::new(format!("start to ready, {waiting}"), ready, "ms", Bound::AtMost(100.0)),
        ];
        let numbers = json!({"events": self.events, "seen": seen, "goals": goals});
        Ok(Part { name: "footprint", goals, numbers, failure: None })
    }

    async fn measure(&self, setup: &Setup, folder: &Path) -> anyhow::Result<Seen> {
        let away = [port(), port()];
        let mut relay = servers::start_relay(setup, folder, away).await?;
        tokio::time::sleep(SETTLE).await;
        let idle = Resident::of(relay.process.pid())?;
        let mut source = Distinct::new(&setup.tools)?;
        send_all(relay.address, &mut source, self.events, CONNECTIONS, |_| ()).await?;
        tokio::time::sleep(SETTLE).await;
        let sent = Resident::of(relay.process.pid())?;
        let mut ready = Vec::new();
        for _ in 0..RESTARTS {
            relay.process.stop()?;
            let started = Instant::now();
            relay = servers::start_relay(setup, folder, away).await?;
            ready.push(started.elapsed().as_secs_f64() * 1e3);
        }
        tokio::time::sleep(SETTLE).await;
        let restarted = Resident::of(relay.process.pid())?;
        relay.process.stop()?;
        Ok(Seen { idle, sent, restarted, ready })
    }
}
