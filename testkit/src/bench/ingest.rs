//! Receiving: each server takes the same load in each round, in another order each time; medians over the rounds.

use std::{collections::BTreeMap, time::Duration};

use anyhow::bail;
use clap::Args;
use hdrhistogram::Histogram;
use serde::Serialize;
use serde_json::json;

use super::{
    Part, Setup,
    load::{self, Load, Measured},
    machine,
    payload::{self, Template},
    remove,
    report::{self, Bound, Goal, median, milliseconds},
    servers::{PATH, Server},
};

/// What each round does, after a warm-up.
const LOADS: [Load; 3] = [
    Load::Closed { connections: 16 },
    Load::Closed { connections: 64 },
    Load::Open { per_second: 200, connections: 64 },
];
/// Of [`LOADS`], those that the goals are about.
const THROUGHPUT: usize = 1;
const STEADY: usize = 2;
/// Of appends to the disk, over all rounds.
const SAMPLES: u32 = 1_000;

/// Rounds.
#[derive(Debug, Args)]
pub(super) struct Ingest {
    /// How often each server is measured.
    #[arg(long, default_value_t = Self::default().rounds, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
    /// Seconds of each load.
    #[arg(long, default_value_t = Self::default().seconds)]
    seconds: f64,
    /// Only these servers: relay, octokit, webhook, nginx.
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
}

/// One load on one server in one round.
#[derive(Debug, Clone, Serialize)]
struct Row {
    server: &'static str,
    load: String,
    requests_per_second: f64,
    p50_ms: f64,
    p99_ms: f64,
    p999_ms: f64,
    errors: u64,
    /// CPU time of the server and its children per request.
    server_cpu_us: f64,
    /// Of it, the share of processes that it started and that have ended.
    children_cpu: f64,
    /// Of one core.
    generator_cpu: f64,
}

impl Default for Ingest {
    fn default() -> Self {
        Self { rounds: 5, seconds: 5.0, only: Vec::new() }
    }
}

impl Ingest {
    /// Shows that it runs.
    pub(super) fn quick() -> Self {
        Self { rounds: 1, seconds: 0.5, only: Vec::new() }
    }

    /// Measures and prints the table.
    pub(super) fn run(&self, setup: &Setup) -> anyhow::Result<Part> {
        let folder = setup.folder("ingest")?;
        let machine = machine::describe(&folder)?;
        let servers = self.servers()?;
        let versions = servers
            .iter()
            .map(|server| Ok((server.name(), server.version(setup)?)))
            .collect::<anyhow::Result<BTreeMap<_, _>>>()?;
        let templates = payload::examples(&setup.tools, PATH)?;
        let sizes: Vec<String> = templates.iter().map(|one| format!("{} bytes", one.body_len())).collect();
        println!("machine: {machine}");
        for server in &servers {
            println!("{:<8} {}: {}", server.name(), versions[server.name()], server.does());
        }
        println!(
            "load: push and pull_request in turn ({}), {} × {} s",
            sizes.join(", "),
            self.rounds,
            self.seconds
        );

        let mut disk = Histogram::new_with_bounds(1_000, 60_000_000_000, 3)?;
        let mut each_round = Vec::new();
        for round in 0..self.rounds {
            let mut order = servers.clone();
            order.rotate_left(round as usize % servers.len());
            machine::append_and_sync(&folder, SAMPLES.div_ceil(self.rounds), &mut disk)?;
            for server in order {
                each_round.extend(self.measure(server, setup, &templates, round)?);
            }
        }
        remove(&folder)?;
        let medians = medians(&servers, &each_round);
        let [p50, p99] = [50.0, 99.0].map(|percentile| milliseconds(&disk, percentile));
        print(&medians);
        println!("\ndisk: append 8 KB + fdatasync p50 {p50:.3} ms, p99 {p99:.3} ms ({} samples)", disk.len());
        let goals = goals(&medians, p99);
        let errors: u64 = each_round.iter().map(|row| row.errors).sum();
        let failure = (errors > 0).then(|| format!("{errors} webhooks were not answered 2xx; see above"));
        let numbers = json!({
            "machine": machine, "versions": versions, "rounds": self.rounds, "seconds": self.seconds,
            "medians": medians, "each_round": each_round, "fdatasync_p50_ms": p50, "fdatasync_p99_ms": p99,
            "goals": goals,
        });
        Ok(Part { name: "ingest", goals, numbers, failure })
    }

    fn servers(&self) -> anyhow::Result<Vec<Server>> {
        let known = |name: &String| Server::ALL.iter().any(|server| server.name() == name);
        if let Some(unknown) = self.only.iter().find(|name| !known(name)) {
            bail!("no such server: {unknown}");
        }
        let wanted =
            |server: &Server| self.only.is_empty() || self.only.iter().any(|name| name == server.name());
        Ok(Server::ALL.into_iter().filter(wanted).collect())
    }

    /// All loads on one server that starts with nothing.
    fn measure(
        &self,
        server: Server,
        setup: &Setup,
        templates: &[Template],
        round: u32,
    ) -> anyhow::Result<Vec<Row>> {
        let folder = setup.folder("ingest/server")?;
        let running = server.start(setup, &folder, templates)?;
        let pid = running.process.pid();
        let duration = Duration::from_secs_f64(self.seconds);
        load::run(LOADS[0], running.address, templates, duration.min(Duration::from_secs(1)))?;
        let mut rows = Vec::new();
        for load in LOADS {
            let before = machine::cpu(pid);
            let measured = load::run(load, running.address, templates, duration)?;
            let after = machine::cpu(pid);
            let row = Row::new(server, load, &measured, before, after);
            eprintln!(
                "round {}: {} {}: {:.0}/s, p99 {:.2} ms",
                round + 1,
                row.server,
                row.load,
                row.requests_per_second,
                row.p99_ms
            );
            for (error, count) in &measured.errors {
                println!("round {}: {} {}: {count} × {error}", round + 1, row.server, row.load);
            }
            rows.push(row);
        }
        running.process.stop()?;
        remove(&folder)?;
        Ok(rows)
    }
}

fn name(load: Load) -> String {
    match load {
        Load::Closed { connections } => connections.to_string(),
        Load::Open { per_second, .. } => format!("{per_second}/s"),
    }
}

impl Row {
    fn new(
        server: Server,
        load: Load,
        measured: &Measured,
        before: machine::Cpu,
        after: machine::Cpu,
    ) -> Self {
        let own = (after.own.saturating_sub(before.own)).as_secs_f64();
        let children = (after.children.saturating_sub(before.children)).as_secs_f64();
        let latency = |percentile| milliseconds(&measured.latency, percentile);
        Self {
            server: server.name(),
            load: name(load),
            requests_per_second: measured.rate(),
            p50_ms: latency(50.0),
            p99_ms: latency(99.0),
            p999_ms: latency(99.9),
            errors: measured.errors.values().sum(),
            server_cpu_us: (own + children) * 1e6 / (measured.latency.len().max(1) as f64),
            children_cpu: if children > 0.0 { children / (own + children) } else { 0.0 },
            generator_cpu: measured.own_cpu,
        }
    }
}

fn medians(servers: &[Server], rows: &[Row]) -> Vec<Row> {
    let mut medians = Vec::new();
    for load in LOADS.map(name) {
        for server in servers {
            let mine: Vec<&Row> =
                rows.iter().filter(|row| row.server == server.name() && row.load == load).collect();
            let of = |number: fn(&Row) -> f64| median(mine.iter().map(|row| number(row)));
            medians.push(Row {
                server: server.name(),
                load: load.clone(),
                requests_per_second: of(|row| row.requests_per_second),
                p50_ms: of(|row| row.p50_ms),
                p99_ms: of(|row| row.p99_ms),
                p999_ms: of(|row| row.p999_ms),
                errors: mine.iter().map(|row| row.errors).sum(),
                server_cpu_us: of(|row| row.server_cpu_us),
                children_cpu: of(|row| row.children_cpu),
                generator_cpu: of(|row| row.generator_cpu),
            });
        }
    }
    medians
}

fn print(medians: &[Row]) {
    let head = [
        "server",
        "connections",
        "requests/s",
        "p50 ms",
        "p99 ms",
        "p99.9 ms",
        "errors",
        "CPU µs/request",
        "of it children",
        "generator CPU",
    ];
    let row = |row: &Row| {
        vec![
            row.server.to_owned(),
            row.load.clone(),
            format!("{:.0}", row.requests_per_second),
            format!("{:.2}", row.p50_ms),
            format!("{:.2}", row.p99_ms),
            format!("{:.2}", row.p999_ms),
            row.errors.to_string(),
            format!("{:.0}", row.server_cpu_us),
            format!("{:.0} %", row.children_cpu * 100.0),
            format!("{:.0} %", row.generator_cpu * 100.0),
        ]
    };
    println!();
    report::table(&head, &medians.iter().map(row).collect::<Vec<_>>());
}

fn goals(medians: &[Row], fdatasync_p99: f64) -> Vec<Goal> {
    let find = |server: Server, load: usize| {
        medians.iter().find(|row| row.server == server.name() && row.load == name(LOADS[load]))
    };
    let Some(relay) = find(Server::Relay, THROUGHPUT) else { return Vec::new() };
    let mut goals = Vec::new();
    let bounds = [
        (Server::Octokit, Bound::AtLeast(3.0)),
        (Server::Nginx, Bound::AtLeast(0.4)),
        (Server::Webhook, Bound::None),
    ];
    for (other, bound) in bounds {
        if let Some(row) = find(other, THROUGHPUT) {
            let ratio = relay.requests_per_second / row.requests_per_second;
            goals.push(Goal::new(
                format!("requests/s at {} connections, relay / {}", row.load, row.server),
                ratio,
                "×",
                bound,
            ));
        }
    }
    if let Some(steady) = find(Server::Relay, STEADY) {
        let ratio = steady.p99_ms / fdatasync_p99;
        goals.push(Goal::new("p99 at 200/s, relay / fdatasync p99", ratio, "×", Bound::AtMost(5.0)));
    }
    goals
}
