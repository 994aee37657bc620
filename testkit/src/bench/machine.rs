//! The machine that is measured on: what it is, how busy a process keeps it, and how fast its disk is.

use std::{
    fs::{self, File},
    io::Write,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use hdrhistogram::Histogram;
use serde::Serialize;

/// `/proc` counts CPU time in these, whatever the kernel's own ticks are (proc(5), USER_HZ).
const TICKS_PER_SECOND: u64 = 100;
/// As much as one webhook adds to a log.
const RECORD: usize = 8 * 1024;

/// CPU time of a process, and of its children that have ended.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Cpu {
    pub(super) own: Duration,
    pub(super) children: Duration,
}

/// CPU time of a process and of those it started and that run; zero where there is no `/proc`.
pub(super) fn cpu(pid: u32) -> Cpu {
    let running = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    let children = running.split_whitespace().filter_map(|child| child.parse().ok()).map(one);
    children.fold(one(pid), |sum, child| Cpu {
        own: sum.own + child.own,
        children: sum.children + child.children,
    })
}

fn one(pid: u32) -> Cpu {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // After the name in parentheses; utime is the 14th field of the line and so the 12th of the rest.
    let rest = stat.rsplit(')').next().unwrap_or_default();
    let ticks: Vec<u64> =
        rest.split_whitespace().skip(11).take(4).filter_map(|field| field.parse().ok()).collect();
    let [user, system, child_user, child_system] = ticks[..] else { return Cpu::default() };
    let time = |ticks| Duration::from_millis(ticks * 1_000 / TICKS_PER_SECOND);
    Cpu { own: time(user + system), children: time(child_user + child_system) }
}

/// CPU time of this process.
pub(super) fn own_cpu() -> Duration {
    one(std::process::id()).own
}

/// Of a process, in MB of 1,000,000 bytes.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct Resident {
    /// All of it that is in memory, mapped files included.
    pub(super) all: f64,
    /// What it allocated.
    pub(super) anonymous: f64,
}

impl Resident {
    /// # Errors
    /// It has ended, or there is no `/proc`.
    pub(super) fn of(pid: u32) -> anyhow::Result<Self> {
        let path = format!("/proc/{pid}/status");
        let status = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
        let field = |name: &str| -> anyhow::Result<f64> {
            let value = status.lines().find_map(|line| line.strip_prefix(name)?.split_whitespace().nth(0));
            let kibibytes: f64 = value.with_context(|| format!("{path} has no {name}"))?.parse()?;
            Ok(kibibytes * 1_024.0 / 1e6)
        };
        Ok(Self { all: field("VmRSS:")?, anonymous: field("RssAnon:")? })
    }
}

/// One line: processor, cores, and the disk that `folder` is on.
///
/// # Errors
/// `folder` is in memory, where an fsync costs nothing.
pub(super) fn describe(folder: &Path) -> anyhow::Result<String> {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let model = model.map_or("unknown processor", |(_, name)| name.trim());
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let (device, kind) = disk(folder).context("the disk of the work folder is not known")?;
    if ["tmpfs", "ramfs"].contains(&kind.as_str()) {
        bail!("{} is in memory ({kind}); give a folder on a disk with --work", folder.display());
    }
    Ok(format!("{model}, {cores} cores, {kind} on {device}"))
}

/// Device and file system: of the mount points above `folder`, the longest counts.
fn disk(folder: &Path) -> Option<(String, String)> {
    let mounts = fs::read_to_string("/proc/self/mounts").ok()?;
    let fields = mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>());
    let above = fields.filter(|mount| mount.len() > 2 && folder.starts_with(mount[1]));
    let mount = above.max_by_key(|mount| mount[1].len())?;
    Some((mount[0].to_owned(), mount[2].to_owned()))
}

/// Appends 8 KB and waits until the disk has it, `samples` times; the latencies go to `times`, in nanoseconds.
///
/// # Errors
/// The folder cannot be written.
pub(super) fn append_and_sync(folder: &Path, samples: u32, times: &mut Histogram<u64>) -> anyhow::Result<()> {
    let path = folder.join("fdatasync.probe");
    let mut file = File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
    let record = [b'x'; RECORD];
    for _ in 0..samples {
        let started = Instant::now();
        file.write_all(&record)?;
        file.sync_data()?;
        times.saturating_record(u64::try_from(started.elapsed().as_nanos()).unwrap_or(u64::MAX));
    }
    Ok(fs::remove_file(path)?)
}
