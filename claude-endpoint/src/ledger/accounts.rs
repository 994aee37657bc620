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
    kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    /// For a review to come.
    Review,
    /// For a question under way.
    Question {
        /// How much of it was taken out of what a review holds.
        drawn: Option<(u64, f64)>,
    },
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
        self.insert(Held { delivery: delivery.to_owned(), usd, kind: Kind::Review })
    }

    /// Holds what one question is estimated to cost, out of what its review holds as far as that goes.
    pub(super) fn hold_question(&mut self, delivery: &str, usd: f64) -> u64 {
        let is_its = |held: &Held| held.kind == Kind::Review && held.delivery == delivery;
        let drawn = self.holds.iter_mut().find(|(_, held)| is_its(held)).map(|(id, held)| {
            let drawn = usd.min(held.usd);
            held.usd -= drawn;
            (*id, drawn)
        });
        self.insert(Held { delivery: delivery.to_owned(), usd, kind: Kind::Question { drawn } })
    }

    fn insert(&mut self, held: Held) -> u64 {
        self.next += 1;
        self.holds.insert(self.next, held);
        self.next
    }

    /// Nothing is held any more. What a question took out of its review's hold and did not cost, its review may still
    /// cost.
    pub(super) fn release(&mut self, id: u64, cost: f64) {
        let Some(Held { kind: Kind::Question { drawn: Some((review, drawn)) }, .. }) = self.holds.remove(&id)
        else {
            return;
        };
        if let Some(held) = self.holds.get_mut(&review) {
            held.usd += (drawn - cost).max(0.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::budget::Budgets;
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
        accounts.release(first, 0.5);
        assert_eq!(
            spent(&accounts),
            Spent { today: 3.25, review: 1.25 },
            "what it did not cost is held again"
        );
        for id in [second, review, other] {
            accounts.release(id, 0.0);
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

    #[derive(Debug, Clone)]
    enum Step {
        /// A review wants to begin.
        Begin(f64),
        /// One of the reviews under way asks a question that was estimated so, and costs so much.
        Ask(prop::sample::Index, f64, f64),
        /// One of them ends.
        End(prop::sample::Index),
    }

    struct UnderWay {
        delivery: String,
        hold: u64,
        estimate: f64,
        cost: f64,
    }

    fn step() -> impl Strategy<Value = Step> {
        let which = any::<prop::sample::Index>;
        // most questions turn out cheaper than they were estimated, so that much is given back
        prop_oneof![
            2 => (0.1..2.0).prop_map(Step::Begin),
            6 => (which(), 0.3..1.0, 0.0..0.35).prop_map(|(which, estimate, cost)| Step::Ask(which, estimate, cost)),
            1 => which().prop_map(Step::End),
        ]
    }

    proptest! {
        /// However many reviews run at a time: a day costs no more than its budget and what the estimates were wrong by.
        #[test]
        fn reviews_at_the_same_time_share_one_budget(steps in prop::collection::vec(step(), 1..80), daily in 1.0..6.0) {
            let budgets = Budgets { daily_usd: Some(daily), ..Budgets::default() };
            let (mut accounts, mut running) = (Accounts::default(), Vec::<UnderWay>::new());
            let (mut cost, mut wrong_by) = (0.0, 0.0);
            for (number, step) in steps.into_iter().enumerate() {
                match step {
                    Step::Begin(estimate) => {
                        let delivery = format!("d{number}");
                        if budgets.over(accounts.spent(today(), &delivery), estimate).is_none() {
                            let hold = accounts.hold_review(&delivery, estimate);
                            running.push(UnderWay { delivery, hold, estimate, cost: 0.0 });
                        }
                    }
                    Step::Ask(..) | Step::End(_) if running.is_empty() => {}
                    Step::Ask(which, estimate, usd) => {
                        let review = which.index(running.len());
                        let review = &mut running[review];
                        let hold = accounts.hold_question(&review.delivery, estimate);
                        accounts.add(&entry(&review.delivery, "o/r", usd));
                        accounts.release(hold, usd);
                        let error = |cost: f64| (cost - review.estimate).max(0.0);
                        wrong_by += error(review.cost + usd) - error(review.cost);
                        review.cost += usd;
                        cost += usd;
                    }
                    Step::End(which) => {
                        let ended = running.swap_remove(which.index(running.len()));
                        accounts.release(ended.hold, 0.0);
                    }
                }
                prop_assert!(cost <= daily + wrong_by + 1e-9, "{cost} of {daily}, wrong by {wrong_by}");
            }
        }
    }
}
