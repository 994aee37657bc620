use std::borrow::Cow;
use std::sync::Arc;

use serde_json::json;

use super::*;
use crate::desk::tests::{Scripted, desk_of, errand, reply, terms};
use crate::record::Recorder;

fn redact(text: &str) -> Cow<'_, str> {
    text.replace("s3cret", "<redacted:test>").into()
}

fn schema(field: &str) -> Value {
    json!({"type": "object", "properties": {(field): {}, "more": {}}})
}

fn question<'a>(user: &'a str, schema: &'a Value) -> Question<'a> {
    Question { system: "s", user, schema, check: &|_| Ok(()), most_output_tokens: 100 }
}

/// Records what a reviewer answers to these questions.
async fn recorded(
    asked: &[(&str, &Value)],
    answers: Vec<Result<Reply, Failed>>,
) -> (tempfile::TempDir, Replayed) {
    let folder = tempfile::tempdir().unwrap();
    let reviewer = Scripted::new("ollama", "llama3.2").answering(answers);
    let desk = desk_of(Arc::new(Scripted::new("ollama", "llama3.2")), terms());
    let desk = desk.with_recorder(Some(Recorder::new(folder.path().to_owned(), redact)));
    for (user, schema) in asked {
        let _ = desk.ask(&errand("d1"), &reviewer, &question(user, schema)).await;
    }
    let replayed = Replayed::load(&folder.path().join("d1"), redact).unwrap();
    (folder, replayed)
}

async fn answer(replayed: &Replayed, user: &str, schema: &Value) -> String {
    replayed.ask(&question(user, schema)).await.map_or_else(|failed| failed.to_string(), |reply| reply.text)
}

#[tokio::test]
async fn each_question_gets_its_answer_in_any_order() {
    let (a, b) = (schema("a"), schema("b"));
    let asked = [("one s3cret", &a), ("two", &b), ("three", &b)];
    let answers = ["1", "2", "3"].map(|text| Ok(reply(text))).into();
    let (_folder, replayed) = recorded(&asked, answers).await;
    assert_eq!(answer(&replayed, "three", &b).await, "3");
    assert_eq!(answer(&replayed, "one s3cret", &a).await, "1");
    assert_eq!(replayed.differences().len(), 1);
    assert_eq!(answer(&replayed, "two", &b).await, "2");
    assert_eq!(replayed.differences(), []);
    let facts = (replayed.name(), replayed.model(), replayed.most_tokens());
    assert_eq!(facts, ("ollama", "llama3.2", ollama::MOST_TOKENS));
}

#[tokio::test]
async fn a_question_that_changed_gets_the_next_of_its_kind_and_the_difference_is_told() {
    let (a, b) = (schema("a"), schema("b"));
    let asked = [("one\nsame\nold", &a), ("two", &b), ("three", &b)];
    let answers = ["1", "2", "3"].map(|text| Ok(reply(text))).into();
    let (_folder, replayed) = recorded(&asked, answers).await;
    assert_eq!(answer(&replayed, "changed", &b).await, "2");
    assert_eq!(answer(&replayed, "one\nsame\nnew", &a).await, "1");
    assert_eq!(answer(&replayed, "four", &a).await, "3", "fields in common are better than nothing");
    assert_eq!(answer(&replayed, "# five\nfive", &a).await, "no answer to this question is recorded");
    let told: Vec<_> =
        replayed.differences().into_iter().map(|d| (d.file.unwrap_or_default(), d.what)).collect();
    let expected = [
        ("02-review.json", r#"line 1 of the user part was "two" and is "changed""#),
        ("01-review.json", r#"line 3 of the user part was "old" and is "new""#),
        ("03-review.json", r#"line 1 of the user part was "three" and is "four"; the schema is another"#),
        ("", "was not asked then: five"),
    ];
    assert_eq!(told, expected.map(|(file, what)| (file.to_owned(), what.to_owned())));
}

#[tokio::test]
async fn what_was_asked_again_is_answered_at_once_and_failures_are_replayed() {
    let a = schema("a");
    let busy = || Err(ReviewError::retry("busy").into());
    let cut =
        Err(Failed { error: ReviewError::NoReview("cut off".into()), paid: Some(Box::new(reply("{"))) });
    let asked = [("again", &a), ("again", &a), ("cut", &a)];
    let (_folder, replayed) = recorded(&asked, vec![busy(), Ok(reply("2")), cut]).await;
    assert_eq!(answer(&replayed, "again", &a).await, "2");
    let failed = replayed.ask(&question("cut", &a)).await.unwrap_err();
    assert_eq!((failed.error.to_string().as_str(), failed.paid.unwrap().text.as_str()), ("cut off", "{"));
    assert_eq!(replayed.differences(), []);
}

#[tokio::test]
async fn an_answer_that_does_not_fit_any_more_is_no_answer() {
    let a = schema("a");
    let (_folder, replayed) = recorded(&[("one", &a)], vec![Ok(reply("1"))]).await;
    let strict = Question { check: &|_| Err("a field is missing".to_owned()), ..question("one", &a) };
    let failed = replayed.ask(&strict).await.unwrap_err();
    assert_eq!(failed.error, ReviewError::Unusable("a field is missing".into()));
}

#[test]
fn a_folder_without_a_recording_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    assert!(
        Replayed::load(folder.path(), redact).unwrap_err().to_string().contains("no question is recorded")
    );
    std::fs::write(folder.path().join("01-review.json"), "{}").unwrap();
    assert!(Replayed::load(folder.path(), redact).unwrap_err().to_string().contains("01-review.json"));
    assert!(Replayed::load(&folder.path().join("none"), redact).is_err());
}
