//! A Docker engine of its own in a folder: it knows nothing of the machine's, changes neither its network nor its
//! firewall, and nothing is left of it.

use std::{
    ffi::{OsStr, OsString},
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context, bail, ensure};

use super::super::{
    child::{PATIENCE, Program, until},
    process,
};
use super::tools::Tools;

/// How long one command may take, in seconds.
const LONGEST: &str = "600";
/// How long the engine may take to end its containers.
const STOP_PATIENCE: Duration = Duration::from_secs(30);

/// Between two looks at whether it has ended.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// A running engine; stopped when dropped.
#[derive(Debug)]
pub(super) struct Engine {
    dockerd: Program,
    folder: PathBuf,
    compose: Option<PathBuf>,
    path: OsString,
}

impl Engine {
    /// Starts one and waits until it answers.
    ///
    /// # Errors
    /// It does not start; the text has its own words.
    pub(super) async fn start(tools: &Tools, folder: &Path) -> anyhow::Result<Self> {
        let programs = folder.join("programs");
        fs::create_dir(&programs)?;
        // docker-compose calls the client by its name.
        symlink(&tools.docker, programs.join("docker"))?;
        let settings = folder.join("daemon.json");
        fs::write(&settings, "{}")?;
        let at = |name: &str| folder.join(name).display().to_string();
        let mut command = Command::new(&tools.dockerd);
        command.arg("--config-file").arg(&settings).args([
            &format!("--host={}", socket(folder)),
            &format!("--data-root={}", at("data")),
            &format!("--exec-root={}", at("run")),
            &format!("--pidfile={}", at("pid")),
            "--bridge=none",
            "--iptables=false",
            "--ip-forward=false",
            "--ip-masq=false",
            "--userland-proxy=false",
            "--containerd-namespace=ai-relay-test",
            "--containerd-plugins-namespace=ai-relay-test-plugins",
        ]);
        let mut path = OsString::from(&programs);
        path.push(":");
        path.push(&tools.path);
        let mut dockerd = Program::new(folder.join("dockerd.log"));
        dockerd.spawn(command)?;
        let mut engine = Self { dockerd, folder: folder.to_owned(), compose: tools.compose.clone(), path };
        let up = until(PATIENCE, async || engine.dockerd.has_ended() || engine.answers().await).await;
        ensure!(up && !engine.dockerd.has_ended(), "dockerd did not start: {}", engine.dockerd.last_words());
        Ok(engine)
    }

    async fn answers(&self) -> bool {
        self.version().await.is_ok()
    }

    /// The engine's version.
    pub(super) async fn version(&self) -> anyhow::Result<String> {
        Ok(self.docker(["version", "--format", "{{.Server.Version}}"]).await?.trim().to_owned())
    }

    /// A command of the client's; what it printed.
    pub(super) async fn docker<S: AsRef<OsStr>>(
        &self,
        arguments: impl IntoIterator<Item = S>,
    ) -> anyhow::Result<String> {
        let mut command = self.command(self.folder.join("programs/docker"));
        command.args(arguments);
        run(command).await
    }

    /// A command of docker compose, not started yet.
    pub(super) fn compose(&self) -> Command {
        match &self.compose {
            Some(alone) => self.command(alone.clone()),
            None => {
                let mut command = self.command(self.folder.join("programs/docker"));
                command.arg("compose");
                command
            }
        }
    }

    /// A shell in which `docker` is this engine's.
    pub(super) fn shell(&self, script: &str) -> Command {
        let mut command = self.command(PathBuf::from("bash"));
        command.args(["-euo", "pipefail", "-c", script]);
        command
    }

    /// In an environment in which only this engine is known.
    fn command(&self, program: PathBuf) -> Command {
        let mut command = Command::new("timeout");
        command.args(["--kill-after=10", LONGEST]).arg(program).env_clear();
        command.env("PATH", &self.path).env("HOME", &self.folder).env("DOCKER_HOST", socket(&self.folder));
        command.env("DOCKER_BUILDKIT", "1").env("COMPOSE_DOCKER_CLI_BUILD", "1");
        command
    }

    /// Stops it, and with it whatever still runs.
    pub(super) async fn stop(&mut self) -> anyhow::Result<()> {
        self.terminate();
        self.dockerd.ended(PATIENCE).await.context("the Docker engine")?;
        self.unmount();
        Ok(())
    }

    /// It leaves the network's name mounted.
    fn unmount(&self) {
        for place in mounts_below(&self.folder).unwrap_or_default() {
            // What stays is told in the report.
            let _ = process::run("umount", &[&place]);
        }
    }

    fn terminate(&self) {
        if let Some(pid) = self.dockerd.id() {
            // It may have ended by itself.
            let _ = process::run("kill", &["-TERM", &pid.to_string()]);
        }
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.terminate();
        let deadline = std::time::Instant::now() + STOP_PATIENCE;
        while !self.dockerd.has_ended() && std::time::Instant::now() < deadline {
            std::thread::park_timeout(LOOK_EVERY);
        }
        self.unmount();
    }
}

fn socket(folder: &Path) -> String {
    format!("unix://{}", folder.join("engine.sock").display())
}

/// Runs a command to its end, which must be a good one; what it printed.
pub(super) async fn run(mut command: Command) -> anyhow::Result<String> {
    let said = command.get_args().map(|word| word.to_string_lossy().into_owned()).skip(3);
    let said = said.collect::<Vec<_>>().join(" ");
    let ending = tokio::task::spawn_blocking(move || command.stdin(Stdio::null()).output()).await?;
    let ending = ending.with_context(|| format!("`{said}` cannot be started"))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if !ending.status.success() {
        bail!("`{said}` ended with {}:\n{}{}", ending.status, text(&ending.stdout), text(&ending.stderr));
    }
    Ok(text(&ending.stdout))
}

/// What is mounted below a folder.
pub(super) fn mounts_below(folder: &Path) -> anyhow::Result<Vec<String>> {
    let mounts = fs::read_to_string("/proc/self/mounts").context("/proc/self/mounts")?;
    let places = mounts.lines().filter_map(|line| line.split(' ').nth(1));
    Ok(places.filter(|place| Path::new(place).starts_with(folder)).map(str::to_owned).collect())
}
