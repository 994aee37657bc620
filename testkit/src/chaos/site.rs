//! Everything on one machine: the relay and sshd on the VPS, both endpoints and the tunnel at home, and the internet.

use std::{
    collections::HashSet,
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use fastrand::Rng;
use http::Method;
use tempfile::TempDir;
use tokio::time::sleep;

use super::{
    Settings,
    account::{Account, Found, compare},
    load::{Load, Source},
    net::{Net, Ports, Side},
    service::{ASK, Service},
    sshd::Sshd,
    tunnel::Tunnel,
};
use crate::{
    anthropic::{Anthropic, reviewer},
    control::Call,
    crash::{
        child::{PATIENCE, Program},
        process::{Relay, SIGNING_KEY, WEBHOOK_SECRET},
    },
    family::{Census, signal},
    github::{GitHub, HookOwner},
    ollama::{Model, Ollama},
    scenario::{REVIEWER, REVIEWER_TOKEN, Scenario},
};

const MEMORY_TOKEN: &str = "a-memory-token-for-the-chaos-test";
/// Seconds between two looks of the relay for missed deliveries. The default, 300, would only make the test longer.
const MISSED_EVERY: &str = "2";
/// Between two looks at whether everything is done.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// What is outside of our services.
pub(super) struct Internet {
    pub(super) github: GitHub,
    pub(super) anthropic: Anthropic,
    pub(super) ollama: Ollama,
}

/// See the module. Everything ends when it is dropped: first the programs, then the network.
pub(super) struct Site {
    pub(super) internet: Internet,
    pub(super) load: Load,
    pub(super) relay: Relay,
    pub(super) sshd: Sshd,
    pub(super) tunnel: Tunnel,
    pub(super) endpoints: [Service; 2],
    pub(super) net: Net,
    pub(super) ports: Ports,
    folder: TempDir,
}

impl Site {
    /// Everything runs, and one event has gone all the way.
    pub(super) async fn start(settings: &Settings, seed: u64) -> anyhow::Result<Self> {
        let folder = TempDir::with_prefix("chaos-test-")?;
        // The tunnel's account on the VPS reads its authorized_keys in here.
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o711))?;
        let (net, ports) = Net::new(settings.loopback).await?;
        let internet = Internet::start(&net).await?;
        let vps = net.place(Side::Vps);
        let relay = relay(settings, folder.path(), &net, &ports, &internet.github)?;
        let source = internet.hook(&relay);
        let sshd = Sshd::start(folder.path(), vps, ports.sshd).await?;
        let home = net.place(Side::Home);
        let tunnel = Tunnel::new(&settings.tunnel, folder.path(), &settings.bin_dir, home, ports.home)?;
        let endpoints = endpoints(settings, folder.path(), &net, &ports, &internet)?;
        let load = Load::new(source, Rng::with_seed(seed));
        let mut site = Self { internet, load, relay, sshd, tunnel, endpoints, net, ports, folder };
        site.join().await.context("the tunnel's setup")?;
        site.vps_on().await?;
        site.home_on().await?;
        site.load.one();
        let account = site.drained(PATIENCE).await?.1;
        if account.is_settled() {
            return Ok(site);
        }
        let folder = site.keep();
        bail!("not even the first event goes through: {account:?}; logs and data are in {}", folder.display())
    }

    /// Sets the tunnel up, and gives the VPS what its setup says.
    async fn join(&mut self) -> anyhow::Result<()> {
        let user = account_on_vps()?;
        let (at, fingerprint) = (self.net.sshd(&self.ports), self.sshd.fingerprint()?);
        let admission = self.tunnel.set_up(&user, at, &fingerprint, &self.ports).await?;
        self.sshd.admit(&admission.authorized_keys, &admission.policy)?;
        self.sshd.kill()
    }

    /// Its log files and data.
    pub(super) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Starts the VPS's programs.
    pub(super) async fn vps_on(&mut self) -> anyhow::Result<()> {
        self.sshd.up().await?;
        self.relay.start().await?;
        Ok(())
    }

    /// `kill -9` of all the VPS's programs.
    pub(super) fn vps_off(&mut self) -> anyhow::Result<()> {
        self.relay.kill();
        self.sshd.kill()
    }

    /// Starts home's programs.
    pub(super) async fn home_on(&mut self) -> anyhow::Result<()> {
        self.tunnel.spawn()?;
        for endpoint in &mut self.endpoints {
            endpoint.spawn()?;
        }
        for endpoint in &mut self.endpoints {
            endpoint.ready().await?;
        }
        Ok(())
    }

    /// `kill -9` of all of home's programs.
    pub(super) fn home_off(&mut self) -> anyhow::Result<()> {
        for endpoint in &mut self.endpoints {
            endpoint.program.kill();
        }
        self.tunnel.kill()
    }

    /// Sends a signal to all of home's programs.
    pub(super) fn signal_home(&self, name: &str) -> anyhow::Result<()> {
        let census = Census::take()?;
        let roots = self.endpoints.iter().filter_map(|endpoint| endpoint.program.id());
        let mut pids: Vec<u32> = roots.flat_map(|root| census.family(root)).collect();
        pids.extend(self.tunnel.family()?);
        signal(name, &pids);
        Ok(())
    }

    /// Waits until everything that happened has all of its effects and its end at the relay. How long that took.
    pub(super) async fn drained(&self, patience: Duration) -> anyhow::Result<(Duration, Account)> {
        let began = Instant::now();
        loop {
            let account = self.account().await;
            let settled = account.as_ref().is_ok_and(Account::is_settled) && self.load.undelivered() == 0;
            if settled || began.elapsed() > patience {
                return Ok((began.elapsed(), account?));
            }
            sleep(LOOK_EVERY).await;
        }
    }

    /// Compares all that happened with what came of it.
    pub(super) async fn account(&self) -> anyhow::Result<Account> {
        let events = self.load.events();
        let mut found = Found { shown: self.relay.shown().await?, ..Found::default() };
        let [_, memory] = &self.endpoints;
        found.read_memory(&memory.text("/memory/export", MEMORY_TOKEN).await?);
        found.look_at(&self.internet.github.state(), &events);
        Ok(compare(&events, &found))
    }

    /// When reviews of those pull requests were posted whose events happened since `began`.
    pub(super) fn reviews_since(&self, began: Instant) -> Vec<Instant> {
        let events = self.load.events();
        let recent = events.into_iter().filter(|event| event.at >= began).filter_map(|event| event.reviews());
        let paths: HashSet<String> = recent.collect();
        let posted = |call: &Call| call.method == Method::POST && paths.contains(&call.path);
        let times = self.internet.github.times_since(0, posted);
        times.into_iter().filter_map(|(_, answered)| answered).collect()
    }

    /// Whether a program's log tells of a panic.
    pub(super) fn has_panicked(&self) -> bool {
        const PANIC: &str = "panicked at";
        let endpoints = self.endpoints.iter().any(|endpoint| endpoint.program.has_logged(PANIC));
        endpoints || self.relay.has_logged(PANIC)
    }

    /// Ends everything and keeps the folder for a look.
    pub(super) fn keep(self) -> PathBuf {
        let Self { folder, relay, sshd, tunnel, endpoints, net, .. } = self;
        drop((relay, sshd, tunnel, endpoints));
        drop(net);
        folder.keep()
    }
}

impl Internet {
    async fn start(net: &Net) -> anyhow::Result<Self> {
        let models = vec![Model::llama3_2(), Model::nomic_embed_text()];
        let internet = Self {
            github: GitHub::start_on(net.internet()).await.context("no port for GitHub")?,
            anthropic: Anthropic::start_on(net.internet(), reviewer())
                .await
                .context("no port for Anthropic")?,
            ollama: Ollama::start_on(net.internet(), models).await.context("no port for Ollama")?,
        };
        Scenario::default().load_into(&internet.github);
        Ok(internet)
    }

    /// The repository's webhook, which leads to the relay; the reviewer's token may manage it.
    fn hook(&self, relay: &Relay) -> Source {
        let repository = Scenario::default().repository;
        let owner = || HookOwner::Repository(repository.clone());
        self.github.add_hook_admin(owner(), REVIEWER);
        let hook = self.github.add_hook(owner(), &relay.webhooks(), WEBHOOK_SECRET);
        Source { github: self.github.clone(), hook, repository }
    }
}

fn relay(
    settings: &Settings,
    folder: &Path,
    net: &Net,
    ports: &Ports,
    github: &GitHub,
) -> anyhow::Result<Relay> {
    let targets = ports.tunnel.map(|port| format!("http://127.0.0.1:{port}"));
    let binary = settings.bin_dir.join("relay");
    let mut relay = Relay::new(binary, folder.join("relay"), folder.join("relay.log"), targets)?;
    (relay.place, relay.port) = (net.place(Side::Vps), ports.relay);
    // As in real life: what it waits for before it gives a target up is part of the time to recover.
    relay.dispatch_timeout = 30;
    let surroundings = [
        ("GITHUB_TOKEN", REVIEWER_TOKEN.to_owned()),
        ("GITHUB_REPOSITORIES", Scenario::default().repository),
        ("GITHUB_API_URL", github.url()),
        ("GITHUB_PACING_MS", "0".to_owned()),
        ("MISSED_EVERY", MISSED_EVERY.to_owned()),
        // GitHub is one address here.
        ("RATE_LIMIT_ADDRESS", "0".to_owned()),
    ];
    relay.surroundings.extend(surroundings.map(|(name, value)| (name.to_owned(), value)));
    Ok(relay)
}

/// Both endpoints, not started yet: claude, then ollama.
fn endpoints(
    settings: &Settings,
    folder: &Path,
    net: &Net,
    ports: &Ports,
    internet: &Internet,
) -> anyhow::Result<[Service; 2]> {
    let http = shared::client::http(Some(ASK))?;
    let service = |name: &'static str, port, more: Vec<(&'static str, String)>| {
        let own = [
            ("DATA_DIR", folder.join(name).display().to_string()),
            ("RELAY_SIGNING_KEY", SIGNING_KEY.to_owned()),
        ];
        Service {
            name,
            binary: settings.bin_dir.join(name),
            place: net.place(Side::Home),
            port,
            environment: own.into_iter().chain(more).collect(),
            program: Program::new(folder.join(format!("{name}.log"))),
            http: http.clone(),
        }
    };
    let claude = vec![
        ("GITHUB_TOKEN", REVIEWER_TOKEN.to_owned()),
        ("GITHUB_API_URL", internet.github.url()),
        ("GITHUB_PACING_MS", "0".to_owned()),
        ("REVIEWER", "anthropic".to_owned()),
        ("ANTHROPIC_API_KEY", "sk-ant-testkit-0000000000000000".to_owned()),
        ("ANTHROPIC_BASE_URL", internet.anthropic.url()),
        ("MEMORY_URL", format!("http://127.0.0.1:{}", ports.home[1])),
    ];
    let memory = vec![("MEMORY_TOKEN", MEMORY_TOKEN.to_owned()), ("OLLAMA_URL", internet.ollama.url())];
    Ok([service("claude-endpoint", ports.home[0], claude), service("ollama-endpoint", ports.home[1], memory)])
}

/// Whom the tunnel logs in as: root has a powerless account at hand, anybody else only their own.
fn account_on_vps() -> anyhow::Result<String> {
    let output = Command::new("id").arg("-un").output().context("the program id is missing")?;
    let own = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    Ok(if own == "root" { "nobody".to_owned() } else { own })
}
