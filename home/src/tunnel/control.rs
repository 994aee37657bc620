//! Starts, stops and shows a tunnel that runs in the background.

use std::{
    fs,
    net::{SocketAddr, TcpStream},
    process::Stdio,
    time::Duration,
};

use anyhow::{Context, anyhow, bail};
use tokio::{
    process::Command,
    time::{Instant, sleep},
};

use super::{
    log,
    place::{self, Place},
    process::{Recorded, Stopped},
    prove::{self, Proof},
    service,
    settings::Settings,
    supervise,
};
use crate::{
    commands,
    services::{self, Manager},
};

const CONNECT_DEADLINE: Duration = Duration::from_secs(20);
const LOOK: Duration = Duration::from_millis(50);

/// Starts the tunnel in the background unless it runs, waits until both forwards are granted, and proves the lock.
///
/// # Errors
/// The system keeps it up; it is not connected in time, which it goes on trying; or the lock does not hold, and it was
/// stopped.
pub(super) async fn up(place: &Place) -> anyhow::Result<()> {
    place.check()?;
    Settings::load(&place.folder)?;
    if let Some(manager) = service::installed() {
        bail!(
            "{manager} keeps the tunnel up; `{}` starts it anew, and `{}` shows how it is",
            commands::tunnel("restart"),
            commands::tunnel("status")
        );
    }
    let before = supervisor(place);
    match before {
        Some(pid) => {
            println!("tunnel: already running (pid {pid}), {}, log: {}", state(place), place.log().display());
        }
        None => start(place).await?,
    }
    let trouble = match lock_holds(place).await {
        Ok(true) => return Ok(()),
        // It may go on waiting for a VPS that is away: nothing is open meanwhile.
        Ok(false) if before.is_some() => {
            bail!("tunnel: it goes on trying; once it is up, prove its lock: {}", commands::tunnel("prove"))
        }
        Ok(false) => anyhow!("its lock cannot be proven"),
        Err(trouble) => trouble,
    };
    Err(trouble.context(match stop(place).await {
        Ok(()) => "the tunnel was stopped again".to_owned(),
        Err(error) => format!("the tunnel could not be stopped: {error:#}"),
    }))
}

async fn start(place: &Place) -> anyhow::Result<()> {
    place.make()?;
    place::remove(&place.connected())?;
    let log = place.log();
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["tunnel", "run", "--log"]).arg(&log);
    command.env("DATA_ROOT", &place.data_root).env("TUNNEL_DIR", &place.folder);
    // A process group of its own, so that Ctrl-C at the terminal is not meant for it.
    let last_words = fs::OpenOptions::new().create(true).append(true).open(&log)?;
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(last_words).process_group(0);
    let mut started = command.spawn().context("the tunnel cannot be started")?;
    await_connection(place, || started.try_wait().is_ok_and(|ended| ended.is_none())).await
}

/// Tries every way out of the lock, and shows what came of it; `false`, with the reason, if the VPS lets nobody in.
///
/// # Errors
/// A way is open or unclear.
pub(crate) async fn lock_holds(place: &Place) -> anyhow::Result<bool> {
    match prove::attempt_all(place, &[]).await? {
        Proof::Made(report) => prove::show(&report, false).map(|()| true),
        Proof::NoEntry(why) => {
            println!("warn  tunnel: {}", prove::no_entry(&why));
            Ok(false)
        }
    }
}

/// Starts the tunnel anew, whoever keeps it up, and proves the lock.
///
/// # Errors
/// As [`up`]; but the system's service is not stopped.
pub(crate) async fn restart(place: &Place) -> anyhow::Result<()> {
    place.check()?;
    Settings::load(&place.folder)?;
    let Some(manager) = service::installed() else {
        stop(place).await?;
        return up(place).await;
    };
    service::restart(place, &manager).await?;
    await_connection(place, || true).await?;
    lock_holds(place).await.map(drop).with_context(|| {
        format!("the tunnel runs; until that is mended, stop it with `{}`", commands::services(UNINSTALL))
    })
}

const UNINSTALL: &str = "uninstall --only tunnel";

/// What the tunnel said last, where the rest is, and what ends it: all of it by who keeps it up.
struct Keeper {
    last_words: String,
    log: String,
    end: String,
}

impl Keeper {
    fn of(place: &Place) -> anyhow::Result<Self> {
        let Some(manager) = service::installed() else {
            let log = place.log();
            return Ok(Self {
                last_words: log::tail(&log, 5),
                log: log.display().to_string(),
                end: commands::tunnel("down"),
            });
        };
        let service = service::service(place, &manager)?;
        Ok(Self {
            last_words: manager.last_words(&service),
            log: manager.log_command(&service),
            end: commands::services(UNINSTALL),
        })
    }
}

/// Waits until both forwards are granted, or what should bring that about does not run any more.
///
/// # Errors
/// They are not in time.
pub(crate) async fn await_connection(place: &Place, mut runs: impl FnMut() -> bool) -> anyhow::Result<()> {
    let deadline = Instant::now() + CONNECT_DEADLINE;
    while !connected(place) {
        if !runs() {
            let said = log::tail(&place.log(), 1);
            bail!("tunnel: it ended at once; this is why: {}", said.trim());
        }
        if Instant::now() >= deadline {
            let keeper = Keeper::of(place)?;
            eprint!("{}", keeper.last_words);
            bail!(
                "tunnel: not connected after {} s; its log: {}. It goes on trying; `{}` ends that",
                CONNECT_DEADLINE.as_secs(),
                keeper.log,
                keeper.end
            );
        }
        sleep(LOOK).await;
    }
    let pid = supervisor(place).map(|pid| format!(" (pid {pid})")).unwrap_or_default();
    println!("tunnel: up{pid}, log: {}", Keeper::of(place)?.log);
    Ok(())
}

/// Stops the tunnel.
///
/// # Errors
/// The system's manager would start it again at once.
pub(super) async fn down(place: &Place) -> anyhow::Result<()> {
    if let Some(manager) = service::installed() {
        bail!(
            "{manager} keeps the tunnel up, and would start it again; `{}` starts it anew, and `{}` takes it away",
            commands::tunnel("restart"),
            commands::services(UNINSTALL)
        );
    }
    stop(place).await
}

/// Stops a tunnel that runs beside the one that the system keeps up.
///
/// # Errors
/// Its traces cannot be removed.
pub(super) async fn stop_beside(place: &Place, manager: &Manager) -> anyhow::Result<()> {
    let kept = services::status(manager, &service::name()).ok().and_then(|status| status.pid);
    match supervisor(place) {
        Some(pid) if Some(pid) != kept => stop(place).await,
        _ => Ok(()),
    }
}

/// Stops whatever runs, and says so.
///
/// # Errors
/// Its traces cannot be removed.
pub(super) async fn stop(place: &Place) -> anyhow::Result<()> {
    println!(
        "{}",
        match Recorded(&place.run.join("tunnel.pid")).stop().await? {
            Stopped::WasNot => "tunnel: not running".to_owned(),
            Stopped::Ended(pid) => format!("tunnel: stopped (pid {pid})"),
            Stopped::Killed(pid) => format!("tunnel: did not stop in time and was killed (pid {pid})"),
        }
    );
    supervise::stop_leftover(place).await
}

/// Shows how the tunnel is.
///
/// # Errors
/// It is not connected.
pub(super) fn status(place: &Place) -> anyhow::Result<()> {
    place.check()?;
    let settings = Settings::load(&place.folder)?;
    let Some(pid) = supervisor(place) else {
        return not_running(place);
    };
    println!("tunnel: running (pid {pid}), {}", state(place));
    for (forward, name) in settings.forwards.iter().zip(["claude-endpoint", "ollama-endpoint"]) {
        let address = SocketAddr::from(([127, 0, 0, 1], forward.local));
        if TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_err() {
            println!("    nothing listens on this machine's port {}; is the {name} started?", forward.local);
        }
    }
    if connected(place) {
        return Ok(());
    }
    let keeper = Keeper::of(place)?;
    print!("{}", keeper.last_words);
    bail!("tunnel: not connected; its log: {}", keeper.log)
}

fn not_running(place: &Place) -> anyhow::Result<()> {
    let Some(manager) = service::installed() else {
        bail!("tunnel: not running; start it with: {}", commands::tunnel("up"));
    };
    let keeper = Keeper::of(place)?;
    print!("{}", keeper.last_words);
    bail!(
        "tunnel: not running, though {manager} should keep it up ({}); its log: {}; start it anew with: {}",
        services::status(&manager, &service::name())?.says,
        keeper.log,
        commands::tunnel("restart")
    )
}

fn supervisor(place: &Place) -> Option<u32> {
    Recorded(&place.run.join("tunnel.pid")).pid()
}

fn connected(place: &Place) -> bool {
    place.connected().exists() && Recorded(&place.run.join("tunnel-ssh.pid")).pid().is_some()
}

fn state(place: &Place) -> String {
    match fs::read_to_string(place.connected()) {
        Ok(since) if connected(place) => format!("connected since {}", since.trim()),
        _ => "not connected".to_owned(),
    }
}
