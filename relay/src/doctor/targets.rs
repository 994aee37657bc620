//! The roads to the endpoints at home: who listens at the tunnel's port, whether anything comes back, who it is that
//! answers, and how he is. And whether extra targets can be connected to.

use std::{net::IpAddr, time::Duration};

use shared::{
    doctor::{
        Finding, exposure,
        listeners::{self, Listener},
        own,
        peer::{self, Remedies, Seen},
    },
    health::Status,
};
use tokio::{net::TcpStream, time::timeout};
use url::{Host, Url};

use super::Known;
use crate::{config::Target, targets::CLAUDE};

const CONNECT: Duration = Duration::from_secs(5);

/// The road to one endpoint.
#[derive(Debug)]
pub(super) struct Road {
    lane: &'static str,
    /// Who should be at its end.
    pub(super) service: &'static str,
    url: Url,
    /// Who listens at this end, if that is on this machine.
    pub(super) listening: Option<Result<Vec<Listener>, String>>,
    seen: Seen,
    keys: usize,
}

/// All roads.
pub(super) async fn roads(known: &Known) -> Vec<Road> {
    let mut roads = Vec::new();
    for (lane, service, url) in &known.endpoints {
        let port = url.port_or_known_default().unwrap_or_default();
        let listening = is_here(url).then(|| listeners::on(port));
        let seen = peer::look(service, url, &known.keys).await;
        roads.push(Road { lane, service, url: url.clone(), listening, seen, keys: known.keys.len() });
    }
    roads
}

fn is_here(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => IpAddr::V4(address).is_loopback(),
        Some(Host::Ipv6(address)) => IpAddr::V6(address).is_loopback(),
        None => false,
    }
}

impl Road {
    /// The port at this end, if it is one of this machine's loopback, where the tunnel's are.
    pub(super) fn port(&self) -> Option<u16> {
        self.listening.as_ref()?;
        self.url.port_or_known_default()
    }

    /// Whether the service itself listens here: then there is no tunnel.
    pub(super) fn is_short(&self) -> bool {
        let listening = self.listening.iter().flatten().flatten();
        let mut owners = listening.filter_map(|listener| listener.owner.as_ref());
        owners.any(|owner| self.service.starts_with(&owner.name))
    }

    /// How the way there is.
    pub(super) fn tunnel(&self) -> Vec<Finding> {
        let mut found = Vec::new();
        let port = self.url.port_or_known_default().unwrap_or_default();
        match &self.listening {
            Some(Ok(listening)) => found.push(exposure::of_tunnel(self.service, port, listening)),
            Some(Err(why)) => found.push(Finding::skipped("listener", why)),
            None => {}
        }
        let broken =
            format!("the tunnel is up, and nothing listens at its end where the {} should", self.service);
        found.push(peer::reach(&self.url, &self.seen, &remedies(self.service, self.is_short()), &broken));
        // Nobody listening says it all.
        let is_down =
            self.listening.as_ref().is_some_and(|listening| listening.as_ref().is_ok_and(Vec::is_empty));
        found.truncate(if is_down { 1 } else { 2 });
        found
            .into_iter()
            .map(|one| Finding { check: format!("{} {}", self.lane, one.check), ..one })
            .collect()
    }

    /// How the endpoint is.
    pub(super) fn endpoint(&self) -> Vec<Finding> {
        let mut found =
            peer::identity(self.service, &self.seen, self.keys, &remedies(self.service, self.is_short()));
        let Some(report) = own::report(&self.seen).filter(|report| report.service_id == self.service) else {
            return found;
        };
        let mend = format!("on the Mac: {} doctor", self.service);
        let ill = report
            .checks
            .iter()
            .filter(|(_, checks)| checks.iter().any(|check| check.status != Status::Pass));
        let ill: Vec<_> = ill.map(|(component, _)| (component.as_str(), component.as_str())).collect();
        if ill.is_empty() {
            found.push(Finding::ok("health", "it is well"));
        }
        found.extend(own::health(report, &ill, &mend).into_iter().filter(|one| one.mend.is_some()));
        found
    }
}

fn remedies(service: &str, is_short: bool) -> Remedies {
    let is_claude = service.starts_with(CLAUDE);
    Remedies {
        start: match is_short {
            true => "./scripts/start-ai-services.sh --restart",
            false => {
                "on the Mac: ./scripts/start-ai-services.sh --restart, and ./scripts/setup-tunnel.sh status"
            }
        },
        frozen: "is the Mac asleep? Else its ssh is frozen, on the Mac: ./scripts/setup-tunnel.sh restart",
        stranger: match is_claude {
            true => {
                "`ss -ltnp` shows who has the port of CLAUDE_ENDPOINT; stop it, then on the Mac: ./scripts/setup-tunnel.sh restart"
            }
            false => {
                "`ss -ltnp` shows who has the port of OLLAMA_ENDPOINT; stop it, then on the Mac: ./scripts/setup-tunnel.sh restart"
            }
        },
        mixed_up: "CLAUDE_ENDPOINT and OLLAMA_ENDPOINT, or the tunnel's ports, are mixed up: on the Mac: ./scripts/setup-tunnel.sh setup, with --claude-port and --ollama-port",
        key: "RELAY_SIGNING_KEY must be the same on both machines: compare `printf %s \"$RELAY_SIGNING_KEY\" | sha256sum` (on the Mac `shasum -a 256`), set it, and start both again",
        upgrade: "install one version on both machines; until then new events may wait",
    }
}

/// Extra targets: whether they take a connection. More is not asked, since each request would be an event to them.
pub(super) async fn extra(known: &Known, offline: bool) -> Vec<Finding> {
    let mut found = Vec::new();
    for target in &known.extra {
        found.push(match offline {
            true => Finding::skipped(&target.name, "not asked: --offline"),
            false => connect(target).await,
        });
    }
    found
}

async fn connect(target: &Target) -> Finding {
    let host = target.url.host_str().unwrap_or_default().trim_matches(['[', ']']).to_owned();
    let port = target.url.port_or_known_default().unwrap_or_default();
    // Its URL may be meant for nobody's eyes.
    let mend = "is it up? Its `url` in [[targets]] says where it should be; its events wait";
    match timeout(CONNECT, TcpStream::connect((host.as_str(), port))).await {
        Ok(Ok(_)) => Finding::ok(&target.name, "takes connections"),
        Ok(Err(error)) => Finding::fail(&target.name, format!("takes no connection: {error}"), mend),
        Err(_) => {
            Finding::fail(&target.name, format!("takes no connection within {} s", CONNECT.as_secs()), mend)
        }
    }
}
