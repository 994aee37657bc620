//! One line of the result: what was done to the relay, and what it came to.

use std::time::Duration;

use shared::terminal::aligned;

use super::{bench::Bench, book::Account};

const COLUMNS: usize = 11;
const HEAD: [&str; COLUMNS] = [
    "fault",
    "",
    "sent",
    "acknowledged",
    "refused",
    "unknown",
    "lost",
    "doubled",
    "again",
    "attempts",
    "what was done",
];

/// See the module.
#[derive(Debug)]
pub(super) struct Row {
    /// Name of the fault.
    pub(super) fault: String,
    /// What was done.
    pub(super) done: String,
    /// What the relay said, or a number worth knowing.
    pub(super) said: String,
    account: Account,
    wrong: Vec<String>,
    skipped: bool,
    unconfirmed: bool,
}

impl Row {
    /// Nothing is wrong yet.
    pub(super) fn new(fault: &str, done: &str) -> Self {
        Self {
            fault: fault.to_owned(),
            done: done.to_owned(),
            said: String::new(),
            account: Account::default(),
            wrong: Vec::new(),
            skipped: false,
            unconfirmed: false,
        }
    }

    /// It cannot be done on this machine.
    pub(super) fn skipped(fault: &str, why: &str) -> Self {
        Self { said: why.to_owned(), skipped: true, ..Self::new(fault, "not done here") }
    }

    /// The run itself broke off.
    pub(super) fn broken(fault: &str, error: &anyhow::Error) -> Self {
        Self { wrong: vec![format!("{error:#}")], ..Self::new(fault, "broke off") }
    }

    /// Notes what is wrong unless `holds`.
    pub(super) fn expect(&mut self, holds: bool, otherwise: &str) {
        if !holds {
            self.wrong.push(otherwise.to_owned());
        }
    }

    /// Compares all that was sent with all that arrived. If anything is wrong, log and data are kept.
    pub(super) async fn settle(mut self, bench: Bench) -> anyhow::Result<Self> {
        self.account = bench.account().await?;
        if self.unconfirmed {
            self.account.half_stored.clear();
        }
        self.wrong.extend(self.account.wrong());
        self.wrong.extend(bench.load.problems().into_iter().take(5));
        self.expect(!bench.relay.has_logged("panicked"), "the relay panicked; see its log");
        if !self.wrong.is_empty() {
            self.wrong.push(format!("log and data are in {}", bench.keep().display()));
        }
        Ok(self)
    }

    /// A disk that breaks down while it is written may hold what it could not confirm: whether an event that was
    /// answered 503 is there is not known then. GitHub's redelivery of it is recognised.
    pub(super) fn allow_unconfirmed(&mut self) {
        self.unconfirmed = true;
    }

    /// Whether all was as it should be.
    pub(super) fn is_well(&self) -> bool {
        self.wrong.is_empty()
    }

    /// The most attempts that one hand-over took.
    pub(super) fn attempts(&self) -> u64 {
        self.account.attempts
    }

    fn cells(&self) -> [String; COLUMNS] {
        let it = &self.account;
        let verdict = match (self.skipped, self.is_well()) {
            (true, _) => "skipped",
            (false, true) => "ok",
            (false, false) => "FAILED",
        };
        [
            self.fault.clone(),
            verdict.to_owned(),
            it.sent.to_string(),
            it.acknowledged.to_string(),
            it.refused.to_string(),
            it.unknown.to_string(),
            it.lost.len().to_string(),
            it.doubled.len().to_string(),
            it.again.to_string(),
            it.attempts.to_string(),
            self.done.clone(),
        ]
    }
}

/// The rows as a table, and below it what the relay said and what is wrong.
pub(super) fn table(rows: &[Row]) -> String {
    let head = HEAD.map(str::to_owned);
    let cells: Vec<Vec<String>> =
        std::iter::once(head).chain(rows.iter().map(Row::cells)).map(Vec::from).collect();
    let mut text = aligned(&cells, COLUMNS);
    text.push_str("\nwhat the relay said\n");
    for row in rows.iter().filter(|row| !row.said.is_empty()) {
        text.push_str(&format!("  {}: {}\n", row.fault, row.said));
    }
    for row in rows {
        for wrong in &row.wrong {
            text.push_str(&format!("FAILED {}: {wrong}\n", row.fault));
        }
    }
    text
}

/// In milliseconds.
pub(super) fn milliseconds(duration: Duration) -> u128 {
    duration.as_millis()
}
