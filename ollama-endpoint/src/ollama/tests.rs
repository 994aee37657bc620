use serde_json::{Value, json};

use super::chat::{Chat, Question};
use super::scripted::{Reply, Scripted};
use super::*;

const TIMEOUT: Duration = Duration::from_secs(20);

fn question() -> Question {
    let schema = json!({"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]});
    Question { instructions: "Count.".into(), text: "one two".into(), schema }
}

/// The number of an answer, if it is not odd.
fn even(answer: Value) -> Result<i64, String> {
    answer["n"].as_i64().filter(|n| n % 2 == 0).ok_or_else(|| "`n` is odd".to_owned())
}

async fn ask(scripted: &Scripted) -> Result<i64, OllamaError> {
    Chat::new(scripted.ollama.clone(), "chatter".into()).ask(&question(), TIMEOUT, even).await
}

/// Gives these answers one after the other.
fn one_by_one(replies: impl IntoIterator<Item = Reply>) -> impl FnMut(&str, &Value) -> Reply + Send {
    let mut replies: std::collections::VecDeque<Reply> = replies.into_iter().collect();
    move |_, _| replies.pop_front().expect("one call more than the test knows of")
}

#[tokio::test]
async fn a_question_carries_its_schema_twice_and_its_answer_loses_its_thoughts() {
    let scripted = Scripted::new(|path, _| {
        assert_eq!(path, "/api/chat");
        Reply::says("<think>Two words.</think>\n{\"n\": 2}")
    })
    .await;
    assert_eq!(ask(&scripted).await, Ok(2));
    let asked = &scripted.requests()[0];
    assert_eq!(asked["format"], question().schema);
    assert!(asked["messages"][0]["content"].as_str().unwrap().contains(&question().schema.to_string()));
    assert_eq!(
        (&asked["messages"][1]["role"], &asked["messages"][1]["content"]),
        (&json!("user"), &json!("one two"))
    );
    assert_eq!(
        (&asked["model"], &asked["stream"], &asked["think"]),
        (&json!("chatter"), &json!(false), &json!(false))
    );
    assert_eq!(asked["options"], json!({"temperature": 0.0, "num_ctx": 8192, "num_predict": 768}));
}

#[tokio::test]
async fn a_bad_answer_is_asked_for_once_more_with_the_reason() {
    for bad in ["{\"n\": 1}", "{\"n\":", "Two, I think.", "<think>{\"n\": 2}", ""] {
        let scripted = Scripted::new(one_by_one([Reply::says(bad), Reply::says("{\"n\": 4}")])).await;
        assert_eq!(ask(&scripted).await, Ok(4), "{bad}");
        let messages = scripted.requests()[1]["messages"].clone();
        assert!(messages[3]["content"].as_str().unwrap().contains("cannot be used"), "{messages}");
    }
    let scripted = Scripted::new(one_by_one([Reply::says("no"), Reply::says("{\"n\": 1}")])).await;
    let unusable = OllamaError::Unusable { model: "chatter".into(), reason: "`n` is odd".into() };
    assert_eq!(ask(&scripted).await, Err(unusable));
}

#[tokio::test]
async fn a_model_that_cannot_think_is_not_told_twice_that_it_shall_not() {
    let scripted = Scripted::new(|_, body| {
        if body.get("think").is_some() {
            return Reply::error(400, "\"chatter\" does not support thinking");
        }
        Reply::says("{\"n\": 2}")
    })
    .await;
    let chat = Chat::new(scripted.ollama.clone(), "chatter".into());
    for calls in [2, 3] {
        assert_eq!(chat.ask(&question(), TIMEOUT, even).await, Ok(2));
        assert_eq!(scripted.requests().len(), calls);
    }
}

#[tokio::test]
async fn what_hinders_an_answer_is_told_apart() {
    let scripted = Scripted::new(|_, _| Reply::error(404, "model 'chatter' not found")).await;
    assert_eq!(ask(&scripted).await, Err(OllamaError::ModelMissing("chatter".into())));
    scripted.answer(|_, _| {
        Reply::error(503, "server busy, please try again.  maximum pending requests exceeded")
    });
    assert!(
        matches!(ask(&scripted).await, Err(OllamaError::Away { cause, .. }) if cause.contains("server busy"))
    );
    scripted.answer(|_, _| Reply::error(500, "model runner has unexpectedly stopped"));
    assert!(matches!(ask(&scripted).await, Err(OllamaError::Refused(reason)) if reason.contains("stopped")));
    scripted.answer(|_, _| Reply::Json(200, json!([])));
    assert!(matches!(ask(&scripted).await, Err(OllamaError::Refused(_))));
    scripted.answer(|_, _| Reply::Hang);
    let chat = Chat::new(scripted.ollama.clone(), "chatter".into());
    let slow = chat.ask(&question(), Duration::from_millis(100), even).await;
    assert!(matches!(&slow, Err(OllamaError::Slow { .. })), "{slow:?}");
    assert!(slow.unwrap_err().to_string().contains("within 0.1 s"));
}

/// An embedding model with a context of this many bytes; the vector tells the length of what was embedded.
fn with_context(bytes: usize) -> impl FnMut(&str, &Value) -> Reply + Send {
    move |_, body| {
        let lengths: Vec<usize> =
            body["input"].as_array().unwrap().iter().map(|text| text.as_str().unwrap().len()).collect();
        if body["truncate"] == false && lengths.iter().any(|length| *length > bytes) {
            return Reply::error(400, "the input length exceeds the context length");
        }
        Reply::Json(
            200,
            json!({"embeddings": lengths.iter().map(|length| vec![*length]).collect::<Vec<_>>()}),
        )
    }
}

#[tokio::test]
async fn what_is_too_long_is_halved_until_it_fits_and_counted() {
    let scripted = Scripted::new(with_context(100)).await;
    let texts = ["a".repeat(10), "b".repeat(300), "é".repeat(60), "d".repeat(100)];
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let embedded = scripted.ollama.embed(&texts, Purpose::Document, TIMEOUT).await.unwrap();
    assert_eq!(
        embedded,
        Embedded { vectors: vec![vec![10.0], vec![75.0], vec![60.0], vec![100.0]], cut: vec![1, 2] }
    );
    let whole = scripted.ollama.embed(&[&"b".repeat(300)], Purpose::Query, TIMEOUT).await.unwrap();
    assert_eq!(
        (whole.vectors, whole.cut),
        (vec![vec![300.0]], vec![]),
        "a question is cut by Ollama, in one call"
    );
    assert_eq!(scripted.ollama.embed(&[], Purpose::Document, TIMEOUT).await.unwrap(), Embedded::default());
}

#[tokio::test]
async fn halving_ends() {
    let scripted = Scripted::new(with_context(0)).await;
    let refused = scripted.ollama.embed(&[&"b".repeat(8192)], Purpose::Document, TIMEOUT).await;
    assert!(matches!(refused, Err(OllamaError::Refused(_))), "{refused:?}");
    assert_eq!(scripted.requests().len(), 9);
}

#[test]
fn a_name_without_a_tag_means_latest() {
    assert!(is_model("nomic-embed-text", "nomic-embed-text:latest"));
    assert!(is_model("nomic-embed-text:latest", "nomic-embed-text"));
    assert!(is_model("smollm2:135m", "smollm2:135m"));
    assert!(is_model("host:5000/a/b", "host:5000/a/b:latest"));
    assert!(!is_model("nomic-embed-text", "nomic-embed-text:v1.5"));
    assert!(!is_model("llama3", "llama3.2:latest"));
}
