//! The faults, one function each: what is done, what is expected, and the way back.

mod clock;
mod damage;
mod disk;
mod ill_target;

use std::time::Duration;

use self::damage::Place;
use super::{bench::Settings, process::FINDINGS, row::Row, target::Mode};

const HOUR: i64 = 3600;
const DAY: i64 = 24 * HOUR;

/// A fault by its name.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fault {
    /// As the table and `--only` name it.
    pub(super) name: &'static str,
    kind: Kind,
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    FullDisk,
    ReadOnlyAtStart,
    ReadOnlyAtWork,
    Damaged(Place),
    ClockJumps(i64),
    IllTarget(Mode),
}

impl Fault {
    /// All of them, in the order of the table.
    pub(super) fn all() -> [Self; 17] {
        let slow = Mode::Slow(Duration::from_secs(3));
        [
            ("disk-full", Kind::FullDisk),
            ("disk-read-only-at-start", Kind::ReadOnlyAtStart),
            ("disk-read-only-at-work", Kind::ReadOnlyAtWork),
            ("damaged-header", Kind::Damaged(Place::Header)),
            ("damaged-page", Kind::Damaged(Place::Page)),
            ("damaged-wal", Kind::Damaged(Place::Wal)),
            ("clock-2h-ahead", Kind::ClockJumps(2 * HOUR)),
            ("clock-2h-back", Kind::ClockJumps(-2 * HOUR)),
            ("clock-40d-ahead", Kind::ClockJumps(40 * DAY)),
            ("target-refuses", Kind::IllTarget(Mode::Refused)),
            ("target-slow", Kind::IllTarget(slow)),
            ("target-never", Kind::IllTarget(Mode::Never)),
            ("target-garbage", Kind::IllTarget(Mode::Garbage)),
            ("target-stranger", Kind::IllTarget(Mode::WrongSignature)),
            ("target-500", Kind::IllTarget(Mode::Status(500, None))),
            ("target-429", Kind::IllTarget(Mode::Status(429, Some(2)))),
            ("target-loses-answer", Kind::IllTarget(Mode::LosesAnswer)),
        ]
        .map(|(name, kind)| Self { name, kind })
    }

    /// Does it, on a relay of its own.
    pub(super) async fn run(self, settings: &Settings) -> Row {
        let row = match self.kind {
            Kind::FullDisk => disk::full(self.name, settings).await,
            Kind::ReadOnlyAtStart => disk::read_only_at_start(self.name, settings).await,
            Kind::ReadOnlyAtWork => disk::read_only_at_work(self.name, settings).await,
            Kind::Damaged(place) => damage::run(self.name, settings, place).await,
            Kind::ClockJumps(seconds) => clock::run(self.name, settings, seconds).await,
            Kind::IllTarget(mode) => ill_target::run(self.name, settings, mode).await,
        };
        row.unwrap_or_else(|error| Row::broken(self.name, &error))
    }
}

/// For the table: what a health report says of a component, as text on one line.
fn about(component: &str, report: &str) -> String {
    short(report.split(FINDINGS).find(|finding| finding.starts_with(component)).unwrap_or_default())
}

/// For the table: on one line and not too long.
fn short(text: &str) -> String {
    const LONGEST: usize = 300;
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let cut = line.floor_char_boundary(LONGEST);
    if cut < line.len() { format!("{}…", &line[..cut]) } else { line }
}
