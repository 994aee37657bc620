//! Proves that the lock on the VPS holds: tries, with the tunnel's own key, everything that the tunnel must not be able to.

use std::{
    net::IpAddr,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::{Context, bail};
use tokio::{
    net::UnixStream,
    process::{Child, Command},
    time::sleep,
};

use self::{
    attempts::{Attempt, listens, passages, sessions},
    judge::{Verdict, unix_passage},
    outside::look,
    report::{Report, Row},
    trial::{Trial, carry_out},
};
use super::{config::Folders, place::Place, settings::Settings, supervise::said::advised};

mod attempts;
mod judge;
mod outside;
mod report;
mod trial;

/// Sockets that any account of a Linux machine may call, so that a refusal is not just a missing file.
const SOCKETS: [&str; 3] = [
    "/run/systemd/journal/stdout",
    "/run/dbus/system_bus_socket",
    "/run/systemd/userdb/io.systemd.DynamicUser",
];

/// How the proof is made and shown.
#[derive(Debug, Clone, clap::Args)]
pub struct ProveArgs {
    #[command(flatten)]
    folders: Folders,
    /// One JSON document instead of the table
    #[arg(long)]
    json: bool,
    /// Another socket file of the VPS to try, one that is there and open to its accounts
    #[arg(long, value_name = "PATH")]
    unix_socket: Vec<String>,
}

/// Whether the key was taken, which is what any proof begins with.
pub(super) enum Proof {
    /// It was, and this is what could be done with it.
    Made(Report),
    /// It was not; ssh's words.
    NoEntry(String),
}

/// Makes the proof, and shows it.
///
/// # Errors
/// A way is open or unclear, the VPS does not take the key, or the tunnel is not set up.
pub(super) async fn prove(args: &ProveArgs) -> anyhow::Result<()> {
    match attempt_all(&Place::new(&args.folders)?, &args.unix_socket).await? {
        Proof::NoEntry(why) => bail!("{}", no_entry(&why)),
        Proof::Made(report) => show(&report, args.json),
    }
}

/// Shows a report.
///
/// # Errors
/// The lock does not hold.
pub(super) fn show(report: &Report, json: bool) -> anyhow::Result<()> {
    if json {
        println!("{}", serde_json::to_string_pretty(report)?);
    } else {
        print!("{report}");
    }
    report.trouble().map_or(Ok(()), |trouble| Err(anyhow::Error::msg(trouble)))
}

/// Why nothing could be tried.
pub(super) fn no_entry(why: &str) -> String {
    format!("nothing could be tried, because the VPS does not let the tunnel in: {}", advised(why))
}

/// Tries everything.
///
/// # Errors
/// The tunnel is not set up, or ssh cannot be started.
pub(super) async fn attempt_all(place: &Place, unix_sockets: &[String]) -> anyhow::Result<Proof> {
    place.check()?;
    let settings = Settings::load(&place.folder)?;
    let config = place.ssh_config();
    let address = outside::address(&settings).await;
    let found = look(&config, &settings, address).await?;
    if !found.evidence.logged_in() {
        return Ok(Proof::NoEntry(found.evidence.last_words()));
    }
    let folder = tempfile::tempdir().context("no folder can be made for the attempts")?;
    let agent = Agent::start(&folder.path().join("agent")).await?;
    let mut rows: Vec<Row> =
        found.ports.into_iter().map(|(port, verdict)| own_port(port, address, verdict)).collect();
    let socket = format!("/tmp/ai-relay-proof-{:08x}", fastrand::u32(..));
    let (sessions, passages, listens, sockets) = tokio::join!(
        in_turn(&config, sessions(&agent.socket)),
        in_turn(&config, passages(&settings)),
        in_turn(&config, listens(&settings, address, &socket)),
        sockets(&config, folder.path(), unix_sockets),
    );
    for more in [sessions?, passages?, vec![sockets?], listens?] {
        rows.extend(more);
    }
    Ok(Proof::Made(Report {
        host: settings.host,
        user: settings.user,
        port: settings.port,
        forwards: found.forwards,
        attempts: rows,
    }))
}

fn own_port(port: u16, address: Option<IpAddr>, verdict: Verdict) -> Row {
    let tried = address.map_or_else(String::new, |address| format!("connect to {address} port {port}"));
    Row { name: format!("reach port {port} from the network"), tried, verdict }
}

async fn in_turn(config: &Path, attempts: Vec<Attempt>) -> anyhow::Result<Vec<Row>> {
    let mut rows = Vec::new();
    for attempt in attempts {
        let evidence = carry_out(config, &attempt).await?;
        rows.push(Row { verdict: (attempt.judge)(&evidence), tried: attempt.tried(), name: attempt.name });
    }
    Ok(rows)
}

/// Tries to reach socket files of the VPS: each through one of ours, which is called once ssh is in.
async fn sockets(config: &Path, folder: &Path, more: &[String]) -> anyhow::Result<Row> {
    let remote: Vec<&str> = SOCKETS.into_iter().chain(more.iter().map(String::as_str)).collect();
    let local: Vec<PathBuf> = (0..remote.len()).map(|number| folder.join(format!("{number}"))).collect();
    let mut attempt = Attempt::new("reach a socket file (-L)", &["-N"], unix_passage);
    for (local, remote) in local.iter().zip(&remote) {
        attempt.options.extend(["-L".to_owned(), format!("{}:{remote}", local.display())]);
    }
    let mut trial = Trial::start(config, &attempt).await?;
    let mut callers = Vec::new();
    if trial.until(|said| said.contains("Entering interactive session")).await {
        for local in &local {
            callers.extend(UnixStream::connect(local).await);
        }
        let asked = callers.len();
        // A refusal says the words twice: "open failed: connect failed: open failed".
        let answers =
            |said: &str| said.matches("open failed:").count() + said.matches("open confirm").count();
        trial.until(|said| answers(said) >= asked).await;
    }
    let evidence = trial.finish().await?;
    // The paths on this machine are of no interest.
    let tried = format!("ssh -N -L SOCKET:{} VPS", remote.join(" -L SOCKET:"));
    Ok(Row { verdict: unix_passage(&evidence), tried, name: attempt.name })
}

/// An empty agent, for the VPS to ask for.
struct Agent {
    socket: PathBuf,
    _process: Child,
}

const AGENT_DEADLINE: Duration = Duration::from_secs(5);
const LOOK: Duration = Duration::from_millis(10);

impl Agent {
    async fn start(socket: &Path) -> anyhow::Result<Self> {
        let mut command = Command::new("ssh-agent");
        command.args(["-D", "-a"]).arg(socket).stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
        let process = command.spawn().context("ssh-agent cannot be started; install OpenSSH")?;
        let there = async {
            while UnixStream::connect(socket).await.is_err() {
                sleep(LOOK).await;
            }
        };
        tokio::time::timeout(AGENT_DEADLINE, there).await.context("ssh-agent does not answer")?;
        Ok(Self { socket: socket.to_owned(), _process: process })
    }
}
