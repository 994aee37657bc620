//! Which memory stands, and holds, after others have come.

use super::*;
use crate::staleness::Level;

pub(super) fn refined(text: &str) -> Refined {
    Refined::Text {
        kind: "decision".into(),
        text: text.into(),
        model: "m".into(),
        prompt_version: "1".into(),
    }
}

fn judged(relation: Relation) -> Judgement {
    Judgement { relation, by: "rule".into() }
}

async fn versioned(fixture: &Fixture, kept: &Kept) -> (String, u32) {
    (kept.id.clone(), fixture.get(&kept.id).await.version)
}

async fn judge(fixture: &Fixture, newer: &Kept, older: &Kept, relation: Relation) {
    let (newer, older) = (versioned(fixture, newer).await, versioned(fixture, older).await);
    assert!(fixture.store.keep_judgement(newer, older, judged(relation)).await.unwrap());
}

async fn found(fixture: &Fixture, words: &str, filter: Filter) -> Vec<(String, bool)> {
    let found = fixture.store.matching(asked(words), filter, 10).await.unwrap();
    let mut answers = Vec::new();
    for candidate in found {
        let memory = fixture.store.fetch(vec![candidate.position]).await.unwrap().remove(0);
        answers.push((memory.draft.text, candidate.superseded));
    }
    answers
}

#[tokio::test]
async fn a_refined_text_replaces_the_template_which_is_still_found() {
    let fixture = Fixture::new();
    let kept = fixture.say("d1", draft("Ann pushed 3 commits about exponential backoff", 1)).await;
    fixture.embed(&kept.id, Embedding::Vector(vec![1.0])).await;
    let before = versioned(&fixture, &kept).await;
    assert_eq!(fixture.store.unrefined(0, 9).await.unwrap().len(), 1);
    assert!(
        fixture
            .store
            .keep_refined(kept.id.clone(), before.1, refined("Retries wait longer each time"))
            .await
            .unwrap()
    );
    assert!(!fixture.store.keep_refined(kept.id.clone(), before.1, refined("too late")).await.unwrap());
    let memory = fixture.get(&kept.id).await;
    assert_eq!(
        (memory.draft.text.as_str(), memory.draft.kind.as_str()),
        ("Retries wait longer each time", "decision")
    );
    assert_eq!(memory.template.as_deref(), Some("Ann pushed 3 commits about exponential backoff"));
    assert_eq!(
        (memory.source().model.as_deref(), memory.source().prompt_version.as_deref()),
        (Some("m"), Some("1"))
    );
    assert_eq!(fixture.nearest(&[1.0]).await, None, "its vector was that of another text");
    for words in ["exponential", "retries"] {
        assert_eq!(found(&fixture, words, Filter::default()).await.len(), 1, "{words}");
    }
    assert!(fixture.store.unrefined(0, 9).await.unwrap().is_empty());
}

#[tokio::test]
async fn what_a_model_cannot_refine_is_set_aside() {
    let fixture = Fixture::new();
    let kept = fixture.say("d1", draft("poison", 1)).await;
    let rejected =
        Refined::Rejected { reason: "no JSON".into(), model: "m".into(), prompt_version: "1".into() };
    assert!(fixture.store.keep_refined(kept.id.clone(), 1, rejected).await.unwrap());
    assert_eq!(fixture.get(&kept.id).await.draft.text, "poison");
    assert!(fixture.store.unrefined(0, 9).await.unwrap().is_empty());
    assert_eq!(fixture.store.counts("m".into()).await.unwrap().unrefinable, 1);
}

#[tokio::test]
async fn of_two_that_say_the_same_the_older_stands_for_both() {
    let fixture = Fixture::new();
    let older = fixture.say("d1", draft("Money is kept in cents", 1)).await;
    let newer = fixture.say("d2", draft("Amounts are integers of the smallest unit", 2)).await;
    judge(&fixture, &newer, &older, Relation::Same).await;
    for words in ["cents", "integers"] {
        assert_eq!(
            found(&fixture, words, Filter::default()).await,
            [("Money is kept in cents".to_owned(), false)],
            "{words}"
        );
    }
    let third = fixture.say("d0", draft("We count in cents", 0)).await;
    judge(&fixture, &older, &third, Relation::Same).await;
    assert_eq!(fixture.get(&newer.id).await.merged_into.as_deref(), Some(third.id.as_str()), "and so on");
    assert_eq!(fixture.forget(&third.id).await.len(), 3, "what says the same is forgotten with it");
}

#[tokio::test]
async fn a_contradicted_memory_is_kept_and_held_until_then() {
    let fixture = Fixture::new();
    let older = fixture.say("d1", draft("Retries: five", 10)).await;
    let newer = fixture.say("d2", draft("Retries: seven", 20)).await;
    judge(&fixture, &newer, &older, Relation::Contradicts).await;
    assert_eq!(fixture.get(&older.id).await.superseded_by.as_deref(), Some(newer.id.as_str()));
    let now = found(&fixture, "retries", Filter::default()).await;
    assert!(now.contains(&("Retries: five".into(), true)) && now.contains(&("Retries: seven".into(), false)));
    let then = found(&fixture, "retries", Filter { as_of: Some(at(15)), ..Filter::default() }).await;
    assert_eq!(then, [("Retries: five".to_owned(), false)]);
    fixture.forget(&newer.id).await;
    assert_eq!(fixture.get(&older.id).await.superseded_by, None, "it holds again");
}

#[tokio::test]
async fn nothing_is_judged_by_versions_that_are_gone() {
    let fixture = Fixture::new();
    let older = fixture.say("d1", draft("one", 1)).await;
    let newer = fixture.say("d2", draft("two", 2)).await;
    let before = versioned(&fixture, &older).await;
    fixture.store.keep_refined(older.id.clone(), before.1, refined("one, refined")).await.unwrap();
    let newer = versioned(&fixture, &newer).await;
    assert!(!fixture.store.keep_judgement(newer.clone(), before, judged(Relation::Same)).await.unwrap());
    assert_eq!(fixture.get(&newer.0).await.merged_into, None);
}

#[tokio::test]
async fn the_latest_of_a_thread_supersedes_the_others_in_any_order() {
    let told = |text: &str, second| Draft { created_at: at(second), ..at_url(text, "pull/7") };
    for order in [[0, 1, 2], [2, 1, 0], [1, 2, 0]] {
        let fixture = Fixture::new();
        let drafts = [("d0", told("opened", 10)), ("d1", told("edited", 20)), ("d2", told("merged", 30))];
        let mut ids = [const { String::new() }; 3];
        for at in order {
            ids[at] = fixture.say(drafts[at].0, drafts[at].1.clone()).await.id;
        }
        let mut by = Vec::new();
        for id in &ids {
            by.push(fixture.get(id).await.superseded_by);
        }
        assert_eq!(by, [Some(ids[1].clone()), Some(ids[2].clone()), None], "{order:?}");
    }
}

#[tokio::test]
async fn a_push_makes_stale_what_came_before_or_comes_after() {
    let about = |text: &str| {
        let source =
            Source { paths: vec!["src/a.rs".into()], commits: vec!["c0ffee0".into()], ..Source::default() };
        Draft { source, kind: "convention".into(), ..draft(text, 10) }
    };
    let touch = || {
        vec![Touch {
            commit: "1a2b3c4d5e".into(),
            at: at(20),
            pull_request: None,
            what: Touched::Removed("src/a.rs".into()),
        }]
    };
    for push_first in [true, false] {
        let fixture = Fixture::new();
        if push_first {
            fixture.push("push", draft("a push", 20), touch()).await;
        }
        let kept = fixture.say("d1", about("a.rs has the retries")).await;
        if !push_first {
            fixture.push("push", draft("a push", 20), touch()).await;
        }
        let memory = fixture.get(&kept.id).await;
        let stale = memory.stale.expect("stale");
        assert!(stale.level == Level::Gone && stale.reason.contains("src/a.rs"), "{stale:?}");
    }
}

#[tokio::test]
async fn filters_by_path_agent_and_time() {
    let fixture = Fixture::new();
    let source = Source {
        paths: vec!["src/queue/sqlite.rs".into()],
        agent: Some("Jules".into()),
        ..Source::default()
    };
    fixture.say("d1", Draft { source, ..draft("queue by path", 10) }).await;
    fixture.say("d2", Draft { source: Source::default(), ..draft("queue by nobody", 20) }).await;
    let hits = async |filter: Filter| found(&fixture, "queue", filter).await.len();
    for path in ["src/queue/sqlite.rs", "src/queue", "src/", "/src"] {
        assert_eq!(hits(Filter { path: Some(path.into()), ..Filter::default() }).await, 1, "{path}");
    }
    assert_eq!(hits(Filter { path: Some("src/que".into()), ..Filter::default() }).await, 0);
    assert_eq!(hits(Filter { agent: Some("jules".into()), ..Filter::default() }).await, 1);
    assert_eq!(hits(Filter { since: Some(at(20)), ..Filter::default() }).await, 1);
    assert_eq!(hits(Filter { until: Some(at(20)), ..Filter::default() }).await, 1);
    assert_eq!(hits(Filter { since: Some(at(11)), until: Some(at(20)), ..Filter::default() }).await, 0);
}
