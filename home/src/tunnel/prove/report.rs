//! The list of what was tried, for people and for programs.

use std::fmt::{self, Display};

use serde::Serialize;
use shared::terminal::{aligned, printable};

use super::{
    judge::{Outcome, Verdict},
    outside::Forwards,
};

/// One attempt and its result.
#[derive(Debug, Clone, Serialize)]
pub(in crate::tunnel) struct Row {
    /// What it would give.
    pub(super) name: String,
    /// How it was tried, as one would type it.
    pub(super) tried: String,
    /// What it came to.
    #[serde(flatten)]
    pub(super) verdict: Verdict,
}

/// Everything that was tried.
#[derive(Debug, Clone, Serialize)]
pub(in crate::tunnel) struct Report {
    /// The VPS.
    pub(super) host: String,
    /// The tunnel's account there.
    pub(super) user: String,
    /// Its sshd's port.
    pub(super) port: u16,
    /// What the tunnel is for, and must be allowed.
    pub(super) forwards: Forwards,
    /// What must not be.
    pub(super) attempts: Vec<Row>,
}

impl Report {
    /// How many attempts ended so.
    pub(super) fn count(&self, outcome: Outcome) -> usize {
        self.attempts.iter().filter(|row| row.verdict.outcome == outcome).count()
    }

    /// What is wrong, in one line with what to do; nothing if the lock holds.
    pub(super) fn trouble(&self) -> Option<String> {
        let (open, unclear) = (self.count(Outcome::Open), self.count(Outcome::Unclear));
        let vps =
            "put what `setup-tunnel.sh setup` prints on the VPS (or use its --apply), then run prove again";
        if open > 0 {
            Some(format!("the lock does not hold: {open} of {} ways are open; {vps}", self.attempts.len()))
        } else if unclear > 0 {
            Some(format!(
                "the lock is not proven: {unclear} of {} ways gave no clear answer; run prove again",
                self.attempts.len()
            ))
        } else if self.forwards == Forwards::Refused {
            Some(format!("the lock is too tight: the VPS refuses the tunnel's own ports; {vps}"))
        } else {
            None
        }
    }
}

impl Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "the lock of {}@{} port {}:", self.user, self.host, self.port)?;
        let needed = match self.forwards {
            Forwards::Granted => ["needed", "the tunnel's own ports", "granted"],
            Forwards::Taken => {
                ["needed", "the tunnel's own ports", "in use, by the running tunnel if there is one"]
            }
            Forwards::Refused => ["needed", "the tunnel's own ports", "REFUSED"],
        };
        let rows = self.attempts.iter().map(|row| {
            let word = match row.verdict.outcome {
                Outcome::Closed => "closed",
                Outcome::Open => "OPEN",
                Outcome::Unclear => "UNCLEAR",
                Outcome::Skipped => "skipped",
            };
            vec![word.to_owned(), printable(&row.name), printable(&row.verdict.detail)]
        });
        let rows: Vec<Vec<String>> = std::iter::once(needed.map(str::to_owned).into()).chain(rows).collect();
        f.write_str(&aligned(&rows, 3))?;
        let [closed, skipped] = [Outcome::Closed, Outcome::Skipped].map(|outcome| self.count(outcome));
        writeln!(f, "{closed} of {} ways closed, {skipped} skipped", self.attempts.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(verdict: Verdict, forwards: Forwards) -> Report {
        let row = |name: &str, verdict| Row { name: name.to_owned(), tried: "ssh VPS".to_owned(), verdict };
        let attempts = vec![
            row("run a command", Verdict::closed("no session is opened")),
            row("get a terminal", verdict),
        ];
        Report { host: "vps".to_owned(), user: "ai-tunnel".to_owned(), port: 22, forwards, attempts }
    }

    #[test]
    fn only_a_lock_that_is_closed_and_lets_the_tunnel_through_holds() {
        let told = [
            report(Verdict::closed("refused"), Forwards::Granted),
            report(Verdict::skipped("not here"), Forwards::Taken),
            report(Verdict::open("granted"), Forwards::Granted),
            report(Verdict::unclear("no answer in time"), Forwards::Granted),
            report(Verdict::closed("refused"), Forwards::Refused),
        ];
        let holds: Vec<_> = told.iter().map(|report| report.trouble().is_none()).collect();
        assert_eq!(holds, [true, true, false, false, false]);
        let texts = told.iter().map(|report| format!("{report}{}\n", report.trouble().unwrap_or_default()));
        insta::assert_snapshot!(texts.collect::<Vec<_>>().join("\n"));
        insta::assert_snapshot!(serde_json::to_string_pretty(&told[2]).unwrap());
    }
}
