//! What every back end must do, here against SQLite.

use super::sqlite::SqliteStore;
use super::*;
use crate::distil::{Touch, Touched};
use crate::words::asked;

pub(crate) mod history;
mod standing;

use self::standing::refined;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn draft(text: &str, second: i64) -> Draft {
    Draft {
        repository: "octo/app".into(),
        kind: "note".into(),
        text: text.into(),
        created_at: at(second),
        source: Source { agent: Some("jules".into()), ..Source::default() },
        indexed: true,
    }
}

struct Fixture {
    directory: tempfile::TempDir,
    store: SqliteStore,
}

impl Fixture {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(&directory.path().join("memory.db")).unwrap();
        Self { directory, store }
    }

    fn reopened(self) -> Self {
        let Self { directory, store } = self;
        drop(store);
        let store = SqliteStore::open(&directory.path().join("memory.db")).unwrap();
        Self { directory, store }
    }

    async fn say(&self, delivery: &str, draft: Draft) -> Kept {
        self.push(delivery, draft, Vec::new()).await
    }

    async fn push(&self, delivery: &str, draft: Draft, touches: Vec<Touch>) -> Kept {
        let body = Bytes::from(format!("{delivery} {} {}", draft.repository, draft.text));
        let record = Record { id: delivery.into(), received_at: at(1), body };
        self.store.record(record, Distilled { draft, junk: None, touches }).await.unwrap()
    }

    async fn get(&self, id: &str) -> Stored {
        self.store.get(id.into()).await.unwrap().unwrap()
    }

    async fn forget(&self, id: &str) -> Vec<Stored> {
        self.store.forget(vec![id.into()], Audit::default()).await.unwrap()
    }

    async fn find(&self, terms: &[&str], filter: Filter) -> Vec<String> {
        let found = self.store.matching(asked(&terms.join(" ")), filter, 10).await.unwrap();
        let positions = found.into_iter().map(|candidate| candidate.position).collect();
        self.store.fetch(positions).await.unwrap().into_iter().map(|memory| memory.draft.text).collect()
    }

    async fn nearest(&self, vector: &[f32]) -> Option<Vec<i64>> {
        let found = self.store.nearest("m".into(), vector.to_vec(), Filter::default(), 10).await.unwrap();
        found.map(|found| found.into_iter().map(|candidate| candidate.position).collect())
    }

    async fn embed(&self, id: &str, embedding: Embedding) {
        let Some(Stored { position, version, .. }) = self.store.get(id.into()).await.unwrap() else { return };
        self.store.keep_embeddings("m".into(), vec![(position, version, embedding)]).await.unwrap();
    }
}

#[tokio::test]
async fn what_is_recorded_can_be_found_and_fetched() {
    let fixture = Fixture::new();
    let kept = fixture.say("d1", draft("The scheduler retries five times", 5)).await;
    assert!(kept.indexed && !kept.known);
    assert_eq!(
        fixture.find(&["retried"], Filter::default()).await,
        ["The scheduler retries five times"],
        "stemmed"
    );
    assert_eq!(fixture.find(&["jules"], Filter::default()).await.len(), 1, "found by who said it");
    let position = fixture.get(&kept.id).await.position;
    let fetched = fixture.store.fetch(vec![99, position]).await.unwrap();
    assert_eq!(fetched.len(), 1);
    assert_eq!(fixture.get(&kept.id[..8]).await.id, kept.id, "the first digits of an id are enough");
    assert_eq!(
        (fetched[0].delivery.as_str(), &fetched[0].draft),
        ("d1", &draft("The scheduler retries five times", 5))
    );
}

#[tokio::test]
async fn filters_narrow_by_repository_kind_and_time() {
    let fixture = Fixture::new();
    let elsewhere = Draft { repository: "octo/web".into(), ..draft("queue elsewhere", 1) };
    let decision = Draft { kind: "decision".into(), ..draft("queue decided", 20) };
    for (delivery, draft) in [("d1", draft("queue noted", 10)), ("d2", decision), ("d3", elsewhere)] {
        fixture.say(delivery, draft).await;
    }
    let repository = || Filter { repository: Some("OCTO/App".into()), ..Filter::default() };
    assert_eq!(fixture.find(&["queue"], repository()).await.len(), 2);
    let decided = Filter { kind: Some("decision".into()), ..repository() };
    assert_eq!(fixture.find(&["queue"], decided.clone()).await, ["queue decided"]);
    assert_eq!(
        fixture.find(&["queue"], Filter { as_of: Some(at(10)), ..repository() }).await,
        ["queue noted"]
    );
    let recent = fixture.store.recent(repository(), 1).await.unwrap();
    assert_eq!(recent[0].created_at, at(20));
}

#[tokio::test]
async fn the_same_delivery_again_changes_nothing_and_a_new_version_replaces() {
    let fixture = Fixture::new();
    let first = fixture.say("d1", draft("one", 1)).await;
    fixture.embed(&first.id, Embedding::Vector(vec![1.0])).await;
    assert_eq!(fixture.say("d1", draft("one", 1)).await, first);
    assert_eq!(fixture.nearest(&[1.0]).await.unwrap().len(), 1, "the vector is still there");
    fixture.say("d1", draft("three", 1)).await;
    assert_eq!(fixture.find(&["one", "three"], Filter::default()).await, ["three"]);
    assert_eq!(fixture.nearest(&[1.0]).await, None);
}

#[tokio::test]
async fn the_same_words_in_one_repository_are_kept_once() {
    let fixture = Fixture::new();
    let first = fixture.say("d1", draft("said", 1)).await;
    let again = fixture.say("d2", draft("said", 2)).await;
    assert_eq!((again.known, &again.id), (true, &first.id));
    let elsewhere = fixture.say("d3", Draft { repository: "octo/web".into(), ..draft("said", 3) }).await;
    assert!(!elsewhere.known);
    let counts = fixture.store.counts("m".into()).await.unwrap();
    assert_eq!((counts.records, counts.memories), (3, 2));
}

#[tokio::test]
async fn junk_is_kept_but_never_found_or_embedded() {
    let fixture = Fixture::new();
    let kept = fixture.say("d1", Draft { indexed: false, ..draft("noise", 1) }).await;
    assert!(!kept.indexed);
    assert!(fixture.find(&["noise"], Filter::default()).await.is_empty());
    assert!(fixture.store.recent(Filter::default(), 9).await.unwrap().is_empty());
    assert!(fixture.store.unembedded("m".into(), 0, 9).await.unwrap().is_empty());
    assert!(!fixture.get(&kept.id).await.draft.indexed);
    assert_eq!(fixture.forget(&kept.id).await.len(), 1);
}

#[tokio::test]
async fn the_most_trusted_of_those_who_say_the_same_counts() {
    use shared::memory::Trust::{self, Fork, Maintainer, Member};
    let fixture = Fixture::new();
    let said = |trust: Option<Trust>| Draft {
        source: Source { trust, ..Source::default() },
        ..draft("said by several", 1)
    };
    for (delivery, trust, then) in [
        ("d1", Some(Fork), Some(Fork)),
        ("d2", None, Some(Fork)),
        ("d3", Some(Maintainer), Some(Maintainer)),
        ("d4", Some(Member), Some(Maintainer)),
    ] {
        let kept = fixture.say(delivery, said(trust)).await;
        let stored = fixture.get(&kept.id).await;
        assert_eq!(stored.source().trust, then, "{delivery}");
    }
    let told = fixture.say("d5", draft("nobody told", 1)).await;
    let fixture = fixture.reopened();
    let stored = fixture.get(&told.id).await;
    assert_eq!(stored.draft.source.trust, None);
}

fn at_url(text: &str, url: &str) -> Draft {
    let source = Source { event: Some("issue_comment".into()), url: Some(url.into()), ..Source::default() };
    Draft { source, ..draft(text, 1) }
}

fn retraction(url: &str) -> Draft {
    Draft { kind: crate::distil::RETRACTION.into(), indexed: false, ..at_url("taken back", url) }
}

#[tokio::test]
async fn what_is_taken_back_is_gone_whichever_comes_first() {
    let fixture = Fixture::new();
    let kept = fixture.say("d1", at_url("secret plan", "u#1")).await;
    fixture.embed(&kept.id, Embedding::Vector(vec![1.0])).await;
    fixture.say("d2", at_url("secret plan, edited", "u#1")).await;
    fixture.say("d3", at_url("secret of another", "u#2")).await;
    let mut about = at_url("secret noted by an agent", "u#1");
    about.source.event = None;
    fixture.say("d4", about).await;
    let taken = fixture.say("d5", retraction("u#1")).await;
    assert!(!taken.indexed && !taken.known);
    let left = async || {
        let mut left = fixture.find(&["secret"], Filter::default()).await;
        left.sort_unstable();
        left
    };
    assert_eq!(left().await, ["secret noted by an agent", "secret of another"]);
    assert_eq!(fixture.nearest(&[1.0]).await, None);
    let late = fixture.say("d1", at_url("secret plan", "u#1")).await;
    assert!(!late.indexed, "taken back before it came");
    assert_eq!(left().await.len(), 2);
    assert_eq!(fixture.say("d5", retraction("u#1")).await, taken);
    assert!(fixture.say("d6", Draft { repository: "octo/web".into(), ..at_url("x", "u#1") }).await.indexed);
}

#[tokio::test]
async fn junk_in_the_same_words_stands_in_nobodys_way() {
    let fixture = Fixture::new();
    let junk = Draft { indexed: false, ..draft("Release v2", 1) };
    fixture.say("created", junk.clone()).await;
    let published = fixture.say("published", draft("Release v2", 1)).await;
    assert!(published.indexed && !published.known);
    fixture.say("released", junk).await;
    assert_eq!(fixture.find(&["release"], Filter::default()).await, ["Release v2"]);
}

#[tokio::test]
async fn forgotten_embeddings_are_backlog_again_for_that_model_alone() {
    let fixture = Fixture::new();
    let kept = fixture.say("d1", draft("a", 1)).await;
    let other = fixture.say("d2", draft("b", 2)).await;
    fixture.embed(&kept.id, Embedding::Vector(vec![1.0])).await;
    fixture.embed(&other.id, Embedding::Rejected("too strange".into())).await;
    let Stored { position, version, .. } = fixture.get(&kept.id).await;
    let by_another = vec![(position, version, Embedding::Vector(vec![0.6, 0.8]))];
    fixture.store.keep_embeddings("other".into(), by_another).await.unwrap();
    fixture.store.forget_embeddings("m".into()).await.unwrap();
    assert_eq!(fixture.store.unembedded("m".into(), 0, 9).await.unwrap().len(), 2);
    fixture.embed(&kept.id, Embedding::Vector(vec![0.0, 0.0, 1.0])).await;
    let fixture = fixture.reopened();
    assert_eq!(fixture.nearest(&[0.0, 0.0, 1.0]).await.unwrap().len(), 1);
    let models = fixture.store.vector_models().await.unwrap();
    let models: Vec<_> = models.iter().map(|model| (model.model.as_str(), model.dimensions)).collect();
    assert_eq!(models, [("m", 3), ("other", 2)]);
}

#[tokio::test]
async fn forgetting_removes_text_and_vector_and_the_record_of_all_who_said_it() {
    let fixture = Fixture::new();
    let kept = fixture.say("d1", draft("secret plan", 1)).await;
    fixture.say("d2", draft("secret plan", 2)).await;
    fixture.embed(&kept.id, Embedding::Vector(vec![1.0])).await;
    assert_eq!(fixture.get(&kept.id).await.confirmations, 1);
    assert_eq!(fixture.forget(&kept.id).await.len(), 1);
    assert!(fixture.forget(&kept.id).await.is_empty());
    let fixture = fixture.reopened();
    assert!(fixture.find(&["secret"], Filter::default()).await.is_empty());
    assert_eq!(fixture.nearest(&[1.0]).await, None);
    let counts = fixture.store.counts("m".into()).await.unwrap();
    assert_eq!((counts.with_vector, counts.records, counts.forgotten), (0, 2, 1));
    for delivery in ["d1", "d2"] {
        let again = fixture.say(delivery, draft("secret plan", 1)).await;
        assert!(again.known && !again.indexed, "the same delivery does not bring it back");
    }
    let anew = fixture.say("d3", draft("secret plan", 3)).await;
    assert!(!anew.known && anew.indexed, "but it may be said again");
}

#[tokio::test]
async fn an_embedding_of_what_has_changed_meanwhile_is_dropped() {
    let fixture = Fixture::new();
    let kept = fixture.say("d1", draft("a long story", 1)).await;
    let Stored { position, version, .. } = fixture.get(&kept.id).await;
    assert!(fixture.store.keep_refined(kept.id.clone(), version, refined("a story")).await.unwrap());
    let late = vec![(position, version, Embedding::Vector(vec![1.0]))];
    fixture.store.keep_embeddings("m".into(), late).await.unwrap();
    assert_eq!(fixture.nearest(&[1.0]).await, None);
    assert_eq!(fixture.store.unembedded("m".into(), 0, 9).await.unwrap().len(), 1);
}

#[tokio::test]
async fn the_backlog_shrinks_by_vectors_and_by_rejections() {
    let fixture = Fixture::new();
    let mut kept = Vec::new();
    for (delivery, text) in [("d1", "a"), ("d2", "b"), ("d3", "c")] {
        kept.push(fixture.say(delivery, draft(text, 1)).await);
    }
    let waiting = async |model: &str| {
        let waiting = fixture.store.unembedded(model.into(), 0, 2).await.unwrap();
        waiting.into_iter().map(|memory| memory.draft.text).collect::<Vec<_>>()
    };
    assert_eq!(waiting("m").await, ["a", "b"]);
    fixture.embed(&kept[2].id, Embedding::Vector(vec![0.6, 0.8])).await;
    fixture.embed(&kept[1].id, Embedding::Rejected("too strange".into())).await;
    assert_eq!(waiting("m").await, ["a"]);
    assert_eq!(waiting("another model").await, ["a", "b"]);
    let all = fixture.store.unembedded("another model".into(), 0, 9).await.unwrap();
    let behind = fixture.store.unembedded("another model".into(), all[1].position, 9).await.unwrap();
    assert_eq!(behind, all[2..]);
    let counts = fixture.store.counts("m".into()).await.unwrap();
    assert_eq!((counts.indexed, counts.with_vector, counts.rejected), (3, 1, 1));
    assert_eq!(counts.last_rejection.as_deref(), Some("too strange"));
    let fixture = fixture.reopened();
    let third = fixture.get(&kept[2].id).await.position;
    assert_eq!(fixture.nearest(&[1.0, 0.0]).await.unwrap(), [third], "vectors survive a restart");
}

#[tokio::test]
async fn a_position_is_never_used_twice() {
    let fixture = Fixture::new();
    let first = fixture.say("d1", draft("a", 1)).await;
    let before = fixture.get(&first.id).await.position;
    fixture.forget(&first.id).await;
    let second = fixture.say("d2", draft("b", 1)).await;
    assert!(fixture.get(&second.id).await.position > before);
}

#[tokio::test]
async fn words_are_words_never_syntax() {
    let fixture = Fixture::new();
    fixture.say("d1", draft("plain", 1)).await;
    for word in ["\"", "a\"b", "NEAR(", "*", "text:", "-", "AND", "\u{0}", "^x"] {
        let found = fixture.store.matching(vec![word.into(), "plain".into()], Filter::default(), 5).await;
        assert!(found.is_ok(), "{word:?}: {found:?}");
    }
    assert!(fixture.store.matching(Vec::new(), Filter::default(), 5).await.unwrap().is_empty());
}
