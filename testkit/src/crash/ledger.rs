//! What a target remembers. Its process is never killed, so this is as durable as a real endpoint's inbox.

use std::collections::HashMap;

use jiff::Timestamp;
use serde_json::{Map, json};
use sha2::{Digest, Sha256};
use shared::{
    event::Envelope,
    outcome::{Feed, Outcome, State},
};

/// The most outcomes in one answer.
const MOST: usize = 100;

/// The effect that a delivery had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Effect {
    /// How often; more than once is what must never be.
    pub(super) times: u32,
    /// SHA-256 of GitHub's payload as it arrived here.
    pub(super) digest: [u8; 32],
    redelivery: u32,
}

/// Everything that one target took.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    effects: HashMap<String, Effect>,
    order: Vec<String>,
    outcomes: Vec<Outcome>,
    again: u64,
}

impl Ledger {
    /// Works on an event unless it is known, as an endpoint's inbox does: a higher `redelivery` asks for it once more.
    /// Whether it had an effect.
    pub(super) fn take(&mut self, envelope: &Envelope) -> bool {
        let digest = Sha256::digest(envelope.payload.get()).into();
        let first = Effect { times: 0, digest, redelivery: envelope.redelivery };
        let effect = self.effects.entry(envelope.id.clone()).or_insert(first);
        if effect.times > 0 && envelope.redelivery <= effect.redelivery {
            self.again += 1;
            return false;
        }
        effect.times += 1;
        effect.redelivery = envelope.redelivery;
        self.order.push(envelope.id.clone());
        self.outcomes.push(Outcome {
            seq: self.outcomes.len() as u64 + 1,
            delivery: envelope.id.clone(),
            redelivery: envelope.redelivery,
            state: State::Completed,
            summary: "done".to_owned(),
            url: None,
            detail: Map::new(),
            finished_at: Timestamp::now(),
        });
        true
    }

    /// The outcome as a duplicate's answer carries it.
    pub(super) fn finish() -> serde_json::Value {
        json!({"state": "completed", "summary": "done"})
    }

    /// The outcomes after a position.
    pub(super) fn feed(&self, after: u64) -> Feed {
        let from = usize::try_from(after).unwrap_or(usize::MAX);
        if from > self.outcomes.len() {
            return Feed { outcomes: Vec::new(), next: 0, epoch: None };
        }
        let outcomes: Vec<Outcome> = self.outcomes.iter().skip(from).take(MOST).cloned().collect();
        let next = outcomes.last().map_or(after, |last| last.seq);
        Feed { outcomes, next, epoch: None }
    }

    /// What a delivery did here.
    pub(super) fn effect(&self, id: &str) -> Option<Effect> {
        self.effects.get(id).copied()
    }

    /// The deliveries in the order in which they had their effect.
    pub(super) fn order(&self) -> &[String] {
        &self.order
    }

    /// How often a known delivery came again and was recognised.
    pub(super) fn again(&self) -> u64 {
        self.again
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn envelope(id: &str, redelivery: u32) -> Envelope {
        let json = json!({"version": 1, "id": id, "event": "x", "action": null, "redelivery": redelivery,
            "received_at": "2026-11-22T10:00:00Z", "subject": {"kind": "other"}, "payload": {"a": 1}});
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn a_known_delivery_has_no_second_effect_unless_it_is_asked_for() {
        let mut ledger = Ledger::default();
        assert!(ledger.take(&envelope("a", 0)));
        assert!(!ledger.take(&envelope("a", 0)));
        assert_eq!((ledger.effect("a").unwrap().times, ledger.again()), (1, 1));
        assert!(ledger.take(&envelope("a", 1)));
        assert_eq!(ledger.effect("a").unwrap().times, 2);
    }

    #[test]
    fn a_reader_that_is_past_the_end_starts_again() {
        let mut ledger = Ledger::default();
        for n in 0..150 {
            ledger.take(&envelope(&n.to_string(), 0));
        }
        let first = ledger.feed(0);
        assert_eq!((first.outcomes.len(), first.next), (100, 100));
        assert_eq!(ledger.feed(100).next, 150);
        assert_eq!((ledger.feed(150).next, ledger.feed(151).next), (150, 0));
    }
}
