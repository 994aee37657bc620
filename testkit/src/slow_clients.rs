//! Thousands of slow connections from `slowhttptest` against a real relay, and whether it still takes every webhook.

mod relay;

use std::{
    io::ErrorKind,
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context, bail, ensure};
use reqwest::Client;
use tokio::{
    task::JoinSet,
    time::{Instant, MissedTickBehavior, interval},
};

use self::relay::{Relay, SECRET};
use crate::scenario::Scenario;
use crate::webhook::{Delivery, GITHUBS_PATIENCE, delivery_id, pull_request};

/// Between two good webhooks.
const PACE: Duration = Duration::from_millis(25);
/// Files that the tools have open beside the connections.
const OTHER_FILES: u64 = 200;

/// What is held against the relay.
#[derive(Debug, clap::Args)]
pub struct SlowClients {
    /// Slow connections of each kind; the relay is given room for half of them
    #[arg(default_value_t = 4000, value_parser = clap::value_parser!(u32).range(20..=50_000))]
    connections: u32,
    /// Seconds of each kind
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u64).range(2..=600))]
    seconds: u64,
    /// The relay's program [default: beside this one]
    #[arg(long, value_name = "FILE")]
    relay: Option<PathBuf>,
}

/// A kind of slow client.
struct Mode {
    name: &'static str,
    path: &'static str,
    flags: &'static [&'static str],
}

const MODES: [Mode; 3] = [
    Mode {
        name: "slow headers",
        path: "/github-webhook",
        flags: &["-H", "-t", "POST", "-i", "3", "-x", "24"],
    },
    Mode {
        name: "slow body",
        path: "/github-webhook",
        // The cookie smuggles in a header that the tool has no flag for: a body without a signature is not waited for
        // as long as one with a wrong one.
        flags: &[
            "-B",
            "-i",
            "3",
            "-x",
            "10",
            "-s",
            "8192",
            "-f",
            "application/json",
            "-j",
            "a=1\r\nX-Hub-Signature-256: sha256=0000000000000000000000000000000000000000000000000000000000000000",
        ],
    },
    Mode {
        name: "slow read",
        path: "/health",
        flags: &["-X", "-w", "1", "-y", "2", "-n", "5", "-z", "1", "-k", "3"],
    },
];

/// What one kind of slow client came to.
#[derive(Debug, Default)]
struct Round {
    held: u64,
    evicted: u64,
    sent: usize,
    /// Of those that were answered 202.
    took: Vec<Duration>,
    failures: Vec<String>,
}

/// Plays all kinds and prints a table.
///
/// # Errors
/// A tool is missing, the slow connections were not held, or a webhook was not accepted within GitHub's patience.
pub async fn run(args: &SlowClients) -> anyhow::Result<()> {
    let files = rlimit::increase_nofile_limit(u64::MAX)?;
    let needed = u64::from(args.connections) + OTHER_FILES;
    ensure!(files >= needed, "{needed} open files are needed and {files} allowed; run: ulimit -n {needed}");
    let relay = Relay::start(args.relay.as_deref(), args.connections / 2).await?;
    println!(
        "{} slow connections of each kind, room for {}, a webhook every {} ms from the same address",
        args.connections,
        args.connections / 2,
        PACE.as_millis()
    );
    println!("{}", Round::HEADINGS);
    // The relay knows its sender of webhooks from before the attack.
    send(relay.hook(), client()?, 0).await.map_err(anyhow::Error::msg)?;
    let (mut failures, mut next) = (Vec::new(), 1);
    for mode in &MODES {
        let round = play(args, mode, &relay, &mut next).await?;
        println!("{}", round.row(mode.name));
        if round.held < u64::from(args.connections / 2) * 9 / 10 {
            failures.push(format!("{}: only {} connections were held", mode.name, round.held));
        }
        failures.extend(round.failures.into_iter().take(3).map(|why| format!("{}: {why}", mode.name)));
    }
    if !failures.is_empty() {
        bail!("{}\nthe relay's log:\n{}", failures.join("\n"), relay.last_words());
    }
    Ok(())
}

async fn play(args: &SlowClients, mode: &Mode, relay: &Relay, next: &mut u64) -> anyhow::Result<Round> {
    let evicted_before = relay.metric("ai_relay_connections_evicted_total").await?;
    let _attack = Attack::start(args, mode, &relay.url)?;
    let client = client()?;
    let (mut round, mut sending) = (Round::default(), JoinSet::new());
    let end = Instant::now() + Duration::from_secs(args.seconds);
    let mut ticks = interval(PACE);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while Instant::now() < end {
        ticks.tick().await;
        sending.spawn(send(relay.hook(), client.clone(), *next));
        (*next, round.sent) = (*next + 1, round.sent + 1);
        if round.sent.is_multiple_of(20) {
            round.held = round.held.max(relay.metric("ai_relay_connections_open").await?);
        }
        while let Some(done) = sending.try_join_next() {
            round.note(done?);
        }
    }
    while let Some(done) = sending.join_next().await {
        round.note(done?);
    }
    round.evicted = relay.metric("ai_relay_connections_evicted_total").await? - evicted_before;
    Ok(round)
}

/// One webhook with a body of its own, over a connection of its own.
async fn send(url: String, client: Client, number: u64) -> Result<Duration, String> {
    let scenario = Scenario { number, ..Scenario::default() };
    let delivery =
        Delivery::new(&delivery_id(&number.to_string()), "pull_request", &pull_request(&scenario, "opened"));
    let answer = delivery.send_by(&client, &url, SECRET).await.map_err(|error| format!("{error:#}"))?;
    match answer.status {
        202 => Ok(answer.took),
        status => Err(format!("answered {status}: {}", answer.body)),
    }
}

/// A client that keeps no connection: each webhook has to find its way in.
fn client() -> anyhow::Result<Client> {
    Ok(Client::builder().no_proxy().pool_max_idle_per_host(0).timeout(GITHUBS_PATIENCE).build()?)
}

/// `slowhttptest`, running; stopped when dropped.
struct Attack(Child);

impl Attack {
    fn start(args: &SlowClients, mode: &Mode, relay: &str) -> anyhow::Result<Self> {
        // All are there after half of the time.
        let per_second = (u64::from(args.connections) * 2 / args.seconds).max(1);
        let mut command = Command::new("slowhttptest");
        command.args(mode.flags).args(["-u", &format!("{relay}{}", mode.path)]);
        command.args(["-c", &args.connections.to_string(), "-r", &per_second.to_string()]);
        command.args(["-l", &(args.seconds + 5).to_string(), "-p", "3"]);
        let started = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        match started {
            Err(error) if error.kind() == ErrorKind::NotFound => bail!(
                "slowhttptest is missing; install it: apt-get install slowhttptest, or brew install slowhttptest"
            ),
            started => Ok(Self(started.context("slowhttptest cannot be started")?)),
        }
    }
}

impl Drop for Attack {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Round {
    const HEADINGS: &str =
        "kind           held at once  made room  webhooks  answered 202   p50 ms   p99 ms   max ms";

    fn note(&mut self, sent: Result<Duration, String>) {
        match sent {
            Ok(took) => self.took.push(took),
            Err(why) => self.failures.push(why),
        }
    }

    fn row(&self, name: &str) -> String {
        let mut took = self.took.clone();
        took.sort_unstable();
        let at = |percent: usize| {
            let index = (took.len() * percent / 100).min(took.len().saturating_sub(1));
            took.get(index).map_or(f64::NAN, |took| took.as_secs_f64() * 1_000.0)
        };
        let Self { held, evicted, sent, .. } = self;
        format!(
            "{name:<14} {held:>12}  {evicted:>9}  {sent:>8}  {:>12}  {:>7.1}  {:>7.1}  {:>7.1}",
            took.len(),
            at(50),
            at(99),
            at(100)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_stands_under_its_headings() {
        let took = (1..=200).map(Duration::from_millis).collect();
        let round =
            Round { held: 2000, evicted: 2345, sent: 201, took, failures: vec!["answered 503".into()] };
        let row = round.row("slow headers");
        assert_eq!(
            row.split_whitespace().skip(2).collect::<Vec<_>>(),
            ["2000", "2345", "201", "200", "101.0", "199.0", "200.0"]
        );
        assert_eq!(row.len(), Round::HEADINGS.len());
    }
}
