//! Listens to what ssh says.

use std::time::Duration;

use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::ChildStderr,
    sync::watch,
    time::Instant,
};

use super::{
    End, Supervisor, Up,
    said::{Said, said},
};

const LONGEST_LINE: usize = 8 * 1024;
const NOT_ALLOWED: &str =
    "the sshd of the VPS does not allow our ports; put there what `setup-tunnel.sh setup` prints";

/// Follows one ssh.
pub(super) struct Follower<'a> {
    supervisor: &'a Supervisor<'a>,
    failures: u32,
    granted: usize,
    up: watch::Sender<Option<Instant>>,
    /// An endpoint that is down is said once per connection, not once per probe.
    told: Option<String>,
}

impl<'a> Follower<'a> {
    pub(super) fn new(supervisor: &'a Supervisor<'a>, failures: u32) -> Self {
        Self { supervisor, failures, granted: 0, up: watch::Sender::new(None), told: None }
    }

    pub(super) fn watched(&self) -> Up {
        self.up.subscribe()
    }

    /// How long the forwards have been granted.
    pub(super) fn up_for(&self) -> Option<Duration> {
        self.up.borrow().map(|since| since.elapsed())
    }

    /// Until ssh ends.
    pub(super) async fn follow(&mut self, lines: ChildStderr) -> End {
        let mut lines = BufReader::with_capacity(LONGEST_LINE, lines);
        let (mut reason, mut forbidden) = (None, false);
        while let Some(line) = next(&mut lines).await {
            match said(&line) {
                Said::Nothing => {}
                Said::Granted => self.count(),
                Said::Stranger { from, port } => {
                    return End::Exposed(format!(
                        "{from} reached port {port} of the VPS from outside: GatewayPorts is in effect there. \
                         Put `GatewayPorts no` into the Match block of its sshd, then see `setup-tunnel.sh prove`"
                    ));
                }
                Said::NoEndpoint(why) => self.tell_once(why),
                Said::Forbidden => forbidden = true,
                Said::Reason(why) => reason = Some(why),
            }
        }
        if forbidden && self.up.borrow().is_none() {
            return End::Ended(NOT_ALLOWED.to_owned());
        }
        End::Ended(reason.unwrap_or_else(|| "ssh ended without a word".to_owned()))
    }

    fn tell_once(&mut self, why: String) {
        if self.told.as_ref() != Some(&why) {
            self.supervisor.log.say(&why);
            self.told = Some(why);
        }
    }

    fn count(&mut self) {
        self.granted += 1;
        if self.granted == self.supervisor.settings.forwards.len() {
            self.up.send_replace(Some(Instant::now()));
            self.supervisor.up(self.failures);
        }
    }
}

/// The next line; of one that is too long, pieces.
async fn next(lines: &mut BufReader<ChildStderr>) -> Option<String> {
    let mut line = Vec::new();
    loop {
        let read = lines.fill_buf().await.ok()?;
        if read.is_empty() {
            return (!line.is_empty()).then(|| String::from_utf8_lossy(&line).into_owned());
        }
        let end = read.iter().position(|byte| *byte == b'\n');
        let taken = end.map_or(read.len(), |end| end + 1);
        line.extend_from_slice(&read[..taken]);
        lines.consume(taken);
        if end.is_some() || line.len() >= LONGEST_LINE {
            return Some(String::from_utf8_lossy(&line).into_owned());
        }
    }
}
