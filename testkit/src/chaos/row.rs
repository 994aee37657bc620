//! What a fault came to, and all of them as a table or as JSON.

use std::time::Duration;

use serde_json::{Value, json};
use shared::terminal::aligned;

use super::{account::Account, faults::Fault, squatter::Spoils};

const COLUMNS: usize = 8;
const HEAD: [&str; COLUMNS] =
    ["fault", "", "events", "lost", "doubled", "first review after", "all done after", "what was done"];

/// Events that are named where something is wrong.
const MOST_TOLD: usize = 4;

/// See the module.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) fault: Fault,
    /// Events that happened from the fault's beginning until the road was open again.
    pub(super) sent: usize,
    pub(super) account: Account,
    /// From the fault's end to the first review of an event that happened since its beginning.
    pub(super) recovered: Option<Duration>,
    /// From the fault's end until everything had all of its effects.
    pub(super) drained: Option<Duration>,
    pub(super) spoils: Option<Spoils>,
    /// What is wrong beside that.
    pub(super) wrong: Vec<String>,
}

impl Row {
    /// The run itself broke off.
    pub(super) fn broken(fault: Fault, error: &anyhow::Error) -> Self {
        Self {
            fault,
            sent: 0,
            account: Account::default(),
            recovered: None,
            drained: None,
            spoils: None,
            wrong: vec![format!("{error:#}")],
        }
    }

    /// Everything that is wrong.
    pub(super) fn wrong(&self) -> Vec<String> {
        let Account { lost, doubled, open } = &self.account;
        let told = |(word, list): (&str, &Vec<String>)| {
            let more = if list.len() > MOST_TOLD { "; …" } else { "" };
            let first = list[..list.len().min(MOST_TOLD)].join("; ");
            (!list.is_empty()).then(|| format!("{} {word}: {first}{more}", list.len()))
        };
        let counted = [("lost", lost), ("doubled", doubled), ("not done in time", open)];
        counted.into_iter().filter_map(told).chain(self.wrong.iter().cloned()).collect()
    }

    pub(super) fn is_well(&self) -> bool {
        self.wrong().is_empty()
    }

    fn cells(&self) -> [String; COLUMNS] {
        let verdict = if self.is_well() { "ok" } else { "FAILED" };
        [
            self.fault.name.to_owned(),
            verdict.to_owned(),
            self.sent.to_string(),
            self.account.lost.len().to_string(),
            self.account.doubled.len().to_string(),
            seconds(self.recovered),
            seconds(self.drained),
            self.fault.done.to_owned(),
        ]
    }

    fn json(&self) -> Value {
        let seconds = |time: Option<Duration>| time.map(|time| (time.as_secs_f64() * 10.0).round() / 10.0);
        json!({
            "fault": self.fault.name, "done": self.fault.done, "ok": self.is_well(), "events": self.sent,
            "lost": self.account.lost.len(), "doubled": self.account.doubled.len(),
            "first_review_after_seconds": seconds(self.recovered), "all_done_after_seconds": seconds(self.drained),
            "squatter": self.spoils.map(|it| json!({"requests": it.requests, "events": it.events})),
            "wrong": self.wrong(),
        })
    }
}

fn seconds(time: Option<Duration>) -> String {
    time.map_or_else(|| "never".to_owned(), |time| format!("{:.1} s", time.as_secs_f64()))
}

/// The rows with padded columns, for a terminal; below them what else there is to tell.
pub(super) fn table(rows: &[Row]) -> String {
    aligned(&cells(rows), COLUMNS) + &notes(rows)
}

/// The same in Markdown, without the verdicts.
pub(super) fn markdown(rows: &[Row]) -> String {
    let mut text = String::new();
    for (number, row) in cells(rows).into_iter().enumerate() {
        let shown: Vec<String> =
            row.into_iter().enumerate().filter(|(column, _)| *column != 1).map(|(_, cell)| cell).collect();
        text.push_str(&format!("| {} |\n", shown.join(" | ")));
        if number == 0 {
            text.push_str("| --- | ---: | ---: | ---: | ---: | ---: | --- |\n");
        }
    }
    text + &notes(rows)
}

/// All numbers.
pub(super) fn json(rows: &[Row], seed: u64, ground: &str) -> Value {
    json!({"seed": seed, "ground": ground, "faults": rows.iter().map(Row::json).collect::<Vec<_>>()})
}

fn cells(rows: &[Row]) -> Vec<Vec<String>> {
    std::iter::once(HEAD.map(str::to_owned)).chain(rows.iter().map(Row::cells)).map(Vec::from).collect()
}

fn notes(rows: &[Row]) -> String {
    let mut text = String::from("\n");
    for row in rows {
        if let Some(Spoils { requests, events }) = row.spoils {
            text.push_str(&format!(
                "{}: who had the ports was given {requests} requests, {events} of them with an event\n",
                row.fault.name
            ));
        }
        for wrong in row.wrong() {
            text.push_str(&format!("FAILED {}: {wrong}\n", row.fault.name));
        }
    }
    text.trim_end().to_owned()
}
