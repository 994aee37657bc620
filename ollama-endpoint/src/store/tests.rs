//! What every back end must do, here against SQLite.

use super::sqlite::SqliteStore;
use super::*;

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

    async fn say(&self, delivery: &str, drafts: &[Draft]) -> Vec<Kept> {
        let record =
            Record { id: delivery.into(), received_at: at(1), body: Bytes::from(delivery.to_owned()) };
        self.store.record(record, drafts.to_vec()).await.unwrap()
    }

    async fn find(&self, terms: &[&str], filter: Filter) -> Vec<String> {
        let terms = terms.iter().map(|term| (*term).to_owned()).collect();
        let found = self.store.matching(terms, filter, 10).await.unwrap();
        let ids = found.into_iter().map(|candidate| candidate.id).collect();
        self.store.fetch(ids).await.unwrap().into_iter().map(|memory| memory.draft.text).collect()
    }

    async fn nearest(&self, vector: &[f32]) -> Option<Vec<String>> {
        let found = self.store.nearest("m".into(), vector.to_vec(), Filter::default(), 10).await.unwrap();
        found.map(|found| found.into_iter().map(|candidate| candidate.id).collect())
    }

    async fn embed(&self, id: &str, embedding: Embedding) {
        self.store.keep_embeddings("m".into(), vec![(id.into(), embedding)]).await.unwrap();
    }
}

#[tokio::test]
async fn what_is_recorded_can_be_found_and_fetched() {
    let fixture = Fixture::new();
    let kept = fixture.say("d1", &[draft("The scheduler retries five times", 5)]).await;
    assert!(kept[0].indexed && !kept[0].known);
    assert_eq!(
        fixture.find(&["retried"], Filter::default()).await,
        ["The scheduler retries five times"],
        "stemmed"
    );
    assert_eq!(fixture.find(&["jules"], Filter::default()).await.len(), 1, "found by who said it");
    let fetched = fixture.store.fetch(vec!["unknown".into(), kept[0].id.clone()]).await.unwrap();
    assert_eq!(fetched.len(), 1);
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
    fixture.say("d1", &[draft("queue noted", 10), decision, elsewhere]).await;
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
    let first = fixture.say("d1", &[draft("one", 1), draft("two", 1)]).await;
    fixture.embed(&first[0].id, Embedding::Vector(vec![1.0])).await;
    assert_eq!(fixture.say("d1", &[draft("one", 1), draft("two", 1)]).await, first);
    assert_eq!(fixture.nearest(&[1.0]).await.unwrap().len(), 1, "the vector is still there");
    fixture.say("d1", &[draft("three", 1)]).await;
    assert_eq!(fixture.find(&["one", "two", "three"], Filter::default()).await, ["three"]);
    assert_eq!(fixture.nearest(&[1.0]).await, None);
}

#[tokio::test]
async fn the_same_words_in_one_repository_are_kept_once() {
    let fixture = Fixture::new();
    let first = fixture.say("d1", &[draft("said", 1)]).await;
    let again = fixture.say("d2", &[draft("said", 2)]).await;
    assert_eq!((again[0].known, &again[0].id), (true, &first[0].id));
    let elsewhere = fixture.say("d3", &[Draft { repository: "octo/web".into(), ..draft("said", 3) }]).await;
    assert!(!elsewhere[0].known);
    let counts = fixture.store.counts("m".into()).await.unwrap();
    assert_eq!((counts.records, counts.memories), (3, 2));
}

#[tokio::test]
async fn junk_is_kept_but_never_found_or_embedded() {
    let fixture = Fixture::new();
    let kept = fixture.say("d1", &[Draft { indexed: false, ..draft("noise", 1) }]).await;
    assert!(!kept[0].indexed);
    assert!(fixture.find(&["noise"], Filter::default()).await.is_empty());
    assert!(fixture.store.recent(Filter::default(), 9).await.unwrap().is_empty());
    assert!(fixture.store.unembedded("m".into(), 0, 9).await.unwrap().is_empty());
    assert_eq!(fixture.store.fetch(vec![kept[0].id.clone()]).await.unwrap().len(), 1);
    assert!(fixture.store.delete(kept[0].id.clone()).await.unwrap());
}

#[tokio::test]
async fn the_most_trusted_of_those_who_say_the_same_counts() {
    use shared::memory::Trust::{self, Fork, Maintainer, Member};
    let fixture = Fixture::new();
    let said = |trust: Option<Trust>| {
        [Draft { source: Source { trust, ..Source::default() }, ..draft("said by several", 1) }]
    };
    for (delivery, trust, then) in [
        ("d1", Some(Fork), Some(Fork)),
        ("d2", None, Some(Fork)),
        ("d3", Some(Maintainer), Some(Maintainer)),
        ("d4", Some(Member), Some(Maintainer)),
    ] {
        let kept = fixture.say(delivery, &said(trust)).await;
        let stored = fixture.store.fetch(vec![kept[0].id.clone()]).await.unwrap().remove(0);
        assert_eq!(stored.source().trust, then, "{delivery}");
    }
    let told = fixture.say("d5", &[draft("nobody told", 1)]).await;
    let fixture = fixture.reopened();
    let stored = fixture.store.fetch(vec![told[0].id.clone()]).await.unwrap().remove(0);
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
    let kept = fixture.say("d1", &[at_url("secret plan", "u#1")]).await;
    fixture.embed(&kept[0].id, Embedding::Vector(vec![1.0])).await;
    fixture.say("d2", &[at_url("secret plan, edited", "u#1")]).await;
    fixture.say("d3", &[at_url("secret of another", "u#2")]).await;
    let mut about = at_url("secret noted by an agent", "u#1");
    about.source.event = None;
    fixture.say("d4", &[about]).await;
    let taken = fixture.say("d5", &[retraction("u#1")]).await;
    assert!(!taken[0].indexed && !taken[0].known);
    let left = async || {
        let mut left = fixture.find(&["secret"], Filter::default()).await;
        left.sort_unstable();
        left
    };
    assert_eq!(left().await, ["secret noted by an agent", "secret of another"]);
    assert_eq!(fixture.nearest(&[1.0]).await, None);
    let late = fixture.say("d1", &[at_url("secret plan", "u#1")]).await;
    assert_eq!((late[0].indexed, &late[0].id), (false, &taken[0].id), "taken back before it came");
    assert_eq!(left().await.len(), 2);
    assert_eq!(fixture.say("d5", &[retraction("u#1")]).await, taken);
    assert!(
        fixture.say("d6", &[Draft { repository: "octo/web".into(), ..at_url("x", "u#1") }]).await[0].indexed
    );
}

#[tokio::test]
async fn junk_in_the_same_words_stands_in_nobodys_way() {
    let fixture = Fixture::new();
    let junk = Draft { indexed: false, ..draft("Release v2", 1) };
    fixture.say("created", std::slice::from_ref(&junk)).await;
    let published = fixture.say("published", &[draft("Release v2", 1)]).await;
    assert!(published[0].indexed && !published[0].known);
    fixture.say("released", &[junk]).await;
    assert_eq!(fixture.find(&["release"], Filter::default()).await, ["Release v2"]);
}

#[tokio::test]
async fn forgotten_embeddings_are_backlog_again_for_that_model_alone() {
    let fixture = Fixture::new();
    let kept = fixture.say("d1", &[draft("a", 1), draft("b", 2)]).await;
    fixture.embed(&kept[0].id, Embedding::Vector(vec![1.0])).await;
    fixture.embed(&kept[1].id, Embedding::Rejected("too strange".into())).await;
    let other = vec![(kept[0].id.clone(), Embedding::Vector(vec![0.6, 0.8]))];
    fixture.store.keep_embeddings("other".into(), other).await.unwrap();
    fixture.store.forget_embeddings("m".into()).await.unwrap();
    assert_eq!(fixture.store.unembedded("m".into(), 0, 9).await.unwrap().len(), 2);
    fixture.embed(&kept[0].id, Embedding::Vector(vec![0.0, 0.0, 1.0])).await;
    let fixture = fixture.reopened();
    assert_eq!(fixture.nearest(&[0.0, 0.0, 1.0]).await.unwrap().len(), 1);
    assert_eq!(fixture.store.dimensions("other".into()).await.unwrap(), Some(2));
}

#[tokio::test]
async fn deleting_removes_text_and_vector() {
    let fixture = Fixture::new();
    let kept = fixture.say("d1", &[draft("secret plan", 1)]).await;
    fixture.embed(&kept[0].id, Embedding::Vector(vec![1.0])).await;
    assert!(fixture.store.delete(kept[0].id.clone()).await.unwrap());
    assert!(!fixture.store.delete(kept[0].id.clone()).await.unwrap());
    let fixture = fixture.reopened();
    assert!(fixture.find(&["secret"], Filter::default()).await.is_empty());
    assert_eq!(fixture.nearest(&[1.0]).await, None);
    assert_eq!(fixture.store.counts("m".into()).await.unwrap().with_vector, 0);
    fixture.embed(&kept[0].id, Embedding::Vector(vec![1.0])).await;
    assert_eq!(fixture.nearest(&[1.0]).await, None, "an embedding that comes too late is dropped");
}

#[tokio::test]
async fn the_backlog_shrinks_by_vectors_and_by_rejections() {
    let fixture = Fixture::new();
    let kept = fixture.say("d1", &[draft("a", 1), draft("b", 2), draft("c", 3)]).await;
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
    assert_eq!(fixture.store.dimensions("m".into()).await.unwrap(), Some(2));
    let fixture = fixture.reopened();
    assert_eq!(
        fixture.nearest(&[1.0, 0.0]).await.unwrap(),
        [kept[2].id.clone()],
        "vectors survive a restart"
    );
}

#[tokio::test]
async fn a_position_is_never_used_twice() {
    let fixture = Fixture::new();
    let position = async |id: &str| fixture.store.fetch(vec![id.into()]).await.unwrap()[0].position;
    let first = fixture.say("d1", &[draft("a", 1)]).await;
    let before = position(&first[0].id).await;
    fixture.store.delete(first[0].id.clone()).await.unwrap();
    let second = fixture.say("d2", &[draft("b", 1)]).await;
    assert!(position(&second[0].id).await > before);
}

#[tokio::test]
async fn terms_are_words_never_syntax() {
    let fixture = Fixture::new();
    fixture.say("d1", &[draft("plain", 1)]).await;
    for term in ["\"", "a\"b", "NEAR(", "*", "text:", "-", "AND", "\u{0}", "^x"] {
        let found = fixture.store.matching(vec![term.into(), "plain".into()], Filter::default(), 5).await;
        assert!(found.is_ok(), "{term:?}: {found:?}");
    }
    assert!(fixture.store.matching(Vec::new(), Filter::default(), 5).await.unwrap().is_empty());
}
