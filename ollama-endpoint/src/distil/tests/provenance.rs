//! Where a memory comes from, what a push touches, and what is junk.

use super::*;
use crate::distil;

fn id(letter: &str) -> String {
    letter.repeat(40)
}

fn source(name: &str, payload: Value) -> Source {
    distil::envelope(&other_event(name, "created", payload)).draft.source
}

#[test]
fn every_event_says_whose_it_is_and_what_it_is_about() {
    let pull = json!({"number": 7, "user": {"login": "jules"}, "merged": true, "merge_commit_sha": id("c"),
        "body": "Touches `src/queue.rs`.", "head": {"ref": "retry", "sha": id("b")}});
    let merged = source("pull_request", json!({"pull_request": pull}));
    assert_eq!((merged.author.as_deref(), merged.pull_request), (Some("jules"), Some(7)));
    assert_eq!((merged.commits, merged.paths), (vec![id("b"), id("c")], vec!["src/queue.rs".to_owned()]));
    assert_eq!(merged.agent.as_deref(), Some("ann"), "who did it now");

    let comment = json!({"body": "Unbounded, as in src/b.rs:3", "path": "src/a.rs", "line": 2, "commit_id": id("a"),
        "user": {"login": "bob"}});
    let inline = source("pull_request_review_comment", json!({"pull_request": pull, "comment": comment}));
    assert_eq!((inline.author.as_deref(), inline.pull_request), (Some("bob"), Some(7)));
    assert_eq!(
        (inline.commits, inline.paths),
        (vec![id("a"), id("c")], vec!["src/a.rs".to_owned(), "src/b.rs".to_owned()])
    );

    let review = json!({"state": "approved", "commit_id": id("a"), "user": {"login": "bob"}});
    let review = source("pull_request_review", json!({"pull_request": pull, "review": review}));
    assert_eq!((review.author.as_deref(), review.commits), (Some("bob"), vec![id("a"), id("c")]));

    let issue = json!({"number": 5, "user": {"login": "eve"}});
    let opened = source("issues", json!({"issue": issue}));
    assert_eq!((opened.author.as_deref(), opened.pull_request), (Some("eve"), Some(5)));
    let said = json!({"issue": issue, "comment": {"body": "x", "user": {"login": "bob"}}});
    let said = source("issue_comment", said);
    assert_eq!((said.author.as_deref(), said.pull_request), (Some("bob"), Some(5)));

    let run = json!({"workflow_run": {"head_sha": id("d"), "actor": {"login": "bob"}, "pull_requests": [{"number": 9}]}});
    let run = source("workflow_run", run);
    assert_eq!((run.author.as_deref(), run.pull_request, run.commits), (Some("bob"), Some(9), vec![id("d")]));

    let release = json!({"tag_name": "v2", "target_commitish": "main", "author": {"login": "bob"}});
    let release = source("release", json!({"release": release}));
    assert_eq!((release.author.as_deref(), release.commits.len()), (Some("bob"), 0), "a branch is no commit");
}

fn made(letter: &str, message: &str, author: &str) -> Value {
    json!({"id": id(letter), "message": message, "timestamp": "2026-11-20T11:00:00+01:00", "author": {"username": author},
        "added": ["src/new.rs"], "modified": ["src/lib.rs"], "removed": ["src/old.rs"]})
}

#[test]
fn a_push_tells_its_files_commits_and_pull_request() {
    let push =
        |commits: Value| distil::envelope(&pushed("refs/heads/main", &id("2"), false, commits)).draft.source;
    let both = push(json!([made("a", "One (#7)", "bob"), made("b", "Two (#7)", "bob")]));
    assert_eq!((both.author.as_deref(), both.pull_request), (Some("bob"), Some(7)));
    assert_eq!((both.commits, both.branch.as_deref()), (vec![id("a"), id("b")], Some("main")));
    assert_eq!(both.paths, ["src/new.rs", "src/lib.rs", "src/old.rs"]);
    let merged = push(json!([made("a", "One", "bob"), made("f", "Merge pull request #8 from o/x", "ann")]));
    assert_eq!((merged.pull_request, merged.commits), (Some(8), vec![id("a")]));
    let mixed = push(json!([made("a", "One (#7)", "bob"), made("b", "Two in src/x.rs", "eve")]));
    assert_eq!((mixed.author.as_deref(), mixed.pull_request), (Some("ann"), None), "who pushed it");
    assert!(!mixed.paths.contains(&"src/x.rs".to_owned()));
}

fn touches(git_ref: &str, commits: Value, head: Value) -> Vec<Touch> {
    let mut envelope = pushed(git_ref, &id("2"), false, json!([]));
    let payload = json!({"commits": commits, "head_commit": head}).to_string();
    envelope.payload = serde_json::value::RawValue::from_string(payload).unwrap();
    distil::envelope(&envelope).touches
}

#[test]
fn a_push_to_the_default_branch_touches_what_older_memories_speak_of() {
    let message = format!("Revert \"Cap\" (#7)\n\nThis reverts commit {}.", id("E"));
    let at: Timestamp = "2026-11-20T10:00:00Z".parse().unwrap();
    let touch = |what| Touch { commit: id("a"), at, pull_request: Some(7), what };
    let commits = json!([made("a", &message, "bob"), made("f", "Merge branch 'x'", "bob")]);
    assert_eq!(
        touches("refs/heads/main", commits.clone(), Value::Null),
        [
            touch(Touched::Reverted(id("e"))),
            touch(Touched::Removed("src/old.rs".into())),
            touch(Touched::Changed("src/new.rs".into())),
            touch(Touched::Changed("src/lib.rs".into())),
        ]
    );
    assert_eq!(touches("refs/heads/other", commits.clone(), Value::Null), []);
    assert_eq!(touches("refs/tags/main", commits, Value::Null), []);
}

#[test]
fn what_was_merged_counts_from_the_merge_and_not_from_later_than_it_arrived() {
    let old = || json!([made("a", "Cap", "bob")]);
    let merge = |at: &str| json!({"message": "Merge pull request #7 from o/x", "timestamp": at});
    let first = |head: Value| touches("refs/heads/main", old(), head).remove(0);
    let merged = first(merge("2026-11-21T09:00:00Z"));
    assert_eq!((merged.at.to_string().as_str(), merged.pull_request), ("2026-11-21T09:00:00Z", Some(7)));
    assert_eq!(first(merge("2036-01-01T00:00:00Z")).at.to_string(), "2026-11-22T10:00:00Z");
    assert_eq!(first(merge("yesterday")).at.to_string(), "2026-11-20T10:00:00Z");
    let undated = touches("refs/heads/main", json!([{"id": id("a"), "added": ["x"]}]), Value::Null);
    assert_eq!(undated[0].at.to_string(), "2026-11-22T10:00:00Z");
}

fn said(context: &str) -> Distilled {
    let update: Update = serde_json::from_value(json!({"repository": "o/r", "context": context})).unwrap();
    distil::update(&update, "2026-11-22T10:00:00Z".parse().unwrap())
}

#[test]
fn an_update_keeps_what_it_says_of_itself_and_the_files_it_names() {
    let update: Update = serde_json::from_value(json!({
        "repository": "o/r", "context": "<think>Is it?</think>\nThe cap of src/a.rs is five.", "agent": "claude",
        "author": "bob", "pull_request": 7, "commits": [id("a"), "HEAD", "abc1234"], "paths": ["./src/b.rs", "src/a.rs", ""],
        "model": "m", "prompt_version": "3", "trust": "fork",
    }))
    .unwrap();
    let Distilled { draft, junk, .. } = distil::update(&update, "2026-11-22T10:00:00Z".parse().unwrap());
    assert_eq!((draft.text.as_str(), junk, draft.indexed), ("The cap of src/a.rs is five.", None, true));
    let source = draft.source;
    assert_eq!((source.author.as_deref(), source.pull_request), (Some("bob"), Some(7)));
    assert_eq!(
        (source.commits, source.paths),
        (vec![id("a"), "abc1234".into()], vec!["src/b.rs".into(), "src/a.rs".into()])
    );
    assert_eq!((source.model.as_deref(), source.trust), (Some("m"), Some(shared::memory::Trust::Fork)));
}

#[test]
fn junk_is_kept_and_not_indexed() {
    for context in [
        "<think>never closed",
        "- [note, 2026-11-20] Known. (memory 1a2b3c4d)",
        "You are an expert in Rust. Fix the bug in src/a.rs.",
        "> quoted",
    ] {
        let Distilled { draft, junk, .. } = said(context);
        assert!(junk.is_some() && !draft.indexed, "{context}");
    }
    assert_eq!(said("Retries are capped.").junk, None);
}

#[test]
fn bots_chatter_in_every_kind_of_comment_and_decide_in_reviews() {
    let bot = json!({"login": "x[bot]", "type": "Bot"});
    let comment = json!({"comment": {"body": "Coverage 87 %", "path": "a.rs", "user": bot}});
    for name in ["issue_comment", "commit_comment", "discussion_comment", "pull_request_review_comment"] {
        let edited = distil::envelope(&other_event(name, "edited", comment.clone()));
        assert_eq!(edited.junk, Some(junk::CHATTER), "{name}");
    }
    for (state, junk) in [("commented", Some(junk::CHATTER)), ("approved", None), ("CHANGES_REQUESTED", None)]
    {
        let review = json!({"review": {"state": state, "body": "Looks fine to me.", "user": bot}});
        assert_eq!(
            distil::envelope(&other_event("pull_request_review", "submitted", review)).junk,
            junk,
            "{state}"
        );
    }
}

#[test]
fn what_was_recalled_is_left_out_of_events_and_thoughts_too() {
    let line = "- [note, 2026-11-20] Known. (memory 1a2b3c4d)";
    let comment = json!({"issue": {"number": 5}, "comment": {"body": format!("> {line}")}});
    assert!(distil::envelope(&other_event("issue_comment", "created", comment)).junk.is_some());
    let issue = json!({"issue": {"number": 5, "title": "Leak", "body": line}});
    let Distilled { draft, junk, .. } = distil::envelope(&other_event("issues", "opened", issue));
    assert_eq!((draft.text.as_str(), junk), ("Issue #5 \"Leak\" opened by ann", None));
    let issue = json!({"issue": {"number": 5, "body": "<think>Hm</think>It grows."}});
    assert!(
        distil::envelope(&other_event("issues", "opened", issue)).draft.text.ends_with("ann\n\nIt grows.")
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn lists_are_bounded_and_touches_name_their_commit(
        commits in prop::collection::vec(("[0-9a-f]{40}", "(This reverts commit [0-9a-f]{4,40}\\. |#[0-9]|\\(#[0-9]\\)|\n|Merge branch ){0,4}",
            prop::collection::vec("[a-z/.]{0,12}", 0..30)), 0..12),
    ) {
        let ids: Vec<&String> = commits.iter().map(|(id, ..)| id).collect();
        let payload: Vec<Value> = commits.iter()
            .map(|(id, message, files)| json!({"id": id, "message": message, "added": files, "timestamp": 7})).collect();
        let Distilled { draft, touches, .. } = distil::envelope(&pushed("refs/heads/main", &id("2"), false, payload.into()));
        prop_assert!(draft.source.paths.len() <= 100 && draft.source.commits.len() <= 100);
        prop_assert!(touches.len() <= 4096);
        prop_assert!(touches.iter().all(|touch| ids.contains(&&touch.commit) && touch.at == draft.created_at));
    }
}
