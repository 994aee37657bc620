use std::collections::BTreeSet;

use proptest::prelude::*;
use shared::signature::SigningKeys;

use super::*;
use crate::anchor::Reason;
use crate::fingerprint::{Fingerprint, HunkId, Place};
use crate::verdict::{Category, Finding, Opinion, Side};

const MARKERS: &str = "<!-- ai-relay v1 delivery=d head=0123456789 mac=00 -->";

fn marker() -> Marker {
    Marker::new(&SigningKeys::parse(&"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".into()).unwrap())
}

fn finding(title: &str, body: &str) -> Finding {
    Finding {
        path: "src/cache.rs".into(),
        line: 12,
        end_line: 14,
        side: Side::Right,
        quote: "let n = len - 1;".into(),
        severity: Severity::Major,
        category: Category::Bug,
        rule: String::new(),
        title: title.into(),
        body: body.into(),
        suggestion: Some("let n = len.saturating_sub(1);".into()),
    }
}

fn told(line: u32, title: &str, standing: Standing, url: Option<&str>) -> Told {
    let place = Place::new("src/cache.rs", title, None);
    Told {
        fingerprint: Fingerprint::new(place, "rule", Category::Bug),
        severity: if line > 20 { Severity::Minor } else { Severity::Blocker },
        path: "src/cache.rs".into(),
        line,
        side: Side::Right,
        title: title.into(),
        standing,
        is_anchored: true,
        has_comment: url.is_some(),
        url: url.map(str::to_owned),
    }
}

fn review() -> Review {
    Review {
        summary: "Adds a cache in front of the store. Entries are never evicted, says @octocat.".into(),
        opinion: Opinion::RequestChanges,
        findings: vec![],
        remember: vec![],
    }
}

fn frame(left_out: &[LeftOut]) -> Frame<'_> {
    Frame {
        head: "0123456789",
        model: "claude-sonnet-5-5",
        label: None,
        notes: &[],
        left_out,
        markers: MARKERS,
    }
}

#[test]
fn a_first_summary_reads_like_this() {
    let left_out = [
        LeftOut { path: "Cargo.lock".into(), reason: "lock file".into(), is_gap: false },
        LeftOut { path: "a`b\n.bin".into(), reason: "binary".into(), is_gap: false },
    ];
    let plain =
        Finding { line: 0, end_line: 0, suggestion: None, quote: String::new(), ..finding("No test", "") };
    let kept = [
        Kept {
            finding: finding("Underflow on an empty cache", "`len` can be 0.\n\n<img src=x>"),
            reason: Some(Reason::QuoteNotFound),
        },
        Kept { finding: plain, reason: None },
    ];
    insta::assert_snapshot!(body(&review(), &kept, Some(&State::default()), frame(&left_out)));
}

#[test]
fn a_later_summary_says_where_everything_stands() {
    let findings = vec![
        told(
            12,
            "Underflow on an empty cache",
            Standing::Open,
            Some("https://github.com/o/r/pull/7#discussion_r1"),
        ),
        told(
            30,
            "A [trap](http://evil) in a title",
            Standing::Open,
            Some("https://github.com/o/r/pull/7#discussion_r2"),
        ),
        told(0, "No test", Standing::Open, None),
        told(9, "SQL from user input", Standing::Fixed, Some("https://github.com/o/r/pull/7#discussion_r3")),
        told(8, "Too long", Standing::Dismissed, None),
    ];
    let state = State { head: "0123456789".into(), rounds: 2, findings, ..State::default() };
    let notes = ["Three rounds brought no agreement: a person should look at this.".to_owned()];
    let frame = Frame {
        label: Some("claude-haiku-5-5, since today's budget is used up"),
        notes: &notes,
        ..frame(&[])
    };
    insta::assert_snapshot!(body(&review(), &[], Some(&state), frame));
}

#[test]
fn a_review_without_findings_is_its_summary() {
    insta::assert_snapshot!(body(&review(), &[], None, frame(&[])));
}

#[test]
fn the_limit_costs_details_never_a_finding_or_the_marker() {
    let kept: Vec<Kept> = (0..50)
        .map(|i| Kept { finding: finding(&format!("Number {i}."), &"long ".repeat(1200)), reason: None })
        .collect();
    let text = body(&review(), &kept, None, frame(&[]));
    assert!(text.chars().count() <= LONGEST_BODY, "{}", text.chars().count());
    assert!((0..50).all(|i| text.contains(&format!("Number {i}."))));
    assert!(text.ends_with(MARKERS));
}

fn state(findings: usize, hunks: usize) -> State {
    let hunk = |n: usize| -> HunkId {
        serde_json::from_value((n as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15).into()).unwrap()
    };
    State {
        head: "18be027a1a547219327de627f5f81533f432e0f2".into(),
        rounds: 3,
        gaps: 1,
        paused: Some("ann".into()),
        findings: (0..findings)
            .map(|n| told(1, &format!("finding {n}"), Standing::Open, Some("u")))
            .collect(),
        hunks: (0..hunks).map(hunk).collect(),
    }
}

#[test]
fn the_state_is_found_again_and_only_ours_counts() {
    let state = state(3, 5);
    let sealed = seal(&marker(), "o/r", 7, "d1", &state);
    let body = format!("text\n\n{MARKERS}\n{sealed}");
    assert_eq!(open(&marker(), &body, "o/r", 7), Some(state));
    assert_eq!(open(&marker(), &body, "o/r", 8), None);
    let forged = sealed.replace("note=", "note=A");
    assert_eq!(open(&marker(), &forged, "o/r", 7), None);
    assert!(!sealed.trim_end_matches("-->").contains("-->"));
}

#[test]
fn a_large_state_stays_within_the_comment() {
    let sealed = seal(&marker(), "o/r", 7, "d1", &state(200, 1_500));
    assert!(sealed.len() < LARGEST_STATE + 1_000, "{}", sealed.len());
    assert_eq!(open(&marker(), &sealed, "o/r", 7), Some(state(200, 1_500)));
    let huge = seal(&marker(), "o/r", 7, "d1", &state(200, 4_000));
    let opened = open(&marker(), &huge, "o/r", 7).unwrap();
    assert_eq!((opened.findings.len(), opened.hunks), (200, BTreeSet::new()));
}

proptest! {
    #[test]
    fn any_note_is_a_state_or_none(note in "[A-Za-z0-9+/=]{0,80}") {
        let _ = unpack(&note);
        let bond = Bond { repository: "o/r", subject: "pull/7/summary", head: "abc" };
        prop_assert!(open(&marker(), &marker().make(bond, "d", &note), "o/r", 7).is_some());
    }
}
