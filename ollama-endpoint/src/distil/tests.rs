#![allow(clippy::needless_pass_by_value, reason = "`json!` makes values")]

mod provenance;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn event(event: &str, action: Option<&str>, subject: Value, payload: Value) -> Envelope {
    serde_json::from_value(json!({
        "version": 1, "id": "d1", "event": event, "action": action, "received_at": "2026-11-22T10:00:00Z",
        "repository": {"full_name": "octo/app", "private": true, "default_branch": "main"},
        "sender": {"login": "ann", "kind": "user"}, "subject": subject, "payload": payload,
    }))
    .unwrap()
}

fn other_event(name: &str, action: &str, payload: Value) -> Envelope {
    event(name, Some(action), json!({"kind": "other"}), payload)
}

fn pushed(git_ref: &str, after: &str, forced: bool, commits: Value) -> Envelope {
    let subject = json!({"kind": "push", "ref": git_ref, "before": "1".repeat(40), "after": after, "commits": 1, "forced": forced});
    event("push", None, subject, json!({"commits": commits, "compare": "https://example.test/compare"}))
}

fn commit(id: &str, message: &str) -> Value {
    json!({"id": id, "message": message, "added": ["src/new.rs"], "modified": ["src/lib.rs"], "removed": []})
}

fn pull_request(action: &str, merged: bool) -> Envelope {
    other_event(
        "pull_request",
        action,
        json!({"pull_request": {"number": 7, "title": "Retry with backoff", "merged": merged, "user": {"login": "jules"},
            "body": "<!-- template -->\nGitHub answers 502 now and then.\n\n\n\nDecision: at most five attempts.",
            "html_url": "https://example.test/pull/7", "head": {"ref": "retry"}, "base": {"ref": "main"}}}),
    )
}

fn shown(envelope: &Envelope) -> String {
    let Distilled { draft, junk, .. } = super::envelope(envelope);
    assert_eq!(draft.indexed, junk.is_none());
    format!(
        "[{}] branch={:?} url={:?} junk={junk:?}\n{}",
        draft.kind, draft.source.branch, draft.source.url, draft.text
    )
}

#[test]
fn a_push_tells_its_commits_and_files() {
    let commits = json!([
        commit("a1b2c3d4e5f6", "Cap the retries\n\nFive is enough."),
        commit("ffff0000aaaa", "Merge branch 'main' into x")
    ]);
    insta::assert_snapshot!(shown(&pushed("refs/heads/main", &"2".repeat(40), false, commits)), @r#"
    [change] branch=Some("main") url=Some("https://example.test/compare") junk=None
    ann pushed 1 commit to main
    - a1b2c3d4 Cap the retries
      Five is enough.
    Files: src/lib.rs, src/new.rs
    "#);
}

#[test]
fn pushes_that_say_nothing_are_junk() {
    let junk = |envelope: &Envelope| super::envelope(envelope).junk;
    let head = "2".repeat(40);
    assert!(junk(&pushed("refs/heads/x", &"0".repeat(40), false, json!([]))).is_some());
    assert!(junk(&pushed("refs/heads/x", &head, false, json!([]))).is_some());
    assert!(
        junk(&pushed("refs/heads/x", &head, false, json!([commit("a", "Merge pull request #3 from o/x")])))
            .is_some()
    );
    assert!(junk(&pushed("refs/heads/x", &head, true, json!([]))).is_none(), "a rewritten history is news");
    assert!(junk(&pushed("refs/tags/v1", &head, false, json!([]))).is_none());
}

#[test]
fn a_merged_pull_request_keeps_its_reasons() {
    insta::assert_snapshot!(shown(&pull_request("closed", true)), @r#"
    [change] branch=Some("retry") url=Some("https://example.test/pull/7") junk=None
    Pull request #7 "Retry with backoff" merged by ann (author jules)
    Branch retry into main

    GitHub answers 502 now and then.

    Decision: at most five attempts.
    "#);
    assert!(shown(&pull_request("closed", false)).starts_with("[decision]"));
    assert!(shown(&pull_request("ready_for_review", false)).contains("ready for review by ann"));
    assert!(super::envelope(&pull_request("synchronize", false)).junk.is_some());
    assert!(super::envelope(&pull_request("labeled", false)).junk.is_some());
}

#[test]
fn comments_are_kept_unless_empty_taken_back_ours_or_a_bots() {
    let comment = |action: &str, body: &str, kind: &str| {
        let mut envelope = other_event(
            "issue_comment",
            action,
            json!({"issue": {"number": 5, "title": "Flaky test"}, "comment": {"body": body}}),
        );
        envelope.sender = Some(serde_json::from_value(json!({"login": "ann", "kind": kind})).unwrap());
        super::envelope(&envelope)
    };
    let kept = comment("created", "It races with the timer.", "user");
    assert_eq!((kept.draft.kind.as_str(), kept.junk), ("discussion", None));
    assert_eq!(kept.draft.text, "ann commented on #5 \"Flaky test\"\n\nIt races with the timer.");
    assert!(comment("created", "<!-- nothing -->", "user").junk.is_some());
    assert!(comment("deleted", "It races.", "user").junk.is_some());
    assert!(comment("created", "Coverage 87 %", "bot").junk.is_some());
}

#[test]
fn our_own_words_are_junk_in_every_event_that_carries_them() {
    let body = "Fine. <!-- ai-relay v1 delivery=d -->";
    for (name, action, payload) in [
        ("issue_comment", "created", json!({"issue": {"number": 5}, "comment": {"body": body}})),
        ("commit_comment", "created", json!({"comment": {"body": body}})),
        ("discussion_comment", "created", json!({"discussion": {"number": 3}, "comment": {"body": body}})),
        ("pull_request_review", "submitted", json!({"review": {"state": "commented", "body": body}})),
        ("pull_request_review", "submitted", json!({"review": {"state": "approved", "body": body}})),
        ("pull_request_review_comment", "created", json!({"comment": {"path": "a.rs", "body": body}})),
        ("pull_request_review_comment", "edited", json!({"comment": {"path": "a.rs", "body": body}})),
    ] {
        let junk = super::envelope(&other_event(name, action, payload)).junk.unwrap_or_default();
        assert!(junk.contains("our own"), "{name} {action}: {junk:?}");
    }
}

#[test]
fn what_is_deleted_takes_back_its_address_and_keeps_no_words() {
    let url = "https://example.test/issues/5#issuecomment-1";
    let deleted = |name: &str, payload: Value| super::envelope(&other_event(name, "deleted", payload));
    let comment = json!({"body": "It races.", "html_url": url});
    for name in ["issue_comment", "commit_comment", "discussion_comment", "pull_request_review_comment"] {
        let Distilled { draft, junk, .. } =
            deleted(name, json!({"issue": {"number": 5, "title": "Flaky"}, "comment": comment}));
        assert_eq!((draft.takes_back(), junk), (Some((url, name)), Some(TAKEN_BACK)));
        assert_eq!(draft.text, format!("ann took back what was said at {url}"));
    }
    let issue =
        deleted("issues", json!({"issue": {"number": 5, "html_url": "https://example.test/issues/5"}}));
    assert_eq!(issue.draft.takes_back(), Some(("https://example.test/issues/5", "issues")));
    let release =
        deleted("release", json!({"release": {"tag_name": "v2", "html_url": "https://example.test/v2"}}));
    assert_eq!(release.draft.takes_back(), None, "a release published again has the same address");
    let said: Update = serde_json::from_value(
        json!({"repository": "o/r", "context": "x", "kind": RETRACTION, "event_type": "issues", "url": url}),
    )
    .unwrap();
    assert_eq!(super::update(&said, "2026-11-22T10:00:00Z".parse().unwrap()).draft.takes_back(), None);
}

#[test]
fn a_review_is_a_decision_even_without_words() {
    let review = |state: &str, body: Value| {
        other_event(
            "pull_request_review",
            "submitted",
            json!({"pull_request": {"number": 7, "title": "Retry"}, "review": {"state": state, "body": body}}),
        )
    };
    assert_eq!(
        super::envelope(&review("approved", Value::Null)).draft.text,
        "ann approved pull request #7 \"Retry\""
    );
    assert_eq!(super::envelope(&review("approved", Value::Null)).junk, None);
    assert!(super::envelope(&review("COMMENTED", Value::Null)).junk.is_some());
    assert!(
        super::envelope(&review("changes_requested", json!("Unbounded loop.")))
            .draft
            .text
            .contains("requested changes on")
    );
    let inline = other_event(
        "pull_request_review_comment",
        "created",
        json!({"pull_request": {"number": 7, "title": "Retry"}, "comment": {"path": "src/a.rs", "line": 12, "body": "Unbounded."}}),
    );
    assert_eq!(
        super::envelope(&inline).draft.text,
        "ann on pull request #7 \"Retry\", src/a.rs:12\n\nUnbounded."
    );
}

#[test]
fn issues_releases_and_failed_runs() {
    let closed = other_event(
        "issues",
        "closed",
        json!({"issue": {"number": 5, "title": "Leak", "state_reason": "not_planned", "body": "Grows."}}),
    );
    assert_eq!(
        super::envelope(&closed).draft.text,
        "Issue #5 \"Leak\" closed as not planned by ann\n\nGrows."
    );
    let release = other_event(
        "release",
        "published",
        json!({"release": {"tag_name": "v2", "name": "Two", "body": "Breaking."}}),
    );
    assert_eq!(super::envelope(&release).draft.text, "Release v2 \"Two\" published by ann\n\nBreaking.");
    let run = |conclusion: &str| {
        other_event(
            "workflow_run",
            "completed",
            json!({"workflow_run": {"name": "CI", "conclusion": conclusion, "head_branch": "main",
            "run_number": 42, "head_commit": {"id": "abcdef0123", "message": "Cap the retries\n\nx"}}}),
        )
    };
    assert_eq!(
        super::envelope(&run("timed_out")).draft.text,
        "Workflow \"CI\" ended as timed out on main (run 42)\nCommit abcdef01 Cap the retries"
    );
    assert!(super::envelope(&run("success")).junk.is_some());
}

#[test]
fn an_unknown_event_is_a_note_if_it_carries_text() {
    let discussion = other_event(
        "discussion_comment",
        "created",
        json!({"discussion": {"number": 3, "title": "Which queue?"}, "comment": {"body": "SQLite will do."}}),
    );
    let distilled = super::envelope(&discussion);
    assert_eq!(
        distilled.draft.text,
        "discussion comment created by ann: #3 \"Which queue?\"\n\nSQLite will do."
    );
    assert_eq!(distilled.junk, None);
    assert!(super::envelope(&other_event("star", "created", json!({}))).junk.is_some());
    let mut of_an_organisation = discussion;
    of_an_organisation.repository = None;
    assert_eq!(super::envelope(&of_an_organisation).junk, Some("it belongs to no repository"));
}

#[test]
fn an_update_is_kept_in_its_own_words_up_to_the_limit() {
    let mut sent: Update =
        serde_json::from_value(json!({"repository": "o/r", "context": format!("  {}", "é".repeat(9000))}))
            .unwrap();
    let at = "2026-11-22T10:00:00Z".parse().unwrap();
    let draft = super::update(&sent, at).draft;
    assert!(draft.text.len() <= 8 * 1024 && draft.text.ends_with("é\n… (cut)"));
    assert_eq!((draft.kind.as_str(), draft.created_at), ("note", at));
    sent.kind = Some("convention".into());
    sent.timestamp = Some("2020-01-01T00:00:00Z".parse().unwrap());
    let draft = super::update(&sent, at).draft;
    assert_eq!((draft.kind.as_str(), Some(draft.created_at)), ("convention", sent.timestamp));
}

#[test]
fn what_strangers_say_is_marked() {
    use shared::memory::Trust::{Fork, Maintainer, Member};
    let public = |name: &str, payload: Value| {
        let mut envelope = other_event(name, "created", payload);
        envelope.repository.as_mut().unwrap().private = false;
        envelope
    };
    let pull =
        |head: &str| json!({"author_association": "CONTRIBUTOR", "head": {"repo": {"full_name": head}}});
    let by = |association: &str| json!({"body": "x", "author_association": association});
    for (envelope, trust) in [
        (public("pull_request", json!({"pull_request": pull("Octo/App")})), Some(Member)),
        (public("pull_request", json!({"pull_request": pull("mallory/app")})), Some(Fork)),
        (public("pull_request", json!({"pull_request": {"head": {"repo": null}}})), Some(Fork)),
        (public("issue_comment", json!({"comment": by("NONE"), "issue": by("OWNER")})), Some(Fork)),
        (other_event("issue_comment", "created", json!({"comment": by("NONE")})), Some(Member)),
        (
            public(
                "pull_request_review",
                json!({"review": by("OWNER"), "pull_request": pull("mallory/app")}),
            ),
            Some(Maintainer),
        ),
        (public("issues", json!({"issue": by("CONTRIBUTOR")})), Some(Fork)),
        (
            public(
                "workflow_run",
                json!({"workflow_run": {"head_repository": {"full_name": "mallory/app"}}}),
            ),
            Some(Fork),
        ),
        (pushed("refs/heads/main", &"2".repeat(40), false, json!([commit("a1", "x")])), Some(Member)),
        (public("gollum", json!({})), None),
    ] {
        assert_eq!(super::envelope(&envelope).draft.source.trust, trust, "{envelope:?}");
    }
}

#[test]
fn one_odd_field_hides_nothing_else() {
    let odd = other_event(
        "issue_comment",
        "created",
        json!({"issue": [1, 2], "comment": {"body": "Still here."}, "commits": 7}),
    );
    assert_eq!(super::envelope(&odd).draft.text, "ann commented on #?\n\nStill here.");
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        ".{0,40}".prop_map(Value::from),
    ];
    let key = prop::sample::select(vec![
        "pull_request",
        "issue",
        "comment",
        "review",
        "release",
        "workflow_run",
        "commits",
        "body",
        "number",
        "title",
        "user",
        "head",
        "ref",
        "state",
        "message",
        "id",
        "added",
        "tag_name",
        "conclusion",
        "head_commit",
        "discussion",
    ]);
    leaf.prop_recursive(4, 64, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((key.clone(), inner), 0..6).prop_map(|pairs| pairs
                .into_iter()
                .map(|(k, v)| (k.to_owned(), v))
                .collect::<serde_json::Map<_, _>>()
                .into()),
        ]
    })
}

proptest! {
    #[test]
    fn any_payload_becomes_a_bounded_text(
        name in prop::sample::select(vec!["push", "pull_request", "issue_comment", "pull_request_review", "issues",
            "pull_request_review_comment", "release", "workflow_run", "gollum"]),
        action in ".{0,12}",
        payload in any_json(),
    ) {
        let distilled = super::envelope(&other_event(name, &action, payload));
        prop_assert!(distilled.draft.text.len() <= LONGEST);
        prop_assert!(!distilled.draft.text.contains("<!--"));
    }
}
