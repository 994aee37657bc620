//! What the senders know, and the comparison with what the relay and its targets know. Nothing here waits or sends.

use std::collections::{BTreeSet, HashMap, HashSet};

use super::ledger::Ledger;

/// Where an acknowledged delivery is that the relay does not show at all.
pub(super) const UNKNOWN: &str = "the relay does not know it";

/// The last that a sender heard of a delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Heard {
    /// Nothing: the answer was cut off. The relay may have it or not.
    Nothing,
    /// An error status: the relay must not have it.
    Refused,
    /// It is on disk; the answer named these targets, or none if it said `duplicate`.
    Taken(Option<Vec<String>>),
}

/// A delivery as its sender remembers it.
#[derive(Debug, Clone)]
pub(super) struct Sent {
    /// Its pull request or branch.
    pub(super) subject: String,
    /// Its place among the deliveries of its subject.
    pub(super) number: u64,
    /// SHA-256 of the body.
    pub(super) digest: [u8; 32],
    /// The last answer.
    pub(super) heard: Heard,
    /// Whether the sender waited for its answer before it sent the subject's next one.
    pub(super) waited: bool,
}

/// Everything that was sent, by delivery id.
#[derive(Debug, Default)]
pub(super) struct Book(HashMap<String, Sent>);

impl Book {
    /// Before it is sent: from now on it may arrive.
    pub(super) fn begin(&mut self, id: &str, sent: Sent) {
        self.0.entry(id.to_owned()).or_insert(sent);
    }

    /// An answer, or that there was none.
    pub(super) fn hear(&mut self, id: &str, heard: Heard) {
        let Some(sent) = self.0.get_mut(id) else { return };
        match (&sent.heard, heard) {
            // What was acknowledged once stays acknowledged.
            (Heard::Taken(_), _) => {}
            // One whose first answer was cut off may be there, also if it is refused now.
            (Heard::Nothing, Heard::Refused) if !sent.waited => {}
            (_, heard) => {
                sent.waited &= matches!(heard, Heard::Taken(_));
                sent.heard = heard;
            }
        }
    }

    /// How many of them were heard of like that.
    pub(super) fn count(&self, like: impl Fn(&Heard) -> bool) -> usize {
        self.0.values().filter(|sent| like(&sent.heard)).count()
    }

    /// How many were acknowledged.
    pub(super) fn taken(&self) -> usize {
        self.count(|heard| matches!(heard, Heard::Taken(_)))
    }
}

/// One target's part of a delivery, as the relay shows it.
#[derive(Debug, Clone)]
pub(crate) struct Part {
    /// `pending`, `dead`, `completed`, ….
    pub(crate) state: String,
    /// Attempts that counted.
    pub(crate) attempts: u64,
    /// The last error.
    pub(crate) error: Option<String>,
}

/// The relay's deliveries: by id, then by target.
pub(crate) type Shown = HashMap<String, HashMap<String, Part>>;

/// What the comparison found. The lists hold `delivery → target` and are empty when all is well.
#[derive(Debug, Default, Clone)]
pub(super) struct Account {
    /// Deliveries that left a sender.
    pub(super) sent: usize,
    /// Of these: acknowledged.
    pub(super) acknowledged: usize,
    /// Answered with an error.
    pub(super) refused: usize,
    /// Never answered.
    pub(super) unknown: usize,
    /// Handed over again after a crash or a fault, and recognised by the target.
    pub(super) again: u64,
    /// The most attempts that one hand-over took.
    pub(super) attempts: u64,
    /// Acknowledged and not handed over.
    pub(super) lost: Vec<String>,
    /// Had its effect more than once.
    pub(super) doubled: Vec<String>,
    /// Arrived as other bytes than GitHub sent.
    pub(super) altered: Vec<String>,
    /// Handed over before an earlier one of its subject.
    pub(super) disordered: Vec<String>,
    /// Answered with an error and there all the same.
    pub(super) half_stored: Vec<String>,
    /// Acknowledged, and the relay has no end to show for it.
    pub(super) unended: Vec<String>,
}

impl Account {
    /// What is wrong, with the ids.
    pub(super) fn wrong(&self) -> Vec<String> {
        let lists = [
            ("acknowledged but not handed over", &self.lost),
            ("twice in effect", &self.doubled),
            ("altered on the way", &self.altered),
            ("out of order", &self.disordered),
            ("refused and there all the same", &self.half_stored),
            ("without an end at the relay", &self.unended),
        ];
        let told = |(what, ids): (&str, &Vec<String>)| {
            let shown: Vec<&str> = ids.iter().take(5).map(String::as_str).collect();
            let more = if ids.len() > shown.len() { ", …" } else { "" };
            (!ids.is_empty()).then(|| format!("{} {what}: {}{more}", ids.len(), shown.join(", ")))
        };
        lists.into_iter().filter_map(told).collect()
    }
}

/// Compares what was sent with what the relay shows and what each target took.
pub(super) fn compare(book: &Book, shown: &Shown, ledgers: &[(&str, &Ledger)]) -> Account {
    let mut account = Account {
        sent: book.0.len(),
        acknowledged: book.taken(),
        refused: book.count(|heard| *heard == Heard::Refused),
        unknown: book.count(|heard| *heard == Heard::Nothing),
        again: ledgers.iter().map(|(_, ledger)| ledger.again()).sum(),
        attempts: shown.values().flat_map(HashMap::values).map(|part| part.attempts).max().unwrap_or(0),
        ..Account::default()
    };
    for (id, sent) in &book.0 {
        match &sent.heard {
            Heard::Taken(targets) => missing(&mut account, id, targets.as_ref(), shown.get(id), ledgers),
            Heard::Refused if shown.contains_key(id) => account.half_stored.push(id.clone()),
            Heard::Refused | Heard::Nothing => {}
        }
        for (target, ledger) in ledgers {
            let Some(effect) = ledger.effect(id) else { continue };
            let place = format!("{id} → {target}");
            if effect.times > 1 {
                account.doubled.push(place.clone());
            }
            if effect.digest != sent.digest {
                account.altered.push(place);
            }
        }
    }
    for (target, ledger) in ledgers {
        account.disordered.extend(disordered(book, ledger).into_iter().map(|id| format!("{id} → {target}")));
    }
    account
}

/// An acknowledged delivery has had its effect at each of its targets, or a newer one took its place.
fn missing(
    account: &mut Account,
    id: &str,
    named: Option<&Vec<String>>,
    shown: Option<&HashMap<String, Part>>,
    ledgers: &[(&str, &Ledger)],
) {
    let Some(shown) = shown else {
        account.lost.push(format!("{id} → {UNKNOWN}"));
        return;
    };
    let wanted: BTreeSet<&str> =
        shown.keys().chain(named.into_iter().flatten()).map(String::as_str).collect();
    for target in wanted {
        let state = shown.get(target).map_or("absent", |part| part.state.as_str());
        let arrived = ledgers.iter().any(|(name, ledger)| *name == target && ledger.effect(id).is_some());
        if !arrived && state != "superseded" {
            account.lost.push(format!("{id} → {target} ({state})"));
        }
        if !matches!(state, "completed" | "superseded") {
            account.unended.push(format!("{id} → {target} ({state})"));
        }
    }
}

/// Deliveries that had their effect after a later one of their subject, where the sender waited for both answers.
fn disordered(book: &Book, ledger: &Ledger) -> Vec<String> {
    let mut newest: HashMap<&str, u64> = HashMap::new();
    let mut seen = HashSet::new();
    let mut found = Vec::new();
    for id in ledger.order() {
        let Some(sent) = book.0.get(id).filter(|sent| sent.waited) else { continue };
        if !seen.insert(id) {
            continue;
        }
        let newest = newest.entry(&sent.subject).or_insert(sent.number);
        if sent.number < *newest {
            found.push(id.clone());
        }
        *newest = sent.number.max(*newest);
    }
    found
}

#[cfg(test)]
#[path = "book_tests.rs"]
mod tests;
