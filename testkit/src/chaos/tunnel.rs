//! The product's own tunnel: set up by its script, kept up by its supervisor.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, ensure};

use super::net::Ports;
use crate::{
    crash::child::{PATIENCE, Program, until},
    family::{Census, signal},
    place::Place,
};

/// See the module. Killed with its ssh when dropped.
#[derive(Debug)]
pub(super) struct Tunnel {
    script: PathBuf,
    place: Place,
    folder: PathBuf,
    bin_dir: PathBuf,
    home: [u16; 2],
    program: Program,
    /// The ssh that was last seen: its supervisor may have been killed since.
    ssh: Vec<u32>,
}

/// What setup tells the VPS's administrator to do.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Admission {
    pub(super) authorized_keys: String,
    pub(super) policy: String,
}

impl Admission {
    /// Reads it off what setup printed.
    fn read(text: &str) -> anyhow::Result<Self> {
        let line = text.lines().find(|line| line.starts_with("restrict,"));
        let mut policy = text.lines().skip_while(|line| !line.starts_with("Match User ")).peekable();
        ensure!(policy.peek().is_some(), "setup printed no Match block:\n{text}");
        let indented = |line: &&str| line.starts_with("Match User ") || line.starts_with([' ', '\t']);
        Ok(Self {
            authorized_keys: format!("{}\n", line.context("setup printed no line for authorized_keys")?),
            policy: policy.take_while(indented).map(|line| format!("{line}\n")).collect(),
        })
    }
}

impl Tunnel {
    /// Nothing is set up and nothing runs.
    pub(super) fn new(
        script: &Path,
        folder: &Path,
        bin_dir: &Path,
        place: Place,
        home: [u16; 2],
    ) -> anyhow::Result<Self> {
        ensure!(script.exists(), "{} is missing; --tunnel says where it is", script.display());
        let folder = folder.join("home");
        fs::create_dir_all(&folder)?;
        Ok(Self {
            script: script.to_owned(),
            program: Program::new(folder.join("tunnel.log")),
            place,
            folder,
            bin_dir: bin_dir.to_owned(),
            home,
            ssh: Vec::new(),
        })
    }

    fn command(&self) -> Command {
        let mut command = self.place.command(&self.script);
        command.env("HOME", &self.folder).env("DATA_ROOT", self.folder.join("data"));
        command.env("TUNNEL_DIR", self.folder.join("data/tunnel")).env("BIN_DIR", &self.bin_dir);
        command.env("ENV_FILE", self.folder.join("no-env-file"));
        command.env("CLAUDE_ENDPOINT_PORT", self.home[0].to_string());
        command.env("OLLAMA_ENDPOINT_PORT", self.home[1].to_string());
        command
    }

    /// Sets it up against a running sshd; what the VPS has to be given.
    pub(super) async fn set_up(
        &self,
        user: &str,
        sshd: SocketAddr,
        fingerprint: &str,
        ports: &Ports,
    ) -> anyhow::Result<Admission> {
        let mut command = self.command();
        command.args(["setup", "--host", &sshd.ip().to_string(), "--port", &sshd.port().to_string()]);
        command.args(["--user", user, "--host-key-fingerprint", fingerprint]);
        command.args(["--claude-port", &ports.tunnel[0].to_string()]);
        command.args(["--ollama-port", &ports.tunnel[1].to_string()]).stdin(Stdio::null());
        let output = tokio::task::spawn_blocking(move || command.output()).await??;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        ensure!(
            output.status.success(),
            "the tunnel's setup failed: {said}{}",
            String::from_utf8_lossy(&output.stderr)
        );
        Admission::read(&said)
    }

    /// Starts the supervisor, as launchd or systemd would.
    pub(super) fn spawn(&mut self) -> anyhow::Result<()> {
        let mut command = self.command();
        command.arg("run");
        self.program.spawn(command)
    }

    /// Waits until the supervisor has an ssh, and remembers it.
    pub(super) async fn ssh(&mut self) -> anyhow::Result<Vec<u32>> {
        let root = self.program.id().context("the tunnel does not run")?;
        let mut found = Vec::new();
        until(PATIENCE, async || {
            found = Census::take().map(|census| census.named(root, "ssh")).unwrap_or_default();
            !found.is_empty()
        })
        .await;
        ensure!(!found.is_empty(), "the tunnel has no ssh: {}", self.program.last_words());
        self.ssh.clone_from(&found);
        Ok(found)
    }

    /// The supervisor and what it started.
    pub(super) fn family(&self) -> anyhow::Result<Vec<u32>> {
        self.program.id().map_or_else(|| Ok(Vec::new()), |pid| Ok(Census::take()?.family(pid)))
    }

    /// Sends a signal to the supervisor, and not to its ssh.
    pub(super) fn signal_supervisor(&self, name: &str) -> anyhow::Result<()> {
        let root = self.program.id().context("the tunnel does not run")?;
        let census = Census::take()?;
        let ssh = census.named(root, "ssh");
        let others: Vec<u32> = census.family(root).into_iter().filter(|pid| !ssh.contains(pid)).collect();
        signal(name, &others);
        Ok(())
    }

    /// `kill -9` of the supervisor, whose ssh goes on.
    pub(super) async fn kill_supervisor(&mut self) -> anyhow::Result<()> {
        self.ssh().await?;
        self.signal_supervisor("KILL")?;
        self.program.kill();
        Ok(())
    }

    /// `kill -9` of everything.
    pub(super) fn kill(&mut self) -> anyhow::Result<()> {
        let family = self.family()?;
        signal("KILL", &family);
        self.program.kill();
        // One whose supervisor was killed before is nobody's child any more.
        let census = Census::take()?;
        let left: Vec<u32> = self.ssh.drain(..).filter(|pid| census.is(*pid, "ssh")).collect();
        signal("KILL", &left);
        Ok(())
    }

    /// The end of its log.
    pub(super) fn last_words(&self) -> String {
        self.program.last_words()
    }
}

impl Drop for Tunnel {
    fn drop(&mut self) {
        // Without ps there would have been no start.
        let _ = self.kill();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_setup_prints_is_what_the_vps_is_given() {
        let text = "key: made\nOn the VPS:\n1. this line:\nrestrict,port-forwarding ssh-ed25519 AAAA ai-relay\n2. this:\n\
                    # a comment\nMatch User nobody\n    PermitTTY no\n    # why\n    MaxSessions 0\n\nThen here: up\n";
        let admission = Admission::read(text).unwrap();
        assert_eq!(admission.authorized_keys, "restrict,port-forwarding ssh-ed25519 AAAA ai-relay\n");
        assert_eq!(admission.policy, "Match User nobody\n    PermitTTY no\n    # why\n    MaxSessions 0\n");
        assert!(Admission::read("key: made\n").is_err());
    }
}
