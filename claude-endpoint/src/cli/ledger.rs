//! `claude-endpoint ledger`.

use std::path::Path;

use anyhow::Context;
use clap::Args;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};

use crate::ledger::table::Summary;
use crate::ledger::{self, Entry};

/// What of it is shown.
#[derive(Debug, Args)]
pub struct Show {
    /// The last days (UTC), with today
    #[arg(long, default_value = "30", value_parser = clap::value_parser!(u16).range(1..))]
    days: u16,
    /// Only this repository (owner/name)
    #[arg(long)]
    repository: Option<String>,
    /// JSON instead of a table
    #[arg(long)]
    json: bool,
}

/// Prints the sums of the file, which a running service may be writing to.
pub(super) fn run(show: &Show, file: &Path) -> anyhow::Result<()> {
    let summary = show.summary(file, Timestamp::now())?;
    if show.json {
        println!("{}", serde_json::to_string_pretty(&summary)?);
    } else {
        print!("{}", summary.table());
    }
    Ok(())
}

impl Show {
    fn summary(&self, file: &Path, now: Timestamp) -> anyhow::Result<Summary> {
        let today = now.to_zoned(TimeZone::UTC).date();
        let first = today.saturating_sub((i32::from(self.days) - 1).days());
        let read = || ledger::read(file)?.collect::<std::io::Result<Vec<Entry>>>();
        let entries = read().with_context(|| format!("cannot read the ledger {}", file.display()))?;
        Ok(Summary::new(entries.into_iter().filter(|entry| self.wants(entry, first))))
    }

    fn wants(&self, entry: &Entry, first: Date) -> bool {
        let repository = self.repository.as_ref();
        ledger::day(entry) >= first
            && repository.is_none_or(|name| name.eq_ignore_ascii_case(&entry.repository))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::tests::entry;

    #[test]
    fn days_and_a_repository_are_picked_out() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("ledger.jsonl");
        let at = |at: &str, repository| Entry { at: at.parse().unwrap(), ..entry("d1", repository, 1.0) };
        let entries = [
            at("2026-11-20T23:59:59Z", "o/r"),
            at("2026-11-21T00:00:00Z", "o/r"),
            at("2026-11-22T00:00:00Z", "o/s"),
        ];
        let lines: String =
            entries.iter().map(|entry| serde_json::to_string(entry).unwrap() + "\n").collect();
        std::fs::write(&file, lines + "{\"at\":\"2026").unwrap();
        let questions = |days, repository: Option<&str>, file: &Path| {
            let show = Show { days, repository: repository.map(str::to_owned), json: true };
            let summary = show.summary(file, "2026-11-22T12:00:00Z".parse().unwrap()).unwrap();
            serde_json::to_value(summary).unwrap()["total"]["questions"].as_u64().unwrap()
        };
        assert_eq!(
            (questions(1, None, &file), questions(2, None, &file), questions(3, None, &file)),
            (1, 2, 3)
        );
        assert_eq!(questions(30, Some("O/R"), &file), 2);
        assert_eq!(questions(30, None, &folder.path().join("none")), 0);
    }
}
