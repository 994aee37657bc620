//! The faults: what is done to a site, how long it lasts, and how it ends.

use std::time::{Duration, Instant};

use anyhow::Context;
use tokio::time::sleep;

use super::{
    PACE,
    net::{Cut, Side},
    site::{Internet, Site},
    squatter::{Spoils, Squatting},
};
use crate::{
    control::{Gate, get, post},
    family::signal,
};

/// Longer than sshd waits for a client that says nothing (5 s, twice), so that it lets go of the ports.
const LONG: Duration = Duration::from_secs(20);
/// A machine that starts.
const BOOT: Duration = Duration::from_secs(3);
/// launchd and systemd start again what ended.
const RESTART: Duration = Duration::from_secs(1);
/// GitHub's path of every pull request of the repository.
const PULLS: &str = "/repos/acme/shop/pulls/";

/// A fault by its name.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fault {
    /// As the table and `--only` name it.
    pub(super) name: &'static str,
    /// What is done, for the table.
    pub(super) done: &'static str,
    kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    SshKilled,
    SshFrozen,
    SupervisorKilled,
    CableCut(Cut),
    SshdRestarted,
    Squatted,
    SquattedQuietly,
    HomeKilledAt(Step),
    HomeWithoutPower,
    HomeAsleep,
    VpsRebooted,
}

/// Where a review or a memory stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Accepted,
    Asked,
    BeforePost,
    AfterPost,
    Embedding,
}

/// When a fault began and ended, and what else it showed.
#[derive(Debug)]
pub(super) struct Hurt {
    pub(super) began: Instant,
    pub(super) ended: Instant,
    /// What a squatter was given.
    pub(super) spoils: Option<Spoils>,
}

impl Fault {
    /// All of them, in the order of the table.
    pub(super) fn all() -> Vec<Self> {
        let fault = |name, done, kind| Self { name, done, kind };
        vec![
            fault("tunnel-killed", "ssh killed", Kind::SshKilled),
            fault("tunnel-frozen", "ssh stopped (kill -STOP) for good", Kind::SshFrozen),
            fault(
                "supervisor-killed",
                "the supervisor killed, not its ssh; back after 1 s",
                Kind::SupervisorKilled,
            ),
            fault("cable-cut", "packets dropped both ways for 20 s", Kind::CableCut(Cut::Both)),
            fault("cable-cut-to-vps", "packets to the VPS dropped for 20 s", Kind::CableCut(Cut::ToVps)),
            fault("cable-cut-to-home", "packets to home dropped for 20 s", Kind::CableCut(Cut::ToHome)),
            fault("sshd-restarted", "sshd and its sessions killed; back after 3 s", Kind::SshdRestarted),
            fault("port-squatted", "ssh gone; after 3 s somebody has its ports, for 20 s", Kind::Squatted),
            fault(
                "port-squatted-at-once",
                "ssh gone, and in this moment somebody has its ports, for 20 s",
                Kind::SquattedQuietly,
            ),
            fault(
                "home-killed-accepted",
                "all at home killed when a review was begun; back after 3 s",
                Kind::HomeKilledAt(Step::Accepted),
            ),
            fault("home-killed-asked", "the same while the model thinks", Kind::HomeKilledAt(Step::Asked)),
            fault(
                "home-killed-before-post",
                "the same before a review takes effect",
                Kind::HomeKilledAt(Step::BeforePost),
            ),
            fault(
                "home-killed-after-post",
                "the same when it took effect, before GitHub's answer",
                Kind::HomeKilledAt(Step::AfterPost),
            ),
            fault(
                "home-killed-embedding",
                "the same while a memory is embedded",
                Kind::HomeKilledAt(Step::Embedding),
            ),
            fault(
                "home-without-power",
                "home off the network and all of it killed; back after 3 s",
                Kind::HomeWithoutPower,
            ),
            fault("home-asleep", "all at home stopped, its cable silent, for 20 s", Kind::HomeAsleep),
            fault(
                "vps-rebooted",
                "the VPS off the network and all of it killed; back after 3 s",
                Kind::VpsRebooted,
            ),
        ]
    }

    /// Whether events happen before it begins. Without one, the relay cannot know that the tunnel is down.
    pub(super) fn is_under_load(self) -> bool {
        self.kind != Kind::SquattedQuietly
    }

    /// Hurts the site and mends it again.
    pub(super) async fn hurt(self, site: &mut Site) -> anyhow::Result<Hurt> {
        match self.kind {
            Kind::SshKilled => {
                let ssh = site.tunnel.ssh().await?;
                Ok(Hurt::at_once(|| signal("KILL", &ssh)))
            }
            Kind::SshFrozen => {
                let ssh = site.tunnel.ssh().await?;
                Ok(Hurt::at_once(|| signal("STOP", &ssh)))
            }
            Kind::SupervisorKilled => {
                let began = Instant::now();
                site.tunnel.kill_supervisor().await?;
                sleep(RESTART).await;
                let hurt = Hurt::since(began);
                site.tunnel.spawn()?;
                Ok(hurt)
            }
            Kind::CableCut(cut) => {
                let began = Instant::now();
                site.net.cut(cut)?;
                sleep(LONG).await;
                site.net.mend()?;
                Ok(Hurt::since(began))
            }
            Kind::SshdRestarted => {
                let began = Instant::now();
                site.sshd.kill()?;
                sleep(BOOT).await;
                let hurt = Hurt::since(began);
                site.sshd.up().await?;
                Ok(hurt)
            }
            Kind::Squatted => squat(site, Some(BOOT)).await,
            Kind::SquattedQuietly => squat(site, None).await,
            Kind::HomeKilledAt(step) => kill_home_at(site, step).await,
            Kind::HomeWithoutPower | Kind::VpsRebooted => power_off(site, self.kind).await,
            Kind::HomeAsleep => sleep_at_home(site).await,
        }
    }
}

impl Hurt {
    /// By one blow.
    fn at_once(blow: impl FnOnce()) -> Self {
        let began = Instant::now();
        blow();
        Self::since(began)
    }

    /// It ends now.
    fn since(began: Instant) -> Self {
        Self { began, ended: Instant::now(), spoils: None }
    }
}

/// Takes the tunnel down for a time in which somebody else has its ports on the VPS. The supervisor is held at first: it
/// would be faster than they are.
async fn squat(site: &mut Site, after: Option<Duration>) -> anyhow::Result<Hurt> {
    let ssh = site.tunnel.ssh().await?;
    let began = Instant::now();
    site.tunnel.signal_supervisor("STOP")?;
    signal("KILL", &ssh);
    sleep(after.unwrap_or_default()).await;
    let squatter = Squatting::start(&site.net.place(Side::Vps), site.folder(), site.ports.tunnel).await?;
    site.load.start(PACE);
    site.tunnel.signal_supervisor("CONT")?;
    sleep(LONG).await;
    let spoils = squatter.end()?;
    Ok(Hurt { spoils: Some(spoils), ..Hurt::since(began) })
}

async fn kill_home_at(site: &mut Site, step: Step) -> anyhow::Result<Hurt> {
    let gate = step.gate(site);
    gate.reached().await.context("nothing came to the step")?;
    let began = Instant::now();
    site.home_off()?;
    drop(gate);
    sleep(BOOT).await;
    let hurt = Hurt::since(began);
    site.home_on().await?;
    Ok(hurt)
}

async fn power_off(site: &mut Site, kind: Kind) -> anyhow::Result<Hurt> {
    let side = if kind == Kind::VpsRebooted { Side::Vps } else { Side::Home };
    let began = Instant::now();
    site.net.power_off(side)?;
    match side {
        Side::Vps => site.vps_off()?,
        Side::Home => site.home_off()?,
    }
    sleep(BOOT).await;
    site.net.power_on(side)?;
    let hurt = Hurt::since(began);
    match side {
        Side::Vps => site.vps_on().await?,
        Side::Home => site.home_on().await?,
    }
    Ok(hurt)
}

async fn sleep_at_home(site: &Site) -> anyhow::Result<Hurt> {
    let began = Instant::now();
    // A machine that sleeps does not even acknowledge what it gets.
    site.net.cut(Cut::Both)?;
    site.signal_home("STOP")?;
    sleep(LONG).await;
    site.net.mend()?;
    site.signal_home("CONT")?;
    Ok(Hurt::since(began))
}

impl Step {
    /// Where whoever has come to the step is held.
    fn gate(self, site: &Site) -> Gate {
        let Internet { github, anthropic, ollama } = &site.internet;
        let reviews = || post(PULLS).ending("/reviews");
        match self {
            Self::Accepted => github.gate(get("/repos/acme/shop/compare/")),
            Self::Asked => anthropic.gate(post("/v1/messages")),
            Self::BeforePost => github.gate(reviews()),
            Self::AfterPost => github.gate_answer(reviews()),
            Self::Embedding => ollama.gate(post("/api/embed")),
        }
    }
}
