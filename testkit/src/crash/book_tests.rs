use serde_json::json;
use sha2::{Digest, Sha256};

use super::*;

fn sent(number: u64) -> Sent {
    let digest = Sha256::digest("{}").into();
    Sent { subject: "o/r#1".into(), number, digest, heard: Heard::Nothing, waited: true }
}

fn taken() -> Heard {
    Heard::Taken(Some(vec!["claude".into()]))
}

/// A book with the deliveries `ids`, each acknowledged.
fn book(ids: &[&str]) -> Book {
    let mut book = Book::default();
    for (number, id) in (0..).zip(ids) {
        book.begin(id, sent(number));
        book.hear(id, taken());
    }
    book
}

fn ledger(ids: &[(&str, u32)]) -> Ledger {
    let mut ledger = Ledger::default();
    for (id, redelivery) in ids {
        let envelope = json!({"version": 1, "id": id, "event": "x", "action": null, "redelivery": redelivery,
            "received_at": "2026-11-22T10:00:00Z", "subject": {"kind": "other"}, "payload": {}});
        ledger.take(&serde_json::from_value(envelope).unwrap());
    }
    ledger
}

fn shown(states: &[(&str, &str)]) -> Shown {
    let part = |state: &str| Part { state: state.into(), attempts: 1, error: None };
    states.iter().map(|(id, state)| ((*id).to_owned(), [("claude".to_owned(), part(state))].into())).collect()
}

fn account(book: &Book, states: &[(&str, &str)], took: &[(&str, u32)]) -> Account {
    compare(book, &shown(states), &[("claude", &ledger(took))])
}

#[test]
fn nothing_is_wrong_when_each_arrived_once_in_order() {
    let done = [("a", "completed"), ("b", "superseded"), ("c", "completed")];
    let account = account(&book(&["a", "b", "c"]), &done, &[("a", 0), ("a", 0), ("c", 0)]);
    assert_eq!(account.wrong(), Vec::<String>::new());
    assert_eq!((account.acknowledged, account.again), (3, 1));
}

#[test]
fn each_kind_of_wrong_is_found() {
    let two = book(&["a", "b"]);
    let done = [("a", "completed"), ("b", "completed")];
    assert_eq!(account(&two, &done[..1], &[("a", 0)]).lost, ["b → the relay does not know it"]);
    assert_eq!(account(&two, &done, &[("a", 0)]).lost, ["b → claude (completed)"]);
    assert_eq!(account(&two, &done, &[("a", 0), ("b", 0), ("a", 1)]).doubled, ["a → claude"]);
    assert_eq!(account(&two, &done, &[("b", 0), ("a", 0)]).disordered, ["a → claude"]);
    let dead = account(&two, &[done[0], ("b", "dead")], &[("a", 0), ("b", 0)]);
    assert_eq!(dead.unended, ["b → claude (dead)"]);
    let mut other = Book::default();
    other.begin("a", Sent { digest: [0; 32], ..sent(0) });
    assert_eq!(account(&other, &done[..1], &[("a", 0)]).altered, ["a → claude"]);
    other.hear("a", Heard::Refused);
    assert_eq!(account(&other, &done[..1], &[]).half_stored, ["a"]);
}

#[test]
fn a_delivery_whose_answer_was_cut_off_may_be_there_or_not() {
    let mut book = Book::default();
    book.begin("a", sent(0));
    book.hear("a", Heard::Nothing);
    book.hear("a", Heard::Refused);
    assert!(account(&book, &[], &[]).wrong().is_empty());
    assert!(account(&book, &[("a", "completed")], &[("a", 0)]).wrong().is_empty());
    book.hear("a", taken());
    assert_eq!(account(&book, &[], &[]).lost.len(), 1);
}
