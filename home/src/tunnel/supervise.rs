//! Keeps the tunnel up: starts ssh, says when the VPS has granted both forwards, and starts it anew when it ends, is
//! stuck, or this machine has slept.

use std::{fs, path::PathBuf, process::Stdio, time::Duration};

use anyhow::{Context, bail};
use rustix::process::Signal;
use tokio::{
    process::{Child, Command},
    signal::unix::{SignalKind, signal},
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use self::{follow::Follower, watch::watch};
use super::{
    config::Folders,
    log::Log,
    place::{self, Place},
    process::{self, Recorded},
    settings::{DESTINATION, Settings},
};
use crate::services;

mod backoff;
mod follow;
pub(super) mod said;
mod watch;

/// A connection that was up for so long was a good one: the next attempt is again the first.
const STABLE_AFTER: Duration = Duration::from_secs(60);
/// A VPS that opens our ports to strangers is not tried again soon.
const EXPOSED_PAUSE: Duration = Duration::from_secs(600);
const GRACE: Duration = Duration::from_secs(2);
/// ssh's own door to a running process. Relative, since the path of a socket must be short: ssh and we stand in its folder.
const DOOR: &str = "tunnel.sock";

/// How the supervisor is run.
#[derive(Debug, Clone, clap::Args)]
pub struct RunArgs {
    #[command(flatten)]
    folders: Folders,
    /// Write the log to this file, which is kept below 2 MiB, instead of standard output
    #[arg(long, value_name = "FILE")]
    log: Option<PathBuf>,
}

/// Keeps the tunnel up, as the service that launchd or systemd runs.
///
/// # Errors
/// As [`keep_up`].
pub(super) async fn run(args: &RunArgs) -> anyhow::Result<()> {
    if args.log.is_some() {
        services::shorten_start_log();
    }
    let log = args.log.as_ref().map_or_else(|| Ok(Log::to_output()), |path| Log::to_file(path))?;
    keep_up(&Place::new(&args.folders)?, &log).await
}

/// How a connection ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum End {
    /// ssh ended by itself, and this is why.
    Ended(String),
    /// It had to be killed, and this is why.
    Stuck(String),
    /// This machine has slept; the VPS has given the connection up.
    Slept,
    /// Strangers reach the ports.
    Exposed(String),
    /// We were told to stop.
    Stopped,
}

/// Runs until SIGTERM, SIGINT or SIGHUP.
///
/// # Errors
/// The tunnel is not set up, is unsafe, or runs already.
pub(super) async fn keep_up(place: &Place, log: &Log) -> anyhow::Result<()> {
    place.check()?;
    let settings = Settings::load(&place.folder)?;
    place.make()?;
    let pid_file = place.run.join("tunnel.pid");
    if let Some(pid) = Recorded(&pid_file).pid() {
        bail!("the tunnel runs already (pid {pid})");
    }
    stop_leftover(place).await?;
    Recorded(&pid_file).write(std::process::id())?;
    let stop = stop_signals()?;
    std::env::set_current_dir(&place.run)?;
    log.say(&format!("connecting to {}@{} port {}", settings.user, settings.host, settings.port));
    let outcome = Supervisor { place, settings: &settings, log, stop }.keep_up().await;
    log.say("stopped");
    place::remove(&pid_file)?;
    outcome
}

/// An ssh whose supervisor was killed still holds the ports on the VPS.
///
/// # Errors
/// Its traces cannot be removed.
pub(super) async fn stop_leftover(place: &Place) -> anyhow::Result<()> {
    Recorded(&place.run.join("tunnel-ssh.pid")).stop().await?;
    place::remove(&place.connected())?;
    place::remove(&place.run.join(DOOR))?;
    Ok(())
}

fn stop_signals() -> anyhow::Result<CancellationToken> {
    let stop = CancellationToken::new();
    for kind in [SignalKind::terminate(), SignalKind::interrupt(), SignalKind::hangup()] {
        let mut signals = signal(kind)?;
        let stopped = stop.clone();
        tokio::spawn(async move {
            signals.recv().await;
            stopped.cancel();
        });
    }
    Ok(stop)
}

struct Supervisor<'a> {
    place: &'a Place,
    settings: &'a Settings,
    log: &'a Log,
    stop: CancellationToken,
}

impl Supervisor<'_> {
    async fn keep_up(&self) -> anyhow::Result<()> {
        let mut failures = 0;
        let mut told = String::new();
        loop {
            let mut follower = Follower::new(self, failures);
            let end = self.connection(&mut follower).await?;
            let lasted = follower.up_for();
            if lasted.is_some() {
                told.clear();
            }
            failures = if lasted.is_some_and(|lasted| lasted >= STABLE_AFTER) { 0 } else { failures + 1 };
            let random = fastrand::f64();
            let (why, pause) = match end {
                End::Stopped => return Ok(()),
                End::Slept => ("this machine has slept".to_owned(), backoff::pause(0, random)),
                End::Exposed(why) => (why, EXPOSED_PAUSE),
                End::Ended(why) | End::Stuck(why) => (why, backoff::pause(failures, random)),
            };
            // The same again is not a change, and says nothing new.
            if why != told {
                self.log.say(&format!("down: {why}; again in {:.0} s", pause.as_secs_f64()));
                told = why;
            }
            tokio::select! {
                () = sleep(pause) => {}
                () = self.stop.cancelled() => return Ok(()),
            }
        }
    }

    /// One ssh from its start to its end.
    async fn connection(&self, follower: &mut Follower<'_>) -> anyhow::Result<End> {
        place::remove(&self.place.run.join(DOOR))?;
        let mut ssh = self.spawn()?;
        let pid_file = self.place.run.join("tunnel-ssh.pid");
        if let Some(pid) = ssh.id() {
            // One that has ended already is told of below.
            let _ = Recorded(&pid_file).write(pid);
        }
        let lines = ssh.stderr.take().context("ssh has no standard error")?;
        let up = follower.watched();
        let end = tokio::select! {
            end = follower.follow(lines) => end,
            end = watch(&up) => end,
            () = self.stop.cancelled() => End::Stopped,
        };
        place::remove(&self.place.connected())?;
        finish(&mut ssh, &end).await?;
        place::remove(&pid_file)?;
        Ok(end)
    }

    /// `-v` because only its lines tell when the VPS has granted the forwards; the door is what a stuck ssh is known by.
    fn spawn(&self) -> anyhow::Result<Child> {
        let mut command = Command::new("ssh");
        command.args(["-v", "-N", "-o", "ControlMaster=yes", "-o"]).arg(format!("ControlPath={DOOR}"));
        command.arg("-F").arg(self.place.ssh_config()).arg(DESTINATION);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        command.current_dir(&self.place.run).kill_on_drop(true);
        command.spawn().context("ssh cannot be started; install OpenSSH")
    }

    /// Both forwards are granted.
    fn up(&self, failures: u32) {
        let now = jiff::Timestamp::now().round(jiff::Unit::Second).unwrap_or_default();
        if let Err(error) = fs::write(self.place.connected(), format!("{now}\n")) {
            self.log.say(&format!("cannot write {}: {error}", self.place.connected().display()));
        }
        let attempts = if failures == 0 { String::new() } else { format!(", at attempt {}", failures + 1) };
        self.log.say(&format!("up{attempts}"));
    }
}

/// A stuck ssh does not hear SIGTERM; any other may say goodbye, so that the VPS frees its ports at once.
async fn finish(ssh: &mut Child, end: &End) -> anyhow::Result<()> {
    if let (Some(pid), End::Stopped | End::Exposed(_)) = (ssh.id(), end) {
        process::signal(pid, Signal::TERM);
        if timeout(GRACE, ssh.wait()).await.is_ok() {
            return Ok(());
        }
    }
    // Fails only if it has ended.
    let _ = ssh.start_kill();
    ssh.wait().await?;
    Ok(())
}

/// Since when the forwards are granted, seen by who follows and by who watches.
type Up = tokio::sync::watch::Receiver<Option<Instant>>;
