//! Whether the tunnel's ports are the VPS's loopback's alone. With `GatewayPorts yes` sshd opens them to the network
//! whatever address is asked for, and tells nobody.

use std::{
    net::{IpAddr, SocketAddr},
    path::Path,
    time::Duration,
};

use serde::Serialize;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, lookup_host},
    time::timeout,
};

use super::{
    attempts::Attempt,
    judge::{Evidence, Verdict, listen},
    trial::Trial,
};
use crate::tunnel::{settings::Settings, supervise::said::FORBIDDEN};

const CONNECT: Duration = Duration::from_secs(3);
const MARK: usize = 16;

/// Whether the VPS does what the tunnel is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Forwards {
    /// It listens for us.
    Granted,
    /// The ports are held already: by the running tunnel, or by somebody else.
    Taken,
    /// Its sshd does not allow them.
    Refused,
}

/// What was found.
pub(super) struct Found {
    /// Whether our own forwards are granted.
    pub(super) forwards: Forwards,
    /// The key was taken.
    pub(super) evidence: Evidence,
    /// Whether each port is open to the network.
    pub(super) ports: Vec<(u16, Verdict)>,
}

/// The address that the VPS is reached at, if that is not this machine's own loopback.
pub(super) async fn address(settings: &Settings) -> Option<IpAddr> {
    let found = lookup_host((settings.host.as_str(), settings.port)).await.ok()?.next()?.ip();
    let own = [IpAddr::from([127, 0, 0, 1]), IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1])];
    (!own.contains(&found)).then_some(found)
}

/// Asks for the tunnel's own forwards, but to a listener of ours, and calls them from here.
///
/// # Errors
/// ssh cannot be started, or this machine has no port left.
pub(super) async fn look(
    config: &Path,
    settings: &Settings,
    address: Option<IpAddr>,
) -> anyhow::Result<Found> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let local = listener.local_addr()?.port();
    let mut attempt = Attempt::new("the tunnel's own ports", &["-N"], listen);
    for forward in &settings.forwards {
        attempt.options.extend(["-R".to_owned(), format!("127.0.0.1:{}:127.0.0.1:{local}", forward.remote)]);
    }
    let wanted = settings.forwards.len();
    let mut trial = Trial::start(config, &attempt).await?;
    let granted = trial.until(|said| said.matches("remote forward success").count() == wanted).await;
    let mut ports = Vec::new();
    for forward in &settings.forwards {
        let verdict = match address {
            None => Verdict::skipped("the VPS is this machine, whose loopback answers both"),
            Some(address) => call(SocketAddr::new(address, forward.remote), &listener).await,
        };
        ports.push((forward.remote, verdict));
    }
    let evidence = trial.finish().await?;
    let forbidden = FORBIDDEN.iter().any(|words| evidence.said.contains(words));
    let forwards = match (granted, forbidden) {
        (true, _) => Forwards::Granted,
        (false, true) => Forwards::Refused,
        (false, false) => Forwards::Taken,
    };
    Ok(Found { forwards, evidence, ports })
}

/// A connection that is taken is one too many, even if another program's; one that arrives here shows the way it took.
async fn call(there: SocketAddr, listener: &TcpListener) -> Verdict {
    let mark: Vec<u8> = std::iter::repeat_with(|| fastrand::u8(..)).take(MARK).collect();
    let mut caller = match timeout(CONNECT, TcpStream::connect(there)).await {
        Ok(Ok(caller)) => caller,
        Ok(Err(error)) => return Verdict::closed(format!("{there}: {}", plain(&error))),
        Err(_) => return Verdict::closed(format!("{there}: no answer")),
    };
    let _ = caller.write_all(&mark).await;
    let arrived = timeout(CONNECT, async {
        loop {
            // The relay's probes arrive here too.
            let Ok((mut stream, _)) = listener.accept().await else { return false };
            let mut start = [0; MARK];
            let read = timeout(CONNECT, stream.read_exact(&mut start)).await;
            if matches!(read, Ok(Ok(_))) && start[..] == mark {
                return true;
            }
        }
    })
    .await;
    Verdict::open(match arrived {
        Ok(true) => format!("{there} leads from the network into this machine: GatewayPorts is in effect"),
        _ => format!("{there} takes connections from the network"),
    })
}

/// Without the system's number.
fn plain(error: &std::io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or_default().to_lowercase()
}
