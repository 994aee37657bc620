//! What a service's `doctor` finds: the hops in the order of an event's journey, what was checked at each, and the
//! command that mends what is broken. This file and [`secrets`], [`exposure`] only judge; the others look.

use std::{fmt::Write as _, process::ExitCode};

use jiff::Timestamp;
use serde::Serialize;

use crate::{terminal::printable, version::VERSION};

pub mod clock;
pub mod disk;
pub mod exposure;
pub mod github;
pub mod listeners;
pub mod own;
pub mod peer;
pub mod secrets;
pub mod tunnel;

/// Grows when what is printed with `--json` changes in a way that a reader could trip over; what is added does not count.
pub const SCHEMA: u32 = 1;
/// As with `diff` and `grep`: 1 is an answer.
const BROKEN: u8 = 1;
/// Two blanks, the status, two blanks: where what is checked begins.
const INDENT: usize = 8;

/// How something is; the worst last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Could not or need not be looked at; the text says why.
    Skipped,
    /// As it should be.
    Ok,
    /// Works, and could be better.
    Warn,
    /// Does not work, or is not safe.
    Fail,
}

impl Status {
    fn word(self) -> &'static str {
        match self {
            Self::Skipped => "-",
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Fail => "FAIL",
        }
    }
}

/// What one look came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What was looked at; a name that stays.
    pub check: String,
    /// How it is.
    pub status: Status,
    /// What was seen, on one line.
    pub says: String,
    /// The command or the setting that mends it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mend: Option<String>,
}

impl Finding {
    /// It is as it should be.
    pub fn ok(check: impl Into<String>, says: impl Into<String>) -> Self {
        Self { check: check.into(), status: Status::Ok, says: says.into(), mend: None }
    }

    /// It was not looked at.
    pub fn skipped(check: impl Into<String>, why: impl Into<String>) -> Self {
        Self { status: Status::Skipped, ..Self::ok(check, why) }
    }

    /// It could be better, by `mend`.
    pub fn warn(check: impl Into<String>, says: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { status: Status::Warn, mend: Some(mend.into()), ..Self::ok(check, says) }
    }

    /// It does not work until `mend` is done.
    pub fn fail(check: impl Into<String>, says: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { status: Status::Fail, ..Self::warn(check, says, mend) }
    }

    /// The same where the work goes on without it: no failure, but a warning.
    #[must_use]
    pub fn softened(self) -> Self {
        Self { status: self.status.min(Status::Warn), ..self }
    }
}

/// One stretch of the journey.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Hop {
    /// Its name; one that stays.
    pub hop: &'static str,
    /// The worst of its checks.
    pub status: Status,
    /// In the order in which one depends on another.
    pub checks: Vec<Finding>,
}

/// Where to begin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Cause {
    /// The first hop that is broken.
    pub hop: &'static str,
    /// What is broken there.
    pub check: String,
    /// What mends it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mend: Option<String>,
}

/// How many checks came to what.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Not looked at.
    pub skipped: usize,
    /// As it should be.
    pub ok: usize,
    /// Could be better.
    pub warn: usize,
    /// Broken.
    pub fail: usize,
}

/// All that was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Diagnosis {
    /// [`SCHEMA`].
    pub schema: u32,
    /// Whose doctor.
    pub service: &'static str,
    /// Version of this program.
    pub version: String,
    /// When.
    pub checked_at: Timestamp,
    /// The worst of the hops.
    pub status: Status,
    /// The first thing that is broken on the way: what comes after may only be its consequence.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cause: Option<Cause>,
    /// In numbers.
    pub counts: Counts,
    /// The hops, in the order of the journey.
    pub hops: Vec<Hop>,
}

impl Diagnosis {
    /// Nothing was looked at yet.
    pub fn new(service: &'static str) -> Self {
        Self {
            schema: SCHEMA,
            service,
            version: version().to_owned(),
            checked_at: Timestamp::now(),
            status: Status::Ok,
            cause: None,
            counts: Counts::default(),
            hops: Vec::new(),
        }
    }

    /// Adds a hop; one where nothing was looked at is left out.
    pub fn hop(&mut self, hop: &'static str, checks: Vec<Finding>) {
        let Some(status) = checks.iter().map(|finding| finding.status).max() else { return };
        self.status = self.status.max(status);
        for finding in &checks {
            match finding.status {
                Status::Skipped => self.counts.skipped += 1,
                Status::Ok => self.counts.ok += 1,
                Status::Warn => self.counts.warn += 1,
                Status::Fail => self.counts.fail += 1,
            }
        }
        if let (None, Some(first)) =
            (&self.cause, checks.iter().find(|finding| finding.status == Status::Fail))
        {
            self.cause = Some(Cause { hop, check: first.check.clone(), mend: first.mend.clone() });
        }
        self.hops.push(Hop { hop, status, checks });
    }

    /// For people.
    pub fn text(&self) -> String {
        let checks = self.hops.iter().flat_map(|hop| &hop.checks);
        let width = checks.map(|finding| finding.check.chars().count()).max().unwrap_or_default();
        let mut text = format!("{} doctor {}\n", self.service, self.version);
        for hop in &self.hops {
            let _ = writeln!(text, "\n{}", hop.hop);
            for (index, Finding { check, status, says, mend }) in hop.checks.iter().enumerate() {
                let (word, says) = (status.word(), printable(says));
                let _ = writeln!(text, "  {word:<4}  {check:<width$}  {says}");
                let next = hop.checks.get(index + 1).and_then(|next| next.mend.as_ref());
                // What mends the next one as well stands below that.
                if let Some(mend) = mend.as_ref().filter(|mend| next != Some(mend)) {
                    let _ =
                        writeln!(text, "{:indent$}→ {}", "", printable(mend), indent = INDENT + width + 2);
                }
            }
        }
        let Counts { skipped, ok, warn, fail } = self.counts;
        let _ = writeln!(text, "\n{fail} failed, {warn} to look at, {ok} ok, {skipped} skipped");
        if let Some(Cause { hop, check, mend }) = &self.cause {
            let _ = writeln!(text, "broken first: {hop}, {check}");
            if let Some(mend) = mend {
                let _ = writeln!(text, "→ {}", printable(mend));
            }
        }
        text
    }

    /// Prints it; the code is 0, also with warnings, or 1 where something is broken.
    ///
    /// # Errors
    /// It cannot be written down.
    pub fn print(&self, options: Options) -> anyhow::Result<ExitCode> {
        match options.json {
            true => println!("{}", serde_json::to_string_pretty(self)?),
            false => print!("{}", self.text()),
        }
        Ok(if self.status == Status::Fail { ExitCode::from(BROKEN) } else { ExitCode::SUCCESS })
    }
}

/// How it is looked and told.
#[derive(Debug, Clone, Copy, clap::Args)]
pub struct Options {
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Leave out what would ask somebody on the internet
    #[arg(long)]
    pub offline: bool,
}

/// The version of this program, as it stands in health reports.
pub fn version() -> &'static str {
    VERSION
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> Diagnosis {
        let mut found = Diagnosis::new("relay");
        found.hop("settings", vec![Finding::ok("GITHUB_WEBHOOK_SECRET", "1 secret")]);
        found.hop("nothing", vec![]);
        let mend = "./scripts/setup-tunnel.sh up";
        found.hop(
            "tunnel",
            vec![
                Finding::warn("claude", "a stranger's\u{1b}[31m words", "look"),
                Finding::fail("ollama", "nobody listens", mend),
                Finding::fail("memory", "nobody listens either", mend),
            ],
        );
        found.hop("claude-endpoint", vec![Finding::fail("answer", "none", "start it")]);
        found.hop("end", vec![Finding::skipped("answer", "not reached")]);
        found
    }

    #[test]
    fn the_first_that_is_broken_on_the_way_is_the_cause() {
        let found = example();
        assert_eq!(found.status, Status::Fail);
        let cause = found.cause.unwrap();
        assert_eq!((cause.hop, cause.check.as_str()), ("tunnel", "ollama"));
        assert_eq!(found.counts, Counts { skipped: 1, ok: 1, warn: 1, fail: 3 });
        let hops: Vec<_> = found.hops.iter().map(|hop| (hop.hop, hop.status)).collect();
        let [ok, fail, skipped] = [Status::Ok, Status::Fail, Status::Skipped];
        assert_eq!(hops, [("settings", ok), ("tunnel", fail), ("claude-endpoint", fail), ("end", skipped)]);
    }

    #[test]
    fn it_is_told_line_by_line_and_nothing_steers_the_terminal() {
        let text = Diagnosis { version: "1.2.3".to_owned(), ..example() }.text();
        let expected = "\
relay doctor 1.2.3

settings
  ok    GITHUB_WEBHOOK_SECRET  1 secret

tunnel
  warn  claude                 a stranger's [31m words
                               → look
  FAIL  ollama                 nobody listens
  FAIL  memory                 nobody listens either
                               → ./scripts/setup-tunnel.sh up

claude-endpoint
  FAIL  answer                 none
                               → start it

end
  -     answer                 not reached

3 failed, 1 to look at, 1 ok, 1 skipped
broken first: tunnel, ollama
→ ./scripts/setup-tunnel.sh up
";
        assert_eq!(text, expected);
    }

    #[test]
    fn its_json_keeps_its_shape() {
        let mut found = Diagnosis::new("relay");
        found.hop("tunnel", vec![Finding::fail("claude", "nobody listens", "start it")]);
        let found = Diagnosis { version: "1.2.3".to_owned(), checked_at: Timestamp::UNIX_EPOCH, ..found };
        let expected = serde_json::json!({
            "schema": 1, "service": "relay", "version": "1.2.3", "checked_at": "1970-01-01T00:00:00Z", "status": "fail",
            "cause": {"hop": "tunnel", "check": "claude", "mend": "start it"},
            "counts": {"skipped": 0, "ok": 0, "warn": 0, "fail": 1},
            "hops": [{"hop": "tunnel", "status": "fail", "checks": [
                {"check": "claude", "status": "fail", "says": "nobody listens", "mend": "start it"}]}],
        });
        assert_eq!(serde_json::to_value(found).unwrap(), expected);
    }
}
