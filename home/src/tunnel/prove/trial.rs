//! Carries out one attempt: an ssh of its own, with the tunnel's key and configuration.

use std::{path::Path, process::Stdio, time::Duration};

use anyhow::Context;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    process::{Child, ChildStderr, Command},
    task::JoinHandle,
    time::{Instant, sleep, timeout_at},
};

use super::{attempts::Attempt, judge::Evidence};
use crate::tunnel::settings::PROOF;

/// For one attempt, log-in and all.
const DEADLINE: Duration = Duration::from_secs(15);
/// How long the VPS may take to answer what it was sent.
const OPEN_FOR: Duration = Duration::from_secs(3);
const MOST_SAID: usize = 256 * 1024;
const MOST_OUT: u64 = 64 * 1024;

/// An attempt under way; its ssh is killed when this is dropped.
pub(super) struct Trial {
    ssh: Child,
    lines: BufReader<ChildStderr>,
    out: JoinHandle<Vec<u8>>,
    said: String,
    /// It has said its last word.
    closed: bool,
    deadline: Instant,
}

/// Carries an attempt out from start to end.
///
/// # Errors
/// ssh cannot be started.
pub(super) async fn carry_out(config: &Path, attempt: &Attempt) -> anyhow::Result<Evidence> {
    let mut trial = Trial::start(config, attempt).await?;
    trial.until(attempt.decided).await;
    trial.finish().await
}

impl Trial {
    /// Starts ssh.
    ///
    /// # Errors
    /// It cannot be started.
    pub(super) async fn start(config: &Path, attempt: &Attempt) -> anyhow::Result<Self> {
        let mut command = Command::new("ssh");
        command.args(["-vv", "-F"]).arg(config).args(&attempt.options).arg(PROOF).args(attempt.command);
        command.envs(attempt.environment.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut ssh = command.spawn().context("ssh cannot be started; install OpenSSH")?;
        let pipes = ssh.stdin.take().zip(ssh.stdout.take()).zip(ssh.stderr.take());
        let ((mut stdin, stdout), stderr) = pipes.context("ssh has no pipes")?;
        let input = attempt.input;
        tokio::spawn(async move {
            // An ssh that has ended already does not read; then its words say why.
            let _ = stdin.write_all(input).await;
            // A file server that sees the end at once does not answer.
            if !input.is_empty() {
                sleep(OPEN_FOR).await;
            }
        });
        let out = tokio::spawn(async move {
            let mut out = Vec::new();
            let _ = stdout.take(MOST_OUT).read_to_end(&mut out).await;
            out
        });
        let deadline = Instant::now() + DEADLINE;
        Ok(Self { ssh, lines: BufReader::new(stderr), out, said: String::new(), closed: false, deadline })
    }

    /// Listens until ssh has said enough; `false` if it ended before, or took too long.
    pub(super) async fn until(&mut self, enough: impl Fn(&str) -> bool) -> bool {
        while !enough(&self.said) {
            let mut line = Vec::new();
            let mut limited = (&mut self.lines).take(MOST_SAID as u64);
            let read = timeout_at(self.deadline, limited.read_until(b'\n', &mut line)).await;
            self.closed = matches!(read, Ok(Ok(0)));
            if !matches!(read, Ok(Ok(1..))) || self.said.len() > MOST_SAID {
                return false;
            }
            self.said.push_str(&String::from_utf8_lossy(&line));
        }
        true
    }

    /// Ends ssh if it still runs.
    ///
    /// # Errors
    /// The system cannot say how it ended.
    pub(super) async fn finish(mut self) -> anyhow::Result<Evidence> {
        let mut status = None;
        if self.closed {
            // Its standard error is closed a moment before it ends.
            status =
                timeout_at(self.deadline, self.ssh.wait()).await.ok().transpose()?.and_then(|end| end.code());
        }
        // Fails only if it has ended.
        let _ = self.ssh.start_kill();
        self.ssh.wait().await?;
        Ok(Evidence { said: self.said, out: self.out.await?, status })
    }
}
