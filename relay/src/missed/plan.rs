//! What GitHub tried → what is asked for again, what is given up, and how far everything is settled.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;

/// GitHub redelivers what is at most so old.
pub(crate) const WINDOW: SignedDuration = SignedDuration::from_hours(72);
/// How much older than that is still looked at, to say what was lost.
const LOOK_BACK: SignedDuration = SignedDuration::from_hours(24);
/// Attempts are not listed strictly by time; the cursor stays so far behind.
const LAG: SignedDuration = SignedDuration::from_secs(60);
/// How long after the newest attempt each redelivery is asked for; afterwards the event is given up.
const DISTANCES: [SignedDuration; 5] = [
    SignedDuration::ZERO,
    SignedDuration::from_mins(5),
    SignedDuration::from_hours(1),
    SignedDuration::from_hours(6),
    SignedDuration::from_hours(24),
];

/// One attempt of GitHub's to deliver an event, as its REST API lists it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct Attempt {
    /// Of this attempt.
    pub id: u64,
    /// Of the event, the same for all attempts: `X-GitHub-Delivery`.
    pub guid: String,
    /// When it was made.
    pub delivered_at: Timestamp,
    /// Whether somebody asked for it; false for the first attempt of an event.
    pub redelivery: bool,
    /// The receiver's status, or what GitHub makes up where nobody answered.
    #[serde(default)]
    pub status_code: Option<i64>,
    /// Kind of event.
    #[serde(default)]
    pub event: Option<String>,
}

impl Attempt {
    /// Whether the receiver took it.
    pub(crate) fn succeeded(&self) -> bool {
        self.status_code.is_some_and(|status| (200..300).contains(&status))
    }
}

/// What GitHub lists of one hook, from now back to [`horizon`]. First attempts that succeeded may be left out.
#[derive(Debug, Clone, Default)]
pub(crate) struct Listing {
    /// In any order.
    pub attempts: Vec<Attempt>,
    /// Time of the newest attempt, left out or not.
    pub newest: Option<Timestamp>,
}

/// That an attempt's repetition was asked for, and GitHub has not made or listed it yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Asked {
    /// When, last.
    pub at: Timestamp,
    /// How often.
    pub times: usize,
}

/// A redelivery to ask for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Redelivery {
    /// The attempt to repeat.
    pub attempt: u64,
    /// The event.
    pub guid: String,
    /// Kind of event.
    pub event: String,
    /// Which one of the event's redeliveries it is, from 1.
    pub number: usize,
}

/// An event that stays undelivered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct GivenUp {
    /// The event.
    pub guid: String,
    /// Kind of event.
    pub event: String,
    /// What the newest attempt was answered.
    pub status_code: i64,
    /// Redeliveries that failed, too.
    pub redeliveries: usize,
}

/// See [`plan`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Plan {
    /// Oldest event first.
    pub redeliver: Vec<Redelivery>,
    /// Too old, or refused too often.
    pub given_up: Vec<GivenUp>,
    /// Missed events that are neither delivered nor given up, those to redeliver now included.
    pub open: usize,
    /// Every event before this time is settled.
    pub cursor: Option<Timestamp>,
}

/// How far back attempts have to be listed: to the cursor, and without one through GitHub's window.
pub(crate) fn horizon(cursor: Option<Timestamp>, now: Timestamp) -> Timestamp {
    let earliest = now - WINDOW;
    cursor.map_or(earliest, |cursor| cursor.max(earliest - LOOK_BACK))
}

/// The events whose attempts all failed, as far as GitHub knows: an answer may have been lost on its way.
pub(crate) fn failed(listing: &Listing) -> BTreeSet<&str> {
    events(listing).filter(|event| !event.settled()).map(|event| event.guid()).collect()
}

/// Decides about every event in `listing`.
///
/// `known` are those events that the relay's queue has; `asked` goes by the attempt to be repeated. An event whose first attempt is not in the listing is past the
/// cursor: delivered or given up before.
pub(crate) fn plan(
    listing: &Listing,
    known: &BTreeSet<String>,
    asked: &BTreeMap<u64, Asked>,
    cursor: Option<Timestamp>,
    now: Timestamp,
) -> Plan {
    let horizon = horizon(cursor, now);
    let mut missed: Vec<Event<'_>> = events(listing)
        .filter(|event| {
            event.first.delivered_at >= horizon && !event.settled() && !known.contains(event.guid())
        })
        .collect();
    missed.sort_by_key(|event| (event.first.delivered_at, event.first.id));
    let mut plan = Plan::default();
    let mut settled_until = listing.newest;
    for event in missed {
        if event.is_hopeless(now) {
            plan.given_up.push(event.given_up());
            continue;
        }
        plan.open += 1;
        settled_until = settled_until.min(Some(event.first.delivered_at));
        if event.is_due(asked, now) {
            plan.redeliver.push(event.redelivery());
        }
    }
    plan.cursor = settled_until.map(|time| time - LAG).max(cursor);
    plan
}

/// All attempts of one event.
#[derive(Debug)]
struct Event<'a> {
    first: &'a Attempt,
    newest: &'a Attempt,
    redeliveries: usize,
    succeeded: bool,
}

fn events(listing: &Listing) -> impl Iterator<Item = Event<'_>> {
    let mut attempts: BTreeMap<&str, Vec<&Attempt>> = BTreeMap::new();
    for attempt in &listing.attempts {
        attempts.entry(&attempt.guid).or_default().push(attempt);
    }
    attempts.into_values().filter_map(|attempts| Event::of(&attempts))
}

impl<'a> Event<'a> {
    fn of(attempts: &[&'a Attempt]) -> Option<Self> {
        let time = |attempt: &&&Attempt| (attempt.delivered_at, attempt.id);
        Some(Self {
            first: attempts.iter().filter(|attempt| !attempt.redelivery).min_by_key(time)?,
            newest: attempts.iter().max_by_key(time)?,
            redeliveries: attempts.iter().filter(|attempt| attempt.redelivery).count(),
            succeeded: attempts.iter().any(|attempt| attempt.succeeded()),
        })
    }

    fn guid(&self) -> &'a str {
        &self.first.guid
    }

    fn kind(&self) -> String {
        self.first.event.clone().unwrap_or_default()
    }

    /// A ping asks only whether somebody is there; an old one asks nothing.
    fn settled(&self) -> bool {
        self.succeeded || self.first.event.as_deref() == Some("ping")
    }

    fn is_hopeless(&self, now: Timestamp) -> bool {
        self.redeliveries >= DISTANCES.len() || now.duration_since(self.first.delivered_at) > WINDOW
    }

    /// A redelivery that was asked for and is not listed yet counts as made.
    fn is_due(&self, asked: &BTreeMap<u64, Asked>, now: Timestamp) -> bool {
        let (last, made) = match asked.get(&self.newest.id) {
            Some(asked) => (asked.at, self.redeliveries + asked.times),
            None => (self.newest.delivered_at, self.redeliveries),
        };
        made == 0 || now.duration_since(last) >= DISTANCES[made.min(DISTANCES.len() - 1)]
    }

    fn redelivery(&self) -> Redelivery {
        Redelivery {
            attempt: self.newest.id,
            guid: self.guid().to_owned(),
            event: self.kind(),
            number: self.redeliveries + 1,
        }
    }

    fn given_up(&self) -> GivenUp {
        GivenUp {
            guid: self.guid().to_owned(),
            event: self.kind(),
            status_code: self.newest.status_code.unwrap_or_default(),
            redeliveries: self.redeliveries,
        }
    }
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
