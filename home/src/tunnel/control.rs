//! Starts, stops and shows a tunnel that runs in the background.

use std::{
    fs,
    net::{SocketAddr, TcpStream},
    os::unix::process::CommandExt,
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context, bail};
use tokio::time::{Instant, sleep};

use super::{
    log,
    place::{self, Place},
    process::{Recorded, Stopped},
    prove::{self, Proof},
    service,
    settings::Settings,
    supervise,
};

const CONNECT_DEADLINE: Duration = Duration::from_secs(20);
const LOOK: Duration = Duration::from_millis(50);

/// Starts the tunnel in the background, waits until both forwards are granted, and proves the lock.
///
/// # Errors
/// It is not connected in time, which it goes on trying; or the lock does not hold, and it was stopped.
pub(super) async fn up(place: &Place) -> anyhow::Result<()> {
    place.check()?;
    Settings::load(&place.folder)?;
    let log = place.log();
    if let Some(pid) = supervisor(place) {
        println!("tunnel: already running (pid {pid}), {}, log: {}", state(place), log.display());
        return Ok(());
    }
    place.make()?;
    place::remove(&place.connected())?;
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["tunnel", "run", "--log"]).arg(&log);
    command.env("DATA_ROOT", &place.data_root).env("TUNNEL_DIR", &place.folder);
    // A process group of its own, so that Ctrl-C at the terminal is not meant for it.
    let last_words = fs::OpenOptions::new().create(true).append(true).open(&log)?;
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(last_words).process_group(0);
    let mut started = command.spawn().context("the tunnel cannot be started")?;
    await_connection(place, || started.try_wait().is_ok_and(|ended| ended.is_none())).await?;
    if let Err(trouble) = holds(place).await {
        down(place).await?;
        return Err(trouble.context("the tunnel was stopped again"));
    }
    Ok(())
}

async fn holds(place: &Place) -> anyhow::Result<()> {
    match prove::attempt_all(place, &[]).await? {
        Proof::Made(report) => prove::show(&report, false),
        Proof::NoEntry(why) => bail!("{}", prove::no_entry(&why)),
    }
}

/// Waits until both forwards are granted, or what should bring that about does not run any more.
///
/// # Errors
/// They are not in time.
pub(super) async fn await_connection(place: &Place, mut runs: impl FnMut() -> bool) -> anyhow::Result<()> {
    let deadline = Instant::now() + CONNECT_DEADLINE;
    while !connected(place) {
        if !runs() {
            bail!("tunnel: it ended at once; this is why: {}", log::tail(&place.log(), 1).trim());
        }
        if Instant::now() >= deadline {
            eprint!("{}", log::tail(&place.log(), 5));
            bail!(
                "tunnel: not connected after {} s; above is why. It goes on trying; `setup-tunnel.sh down` ends that",
                CONNECT_DEADLINE.as_secs()
            );
        }
        sleep(LOOK).await;
    }
    let pid = supervisor(place).map(|pid| format!(" (pid {pid})")).unwrap_or_default();
    println!("tunnel: up{pid}, log: {}", place.log().display());
    Ok(())
}

/// Stops the tunnel.
///
/// # Errors
/// The system's manager would start it again at once.
pub(super) async fn down(place: &Place) -> anyhow::Result<()> {
    if let Some(manager) = service::installed() {
        bail!(
            "{manager} keeps the tunnel up; take it away with: ai-relay-home services uninstall --only tunnel"
        );
    }
    stop(place).await
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
        bail!("tunnel: not running; start it with: ./scripts/setup-tunnel.sh up");
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
    print!("{}", log::tail(&place.log(), 3));
    bail!("tunnel: not connected")
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
