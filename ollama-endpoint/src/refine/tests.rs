use std::collections::BTreeMap;
use std::sync::Mutex;

use tokio::sync::Notify;

use super::testing::draft;
use super::*;
use crate::ollama::scripted::{Reply, Scripted};

const LONG: &str = "ann pushed 1 commit to main\n- 1a2b3c4d Cap the retries of src/queue.rs\n  GitHub answers 502 now and then, and a \
    delivery that is retried without end holds up the others. Five attempts are enough, as the longest outage so far has shown.";

/// A backlog that writes down what it is told.
#[derive(Default)]
struct Scribe {
    inner: Mutex<Inner>,
    written: Notify,
}

#[derive(Default)]
struct Inner {
    memories: BTreeMap<i64, Stored>,
    neighbours: BTreeMap<i64, Vec<Neighbour>>,
    refined: BTreeMap<String, Refined>,
    judged: BTreeMap<(String, String), Judgement>,
    compared: Vec<String>,
    /// Changes every memory as often as this before its result is kept.
    conflicts: u32,
}

fn stored(position: i64, text: &str) -> Stored {
    let mut draft = draft(text);
    draft.created_at += jiff::SignedDuration::from_hours(position);
    draft.source.event = Some("push".into());
    Stored {
        id: format!("m{position}"),
        position,
        version: 1,
        delivery: "d".into(),
        draft,
        template: None,
        stale: None,
        superseded_by: None,
        merged_into: None,
        confirmations: 0,
    }
}

fn neighbour(memory: Stored, similarity: Option<f32>) -> Neighbour {
    Neighbour { memory, similarity }
}

impl Scribe {
    fn of(memories: impl IntoIterator<Item = Stored>) -> Arc<Self> {
        let scribe = Self::default();
        scribe.inner.lock().unwrap().memories = memories.into_iter().map(|m| (m.position, m)).collect();
        Arc::new(scribe)
    }

    /// One newer memory with these neighbours; nothing to refine.
    fn beside(newer: Stored, neighbours: Vec<Neighbour>) -> Arc<Self> {
        let scribe = Self::default();
        scribe.inner.lock().unwrap().neighbours.insert(newer.position, neighbours);
        let id = newer.id.clone();
        scribe.inner.lock().unwrap().memories.insert(newer.position, newer);
        let (reason, model, prompt_version) = Default::default();
        scribe.inner.lock().unwrap().refined.insert(id, Refined::Rejected { reason, model, prompt_version });
        Arc::new(scribe)
    }

    fn refined(&self, id: &str) -> Option<Refined> {
        self.inner.lock().unwrap().refined.get(id).cloned()
    }

    fn relations(&self) -> Vec<(String, Relation, String)> {
        let inner = self.inner.lock().unwrap();
        inner.judged.iter().map(|((_, old), j)| (old.clone(), j.relation, j.by.clone())).collect()
    }

    fn compared(&self) -> Vec<String> {
        self.inner.lock().unwrap().compared.clone()
    }
}

impl Inner {
    /// Whether the memory is what it was, unless it is to change just now.
    fn is_current(&mut self, id: &str, version: u32) -> bool {
        let conflicts = self.conflicts;
        let Some(memory) = self.memories.values_mut().find(|memory| memory.id == id) else { return true };
        if conflicts > 0 {
            memory.version += 1;
            self.conflicts -= 1;
        }
        memory.version == version
    }
}

#[async_trait]
impl Backlog for Scribe {
    async fn unrefined(&self, after: i64, limit: usize) -> Result<Vec<Stored>, StoreError> {
        let inner = self.inner.lock().unwrap();
        let open = inner.memories.range(after + 1..).map(|(_, memory)| memory);
        Ok(open.filter(|memory| !inner.refined.contains_key(&memory.id)).take(limit).cloned().collect())
    }

    async fn keep_refined(&self, id: &str, version: u32, refined: Refined) -> Result<bool, StoreError> {
        let mut inner = self.inner.lock().unwrap();
        if !inner.is_current(id, version) {
            return Ok(false);
        }
        inner.refined.insert(id.to_owned(), refined);
        Ok(true)
    }

    async fn uncompared(
        &self,
        after: i64,
        limit: usize,
    ) -> Result<Vec<(Stored, Vec<Neighbour>)>, StoreError> {
        let inner = self.inner.lock().unwrap();
        let open =
            inner.memories.range(after + 1..).filter(|(_, memory)| !inner.compared.contains(&memory.id));
        let with = |(position, memory): (&i64, &Stored)| {
            let unjudged =
                |near: &&Neighbour| !inner.judged.contains_key(&(memory.id.clone(), near.memory.id.clone()));
            let near = inner.neighbours.get(position).into_iter().flatten().filter(unjudged).cloned();
            (memory.clone(), near.collect())
        };
        Ok(open.map(with).take(limit).collect())
    }

    async fn keep_judgement(
        &self,
        newer: (&str, u32),
        older: (&str, u32),
        judgement: Judgement,
    ) -> Result<bool, StoreError> {
        let mut inner = self.inner.lock().unwrap();
        if !inner.is_current(newer.0, newer.1) {
            return Ok(false);
        }
        inner.judged.insert((newer.0.to_owned(), older.0.to_owned()), judgement);
        Ok(true)
    }

    async fn set_compared(&self, id: &str) -> Result<(), StoreError> {
        self.inner.lock().unwrap().compared.push(id.to_owned());
        Ok(())
    }

    async fn written(&self) {
        self.written.notified().await;
    }
}

fn desk(backlog: &Arc<Scribe>, chat: Option<Chat>) -> Desk {
    let pace = Pace { timeout: Duration::from_secs(20), rest: Duration::ZERO };
    let backlog = Arc::clone(backlog) as Arc<dyn Backlog>;
    Desk { backlog, chat, pace, at: Places::default(), again: None }
}

fn chat(scripted: &Scripted) -> Option<Chat> {
    Some(Chat::new(scripted.ollama.clone(), "chatter".into()))
}

/// Works until there is nothing left.
async fn work(desk: &mut Desk) -> Result<(), Failure> {
    while desk.round().await? {}
    Ok(())
}

/// What the text to work on is; the harmless question has none.
fn asked(body: &Value) -> String {
    body["messages"][1]["content"].as_str().unwrap_or_default().to_owned()
}

fn says(kind: &str, text: &str) -> Reply {
    Reply::says(&json!({"kind": kind, "text": text}).to_string())
}

const GOOD: &str = "Retries of src/queue.rs are capped at five attempts (1a2b3c4d).";

fn good() -> Refined {
    let (kind, text, model) = ("decision".into(), GOOD.into(), "chatter".into());
    Refined::Text { kind, text, model, prompt_version: prompt::PROMPT_VERSION.into() }
}

fn rejection(scribe: &Scribe, id: &str) -> String {
    match scribe.refined(id) {
        Some(Refined::Rejected { reason, model, prompt_version }) => {
            assert_eq!((model.as_str(), prompt_version.as_str()), ("chatter", prompt::PROMPT_VERSION));
            reason
        }
        other => panic!("{id}: {other:?}"),
    }
}

#[tokio::test]
async fn a_long_text_is_worded_anew_and_a_short_one_costs_no_call() {
    let scripted = Scripted::new(|_, _| {
        Reply::says(&format!("<think>Hm.</think>{}", json!({"kind": "decision", "text": GOOD})))
    })
    .await;
    let scribe = Scribe::of([stored(1, LONG), stored(2, "Short.")]);
    work(&mut desk(&scribe, chat(&scripted))).await.unwrap();
    assert_eq!(scribe.refined("m1"), Some(good()));
    assert!(rejection(&scribe, "m2").contains("short"));
    assert_eq!(scripted.requests().len(), 1);
    assert!(asked(&scripted.requests()[0]).contains("Cap the retries"));
    assert_eq!(scribe.compared(), ["m1", "m2"]);
}

#[tokio::test]
async fn a_bad_answer_loses_nothing_and_is_retried_once() {
    let invented = json!({"kind": "decision", "text": "Retries are capped in src/retry.rs now."}).to_string();
    let recalled =
        json!({"kind": "note", "text": "- [note, 2026-11-20] Known. (memory 1a2b3c4d)"}).to_string();
    let bad = [("no JSON", "not JSON"), ("<think>{}", "not JSON"), ("{}", "schema")];
    let worse = [(invented.as_str(), "src/retry.rs"), (recalled.as_str(), "memory had told")];
    for (bad, reason) in bad.into_iter().chain(worse) {
        let bad = bad.to_owned();
        let scripted = Scripted::new(move |_, _| Reply::says(&bad)).await;
        let scribe = Scribe::of([stored(1, LONG)]);
        work(&mut desk(&scribe, chat(&scripted))).await.unwrap();
        let told = rejection(&scribe, "m1");
        assert!(told.contains(reason), "{told}");
        assert_eq!(scripted.requests().len(), 2);
    }
}

#[tokio::test]
async fn a_poisonous_text_is_set_aside_after_one_retry_and_holds_up_nothing() {
    for hangs in [false, true] {
        let scripted = Scripted::new(move |_, body| match asked(body) {
            text if text.contains("poison") && hangs => Reply::Hang,
            text if text.contains("poison") => Reply::error(500, "model runner has unexpectedly stopped"),
            text if text.contains("Cap") => says("decision", GOOD),
            _ => Reply::says("{\"ok\": true}"),
        })
        .await;
        let scribe = Scribe::of([stored(1, LONG), stored(2, &format!("poison {LONG}")), stored(3, LONG)]);
        let mut desk = desk(&scribe, chat(&scripted));
        desk.pace.timeout = if hangs { Duration::from_millis(1500) } else { desk.pace.timeout };
        work(&mut desk).await.unwrap();
        assert_eq!((scribe.refined("m1"), scribe.refined("m3")), (Some(good()), Some(good())));
        let reason = rejection(&scribe, "m2");
        assert!(reason.contains(if hangs { "within 1.5 s" } else { "stopped" }), "{reason}");
        assert_eq!(scripted.requests().len(), 2 + 3);
    }
}

#[tokio::test]
async fn when_ollama_fails_everything_no_text_is_blamed() {
    for (status, error, told) in [
        (404, "model 'chatter' not found", "ollama pull chatter"),
        (503, "server busy", "ollama serve"),
        (500, "runner crashed", "runner crashed"),
    ] {
        let scripted = Scripted::new(move |_, _| Reply::error(status, error)).await;
        let scribe = Scribe::of([stored(1, LONG), stored(2, LONG)]);
        let mut desk = desk(&scribe, chat(&scripted));
        let failure = desk.round().await.unwrap_err().to_string();
        assert!(failure.contains(told), "{failure}");
        assert_eq!((scribe.refined("m1"), scribe.refined("m2")), (None, None));
        assert_eq!(scribe.compared(), ["m1", "m2"], "rules need no model");
        scripted.answer(|_, _| says("decision", GOOD));
        work(&mut desk).await.unwrap();
        assert_eq!((scribe.refined("m1"), scribe.refined("m2")), (Some(good()), Some(good())));
    }
}

#[tokio::test]
async fn what_changed_while_the_model_thought_is_looked_at_again() {
    let scripted = Scripted::new(|_, _| says("decision", GOOD)).await;
    let scribe = Scribe::of([stored(1, LONG), stored(2, LONG)]);
    scribe.inner.lock().unwrap().conflicts = 1;
    let mut desk = desk(&scribe, chat(&scripted));
    work(&mut desk).await.unwrap();
    assert_eq!((scribe.refined("m1"), scribe.refined("m2")), (None, Some(good())));
    let from = desk.again.take();
    assert_eq!(from, Some(0));
    desk.at.not_behind(0);
    work(&mut desk).await.unwrap();
    assert_eq!((scribe.refined("m1"), desk.again), (Some(good()), None));
}

#[tokio::test]
async fn rules_come_first_and_the_model_is_asked_about_near_ones_alone() {
    let scripted = Scripted::new(|_, body| match asked(body) {
        text if text.contains("eight") => Reply::says("{\"relation\": \"contradicts\"}"),
        _ => Reply::says("{\"relation\": \"different\"}"),
    })
    .await;
    let newer = stored(9, "Retries are capped at five.");
    let history =
        Stored { draft: crate::distil::Draft { kind: "change".into(), ..draft("x") }, ..stored(4, "x") };
    let scribe = Scribe::beside(
        newer,
        vec![
            neighbour(stored(1, "Retries are capped at eight."), Some(0.9)),
            neighbour(stored(2, "Deploys are on Tuesdays."), Some(0.79)),
            neighbour(stored(3, "Retries are slow."), None),
            neighbour(history, Some(0.99)),
            neighbour(stored(5, "retries are capped at five"), Some(0.99)),
            neighbour(stored(6, "Never reached."), Some(0.99)),
        ],
    );
    work(&mut desk(&scribe, chat(&scripted))).await.unwrap();
    let by = format!("chatter {}", compare::PROMPT_VERSION);
    let rule = ("m5".to_owned(), Relation::Same, RULE.to_owned());
    assert_eq!(scribe.relations(), [rule], "the rule settles it before the model is asked");
    assert_eq!((scripted.requests().len(), scribe.compared()), (0, vec!["m9".to_owned()]));

    scribe.inner.lock().unwrap().neighbours.get_mut(&9).unwrap().truncate(4);
    scribe.inner.lock().unwrap().compared.clear();
    scribe.inner.lock().unwrap().judged.clear();
    work(&mut desk(&scribe, chat(&scripted))).await.unwrap();
    let judged = [("m1".to_owned(), Relation::Contradicts, by)];
    assert_eq!((scribe.relations(), scripted.requests().len()), (judged.to_vec(), 1));
    assert!(scribe.compared().is_empty(), "how near m3 lies is not known yet");
}

#[tokio::test]
async fn without_a_model_only_rules_compare_and_nothing_is_refined() {
    let near = || vec![neighbour(stored(1, "Retries are capped at eight."), Some(0.9))];
    let scribe = Scribe::beside(stored(2, LONG), near());
    scribe.inner.lock().unwrap().refined.clear();
    work(&mut desk(&scribe, None)).await.unwrap();
    assert_eq!((scribe.refined("m2"), scribe.relations(), scribe.compared().len()), (None, vec![], 1));
    // With one that is away they are left for it.
    let scripted = Scripted::new(|_, _| Reply::error(503, "server busy")).await;
    let scribe = Scribe::beside(stored(2, LONG), near());
    let mut desk = desk(&scribe, chat(&scripted));
    desk.round().await.unwrap_err();
    assert_eq!(scribe.compared().len(), 0);
    scripted.answer(|_, _| Reply::says("{\"relation\": \"contradicts\"}"));
    work(&mut desk).await.unwrap();
    assert_eq!(scribe.relations()[0].1, Relation::Contradicts);
}

#[tokio::test]
async fn a_pair_without_an_answer_is_different_and_a_changed_one_is_looked_at_again() {
    let near = || vec![neighbour(stored(1, "Retries are capped at eight."), Some(0.9))];
    let scripted = Scripted::new(|_, _| Reply::says("{\"relation\": \"equal\"}")).await;
    let scribe = Scribe::beside(stored(2, LONG), near());
    work(&mut desk(&scribe, chat(&scripted))).await.unwrap();
    let (_, relation, by) = scribe.relations().remove(0);
    assert!(relation == Relation::Different && by.contains("no answer"), "{by}");

    scripted.answer(|_, _| Reply::says("{\"relation\": \"different\"}"));
    let scribe = Scribe::beside(stored(2, LONG), near());
    scribe.inner.lock().unwrap().conflicts = 1;
    let mut desk = desk(&scribe, chat(&scripted));
    work(&mut desk).await.unwrap();
    assert_eq!((scribe.compared().len(), desk.again.take()), (0, Some(1)));
    desk.at.not_behind(1);
    work(&mut desk).await.unwrap();
    assert_eq!((scribe.compared().len(), scribe.relations().len()), (1, 1));
}

#[tokio::test]
async fn the_loop_waits_while_ollama_is_away_and_goes_on_by_itself() {
    let scripted = Scripted::new(|_, _| Reply::error(503, "server busy")).await;
    let scribe = Scribe::of([stored(1, LONG)]);
    let (status, mut seen) = watch::channel(Status::default());
    let stop = CancellationToken::new();
    let pace = Pace { rest: Duration::ZERO, ..Pace::default() };
    let backlog = Arc::clone(&scribe) as Arc<dyn Backlog>;
    let running = tokio::spawn(run(backlog, chat(&scripted), pace, status, stop.clone()));
    let waits = |status: &Status| matches!(status, Status::Waiting(why) if why.contains("server busy"));
    seen.wait_for(waits).await.unwrap();
    scripted.answer(|_, _| says("decision", GOOD));
    seen.wait_for(|status| *status == Status::Idle).await.unwrap();
    assert_eq!(scribe.refined("m1"), Some(good()));
    scribe.inner.lock().unwrap().memories.insert(2, stored(2, LONG));
    scribe.written.notify_one();
    seen.changed().await.unwrap();
    seen.wait_for(|status| *status == Status::Idle).await.unwrap();
    assert_eq!(scribe.refined("m2"), Some(good()));
    stop.cancel();
    running.await.unwrap();
}
