//! What happened, compared with what came of it at the relay, at GitHub and in the memory. Nothing here waits or asks.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde_json::Value;

use super::load::{Event, What};
use crate::{crash::book::Shown, github::State};

/// What came of everything.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// As the relay shows it.
    pub(super) shown: Shown,
    /// Of each pull request: reviews, comments, and how many of those say what no other says.
    pub(super) reviews: BTreeMap<u64, Posted>,
    /// Of each pushed commit: comments, and how many of those say what no other says.
    pub(super) commits: BTreeMap<String, Posted>,
    /// Of each delivery: how many memories it left.
    pub(super) memories: HashMap<String, usize>,
}

/// What was posted in one place.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Posted {
    pub(super) reviews: usize,
    pub(super) comments: usize,
    pub(super) distinct: usize,
}

/// What the comparison found; the lists are empty when all is well.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Account {
    /// An event, and what is missing of it that nobody will make any more.
    pub(super) lost: Vec<String>,
    /// An event, and what there is twice.
    pub(super) doubled: Vec<String>,
    /// An event on which somebody still works or waits.
    pub(super) open: Vec<String>,
}

impl Account {
    /// Whether everything has come to its end.
    pub(super) fn is_settled(&self) -> bool {
        self.lost.is_empty() && self.open.is_empty()
    }
}

impl Found {
    /// Takes in what GitHub has of these events.
    pub(super) fn look_at(&mut self, github: &State, events: &[Event]) {
        for event in events {
            let repository = &event.repository;
            match &event.what {
                What::Pull(number) => {
                    let comments = github.comments(repository, *number);
                    let distinct =
                        comments.iter().map(|it| (&it.path, it.line, &it.body)).collect::<BTreeSet<_>>();
                    let posted = Posted {
                        reviews: github.reviews(repository, *number).len(),
                        distinct: distinct.len(),
                        comments: comments.len(),
                    };
                    self.reviews.insert(*number, posted);
                }
                What::Push(sha) => {
                    let comments = github.commit_comments(repository, sha);
                    let distinct = comments.iter().map(|it| &it.body).collect::<BTreeSet<_>>().len();
                    self.commits
                        .insert(sha.clone(), Posted { reviews: 0, comments: comments.len(), distinct });
                }
                What::Comment => {}
            }
        }
    }

    /// Takes in an export of the memory.
    pub(super) fn read_memory(&mut self, export: &str) {
        for line in export.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()) {
            if let Some(delivery) = line["memory"]["source"]["delivery"].as_str() {
                *self.memories.entry(delivery.to_owned()).or_default() += 1;
            }
        }
    }
}

/// Compares.
pub(super) fn compare(events: &[Event], found: &Found) -> Account {
    let mut account = Account::default();
    for event in events {
        let id = &event.id;
        let Traces { missing, doubled } = Traces::of(event, found);
        account.doubled.extend(told(id, &doubled));
        let Some(parts) = found.shown.get(id) else {
            account.lost.push(format!("{id}: the relay does not know it"));
            continue;
        };
        let ended = |state: &str| ["completed", "skipped"].contains(&state);
        let open = parts.iter().filter(|(_, part)| !ended(&part.state));
        let open: Vec<String> = open.map(|(target, part)| format!("{} at {target}", part.state)).collect();
        if open.is_empty() {
            account.lost.extend(told(id, &missing));
        } else {
            account.open.extend(told(id, &open));
        }
    }
    account
}

fn told(id: &str, what: &[String]) -> Option<String> {
    (!what.is_empty()).then(|| format!("{id}: {}", what.join(", ")))
}

/// What an event has to leave and did not, or did twice.
#[derive(Debug, Default)]
struct Traces {
    missing: Vec<String>,
    doubled: Vec<String>,
}

impl Traces {
    fn of(event: &Event, found: &Found) -> Self {
        let mut traces = Self::default();
        let memories = |delivery: &str| found.memories.get(delivery).copied().unwrap_or_default();
        traces.one("memory", memories(&event.id));
        let posted = match &event.what {
            What::Comment => return traces,
            What::Pull(number) => found.reviews.get(number).copied().unwrap_or_default(),
            What::Push(sha) => found.commits.get(sha).copied().unwrap_or_default(),
        };
        traces.one("memory of the review", memories(&format!("update:review-{}", event.id)));
        match event.what {
            What::Pull(_) => traces.one("review", posted.reviews),
            _ => traces.one("comment on the commit", posted.comments.min(1)),
        }
        if posted.distinct < posted.comments {
            traces.doubled.push(format!("{} comments, of which {} differ", posted.comments, posted.distinct));
        }
        traces
    }

    /// There has to be one of it.
    fn one(&mut self, what: &str, there: usize) {
        match there {
            0 => self.missing.push(format!("no {what}")),
            1 => {}
            _ => self.doubled.push(format!("{there} times {what}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::crash::book::Part;

    fn event(id: &str, what: What) -> Event {
        Event { id: id.into(), repository: "acme/shop".into(), what, at: Instant::now() }
    }

    fn shown(state: &str) -> HashMap<String, Part> {
        HashMap::from([("claude".to_owned(), Part { state: state.into(), attempts: 1, error: None })])
    }

    fn all_well() -> (Vec<Event>, Found) {
        let events =
            vec![event("a", What::Pull(7)), event("b", What::Push("abc".into())), event("c", What::Comment)];
        let well = Posted { reviews: 1, comments: 3, distinct: 3 };
        let found = Found {
            shown: ["a", "b", "c"].map(|id| (id.to_owned(), shown("completed"))).into(),
            reviews: BTreeMap::from([(7, well)]),
            commits: BTreeMap::from([("abc".to_owned(), well)]),
            memories: ["a", "b", "c", "update:review-a", "update:review-b"]
                .map(|id| (id.to_owned(), 1))
                .into(),
        };
        (events, found)
    }

    #[test]
    fn one_of_each_is_well() {
        let (events, found) = all_well();
        assert_eq!(compare(&events, &found), Account::default());
    }

    #[test]
    fn what_is_missing_at_the_end_is_lost() {
        let (events, mut found) = all_well();
        found.shown.remove("c");
        found.reviews.clear();
        found.memories.remove("update:review-b");
        let account = compare(&events, &found);
        assert_eq!(
            account.lost,
            ["a: no review", "b: no memory of the review", "c: the relay does not know it"]
        );
        assert!(!account.is_settled() && account.doubled.is_empty());
    }

    #[test]
    fn what_is_there_twice_is_doubled() {
        let (events, mut found) = all_well();
        found.reviews.insert(7, Posted { reviews: 2, comments: 4, distinct: 3 });
        found.memories.insert("c".into(), 2);
        let account = compare(&events, &found);
        assert_eq!(
            account.doubled,
            ["a: 2 times review, 4 comments, of which 3 differ", "c: 2 times memory"]
        );
        assert!(account.is_settled());
    }

    #[test]
    fn what_somebody_still_works_on_is_not_lost_yet() {
        let (events, mut found) = all_well();
        found.shown.insert("a".into(), shown("pending"));
        found.reviews.clear();
        let account = compare(&events, &found);
        assert_eq!((account.open, account.lost), (vec!["a: pending at claude".to_owned()], vec![]));
    }

    #[test]
    fn memories_are_counted_by_their_delivery() {
        let mut found = Found::default();
        found.read_memory(
            "{\"record\":{\"id\":\"a\"}}\n{\"memory\":{\"source\":{\"delivery\":\"a\"}}}\n\
             {\"memory\":{\"source\":{\"delivery\":\"a\"}}}\n{\"end\":{}}\n",
        );
        assert_eq!(found.memories, HashMap::from([("a".to_owned(), 2)]));
    }
}
