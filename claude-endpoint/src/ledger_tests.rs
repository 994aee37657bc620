use super::*;

pub(crate) fn entry(delivery: &str, repository: &str, cost_usd: f64) -> Entry {
    Entry {
        at: "2026-11-22T10:00:00Z".parse().unwrap(),
        delivery: delivery.into(),
        repository: repository.into(),
        subject: "pull/7".into(),
        purpose: Purpose::Review,
        reviewer: "anthropic".into(),
        model: "claude-sonnet-5-5".into(),
        usage: Usage { input_tokens: 1_000, output_tokens: 100, cached_tokens: 10, cache_write_tokens: 0 },
        cost_usd: Some(cost_usd),
        useful: true,
        is_estimated: false,
    }
}

fn now() -> Timestamp {
    "2026-11-22T12:00:00Z".parse().unwrap()
}

fn entries(path: &Path) -> Vec<Entry> {
    read(path).unwrap().collect::<io::Result<_>>().unwrap()
}

fn today(ledger: &Ledger) -> f64 {
    ledger.spent(now(), "").today
}

#[tokio::test]
async fn what_was_recorded_is_known_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("new/ledger.jsonl");
    let ledger = Ledger::open(&path, now()).unwrap();
    ledger.record(entry("d1", "o/r", 0.5)).await;
    ledger.record(Entry { cost_usd: None, is_estimated: true, ..entry("d2", "o/s", 0.0) }).await;
    for ledger in [ledger, Ledger::open(&path, now()).unwrap()] {
        assert_eq!(ledger.spent(now(), "d1"), Spent { today: 0.5, review: 0.5 });
        let sums: Vec<_> = ledger.sums(now()).into_iter().map(|(name, sum)| (name, sum.questions)).collect();
        assert_eq!(sums, [("o/r".to_owned(), 1), ("o/s".to_owned(), 1)]);
    }
    let lines = fs::read_to_string(&path).unwrap();
    let line: serde_json::Value = serde_json::from_str(lines.lines().next().unwrap()).unwrap();
    let expected = serde_json::json!({"at": "2026-11-22T10:00:00Z", "delivery": "d1", "repository": "o/r",
        "subject": "pull/7", "purpose": "review", "reviewer": "anthropic", "model": "claude-sonnet-5-5",
        "input_tokens": 1_000, "output_tokens": 100, "cache_read_input_tokens": 10, "cache_creation_input_tokens": 0,
        "cost_usd": 0.5, "useful": true});
    assert_eq!(line, expected);
    assert_eq!(entries(&path)[0], entry("d1", "o/r", 0.5));
    use std::os::unix::fs::PermissionsExt;
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
}

/// A kill can leave any beginning of a line behind.
#[tokio::test]
async fn a_torn_line_costs_itself_and_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.jsonl");
    let whole = serde_json::to_string(&entry("d1", "o/r", 1.0)).unwrap() + "\n";
    for cut in (0..whole.len()).step_by(7).chain([whole.len() - 1, whole.len()]) {
        fs::write(&path, format!("{whole}{}", &whole[..cut])).unwrap();
        let ledger = Ledger::open(&path, now()).unwrap();
        ledger.record(entry("d2", "o/r", 1.0)).await;
        // what lacks only its line break is whole
        let whole_lines = if cut + 1 >= whole.len() { 3 } else { 2 };
        assert_eq!(entries(&path).len(), whole_lines, "{cut}");
        assert_eq!(today(&ledger), f64::from(u8::try_from(whole_lines).unwrap()));
        assert_eq!(today(&Ledger::open(&path, now()).unwrap()), today(&ledger));
    }
}

#[tokio::test]
async fn a_file_full_of_anything_is_opened() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.jsonl");
    let line = serde_json::to_string(&entry("d1", "o/r", 1.0)).unwrap();
    let mut junk = vec![0xFF; 200_000];
    junk.extend_from_slice(format!("\n{{}}\n\n{line}\nnull\n").as_bytes());
    fs::write(&path, junk).unwrap();
    assert_eq!(today(&Ledger::open(&path, now()).unwrap()), 1.0);
    assert!(Ledger::open(folder.path(), now()).is_err(), "a folder is no file");
}

#[tokio::test]
async fn lines_older_than_the_ledger_keeps_go_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.jsonl");
    let at = |at: &str, delivery| Entry { at: at.parse().unwrap(), ..entry(delivery, "o/r", 1.0) };
    let all =
        [at("2025-10-17T23:59:59Z", "old"), at("2025-10-18T00:00:00Z", "kept"), entry("d1", "o/r", 1.0)];
    let text: String = all.iter().map(|entry| serde_json::to_string(entry).unwrap() + "\n").collect();
    fs::write(&path, &text).unwrap();
    fs::write(path.with_extension("new"), "left behind by a kill").unwrap();
    let ledger = Ledger::open(&path, now()).unwrap();
    ledger.record(entry("d2", "o/r", 1.0)).await;
    let kept: Vec<_> = entries(&path).into_iter().map(|entry| entry.delivery).collect();
    assert_eq!(kept, ["kept", "d1", "d2"]);
    assert!(!path.with_extension("new").exists());
}

#[test]
fn what_is_held_is_free_again_when_it_is_dropped() {
    let ledger = Ledger::in_memory();
    let (spent, review) = ledger.decide(now(), "d1", |spent| (spent, 2.0));
    assert_eq!((spent, today(&ledger)), (Spent::default(), 2.0));
    let question = ledger.hold_question("d1", 0.5);
    assert_eq!(ledger.spent(now(), "d1"), Spent { today: 2.0, review: 2.0 });
    question.settle(0.25);
    assert_eq!(today(&ledger), 1.75);
    drop(ledger.hold_question("d1", 1.0));
    assert_eq!(today(&ledger), 1.75);
    drop(review);
    assert_eq!(today(&ledger), 0.0);
}
