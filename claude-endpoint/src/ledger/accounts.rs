//! What was spent, and what is held for questions under way. Pure.

use std::collections::{BTreeMap, HashMap};
use std::ops::AddAssign;

use jiff::ToSpan;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde::Serialize;

use super::Entry;
use crate::budget::Spent;
use crate::reviewer::Usage;

/// Days after which an event is not attempted any more, so that what it cost need not be known by it.
const EVENT_DAYS: i32 = 5;

/// Questions, tokens and cost together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Sum {
    /// Questions asked.
    pub questions: u64,
    /// Of these, with an answer of use.
    pub useful: u64,
    /// Their tokens.
    #[serde(flatten)]
    pub usage: Usage,
    /// Their cost, as far as it is known.
    pub cost_usd: f64,
}

impl Sum {
    /// With one more question.
    pub fn add(&mut self, entry: &Entry) {
        self.questions += 1;
        self.useful += u64::from(entry.useful);
        self.usage += entry.usage;
        self.cost_usd += entry.cost_usd.unwrap_or_default();
    }
}

impl AddAssign for Sum {
    fn add_assign(&mut self, other: Self) {
        self.questions += other.questions;
        self.useful += other.useful;
        self.usage += other.usage;
        self.cost_usd += other.cost_usd;
    }
}

/// The day of an entry.
pub fn day(entry: &Entry) -> Date {
    entry.at.to_zoned(TimeZone::UTC).date()
}

/// Sums per day, repository and event, and what is held.
#[derive(Debug, Default)]
pub(super) struct Accounts {
    days: BTreeMap<Date, BTreeMap<String, Sum>>,
    events: HashMap<String, (Date, f64)>,
    newest: Option<Date>,
    holds: BTreeMap<u64, Held>,
    next: u64,
}

#[derive(Debug)]
struct Held {
    delivery: String,
    usd: f64,
    /// For a review to come; its questions take out of it what they hold themselves.
    is_review: bool,
}

impl Accounts {
    pub(super) fn add(&mut self, entry: &Entry) {
        let day = day(entry);
        self.days.entry(day).or_default().entry(entry.repository.clone()).or_default().add(entry);
        let event = self.events.entry(entry.delivery.clone()).or_insert((day, 0.0));
        *event = (day.max(event.0), event.1 + entry.cost_usd.unwrap_or_default());
        if self.newest < Some(day) {
            self.newest = Some(day);
            let oldest = day.saturating_sub(EVENT_DAYS.days());
            self.events.retain(|_, (day, _)| *day > oldest);
        }
    }

    /// What is spent and held, of this day and by this event.
    pub(super) fn spent(&self, today: Date, delivery: &str) -> Spent {
        let (mut all, mut own) = (0.0, self.events.get(delivery).map_or(0.0, |(_, usd)| *usd));
        for held in self.holds.values() {
            all += held.usd;
            own += if held.delivery == delivery { held.usd } else { 0.0 };
        }
        Spent { today: all + self.sums(today).map(|(_, sum)| sum.cost_usd).sum::<f64>(), review: own }
    }

    pub(super) fn sums(&self, day: Date) -> impl Iterator<Item = (&str, Sum)> {
        self.days.get(&day).into_iter().flatten().map(|(repository, sum)| (repository.as_str(), *sum))
    }

    /// Holds what a review is estimated to cost.
    pub(super) fn hold_review(&mut self, delivery: &str, usd: f64) -> u64 {
        self.insert(Held { delivery: delivery.to_owned(), usd, is_review: true })
    }

    /// Holds what one question is estimated to cost, out of what its review holds as far as that goes.
    pub(super) fn hold_question(&mut self, delivery: &str, usd: f64) -> u64 {
        let mut missing = usd;
        for held in self.holds.values_mut().filter(|held| held.is_review && held.delivery == delivery) {
            let taken = missing.min(held.usd);
            held.usd -= taken;
            missing -= taken;
        }
        self.insert(Held { delivery: delivery.to_owned(), usd, is_review: false })
    }

    fn insert(&mut self, held: Held) -> u64 {
        self.next += 1;
        self.holds.insert(self.next, held);
        self.next
    }

    pub(super) fn release(&mut self, id: u64) {
        self.holds.remove(&id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::tests::entry;

    fn today() -> Date {
        day(&entry("d1", "o/r", 0.0))
    }

    #[test]
    fn sums_are_per_day_repository_and_event() {
        let mut accounts = Accounts::default();
        accounts.add(&entry("d1", "o/r", 1.0));
        accounts.add(&entry("d1", "o/r", 0.5));
        accounts.add(&entry("d2", "o/s", 0.25));
        let yesterday = Entry { at: "2026-11-21T23:59:59Z".parse().unwrap(), ..entry("d1", "o/r", 8.0) };
        accounts.add(&yesterday);
        accounts.add(&Entry { cost_usd: None, useful: false, ..entry("d3", "o/s", 0.0) });
        assert_eq!(accounts.spent(today(), "d1"), Spent { today: 1.75, review: 9.5 });
        assert_eq!(accounts.spent(today(), "d9"), Spent { today: 1.75, review: 0.0 });
        let sums: Vec<_> = accounts
            .sums(today())
            .map(|(name, sum)| (name, sum.questions, sum.useful, sum.cost_usd))
            .collect();
        assert_eq!(sums, [("o/r", 2, 2, 1.5), ("o/s", 2, 1, 0.25)]);
    }

    #[test]
    fn what_is_under_way_counts_once() {
        let mut accounts = Accounts::default();
        let spent = |accounts: &Accounts| accounts.spent(today(), "d1");
        let review = accounts.hold_review("d1", 1.0);
        let other = accounts.hold_review("d2", 2.0);
        assert_eq!(spent(&accounts), Spent { today: 3.0, review: 1.0 });
        let first = accounts.hold_question("d1", 0.75);
        assert_eq!(spent(&accounts), Spent { today: 3.0, review: 1.0 });
        let second = accounts.hold_question("d1", 0.5);
        assert_eq!(spent(&accounts), Spent { today: 3.25, review: 1.25 }, "more than was estimated");
        accounts.add(&entry("d1", "o/r", 0.5));
        accounts.release(first);
        assert_eq!(spent(&accounts), Spent { today: 3.0, review: 1.0 });
        for id in [second, review, other] {
            accounts.release(id);
        }
        assert_eq!(spent(&accounts), Spent { today: 0.5, review: 0.5 });
    }

    #[test]
    fn events_that_have_long_ended_are_forgotten() {
        let mut accounts = Accounts::default();
        let on = |day: &str, delivery| Entry {
            at: format!("{day}T00:00:00Z").parse().unwrap(),
            ..entry(delivery, "o/r", 1.0)
        };
        accounts.add(&on("2026-11-20", "a"));
        accounts.add(&on("2026-11-20", "b"));
        accounts.add(&on("2026-11-24", "a"));
        accounts.add(&on("2026-11-25", "c"));
        assert_eq!(accounts.spent(today(), "a").review, 2.0);
        assert_eq!(accounts.spent(today(), "b").review, 0.0);
    }
}
