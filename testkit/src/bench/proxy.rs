//! The door to Ollama beside nginx, both before the same upstream: in each round each takes the same load, in another
//! order each time; medians over the rounds. Ours checks the bearer token of each request; nginx checks nothing.

mod drive;
mod upstream;

use std::{
    fs,
    net::SocketAddr,
    path::Path,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use clap::Args;
use serde::Serialize;
use serde_json::json;

use self::{
    drive::{Door, Way},
    upstream::Upstream,
};
use super::{
    Part, SIGNING_KEY, Setup, machine,
    process::{Process, free_address, pause},
    remove,
    report::{self, Bound, Goal, median, milliseconds},
};

const TOKEN: &str = "a-memory-token-for-the-benchmark";
const START_DEADLINE: Duration = Duration::from_secs(20);
/// Of small requests; the second is the one that the goal is about.
const CONNECTIONS: [usize; 2] = [16, 64];
/// At a time, and how many milliseconds lie between their chunks: about what a fast model does.
const STREAMS: u32 = 64;
const EVERY: u32 = 20;

/// Rounds.
#[derive(Debug, Args)]
pub(super) struct Proxy {
    /// How often each way is measured.
    #[arg(long, default_value_t = Self::default().rounds, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
    /// Seconds of each load.
    #[arg(long, default_value_t = Self::default().seconds)]
    seconds: f64,
    /// Requests one after the other, for the time to the first byte.
    #[arg(long, default_value_t = Self::default().requests)]
    requests: u32,
    /// Megabytes that are streamed in each direction.
    #[arg(long, default_value_t = Self::default().megabytes)]
    megabytes: u64,
}

impl Default for Proxy {
    fn default() -> Self {
        Self { rounds: 5, seconds: 4.0, requests: 500, megabytes: 1_000 }
    }
}

/// How the upstream is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum By {
    Direct,
    Nginx,
    Ours,
}

impl By {
    const ALL: [Self; 3] = [Self::Direct, Self::Nginx, Self::Ours];

    fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Nginx => "nginx",
            Self::Ours => "ours",
        }
    }
}

/// What was measured of one way, in one round or as medians.
#[derive(Debug, Clone, Serialize)]
struct Row {
    by: By,
    first_byte_p50_ms: f64,
    first_byte_p99_ms: f64,
    /// With each of [`CONNECTIONS`].
    requests_per_second: [f64; 2],
    /// CPU time of the proxy per small request, at the last of [`CONNECTIONS`].
    cpu_us: f64,
    /// From the sending of a chunk to its arrival.
    chunk_p50_ms: f64,
    chunk_p99_ms: f64,
    chunk_worst_ms: f64,
}

/// Megabytes a second, and resident memory in megabytes.
#[derive(Debug, Serialize)]
struct Streamed {
    down: f64,
    up: f64,
    before: f64,
    most: f64,
    after: f64,
}

/// What is measured with.
struct Bench {
    upstream: Upstream,
    nginx: (Process, SocketAddr),
    ours: (Process, SocketAddr),
}

impl Proxy {
    /// Shows that it runs.
    pub(super) fn quick() -> Self {
        Self { rounds: 1, seconds: 0.5, requests: 20, megabytes: 50 }
    }

    /// Measures and prints the table.
    pub(super) fn run(&self, setup: &Setup) -> anyhow::Result<Part> {
        let folder = setup.folder("proxy")?;
        let machine = machine::describe(&folder)?;
        println!("machine: {machine}");
        println!(
            "load: {} × {} requests one by one, {} s of small ones, {} s of {STREAMS} streams; {} MB each way",
            self.rounds, self.requests, self.seconds, self.seconds, self.megabytes
        );
        let upstream = Upstream::start()?;
        let bench = Bench {
            nginx: nginx(&folder, upstream.address)?,
            ours: ours(setup, &folder, upstream.address)?,
            upstream,
        };
        let mut each_round = Vec::new();
        for round in 0..self.rounds {
            let mut order = By::ALL;
            order.rotate_left(round as usize % By::ALL.len());
            for by in order {
                let row =
                    self.measure(&bench, by).with_context(|| format!("round {round}: {}", by.name()))?;
                eprintln!("round {}: {row:.2?}", round + 1);
                each_round.push(row);
            }
        }
        let streamed = self.stream_much(&bench)?;
        let Bench { nginx, ours, .. } = bench;
        nginx.0.stop()?;
        ours.0.stop()?;
        remove(&folder)?;
        let medians = By::ALL.map(|by| medians(by, &each_round));
        print(&medians);
        let goals = goals(&medians, &streamed, self.megabytes);
        let numbers = json!({
            "machine": machine, "rounds": self.rounds, "seconds": self.seconds, "requests": self.requests,
            "medians": medians, "each_round": each_round, "streamed": streamed, "goals": goals,
        });
        Ok(Part { name: "proxy", goals, numbers, failure: None })
    }

    fn measure(&self, bench: &Bench, by: By) -> anyhow::Result<Row> {
        let door = bench.door(by);
        let duration = Duration::from_secs_f64(self.seconds);
        drive::small_requests(door, 16, duration.min(Duration::from_millis(500)))?;
        let first = drive::first_bytes(door, self.requests)?;
        let (mut requests_per_second, mut cpu_us) = ([0.0; 2], 0.0);
        for (rate, connections) in requests_per_second.iter_mut().zip(CONNECTIONS) {
            let before = bench.cpu(by);
            *rate = drive::small_requests(door, connections, duration)?;
            cpu_us = (bench.cpu(by) - before).as_secs_f64() * 1e6 / (*rate * self.seconds);
        }
        let chunks = ((self.seconds * 1e3) as u32 / EVERY).max(1);
        let chunk = drive::streams(door, bench.upstream.epoch, STREAMS, chunks, EVERY)?;
        Ok(Row {
            by,
            first_byte_p50_ms: milliseconds(&first, 50.0),
            first_byte_p99_ms: milliseconds(&first, 99.0),
            requests_per_second,
            cpu_us,
            chunk_p50_ms: milliseconds(&chunk, 50.0),
            chunk_p99_ms: milliseconds(&chunk, 99.0),
            chunk_worst_ms: chunk.max() as f64 / 1e6,
        })
    }

    fn stream_much(&self, bench: &Bench) -> anyhow::Result<Streamed> {
        let (pid, door, bytes) = (bench.ours.0.pid(), bench.door(By::Ours), self.megabytes * 1_000_000);
        let most = Arc::new(AtomicU64::new(0));
        let look = || {
            let most = Arc::clone(&most);
            move || {
                most.fetch_max(resident(pid).unwrap_or_default(), Ordering::Relaxed);
            }
        };
        let before = resident(pid)?;
        let down = drive::much(door, Way::Down, bytes, look())?;
        let up = drive::much(door, Way::Up, bytes, look())?;
        let after = resident(pid)?;
        let [before, most, after] =
            [before, most.load(Ordering::Relaxed), after].map(|bytes| bytes as f64 / 1e6);
        Ok(Streamed { down, up, before, most, after })
    }
}

impl Bench {
    fn door(&self, by: By) -> Door {
        let address = match by {
            By::Direct => self.upstream.address,
            By::Nginx => self.nginx.1,
            By::Ours => self.ours.1,
        };
        Door { address, token: TOKEN }
    }

    /// CPU time of the proxy so far.
    fn cpu(&self, by: By) -> Duration {
        match by {
            By::Direct => Duration::ZERO,
            By::Nginx => machine::cpu(self.nginx.0.pid()).own,
            By::Ours => machine::cpu(self.ours.0.pid()).own,
        }
    }
}

/// Resident memory in bytes.
fn resident(pid: u32) -> anyhow::Result<u64> {
    let path = format!("/proc/{pid}/status");
    let status = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    let value = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.split_whitespace().next());
    Ok(value.with_context(|| format!("{path} has no VmRSS"))?.parse::<u64>()? * 1_024)
}

/// Starts it and waits until a chat passes.
fn started(
    mut command: Command,
    folder: &Path,
    name: &str,
    door: Door,
) -> anyhow::Result<(Process, SocketAddr)> {
    let mut process = Process::start(&mut command, &folder.join(format!("{name}.log")))?;
    let deadline = Instant::now() + START_DEADLINE;
    while let Err(error) = drive::first_bytes(door, 1) {
        process.check()?;
        if Instant::now() > deadline {
            bail!("{name} did not start well: {error:#}\n{}", process.last_words());
        }
        pause();
    }
    Ok((process, door.address))
}

fn nginx(folder: &Path, upstream: SocketAddr) -> anyhow::Result<(Process, SocketAddr)> {
    let (folder, address) = (folder.join("nginx"), free_address());
    fs::create_dir_all(&folder)?;
    let path = folder.join("nginx.conf");
    let config = include_str!("proxy/nginx.conf").replace("PORT", &address.port().to_string());
    fs::write(&path, config.replace("UPSTREAM", &upstream.to_string()))?;
    let mut command = Command::new("/usr/sbin/nginx");
    command.arg("-p").arg(&folder).arg("-c").arg(path);
    started(command, &folder, "nginx", Door { address, token: TOKEN })
}

/// As many at a time as there are callers: nginx has no such limit.
fn ours(setup: &Setup, folder: &Path, upstream: SocketAddr) -> anyhow::Result<(Process, SocketAddr)> {
    let address = free_address();
    let mut command = Command::new(setup.program("ollama-endpoint")?);
    command.arg("--data-dir").arg(folder.join("data")).args(["--listen", "127.0.0.1"]);
    command.args(["--port", &address.port().to_string(), "--ollama-url", &format!("http://{upstream}")]);
    command.args(["--relay-signing-key", SIGNING_KEY, "--memory-token", TOKEN]);
    command.args(["--ollama-proxy-concurrency", "128", "--ollama-proxy-admin", "1"]);
    started(command, folder, "ollama-endpoint", Door { address, token: TOKEN })
}

fn medians(by: By, rows: &[Row]) -> Row {
    let mine: Vec<&Row> = rows.iter().filter(|row| row.by == by).collect();
    let of = |number: fn(&Row) -> f64| median(mine.iter().map(|row| number(row)));
    Row {
        by,
        first_byte_p50_ms: of(|row| row.first_byte_p50_ms),
        first_byte_p99_ms: of(|row| row.first_byte_p99_ms),
        requests_per_second: [of(|row| row.requests_per_second[0]), of(|row| row.requests_per_second[1])],
        cpu_us: of(|row| row.cpu_us),
        chunk_p50_ms: of(|row| row.chunk_p50_ms),
        chunk_p99_ms: of(|row| row.chunk_p99_ms),
        // One stall in one round is a stall.
        chunk_worst_ms: mine.iter().map(|row| row.chunk_worst_ms).fold(0.0, f64::max),
    }
}

fn print(medians: &[Row]) {
    let [few, many] = CONNECTIONS.map(|connections| format!("requests/s at {connections}"));
    let head = [
        "way",
        "first byte p50 ms",
        "p99 ms",
        &few,
        &many,
        "CPU µs/request",
        "chunk p50 ms",
        "p99 ms",
        "worst ms",
    ];
    let row = |row: &Row| {
        let [few, many] = row.requests_per_second;
        vec![
            row.by.name().to_owned(),
            format!("{:.3}", row.first_byte_p50_ms),
            format!("{:.3}", row.first_byte_p99_ms),
            format!("{few:.0}"),
            format!("{many:.0}"),
            format!("{:.0}", row.cpu_us),
            format!("{:.2}", row.chunk_p50_ms),
            format!("{:.2}", row.chunk_p99_ms),
            format!("{:.1}", row.chunk_worst_ms),
        ]
    };
    println!();
    report::table(&head, &medians.iter().map(row).collect::<Vec<_>>());
}

fn goals([direct, nginx, ours]: &[Row; 3], streamed: &Streamed, megabytes: u64) -> Vec<Goal> {
    let Streamed { down, up, before, most, after } = streamed;
    let rate = |row: &Row, which: usize| row.requests_per_second[which];
    let added = |row: &Row| row.first_byte_p50_ms - direct.first_byte_p50_ms;
    let [few, many] = CONNECTIONS;
    vec![
        Goal::new("added to the first byte, p50", added(ours), "ms", Bound::AtMost(0.5)),
        Goal::new("the same, nginx", added(nginx), "ms", Bound::None),
        Goal::new(
            format!("small requests/s at {many} connections, ours / nginx"),
            rate(ours, 1) / rate(nginx, 1),
            "×",
            Bound::AtLeast(0.8),
        ),
        Goal::new(
            format!("small requests/s at {few} connections, ours / nginx"),
            rate(ours, 0) / rate(nginx, 0),
            "×",
            Bound::None,
        ),
        Goal::new(
            format!("{STREAMS} streams, the latest chunk"),
            ours.chunk_worst_ms,
            "ms",
            Bound::AtMost(100.0),
        ),
        Goal::new("the same, nginx", nginx.chunk_worst_ms, "ms", Bound::None),
        Goal::new(
            format!("{megabytes} MB down and up, memory grows by"),
            most.max(*after) - before,
            "MB",
            Bound::AtMost(16.0),
        ),
        Goal::new("memory afterwards, VmRSS", *after, "MB", Bound::None),
        Goal::new("streamed down", *down, "MB/s", Bound::None),
        Goal::new("streamed up", *up, "MB/s", Bound::None),
    ]
}
