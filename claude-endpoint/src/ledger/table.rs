//! The ledger as text for a terminal, and as JSON. Pure.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use jiff::civil::Date;
use serde::Serialize;

use shared::terminal::{aligned, printable};

use super::{Entry, Sum, day};

/// Sums of some days, the newest first.
#[derive(Debug, Default, Serialize)]
pub struct Summary {
    total: Sum,
    days: Vec<Day>,
}

#[derive(Debug, Serialize)]
struct Day {
    day: Date,
    total: Sum,
    repositories: Vec<Repository>,
}

#[derive(Debug, Serialize)]
struct Repository {
    repository: String,
    total: Sum,
    reviews: Vec<Review>,
}

/// What one event took on one day.
#[derive(Debug, Serialize)]
struct Review {
    subject: String,
    delivery: String,
    models: BTreeSet<String>,
    total: Sum,
}

type Reviews = BTreeMap<(String, String), (BTreeSet<String>, Sum)>;

impl Summary {
    /// The sums of `entries`.
    pub fn new(entries: impl IntoIterator<Item = Entry>) -> Self {
        let mut days: BTreeMap<Reverse<Date>, BTreeMap<String, Reviews>> = BTreeMap::new();
        for entry in entries {
            let day = days.entry(Reverse(day(&entry))).or_default();
            let reviews = day.entry(entry.repository.clone()).or_default();
            let (models, sum) = reviews.entry((entry.subject.clone(), entry.delivery.clone())).or_default();
            sum.add(&entry);
            models.insert(entry.model);
        }
        let days: Vec<Day> = days.into_iter().map(|(Reverse(date), day)| Day::new(date, day)).collect();
        Self { total: total(days.iter().map(|day| day.total)), days }
    }

    /// One line for each day, repository and review.
    pub fn table(&self) -> String {
        if self.days.is_empty() {
            return "no questions\n".to_owned();
        }
        let mut rows = vec![HEAD.map(str::to_owned).to_vec()];
        for Day { day, total, repositories } in &self.days {
            rows.push(row(&day.to_string(), "all", "", "", total));
            for Repository { repository, total, reviews } in repositories {
                rows.push(row(&day.to_string(), repository, "all", "", total));
                for Review { subject, delivery, total, .. } in reviews {
                    rows.push(row(&day.to_string(), repository, subject, delivery, total));
                }
            }
        }
        rows.push(row("all", "all", "", "", &self.total));
        aligned(&rows, TEXTS)
    }
}

impl Day {
    fn new(day: Date, repositories: BTreeMap<String, Reviews>) -> Self {
        let repositories: Vec<Repository> =
            repositories.into_iter().map(|(name, reviews)| Repository::new(name, reviews)).collect();
        Self { day, total: total(repositories.iter().map(|repository| repository.total)), repositories }
    }
}

impl Repository {
    fn new(repository: String, reviews: Reviews) -> Self {
        let review = |((subject, delivery), (models, total))| Review { subject, delivery, models, total };
        let reviews: Vec<Review> = reviews.into_iter().map(review).collect();
        Self { repository, total: total(reviews.iter().map(|review| review.total)), reviews }
    }
}

fn total(sums: impl Iterator<Item = Sum>) -> Sum {
    sums.fold(Sum::default(), |mut total, sum| {
        total += sum;
        total
    })
}

const HEAD: [&str; 9] =
    ["DAY", "REPOSITORY", "REVIEW", "DELIVERY", "QUESTIONS", "INPUT", "CACHED", "OUTPUT", "COST"];
/// The columns after these are numbers, which stand at the right.
const TEXTS: usize = 4;

fn row(day: &str, repository: &str, subject: &str, delivery: &str, sum: &Sum) -> Vec<String> {
    let Sum { questions, usage, cost_usd, .. } = sum;
    vec![
        day.to_owned(),
        printable(repository),
        printable(subject),
        printable(delivery),
        questions.to_string(),
        (usage.input_tokens + usage.cache_write_tokens).to_string(),
        usage.cached_tokens.to_string(),
        usage.output_tokens.to_string(),
        format!("${cost_usd:.4}"),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::tests::entry;

    fn summary() -> Summary {
        let late = Entry { at: "2026-11-23T00:00:00Z".parse().unwrap(), ..entry("d4\u{1b}", "o/s", 12.5) };
        Summary::new([
            entry("d1", "o/r", 1.0),
            Entry { model: "claude-haiku-5-5".into(), ..entry("d1", "o/r", 0.25) },
            entry("d2", "o/r", 0.0625),
            entry("d3", "o/s", 2.0),
            late,
        ])
    }

    #[test]
    fn the_ledger_reads_as_a_table() {
        insta::assert_snapshot!(summary().table());
        assert_eq!(Summary::new([]).table(), "no questions\n");
    }

    #[test]
    fn the_ledger_is_json_too() {
        let json = serde_json::to_value(summary()).unwrap();
        assert_eq!(json["total"]["cost_usd"], 15.8125);
        assert_eq!(json["days"][0]["day"], "2026-11-23");
        let day = &json["days"][1];
        assert_eq!(
            (&day["total"]["questions"], &day["repositories"][0]["total"]["cost_usd"]),
            (&4.into(), &1.3125.into())
        );
        let review = &day["repositories"][0]["reviews"][0];
        assert_eq!((review["subject"].as_str(), review["delivery"].as_str()), (Some("pull/7"), Some("d1")));
        assert_eq!(review["models"], serde_json::json!(["claude-haiku-5-5", "claude-sonnet-5-5"]));
        assert_eq!(review["total"]["input_tokens"], 2_000);
    }
}
