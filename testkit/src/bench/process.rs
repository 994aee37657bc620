//! A server as a process of its own, stopped as an operator would.

use std::{
    fs::File,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, bail};

use crate::port::port;

const STOP_DEADLINE: Duration = Duration::from_secs(30);

/// A running process; killed when dropped.
pub(super) struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts it with nothing of this process's environment; what it says goes to `log`.
    pub(super) fn start(command: &mut Command, log: &Path) -> anyhow::Result<Self> {
        let file = File::options().create(true).append(true).open(log)?;
        command.env_clear().env("PATH", "/usr/local/bin:/usr/bin:/bin");
        command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
        let child = command
            .spawn()
            .with_context(|| format!("{} cannot be started", command.get_program().display()))?;
        Ok(Self { child, log: log.to_owned() })
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it last said.
    pub(super) fn last_words(&self) -> String {
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = log.lines().rev().take(10).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join("\n")
    }

    /// Fails if it has ended.
    pub(super) fn check(&mut self) -> anyhow::Result<()> {
        if let Some(status) = self.child.try_wait()? {
            bail!("it ended with {status}:\n{}", self.last_words());
        }
        Ok(())
    }

    /// SIGTERM, and waits until it has ended.
    pub(super) fn stop(mut self) -> anyhow::Result<()> {
        let told = Command::new("kill").args(["-TERM", &self.pid().to_string()]).status()?;
        if !told.success() {
            bail!("process {} cannot be stopped:\n{}", self.pid(), self.last_words());
        }
        let deadline = Instant::now() + STOP_DEADLINE;
        while self.child.try_wait()?.is_none() {
            if Instant::now() > deadline {
                bail!("process {} did not stop within {STOP_DEADLINE:?}:\n{}", self.pid(), self.last_words());
            }
            pause();
        }
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Between two looks at something that another process does.
#[expect(clippy::disallowed_methods, reason = "the benchmark's thread is not a runtime's")]
pub(super) fn pause() {
    std::thread::sleep(Duration::from_millis(5));
}

/// An address of loopback that nobody listens at.
pub(super) fn free_address() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port()).into()
}
