//! Keys as text, for people. Pure.

use std::fmt::Write as _;

use jiff::Timestamp;

use super::{KeyEntry, KeyReport, KeyUse};

/// The report as a table: each key, and below it what it was used for, the newest first.
pub fn table(report: &KeyReport, now: Timestamp) -> String {
    let mut text = format!("as it was {}\n", ago(report.at, now));
    let mut setting = "";
    for entry in &report.keys {
        if entry.setting != setting {
            setting = &entry.setting;
            let _ = write!(text, "\n{setting}\n");
        }
        let _ = writeln!(text, "  {}. {}  {}", entry.position, entry.id, verdict(entry, now));
        let mut uses: Vec<&KeyUse> = entry.uses.iter().collect();
        uses.sort_by(|a, b| b.last.cmp(&a.last).then_with(|| a.what.cmp(&b.what)));
        for one in uses {
            let times = if one.times == 1 { "once".to_owned() } else { format!("{} times", one.times) };
            let _ = writeln!(text, "       {:<14} {:<28} {} ({times})", ago(one.last, now), one.what, one.by);
        }
    }
    text
}

fn verdict(entry: &KeyEntry, now: Timestamp) -> String {
    match entry.uses.iter().map(|one| one.last).max() {
        Some(last) => format!("last used {}", ago(last, now)),
        None => format!("not used since it was set, {}", ago(entry.since, now)),
    }
}

fn ago(then: Timestamp, now: Timestamp) -> String {
    let seconds = now.duration_since(then).as_secs().max(0);
    match seconds {
        0..120 => format!("{seconds} s ago"),
        120..7_200 => format!("{} min ago", seconds / 60),
        7_200..172_800 => format!("{} h ago", seconds / 3_600),
        _ => format!("{} days ago", seconds / 86_400),
    }
}
