//! Processes that outlive a command: `RUN_DIR/NAME.pid` holds the pid and when that process began, since a pid alone may
//! be reused. `scripts/lib.sh` reads and writes the same files.

use std::{fs, path::Path, process::Command, time::Duration};

use anyhow::Context;
use rustix::process::{Pid, Signal, kill_process};
use tokio::time::{Instant, sleep};

use super::place;

const STOP_DEADLINE: Duration = Duration::from_secs(15);
const LOOK: Duration = Duration::from_millis(50);

/// A process that was written down, by the file that says so.
#[derive(Debug, Clone, Copy)]
pub(super) struct Recorded<'a>(pub &'a Path);

/// How a stop went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stopped {
    /// It did not run.
    WasNot,
    /// It ended when it was asked to.
    Ended(u32),
    /// It had to be killed.
    Killed(u32),
}

impl Recorded<'_> {
    /// Writes down a process that runs.
    ///
    /// # Errors
    /// It has ended, or the file cannot be written.
    pub(super) fn write(self, pid: u32) -> anyhow::Result<()> {
        let began = began(pid).with_context(|| format!("process {pid} ended at once"))?;
        place::write_private(self.0, &format!("{pid}\n{began}\n"))
    }

    /// Its pid, if it still is the process that was written down.
    pub(super) fn pid(self) -> Option<u32> {
        let text = fs::read_to_string(self.0).ok()?;
        let mut lines = text.lines();
        let pid = lines.next()?.parse().ok()?;
        let began_then = lines.next()?;
        (began(pid)? == began_then).then_some(pid)
    }

    /// Ends it, and forgets it.
    ///
    /// # Errors
    /// The file cannot be removed.
    pub(super) async fn stop(self) -> anyhow::Result<Stopped> {
        let mut how = Stopped::WasNot;
        if let Some(pid) = self.pid() {
            signal(pid, Signal::TERM);
            let deadline = Instant::now() + STOP_DEADLINE;
            how = Stopped::Ended(pid);
            while self.pid() == Some(pid) {
                if Instant::now() >= deadline {
                    signal(pid, Signal::KILL);
                    how = Stopped::Killed(pid);
                    break;
                }
                sleep(LOOK).await;
            }
        }
        place::remove(self.0)?;
        Ok(how)
    }
}

/// Sends a signal to a process; one that has ended gets none.
pub(super) fn signal(pid: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        let _ = kill_process(pid, signal);
    }
}

/// When a process began, in the system's own words; nothing for one that has ended.
fn began(pid: u32) -> Option<String> {
    if !Path::new("/proc/self").exists() {
        return began_by_ps(pid);
    }
    // proc(5): after the name in parentheses, the state is the 1st field and the start time the 20th.
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    let state = fields.next()?;
    (state != "Z").then(|| fields.nth(18).map(str::to_owned))?
}

/// The same where there is no /proc: ps tells the time in the language and the zone of whoever asks.
fn began_by_ps(pid: u32) -> Option<String> {
    let mut ps = Command::new("ps");
    ps.args(["-p", &pid.to_string(), "-o", "stat=", "-o", "lstart="]).env("LC_ALL", "C").env("TZ", "UTC");
    let answer = String::from_utf8(ps.output().ok()?.stdout).ok()?;
    let mut words = answer.split_whitespace();
    // A process that nobody has taken leave of is still listed.
    let is_alive = words.next().is_some_and(|state| !state.starts_with('Z'));
    let began: Vec<&str> = words.collect();
    (is_alive && !began.is_empty()).then(|| began.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_process_is_known_again_and_stopped() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("x.pid");
        let recorded = Recorded(&file);
        assert_eq!((recorded.pid(), recorded.stop().await.unwrap()), (None, Stopped::WasNot));
        let mut child = tokio::process::Command::new("sleep").arg("600").kill_on_drop(true).spawn().unwrap();
        let pid = child.id().unwrap();
        recorded.write(pid).unwrap();
        assert_eq!(recorded.pid(), Some(pid));
        let (stopped, _) = tokio::join!(recorded.stop(), child.wait());
        assert_eq!(stopped.unwrap(), Stopped::Ended(pid));
        assert!(!file.exists());
    }

    #[test]
    fn another_process_with_the_same_pid_is_not_taken_for_it() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("x.pid");
        fs::write(&file, format!("{}\n1\n", std::process::id())).unwrap();
        assert_eq!(Recorded(&file).pid(), None);
        fs::write(&file, "nonsense").unwrap();
        assert_eq!(Recorded(&file).pid(), None);
        fs::write(&file, "0\n\n").unwrap();
        assert_eq!(Recorded(&file).pid(), None);
    }

    /// What `scripts/lib.sh` says, in a time zone far away.
    fn by_the_scripts(pid: u32) -> Option<String> {
        let lib = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/lib.sh");
        let said = Command::new("bash")
            .args(["-c", ". \"$0\"; began_by_ps \"$1\""])
            .arg(lib)
            .arg(pid.to_string())
            .env("TZ", "Asia/Tokyo")
            .output()
            .unwrap();
        let text = String::from_utf8(said.stdout).unwrap();
        said.status.success().then(|| text.trim_end().to_owned())
    }

    #[test]
    fn ps_tells_when_a_process_began_whoever_asks_and_knows_one_that_has_ended() {
        let mut child = Command::new("sleep").arg("600").spawn().unwrap();
        let began = began_by_ps(child.id()).unwrap();
        assert_eq!(began.split(' ').count(), 5, "{began}");
        assert_eq!(by_the_scripts(child.id()), Some(began));
        child.kill().unwrap();
        // Its end, without taking leave of it: a zombie.
        let pid = rustix::process::WaitId::Pid(Pid::from_raw(child.id() as i32).unwrap());
        let watch = rustix::process::WaitIdOptions::EXITED | rustix::process::WaitIdOptions::NOWAIT;
        rustix::process::waitid(pid, watch).unwrap();
        assert_eq!(
            (began_by_ps(child.id()), by_the_scripts(child.id()), super::began(child.id())),
            (None, None, None)
        );
        child.wait().unwrap();
    }
}
