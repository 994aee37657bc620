//! A real binary as a process with a log of its own: started, watched, killed.

use std::{
    fs::{self, File},
    io::Write,
    path::PathBuf,
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};

use anyhow::{Context, ensure};
use tokio::time::{Instant, sleep};

/// How long a program may take to start, to end, or to come to a state. Waited for in full only when a run fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(90);
/// Stands in the log before each run.
const STARTED: &str = "--- started";
/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(4);

/// Waits for a condition; `false` if it does not come true in time.
pub(crate) async fn until(patience: Duration, mut condition: impl AsyncFnMut() -> bool) -> bool {
    let deadline = Instant::now() + patience;
    while !condition().await {
        if Instant::now() > deadline {
            return false;
        }
        sleep(LOOK_EVERY).await;
    }
    true
}

/// A program, running or not; killed when dropped.
#[derive(Debug)]
pub(crate) struct Program {
    log: PathBuf,
    child: Option<Child>,
}

impl Program {
    /// Not started yet.
    pub(crate) fn new(log: PathBuf) -> Self {
        Self { log, child: None }
    }

    /// Starts `command` and does not wait for it.
    pub(crate) fn spawn(&mut self, mut command: Command) -> anyhow::Result<()> {
        let mut log = File::options().create(true).append(true).open(&self.log)?;
        writeln!(log, "{STARTED}")?;
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn();
        let program = command.get_program().display();
        self.child = Some(child.with_context(|| format!("{program} cannot be started"))?);
        Ok(())
    }

    /// Its id, until it was killed or waited for.
    pub(crate) fn id(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// Whether the process is gone.
    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.as_mut().is_none_or(|child| !matches!(child.try_wait(), Ok(None)))
    }

    /// `kill -9`.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            // It may have ended by itself.
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Waits until the process has ended by itself.
    pub(crate) async fn ended(&mut self, patience: Duration) -> anyhow::Result<ExitStatus> {
        ensure!(
            until(patience, async || self.has_ended()).await,
            "the program did not end: {}",
            self.last_words()
        );
        let child = self.child.take();
        child.context("the program was not started")?.wait().context("the program's end is not known")
    }

    /// The error that it ended with, or the end of its log.
    pub(crate) fn last_words(&self) -> String {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        let last_run = log.rsplit(STARTED).next().unwrap_or_default();
        match last_run.rfind("\nerror: ") {
            Some(start) => last_run[start..].trim().to_owned(),
            None => last_run.trim().lines().last().unwrap_or_default().to_owned(),
        }
    }

    /// Whether its log has this text.
    pub(crate) fn has_logged(&self, text: &str) -> bool {
        fs::read_to_string(&self.log).unwrap_or_default().contains(text)
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.kill();
    }
}
